//! The thread that writes: it appends what is queued to the day's file, and forgets.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::forget::{Forgotten, forget};
use super::store::{Kept, SubjectConfig, Tally, Work};
use super::{Line, MOST_LINE};
use crate::record::day::Day;
use crate::record::error::RecordError;
use crate::record::shelf::{Shelf, append_to};
use crate::types::{Clock, Timestamp};

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;
/// How often days past their retention are looked for when there is nothing to write.
const LOOK: Duration = Duration::from_secs(15 * 60);
/// How long the writer leaves a disk alone that failed it.
const RESPITE: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    config: SubjectConfig,
    shelf: Shelf,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    today: Option<Today>,
    /// Lines to be written, and how many.
    lines: Vec<u8>,
    count: u64,
    /// Until when nothing is written, after a write that failed.
    respite: Option<Timestamp>,
}

/// The day's file.
struct Today {
    day: Day,
    file: File,
    bytes: u64,
}

impl Writer {
    pub(super) fn new(
        config: SubjectConfig,
        shelf: Shelf,
        clock: Arc<dyn Clock>,
        tally: Arc<Tally>,
    ) -> Result<Self, RecordError> {
        let mut writer = Self { config, shelf, clock, tally, today: None, lines: Vec::new(), count: 0, respite: None };
        writer.remove_drafts().map_err(RecordError::io(&writer.config.directory))?;
        writer.retire();
        Ok(writer)
    }

    /// Works until the store is closed or nobody holds it any more.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        loop {
            let mut next = match work.recv_timeout(LOOK) {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Timeout) => {
                    self.retire();
                    None
                }
                Err(RecvTimeoutError::Disconnected) => Some(Work::Finish),
            };
            // What waits already goes into the same write.
            while let Some(now) = next {
                match now {
                    Work::Keep(kept) => self.take(&kept),
                    Work::Forget(subject, done) => {
                        // Whoever asked may have gone.
                        let _ = done.send(self.forget(&subject));
                    }
                    Work::Finish => {
                        self.write_out();
                        return self.leave_day();
                    }
                }
                next = if self.lines.len() < BATCH { work.try_recv().ok() } else { None };
            }
            self.write_out();
        }
    }

    fn take(&mut self, kept: &Kept) {
        if self.respite.is_some_and(|until| self.clock.now() < until) {
            return self.tally.lose(1, "a write failed before");
        }
        let day = Day::of(kept.at);
        if self.today.as_ref().is_none_or(|today| today.day != day) {
            self.write_out();
            self.leave_day();
            if let Err(error) = self.open_day(day) {
                self.count += 1;
                return self.fail(&error.to_string(), self.clock.now().plus(RESPITE));
            }
        }
        let line =
            Line { subject: kept.salt.commit(&kept.sub), salt: kept.salt.text().into(), sub: kept.sub.as_str().into() };
        // Writing strings to memory does not fail.
        let _ = serde_json::to_writer(&mut self.lines, &line);
        self.lines.push(b'\n');
        self.count += 1;
    }

    /// Opens a day's file and cuts off what a crash tore.
    fn open_day(&mut self, day: Day) -> io::Result<()> {
        self.retire();
        let file = append_to(&self.shelf.file(day))?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(MOST_LINE as u64);
        let mut tail = vec![0; usize::try_from(length - from).unwrap_or(MOST_LINE)];
        file.read_exact_at(&mut tail, from)?;
        let bytes = match memchr::memrchr(b'\n', &tail) {
            Some(last) => from + last as u64 + 1,
            None => from,
        };
        if bytes < length {
            file.set_len(bytes)?;
        }
        self.shelf.note(day, bytes);
        self.today = Some(Today { day, file, bytes });
        Ok(())
    }

    /// Syncs the day's file and closes it.
    fn leave_day(&mut self) {
        let Some(today) = self.today.take() else { return };
        if let Err(error) = today.file.sync_data() {
            tracing::warn!(%error, day = %today.day, "subjects could not be synced");
        }
    }

    fn write_out(&mut self) {
        let Some(today) = self.today.as_mut().filter(|_| !self.lines.is_empty()) else { return };
        let length = self.lines.len() as u64;
        if !self.shelf.make_room(length, self.config.bytes, today.day) {
            let until = today.day.end();
            return self.fail(&format!("the cap of {} bytes is reached within a day", self.config.bytes), until);
        }
        if let Err(error) = today.file.write_all(&self.lines) {
            return self.fail(&error.to_string(), self.clock.now().plus(RESPITE));
        }
        today.bytes += length;
        self.shelf.note(today.day, today.bytes);
        self.tally.kept.fetch_add(self.count, Ordering::Relaxed);
        *self.tally.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.respite = None;
        self.lines.clear();
        self.count = 0;
    }

    /// Gives up what was to be written, and what comes `until` then. After that the day's file is opened anew: half a line
    /// may stand at its end.
    fn fail(&mut self, why: &str, until: Timestamp) {
        self.tally.lose(self.count, why);
        *self.tally.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        self.respite = Some(until);
        self.lines.clear();
        self.count = 0;
        self.today = None;
    }

    /// Forgets a subject on every day, today included, whose file is opened anew after that.
    fn forget(&mut self, subject: &str) -> Result<Forgotten, RecordError> {
        self.write_out();
        self.leave_day();
        forget(&mut self.shelf, subject)
    }

    /// A draft that a crash left holds what a later forgetting would not reach.
    fn remove_drafts(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(self.shelf.directory())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn retire(&mut self) {
        self.shelf.retire(self.config.retention_days, Day::of(self.clock.now()));
    }
}
