//! The confined side: limits first, then one policy, then one answer for each input.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::ExitCode;

use super::limits::OwnLimits;
use super::{ANSWER_BYTES, Job, Reply};
use crate::decide::{Bundle, DecideError, Policy};

/// The longest line that comes in, in bytes: all the source and data of a bundle, escaped.
const LINE_BYTES: u64 = 128 * 1024 * 1024;

/// Runs the child to its end. Nothing else of this program runs in its process: no log, no configuration, no thread.
pub(in crate::shell) fn serve(limits: &OwnLimits) -> ExitCode {
    if let Err(error) = limits.apply() {
        eprintln!("sekisho: no limits could be set: {error}");
        return ExitCode::from(2);
    }
    // A panic is answered as a failure. Its message would fill the pipe that holds this process's last words.
    std::panic::set_hook(Box::new(|_| {}));
    match converse() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sekisho: {error}");
            ExitCode::from(2)
        }
    }
}

fn converse() -> std::io::Result<()> {
    let mut lines = BufReader::new(std::io::stdin().lock());
    let Some(job) = line(&mut lines)? else { return Ok(()) };
    let policy = serde_json::from_str::<Job>(&job)
        .map_err(|error| DecideError::unusable(error.to_string()))
        .and_then(|job| Policy::interpret(&Bundle::from_files(job.files)?, job.budget));
    drop(job);
    let policy = match policy {
        Ok(policy) => policy,
        Err(error) => return say(&failed(&error)),
    };
    say(&Reply::Ready)?;
    while let Some(input) = line(&mut lines)? {
        let answer = policy.document(&input).and_then(|document| {
            if document.len() > ANSWER_BYTES / 2 {
                return Err(DecideError::Failed(format!("a decision of {} bytes is too long", document.len())));
            }
            serde_json::from_str(&document).map_err(|error| DecideError::Malformed(error.to_string()))
        });
        say(&answer.map_or_else(|error| failed(&error), Reply::Decision))?;
    }
    Ok(())
}

/// The next line; nothing at the end.
fn line(lines: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    lines.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    String::from_utf8(line).map(Some).map_err(std::io::Error::other)
}

fn failed(error: &DecideError) -> Reply {
    let why = error.to_string();
    // An interpreter may quote the source at length.
    Reply::Error { code: error.code().to_owned(), why: why[..why.floor_char_boundary(WHY_BYTES)].to_owned() }
}

/// The longest reason, in bytes.
const WHY_BYTES: usize = 8 * 1024;

fn say(reply: &Reply) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(reply).map_err(std::io::Error::other)?;
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}
