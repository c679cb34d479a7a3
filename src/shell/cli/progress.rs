//! Progress of long work, on stderr where that is a terminal.

use std::io::IsTerminal as _;

/// One line that tells how far a piece of work is, in percent. It goes when the work ends.
pub(super) struct Progress {
    what: &'static str,
    terminal: bool,
    shown: Option<u64>,
}

impl Progress {
    /// Of work called `what`, such as `verifying`. Nothing is shown when `quiet`.
    pub(super) fn new(what: &'static str, quiet: bool) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal() && !quiet, shown: None }
    }

    /// So much is done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
        if self.terminal && self.shown != Some(percent) {
            eprint!("\r{} {percent:3} %", self.what);
            self.shown = Some(percent);
        }
    }

    /// Takes the line away, so that other talk has it.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r{:width$}\r", "", width = self.what.len() + " 100 %".len());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
