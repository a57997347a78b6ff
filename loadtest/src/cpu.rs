//! Which core does what, and what processes and cores have used.

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// Unit of times under `/proc`: the kernel's interface fixes it to 100 a second.
const TICKS_PER_SECOND: u64 = 100;

/// The two cores that the bench uses, however many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Load generator and upstreams.
    pub(crate) load: usize,
    /// The server that is measured.
    pub(crate) server: usize,
}

/// How the processes lie on the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layout {
    /// The measured server on one core, everything else on the other.
    Apart,
    /// Everything on both cores.
    Together,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn find() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut free = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        let (load, server) = free
            .next()
            .zip(free.next())
            .context("two cores are needed, one for the server that is measured")?;
        Ok(Self { load, server })
    }

    /// The cores for load generator and upstreams.
    pub(crate) fn of_load(self, layout: Layout) -> Vec<usize> {
        match layout {
            Layout::Apart => vec![self.load],
            Layout::Together => vec![self.load, self.server],
        }
    }

    /// The cores for the measured server.
    pub(crate) fn of_server(self, layout: Layout) -> Vec<usize> {
        match layout {
            Layout::Apart => vec![self.server],
            Layout::Together => vec![self.load, self.server],
        }
    }
}

/// Binds the thread with this id, and what it starts from now on, to `cores`; 0 is the caller.
pub(crate) fn pin(thread: i32, cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(thread), &set).with_context(|| format!("cores {cores:?} cannot be used"))
}

/// CPU time that a process and its threads have used, user and system.
pub(crate) fn used(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold blanks; utime and stime are the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')').context("an unknown form of /proc/PID/stat")?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = times.next().zip(times.next()).context("an unknown form of /proc/PID/stat")?;
    Ok(Duration::from_millis((user? + system?) * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/PID/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Ticks of one core since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreTime {
    busy: u64,
    idle: u64,
    /// Taken away by the host of a virtual machine.
    stolen: u64,
}

impl CoreTime {
    pub(crate) fn now(core: usize) -> Result<Self> {
        Self::read(&fs::read_to_string("/proc/stat")?, core)
    }

    fn read(stat: &str, core: usize) -> Result<Self> {
        let label = format!("cpu{core} ");
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix(&label))
            .context("the core is not in /proc/stat")?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(ticks.len() >= 8, "an unknown form of /proc/stat");
        let idle = ticks[3] + ticks[4];
        Ok(Self { busy: ticks[..8].iter().sum::<u64>() - idle - ticks[7], idle, stolen: ticks[7] })
    }

    /// Shares of the time since `earlier` that the core worked, and that the host took.
    pub(crate) fn shares_since(self, earlier: Self) -> (f64, f64) {
        let (busy, idle, stolen) =
            (self.busy - earlier.busy, self.idle - earlier.idle, self.stolen - earlier.stolen);
        let all = (busy + idle + stolen).max(1) as f64;
        (busy as f64 / all, stolen as f64 / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cores_shares_are_read_from_the_kernels_table() {
        let before =
            CoreTime::read("cpu  1 1 1\ncpu0 10 0 5 100 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0", 0).unwrap();
        let after = CoreTime::read("cpu0 60 0 15 130 0 0 0 10 0 0", 0).unwrap();
        assert_eq!(after.shares_since(before), (0.6, 0.1));
        assert!(CoreTime::read("cpu0 1 2", 0).is_err());
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
        let start = std::time::Instant::now();
        let before = used(std::process::id()).unwrap();
        while start.elapsed() < Duration::from_millis(60) {}
        assert!(used(std::process::id()).unwrap() > before);
    }
}
