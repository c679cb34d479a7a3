//! The thread that writes: it takes what is queued, leaves out what stands already, and appends the rest to the day's file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::line::{Line, Lines, push_declaration, push_input};
use super::store::{InputConfig, Kept, Tally, Work};
use crate::record::day::Day;
use crate::record::shelf::Shelf;
use crate::types::{Clock, Digest, Timestamp};

/// Digests of a day that are remembered: at some 100 bytes each, 6 MiB. One that was forgotten is written twice.
pub(super) const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;
/// How often days past their retention are looked for when there is nothing to write.
const LOOK: Duration = Duration::from_secs(15 * 60);
/// How long the writer leaves a disk alone that failed it: opening the day's file again means reading it.
pub(super) const RESPITE: Duration = Duration::from_secs(10);

/// How a day's file is opened. A seam, so that tests can let the disk be full.
pub(super) type Open = Box<dyn FnMut(&Path) -> io::Result<File> + Send>;

pub(super) struct Writer {
    config: InputConfig,
    shelf: Shelf,
    open: Open,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    today: Option<Today>,
    /// Lines to be written, and how many inputs are among them.
    lines: Vec<u8>,
    inputs: u64,
    /// Until when nothing is written, after a write that failed.
    respite: Option<Timestamp>,
}

/// The day's file and what it holds.
struct Today {
    day: Day,
    file: File,
    bytes: u64,
    written: LruCache<Digest, ()>,
    declared: HashSet<Digest>,
}

impl Writer {
    pub(super) fn new(config: InputConfig, shelf: Shelf, open: Open, clock: Arc<dyn Clock>, tally: Arc<Tally>) -> Self {
        let mut writer =
            Self { config, shelf, open, clock, tally, today: None, lines: Vec::new(), inputs: 0, respite: None };
        writer.retire();
        writer
    }

    /// Works until the store is closed or nobody holds it any more.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        loop {
            match work.recv_timeout(LOOK) {
                Ok(Work::Keep(kept)) => {
                    self.take(kept);
                    // What waits already goes into the same write.
                    while self.lines.len() < BATCH {
                        match work.try_recv() {
                            Ok(Work::Keep(kept)) => self.take(kept),
                            Ok(Work::Flush(done)) => {
                                self.write_out();
                                let _ = done.send(());
                            }
                            Ok(Work::Finish) => return self.finish(),
                            Err(_) => break,
                        }
                    }
                    self.write_out();
                }
                Ok(Work::Flush(done)) => {
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Ok(Work::Finish) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
                Err(RecvTimeoutError::Timeout) => self.retire(),
            }
        }
    }

    fn finish(mut self) {
        self.write_out();
        self.leave_day();
    }

    fn take(&mut self, kept: Kept) {
        self.tally.queued_bytes.fetch_sub(kept.input.len(), Ordering::Relaxed);
        if self.respite.is_some_and(|until| self.clock.now() < until) {
            return self.tally.lose(1, "a write failed before");
        }
        let day = Day::of(kept.at);
        if self.today.as_ref().is_none_or(|today| today.day != day) {
            self.write_out();
            self.leave_day();
            if let Err(error) = self.open_day(day) {
                self.inputs += 1;
                return self.fail_for_now(&error);
            }
        }
        let Some(today) = &mut self.today else { return };
        if today.declared.insert(kept.declared.policy) {
            push_declaration(&mut self.lines, &kept.declared);
        }
        if today.written.put(kept.digest, ()).is_some() {
            self.tally.repeated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        push_input(&mut self.lines, &kept.digest, &kept.input);
        self.inputs += 1;
    }

    /// Opens a day's file, learns what it holds and cuts off what a crash tore.
    fn open_day(&mut self, day: Day) -> io::Result<()> {
        self.retire();
        let file = (self.open)(&self.shelf.file(day))?;
        let (mut written, mut declared) = (LruCache::new(REMEMBERED), HashSet::new());
        let mut lines = Lines::new(BufReader::new(&file));
        while let Some((_, line)) = lines.next()? {
            match line {
                Line::Input { digest, .. } => drop(written.put(digest, ())),
                Line::Declared(declaration) => drop(declared.insert(declaration.policy)),
                // A reader tells of it; it is in nobody's way here.
                Line::Damaged => {}
            }
        }
        let bytes = lines.offset();
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        self.shelf.note(day, bytes);
        self.today = Some(Today { day, file, bytes, written, declared });
        Ok(())
    }

    /// Syncs the day's file and closes it.
    fn leave_day(&mut self) {
        let Some(today) = self.today.take() else { return };
        if let Err(error) = today.file.sync_data() {
            tracing::warn!(%error, day = %today.day, "stored inputs could not be synced");
        }
    }

    fn write_out(&mut self) {
        let Some(today) = self.today.as_mut().filter(|_| !self.lines.is_empty()) else { return };
        let length = self.lines.len() as u64;
        if !self.shelf.make_room(length, self.config.bytes, today.day) {
            // Until the next day: by then this one may go, and reading the file again before that is in vain.
            let (why, until) =
                (format!("the cap of {} bytes is reached within a day", self.config.bytes), today.day.end());
            return self.fail(&why, until);
        }
        if let Err(error) = today.file.write_all(&self.lines) {
            return self.fail_for_now(&error);
        }
        today.bytes += length;
        self.shelf.note(today.day, today.bytes);
        self.tally.kept.fetch_add(self.inputs, Ordering::Relaxed);
        self.tally.bytes.store(self.shelf.bytes(), Ordering::Relaxed);
        *self.tally.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.respite = None;
        self.lines.clear();
        self.inputs = 0;
    }

    fn fail_for_now(&mut self, error: &io::Error) {
        let until = self.clock.now().plus(RESPITE);
        self.fail(&error.to_string(), until);
    }

    /// Gives up what was to be written, and what comes `until` then. After that the day's file is opened anew: half a line
    /// may stand at its end.
    fn fail(&mut self, why: &str, until: Timestamp) {
        self.tally.lose(self.inputs, why);
        *self.tally.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        self.respite = Some(until);
        self.lines.clear();
        self.inputs = 0;
        self.today = None;
    }

    fn retire(&mut self) {
        self.shelf.retire(self.config.retention_days, Day::of(self.clock.now()));
        self.tally.bytes.store(self.shelf.bytes(), Ordering::Relaxed);
    }
}
