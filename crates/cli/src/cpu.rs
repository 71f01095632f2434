//! Processor time of this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::time::Duration;

/// Processor time spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    /// Of all threads of the process, ended ones included.
    pub(crate) fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return CpuTime::default() };
        let time = |time: TimeVal| {
            Duration::from_secs(time.tv_sec().max(0) as u64)
                + Duration::from_micros(time.tv_usec().max(0) as u64)
        };
        CpuTime { user: time(usage.user_time()), system: time(usage.system_time()) }
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
