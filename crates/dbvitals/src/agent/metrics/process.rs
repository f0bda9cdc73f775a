//! The agent's own vitals in `/metrics`, under the names that Prometheus' libraries give them.
//!
//! Read from /proc/self when somebody asks; what cannot be read is left out.

use std::fmt::{self, Write as _};
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::head;
use crate::agent::board::Board;

pub(super) fn write(out: &mut String, board: &Board) -> fmt::Result {
    head(
        out,
        "dbvitals_build_info",
        "gauge",
        "1 for the version that runs.",
    )?;
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "dbvitals_build_info{{version=\"{version}\"}} 1")?;
    let name = "process_cpu_seconds_total";
    head(out, name, "counter", "Processor time that the agent took.")?;
    writeln!(out, "{name} {}", processor_time().as_secs_f64())?;
    let started = board.started().duration_since(UNIX_EPOCH);
    let started = started.unwrap_or_default().as_secs_f64();
    gauge(
        out,
        "process_start_time_seconds",
        "When the agent started, since 1970.",
        Some(started),
    )?;
    gauge(
        out,
        "process_resident_memory_bytes",
        "Memory that the agent has in use.",
        resident_bytes(),
    )?;
    gauge(
        out,
        "process_open_fds",
        "Descriptors that the agent has open.",
        descriptors(),
    )?;
    gauge(
        out,
        "process_max_fds",
        "Descriptors that it may have open.",
        descriptors_max(),
    )
}

fn gauge(
    out: &mut String,
    name: &str,
    help: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    head(out, name, "gauge", help)?;
    writeln!(out, "{name} {value}")
}

/// No time of day: what all threads of this process have used.
fn processor_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or_default())
}

/// The memory that the agent has in use.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The memory in /proc/self/status.
fn resident_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// How many descriptors the agent has open.
pub(crate) fn descriptors() -> Option<usize> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // One is what they are counted with.
    count.checked_sub(1)
}

/// How many descriptors it may have open.
pub(crate) fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_tells_it() {
        let status = "Name:\tdbvitals\nVmHWM:\t  9000 kB\nVmRSS:\t    8164 kB\nThreads:\t3\n";
        assert_eq!(resident_in(status), Some(8164 * 1024));
        assert_eq!(resident_in("VmRSS:\t many kB\n"), None);
        assert_eq!(resident_in(""), None);
    }
}
