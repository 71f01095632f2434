//! Processor time of this process, for a loader's report.
//!
//! Asked of the system and not of Python's `os.times`, because an epoch also ends where an object is
//! freed, and there no Python may run: an exception that is on its way would be lost.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::time::Duration;

/// Time in user mode and in the kernel, of all threads.
pub(crate) fn times() -> (Duration, Duration) {
    // It cannot fail for a process that asks for its own.
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    usage.map(|usage| (duration(usage.user_time()), duration(usage.system_time()))).unwrap_or_default()
}

fn duration(time: TimeVal) -> Duration {
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec())) + Duration::from_micros(part(time.tv_usec()))
}
