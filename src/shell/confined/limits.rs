//! What a confined process may use.

use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, setrlimit};

/// The signal for more CPU time than the soft limit (`signal(7)`; the same number wherever Linux or macOS runs on the
/// processors that we build for).
pub(super) const SIGXCPU: i32 = 24;
/// The signal that cannot be caught.
pub(super) const SIGKILL: i32 = 9;
/// Descriptors: the link, twice, and stderr. No further one can be opened.
const DESCRIPTORS: u64 = 3;
/// The stack, in bytes: what systems give a process where nobody asked for more.
const STACK: u64 = 8 * 1024 * 1024;

/// What a confined process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfinedLimits {
    /// The most memory, in bytes, by addresses.
    pub memory: u64,
    /// The most CPU time, to whole seconds.
    pub cpu: Duration,
    /// The longest that it may take to read and compile the policy.
    pub start: Duration,
    /// The longest that one evaluation may take by the interpreter's own clock, which looks between two steps.
    pub budget: Duration,
    /// The longest that we wait for an answer, whatever the interpreter does.
    pub answer: Duration,
    /// The most that all answers may be together, in bytes.
    pub output: u64,
}

impl ConfinedLimits {
    /// For a trial: 512 MiB, since the reference policy takes 60 with its facts; ten minutes of CPU time for some ten
    /// thousand inputs on a slow machine.
    pub const TRIAL: Self = Self {
        memory: 512 * 1024 * 1024,
        cpu: Duration::from_secs(600),
        start: Duration::from_secs(20),
        budget: Duration::from_secs(2),
        answer: Duration::from_secs(5),
        output: 1024 * 1024 * 1024,
    };

    /// For a process that answers beside the deciding engine. It is used up after an hour of CPU time and replaced.
    pub const SHADOW: Self = Self {
        cpu: Duration::from_secs(3600),
        budget: Duration::from_millis(200),
        answer: Duration::from_millis(500),
        ..Self::TRIAL
    };

    /// The part that the child has to know before it reads a byte, as arguments.
    pub(super) fn arguments(&self) -> [String; 2] {
        [format!("--memory={}", self.memory), format!("--cpu={}", self.cpu.as_secs().max(1))]
    }
}

/// The limits that a confined child puts on itself.
#[derive(Debug, Args)]
pub(in crate::shell) struct OwnLimits {
    /// Memory, in bytes
    #[arg(long)]
    memory: u64,
    /// CPU time, in seconds
    #[arg(long)]
    cpu: u64,
}

impl OwnLimits {
    /// Puts the limits on this process, for good.
    ///
    /// # Errors
    /// When the system refuses one: then nothing may be read.
    pub(super) fn apply(&self) -> std::io::Result<()> {
        // Ends with whoever started us, also when that is killed. macOS has no such thing; the closed link ends us there.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let fixed = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
        // A second more until the signal that cannot be caught.
        setrlimit(Resource::Cpu, Rlimit { current: Some(self.cpu), maximum: Some(self.cpu + 1) })?;
        setrlimit(Resource::Core, fixed(0))?;
        setrlimit(Resource::Fsize, fixed(0))?;
        setrlimit(Resource::Nofile, fixed(DESCRIPTORS))?;
        // By addresses and by what can be written: an allocator may hold addresses that it does not use.
        setrlimit(Resource::Data, fixed(self.memory))?;
        setrlimit(Resource::As, fixed(self.memory))?;
        setrlimit(Resource::Stack, fixed(STACK))?;
        // No process and no thread beyond this one. A user who may do everything is not held by this one.
        setrlimit(Resource::Nproc, fixed(0))?;
        Ok(())
    }
}
