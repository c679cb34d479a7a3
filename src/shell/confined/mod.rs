//! A stranger's policy in the interpreter, in a process of its own that can do nothing but compute.
//!
//! The interpreter is no sandbox: source can make its parser run for hours, its stack overflow, its memory grow without
//! end. So it runs in a child: our own program, with limits that the child puts on itself before it reads a byte, no
//! environment, nothing that this program has open but the link to it, and an end that comes with ours. What breaks it
//! breaks the child alone, and says so. The way there and back is a pair of sockets, so that every wait has a deadline.

mod child;
mod limits;
mod shadow;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(in crate::shell) use child::serve;
pub use limits::ConfinedLimits;
pub(in crate::shell) use limits::OwnLimits;
pub use shadow::ConfinedShadow;

use crate::decide::{Answer, Bundle, BundleFile, DecideError, SecondEngine};

/// The longest answer of the child, in bytes: far beyond any decision that the gateway takes.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Read at once.
const CHUNK: usize = 64 * 1024;
/// The most of the child's last words that are looked at, in bytes.
const LAST_WORDS: u64 = 4096;

/// What the child is told first: the policy, and how long an evaluation may take.
#[derive(Serialize, Deserialize)]
struct Job {
    budget: Duration,
    files: Vec<BundleFile>,
}

/// What the child says to the policy and to each input.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Ready,
    Decision(Value),
    Error { code: String, why: String },
}

/// An interpreter in a process of its own.
pub struct Confined {
    child: Child,
    link: UnixStream,
    limits: ConfinedLimits,
    /// What came after the last answer; nothing, unless the child talks out of turn.
    pending: Vec<u8>,
    received: u64,
    asked: Instant,
}

impl Confined {
    /// Starts a child that interprets the bundle's source: this program, or another file of it (in a test, whose own file
    /// is the test). A thread that starts one must outlive it: where
    /// the system ends the child with its parent, the parent is that thread.
    ///
    /// # Errors
    /// `bundle_unconfinable` when no such process can be started; `bundle_interpreter_died` when it does not survive the
    /// source; what the interpreter says when the source does not compile.
    pub fn start(program: Option<&Path>, bundle: &Bundle, limits: ConfinedLimits) -> Result<Self, DecideError> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()
                .map_err(|error| unconfinable(format!("this program cannot find its own file: {error}")))?,
        };
        let failed = |error: std::io::Error| unconfinable(format!("{}: {error}", program.display()));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let answers = theirs.try_clone().map_err(failed)?;
        let mut command = Command::new(&program);
        command
            .args(["policy", "confined"])
            .args(limits.arguments())
            .env_clear()
            .envs(ALLOCATOR)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(answers)))
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(failed)?;
        // The command holds the child's end of the link open; it has to go for us to see the child's end.
        drop(command);
        let mut confined = Self { child, link: ours, limits, pending: Vec::new(), received: 0, asked: Instant::now() };
        let job = Job { budget: limits.budget, files: source_files(bundle)? };
        let job = serde_json::to_string(&job).map_err(|error| DecideError::unusable(error.to_string()))?;
        confined.asked = Instant::now();
        confined.tell(&job, limits.start)?;
        match confined.hear(limits.start)? {
            Reply::Ready => Ok(confined),
            Reply::Error { why, .. } => Err(DecideError::unusable(why)),
            Reply::Decision(_) => Err(confined.lost("it answered before it was asked")),
        }
    }

    /// The interpreter's answer to an input (JSON).
    ///
    /// # Errors
    /// When the child is gone, and every later call fails too.
    pub fn evaluate(&mut self, input: &str) -> Result<Answer, DecideError> {
        self.ask(input)?;
        self.answer()
    }

    /// The process id of the child.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line.
    fn tell(&mut self, text: &str, within: Duration) -> Result<(), DecideError> {
        // JSON holds no line end but between its tokens.
        let mut line = text.replace(['\n', '\r'], " ").into_bytes();
        line.push(b'\n');
        let mut rest = &line[..];
        while !rest.is_empty() {
            let left = self.left(within)?;
            let sent = self.link.set_write_timeout(Some(left)).and_then(|()| self.link.write(rest));
            match sent {
                Ok(count) => rest = &rest[count..],
                Err(error) if waits(&error) => {}
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
        Ok(())
    }

    /// Receives one line.
    fn hear(&mut self, within: Duration) -> Result<Reply, DecideError> {
        let mut chunk = vec![0; CHUNK];
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.pending[searched..]) {
                let rest = self.pending.split_off(searched + end + 1);
                let line = std::mem::replace(&mut self.pending, rest);
                return serde_json::from_slice(&line).map_err(|_| self.lost("it answered with something else"));
            }
            searched = self.pending.len();
            if searched > ANSWER_BYTES {
                return Err(self.lost(&format!("an answer was longer than {ANSWER_BYTES} bytes")));
            }
            if self.received > self.limits.output {
                return Err(self.lost(&format!("its answers were more than {} bytes together", self.limits.output)));
            }
            let left = self.left(within)?;
            let count = self.link.set_read_timeout(Some(left)).and_then(|()| self.link.read(&mut chunk));
            match count {
                Ok(0) => return Err(self.lost("it ended")),
                Ok(count) => {
                    self.received += count as u64;
                    self.pending.extend_from_slice(&chunk[..count]);
                }
                Err(error) if waits(&error) => {}
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    /// What is left of the time since the question.
    fn left(&mut self, within: Duration) -> Result<Duration, DecideError> {
        match within.checked_sub(self.asked.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) => Ok(left),
            None => Err(self.lost(&format!("it did not answer within {} ms", within.as_millis()))),
        }
    }

    /// Ends the child and says what became of it.
    fn lost(&mut self, what: &str) -> DecideError {
        // A child that has ended already keeps its own status; only one that still runs is killed here.
        let ended = self.ended_by_itself();
        let _ = self.child.kill();
        let status = self.child.wait();
        let mut words = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            // Whoever else might hold the pipe is dead too, so this comes to its end; what is no text is of no use.
            let _ = stderr.take(LAST_WORDS).read_to_string(&mut words);
        }
        let why = match status {
            Ok(status) if ended => cause(status, &words, &self.limits),
            _ => what.to_owned(),
        };
        DecideError::Bundle {
            code: "bundle_interpreter_died",
            why: format!("the policy's source broke the confined interpreter, so it is refused: {why}"),
        }
    }

    /// Whether the child has ended, or does within a moment: its end of the link closes just before its status is there.
    fn ended_by_itself(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => return true,
                Ok(None) if begun.elapsed() < GRACE && self.is_closed() => std::thread::yield_now(),
                _ => return false,
            }
        }
    }

    /// Whether the child closed its end of the link.
    fn is_closed(&mut self) -> bool {
        let mut chunk = [0; 256];
        self.link.set_read_timeout(Some(Duration::from_millis(1))).is_ok()
            && match self.link.read(&mut chunk) {
                Ok(count) => count == 0,
                Err(error) => !waits(&error),
            }
    }
}

