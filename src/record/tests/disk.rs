//! A disk that fails when it is told to, fills up, loses power, and remembers what it would have kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::*;
use crate::record::store::{Disk, RealDisk};

const SECTOR: usize = 512;

/// What a disk is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    MakeDirectory,
    Create,
    Write,
    Cut,
    Sync,
    SyncDirectory,
    Rename,
    Remove,
    RemoveDirectory,
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It did nothing.
    Failed,
    /// Half of it was done. Means something for bytes only.
    Half,
    /// It was done, and then reported as failed.
    Persisted,
}

/// A file's bytes: what a crash leaves for certain, and what stands in the cache.
#[derive(Default, Clone)]
struct Bytes {
    durable: Vec<u8>,
    cached: Vec<u8>,
}

#[derive(Default)]
struct State {
    /// Steps so far, with the name of the file.
    steps: Vec<(Step, String)>,
    /// The step that fails, how, and what it says.
    fault: Option<(usize, Effect, io::ErrorKind)>,
    /// After so many steps nothing is done any more.
    power: Option<usize>,
    /// What is said while nothing may grow.
    full: Option<io::ErrorKind>,
    files: Vec<Bytes>,
    durable: BTreeMap<PathBuf, usize>,
    cached: BTreeMap<PathBuf, usize>,
}

/// The disk. Clones are the same one.
#[derive(Default, Clone)]
pub(super) struct Drive(Arc<Mutex<State>>);

impl Drive {
    /// The step with this number fails.
    pub(super) fn failing(at: usize, effect: Effect, kind: io::ErrorKind) -> Self {
        let drive = Self::default();
        drive.0.lock().unwrap().fault = Some((at, effect, kind));
        drive
    }

    /// The power goes after so many steps.
    pub(super) fn dying(after: usize) -> Self {
        let drive = Self::default();
        drive.0.lock().unwrap().power = Some(after);
        drive
    }

    pub(super) fn steps(&self) -> Vec<(Step, String)> {
        self.0.lock().unwrap().steps.clone()
    }

    /// From now on nothing may grow, and this is why; or all may again.
    pub(super) fn fill(&self, full: Option<io::ErrorKind>) {
        self.0.lock().unwrap().full = full;
    }

    /// From now on the next step of this kind fails.
    pub(super) fn arm(&self, effect: Effect, kind: io::ErrorKind, ahead: usize) {
        let mut state = self.0.lock().unwrap();
        state.fault = Some((state.steps.len() + ahead, effect, kind));
    }

    fn act<T>(
        &self,
        step: Step,
        path: &Path,
        grows: bool,
        half: impl FnOnce() -> io::Result<()>,
        act: impl FnOnce() -> io::Result<T>,
        note: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let number = state.steps.len();
        if state.power.is_some_and(|power| number >= power) {
            return Err(io::Error::other("the power is gone"));
        }
        state.steps.push((step, path.file_name().unwrap().to_string_lossy().into_owned()));
        if let Some(why) = state.full.filter(|_| grows) {
            half()?;
            return Err(why.into());
        }
        match state.fault.take_if(|(at, ..)| *at == number) {
            None => {
                let done = act()?;
                note(&mut state);
                Ok(done)
            }
            Some((_, Effect::Failed, kind)) => Err(io::Error::new(kind, "injected")),
            Some((_, Effect::Half, kind)) => {
                half()?;
                Err(io::Error::new(kind, "injected"))
            }
            Some((_, Effect::Persisted, kind)) => {
                act()?;
                note(&mut state);
                Err(io::Error::new(kind, "injected"))
            }
        }
    }

    /// Lays down what a crash leaves. Of what was not synced, `taken` says in turn what the disk has taken.
    pub(super) fn crash(&self, home: &Path, to: &Path, taken: &[bool]) {
        let state = self.0.lock().unwrap();
        let mut taken = taken.iter().copied().cycle();
        let mut names: Vec<&PathBuf> = state.durable.keys().chain(state.cached.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (old, new) = (state.durable.get(name), state.cached.get(name));
            let Some(file) = (if old == new || !taken.next().unwrap() { old } else { new }) else { continue };
            let Bytes { durable, cached } = &state.files[*file];
            let mut left = durable.clone();
            if left.len() < cached.len() && taken.next().unwrap() {
                left.resize(cached.len(), 0);
            }
            for start in (0..left.len()).step_by(SECTOR) {
                let sector = start..(start + SECTOR).min(left.len());
                if sector.end <= cached.len() && left[sector.clone()] != cached[sector.clone()] && taken.next().unwrap()
                {
                    left[sector.clone()].copy_from_slice(&cached[sector]);
                }
            }
            let target = to.join(name.strip_prefix(home).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, left).unwrap();
        }
    }
}

impl Disk for Drive {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Step::MakeDirectory, path, true, || Ok(()), || RealDisk.make_directory(path), |_| {})
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.act(
            Step::Create,
            path,
            true,
            || Ok(()),
            || RealDisk.create(path),
            |state| {
                state.files.push(Bytes::default());
                let file = state.files.len() - 1;
                state.cached.insert(path.to_owned(), file);
            },
        )
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        let put = |count: usize| RealDisk.write(file, path, &bytes[..count], offset);
        let grows = offset + bytes.len() as u64 > file.metadata()?.len();
        self.act(
            Step::Write,
            path,
            grows,
            || put(bytes.len() / 2),
            || put(bytes.len()),
            |state| {
                let Some(file) = state.cached.get(path).copied() else { return };
                let cached = &mut state.files[file].cached;
                let start = usize::try_from(offset).unwrap();
                let length = cached.len().max(start + bytes.len());
                cached.resize(length, 0);
                cached[start..start + bytes.len()].copy_from_slice(bytes);
            },
        )
    }

    fn cut(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.act(
            Step::Cut,
            path,
            false,
            || Ok(()),
            || RealDisk.cut(file, path, length),
            |state| {
                let Some(file) = state.cached.get(path).copied() else { return };
                state.files[file].cached.resize(usize::try_from(length).unwrap(), 0);
            },
        )
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.act(
            Step::Sync,
            path,
            false,
            || Ok(()),
            || RealDisk.sync(file, path),
            |state| {
                let Some(file) = state.cached.get(path).copied() else { return };
                let Bytes { durable, cached } = &mut state.files[file];
                durable.clone_from(cached);
            },
        )
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.act(
            Step::SyncDirectory,
            path,
            false,
            || Ok(()),
            || RealDisk.sync_directory(path),
            |state| {
                let inside = |name: &Path| name.parent() == Some(path);
                state.durable.retain(|name, _| !inside(name));
                let names: Vec<_> = state.cached.iter().filter(|(name, _)| inside(name)).collect();
                let names: Vec<_> = names.into_iter().map(|(name, file)| (name.clone(), *file)).collect();
                state.durable.extend(names);
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(
            Step::Rename,
            to,
            false,
            || Ok(()),
            || RealDisk.rename(from, to),
            |state| {
                let file = state.cached.remove(from).unwrap();
                state.cached.insert(to.to_owned(), file);
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(
            Step::Remove,
            path,
            false,
            || Ok(()),
            || RealDisk.remove(path),
            |state| {
                state.cached.remove(path);
            },
        )
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Step::RemoveDirectory, path, false, || Ok(()), || RealDisk.remove_directory(path), |_| {})
    }
}
