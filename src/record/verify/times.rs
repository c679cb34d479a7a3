//! Whether what entries say of the time fits what witnesses and time-stamping authorities saw: nothing that a checkpoint
//! covers is younger than its cosignatures, and nothing that came later is older. A timestamp is one of these here.

use super::report::Findings;

/// How far the clocks of a log and of its witnesses may be apart, and how long a cosignature may take, in seconds.
pub const TOLERANCE: u64 = 300;

/// Bounds the times of entries by those of cosignatures.
#[derive(Default)]
pub(super) struct Times {
    /// The earliest cosignature of the last cosigned checkpoint, in seconds since 1970.
    after: Option<u64>,
    /// The latest entry since then, in milliseconds, and its index.
    latest: Option<(u64, u64)>,
    waiting: u64,
    /// Entries that stand between two times, or before the first.
    pub(super) bounded: u64,
    pub(super) findings: Findings,
}

impl Times {
    /// Takes the time of the next entry.
    pub(super) fn entry(&mut self, index: u64, millis: u64) {
        self.waiting += 1;
        if let Some(after) = self.after.filter(|after| millis < after.saturating_sub(TOLERANCE).saturating_mul(1000)) {
            let early = after.saturating_sub(millis / 1000);
            let what = format!("entry {index} is dated {early} s before the log was seen without it");
            self.findings.add(Some(index), what);
        }
        if self.latest.is_none_or(|(latest, _)| millis > latest) {
            self.latest = Some((millis, index));
        }
    }

    /// Every entry so far was under a checkpoint that was cosigned at these times.
    pub(super) fn cosigned(&mut self, (earliest, latest): (u64, u64)) {
        if let Some((millis, index)) = self.latest.take()
            && millis > latest.saturating_add(TOLERANCE).saturating_mul(1000)
        {
            let late = (millis / 1000).saturating_sub(latest);
            let what = format!("entry {index} is dated {late} s after it had been seen");
            self.findings.add(Some(index), what);
        }
        self.bounded += std::mem::take(&mut self.waiting);
        self.after = self.after.max(Some(earliest));
    }

    /// Entries that no cosigned checkpoint covers yet.
    pub(super) const fn unbounded(&self) -> u64 {
        self.waiting
    }
}