impl SecondEngine for Confined {
    fn ask(&mut self, input: &str) -> Result<(), DecideError> {
        self.asked = Instant::now();
        self.tell(input, self.limits.answer)
    }

    fn answer(&mut self) -> Result<Answer, DecideError> {
        match self.hear(self.limits.answer)? {
            Reply::Decision(document) => Ok(Ok(document)),
            Reply::Error { code, why } => Ok(Err(match code.as_str() {
                "policy_undefined" => DecideError::Undefined,
                "policy_overrun" => DecideError::Overrun,
                "policy_malformed" => DecideError::Malformed(why),
                _ => DecideError::Failed(why),
            })),
            Reply::Ready => Err(self.lost("it answered with something else")),
        }
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // It may have ended and been reaped already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a child that closed its link may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// The allocator reserves a gibibyte of addresses at its start unless it is told not to, and within that the limit on
/// memory would not be felt.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_ARENA_RESERVE", "0"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

fn unconfinable(why: String) -> DecideError {
    DecideError::Bundle {
        code: "bundle_unconfinable",
        why: format!("no process could be confined to read the policy's source in, so it is refused: {why}"),
    }
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What ended a child, in words.
fn cause(status: ExitStatus, words: &str, limits: &ConfinedLimits) -> String {
    // Written by the runtime as the process dies.
    if words.contains("memory allocation of") {
        return format!("it wanted more memory than the {} MiB it may have", limits.memory >> 20);
    }
    if words.contains("overflowed its stack") {
        return "it recursed until its stack was full".to_owned();
    }
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == limits::SIGXCPU => {
            format!("it used more than {} s of CPU time", limits.cpu.as_secs())
        }
        (Some(signal), _) if signal == limits::SIGKILL => {
            format!(
                "it was killed (signal 9), as for more than {} s of CPU time or for want of memory",
                limits.cpu.as_secs()
            )
        }
        (Some(signal), _) => format!("it ended with signal {signal}"),
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// What the interpreter needs of a bundle. The module and the cases stay here.
fn source_files(bundle: &Bundle) -> Result<Vec<BundleFile>, DecideError> {
    let unusable = |error: serde_json::Error| DecideError::unusable(error.to_string());
    let manifest = serde_json::to_string(bundle.manifest()).map_err(unusable)?;
    let data = serde_json::to_string(bundle.data()).map_err(unusable)?;
    let mut files = bundle.sources().to_vec();
    files.push(BundleFile { path: ".manifest".to_owned(), text: manifest });
    files.push(BundleFile { path: "data.json".to_owned(), text: data });
    Ok(files)
}
