//! Log lines to stderr, a few at a time: one write for each exchange would cost a
//! busy gateway two percent of its time.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines wait this long at most.
const DELAY: Duration = Duration::from_millis(50);
/// And no more than this many bytes of them wait.
const BYTES: usize = 64 * 1024;

/// Collects lines; a thread writes them out. Errors and warnings leave at once, with all that came before.
#[derive(Clone, Default)]
pub(super) struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogBuffer {
    /// Starts the thread that writes lines out.
    pub(super) fn start() -> Self {
        let buffer = Self::default();
        let lines = buffer.clone();
        let thread = std::thread::Builder::new().name("log-lines".into()).spawn(move || {
            loop {
                std::thread::sleep(DELAY);
                lines.write_out();
            }
        });
        // Without the thread, lines leave when the buffer is full and at the end.
        drop(thread);
        buffer
    }

    /// Writes out what waits.
    pub(super) fn write_out(&self) {
        // Before the lines are taken, so that of two who write the one with the older lines comes first.
        let mut stderr = io::stderr().lock();
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty() {
            // There is nowhere to tell that stderr is gone.
            let _ = stderr.write_all(&lines);
        }
    }
}

/// Writes one line.
pub(super) struct Line<'a> {
    buffer: &'a LogBuffer,
    urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        let full = lines.len() >= BYTES;
        drop(lines);
        if full || self.urgent {
            self.buffer.write_out();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.write_out();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { buffer: self, urgent: true }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line<'a> {
        Line { buffer: self, urgent: *meta.level() <= tracing::Level::WARN }
    }
}
