//! Processor time of this process. The only `unsafe` of the command: no library of ours has the call.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::time::Duration;

/// Processor time spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    /// Of all threads of the process, ended ones included.
    pub(crate) fn now() -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: `usage` is as large as the call writes. With RUSAGE_SELF and a valid pointer it
        // cannot fail, so all of it is written.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec.max(0) as u64) + Duration::from_micros(t.tv_usec.max(0) as u64)
        };
        CpuTime { user: time(usage.ru_utime), system: time(usage.ru_stime) }
    }

    /// What was spent since `earlier`.
    pub(crate) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn busy_time_is_counted() {
        let (before, begin) = (CpuTime::now(), Instant::now());
        while begin.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let spent = CpuTime::now().since(before);
        // Other processes may have had the processor meanwhile, but not all of the time.
        assert!(spent.user + spent.system > Duration::from_millis(1), "{spent:?}");
    }
}
