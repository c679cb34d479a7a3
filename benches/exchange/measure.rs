//! What a run costs, read from `/proc` (proc(5)): processor time and memory of a process and all its children.

use std::fs;
use std::time::Instant;

/// `USER_HZ`: the unit of times in `/proc`, a hundredth of a second on every architecture that Linux gives Rust.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time between two instants.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Processor seconds of the peer and its children, user and system.
    pub peer: f64,
    /// The share of the machine that went to neither the peer nor the generator, 0 to 1.
    pub others: f64,
}

/// An open measurement of one peer.
pub struct Window {
    pids: Vec<u32>,
    from: Instant,
    peer: f64,
    own: f64,
    machine: f64,
}

impl Window {
    /// Begins now, for the process `pid` and its children.
    pub fn open(pid: u32) -> Self {
        let pids = tree(pid);
        let (peer, own, machine) = (processor(&pids), processor(&[std::process::id()]), machine());
        Self { pids, from: Instant::now(), peer, own, machine }
    }

    /// Ends now.
    pub fn close(self) -> Spent {
        let seconds = self.from.elapsed().as_secs_f64();
        let peer = processor(&self.pids) - self.peer;
        let own = processor(&[std::process::id()]) - self.own;
        let cores = std::fs::read_to_string("/proc/stat").map_or(1, |text| core_lines(&text)).max(1);
        let others = (machine() - self.machine - peer - own) / (seconds * cores as f64);
        Spent { seconds, peer, others: others.max(0.0) }
    }
}

/// The most memory that `pid` and its children have held, in MiB: the sum of their peaks, so pages that they share are
/// counted once each.
pub fn peak_mib(pid: u32) -> f64 {
    let peak = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    tree(pid).into_iter().filter_map(peak).sum::<f64>() / 1024.0
}

/// Lets the peak of `pid` and its children begin anew at what they hold now. A kernel that refuses leaves the peak of
/// their whole life, which is never less.
pub fn forget_peak(pid: u32) {
    for pid in tree(pid) {
        // "5" resets VmHWM (proc_pid_clear_refs(5)).
        fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
    }
}

/// A process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// User and system seconds of these processes; one that has ended counts nothing.
fn processor(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command name may hold spaces and parentheses; the fields count from behind its last parenthesis, where
        // utime and stime (14 and 15 in proc_pid_stat(5)) are the twelfth and thirteenth.
        let fields = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
        Some(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>())
    };
    pids.iter().filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Seconds in which the machine's cores were not idle, since boot.
fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is already in user.
    let busy = ticks.iter().take(8).enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, ticks)| ticks);
    busy.sum::<f64>() / TICKS_PER_SECOND
}

fn core_lines(stat: &str) -> usize {
    let numbered =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(numbered).count()
}
