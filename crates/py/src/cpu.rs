//! Processor time of this process, for a loader's report.
//!
//! Asked of the system and not of Python's `os.times`, because an epoch also ends where an object is
//! freed, and there no Python may run: an exception that is on its way would be lost.

use std::mem::MaybeUninit;
use std::time::Duration;

/// Time in user mode and in the kernel, of all threads.
pub(crate) fn times() -> (Duration, Duration) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` has room for what the call writes; all zeros are a valid `rusage`, should it fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_usec).unwrap_or(0) * 1000)
}
