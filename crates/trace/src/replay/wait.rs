//! Waiting for an instant, as exactly as the machine can, and how exactly that is.

use hdrhistogram::Histogram;
use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A sleeping thread is woken late, on a virtual machine more so: the last stretch before an instant is waited for
/// awake. A choice, not a measurement; the noise floor shows what it leaves.
const AWAKE: Duration = Duration::from_micros(120);

/// Asks the kernel to wake this thread when it is due, not up to 50 µs later to save power. A kernel that refuses
/// costs accuracy, which the noise floor shows.
pub(super) fn wake_exactly() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// Sleeps if `due` is far enough away, else not at all: to be called again until `due` has come. An unpark ends the
/// sleep early.
pub(super) fn approach(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > AWAKE {
        std::thread::park_timeout(left - AWAKE);
    } else {
        std::hint::spin_loop();
    }
}

/// How late this machine is for instants when there is nothing to do: what no replay can be better than.
#[derive(Clone)]
pub struct NoiseFloor {
    /// Nanoseconds between an instant and when it was noticed.
    pub lateness: Histogram<u64>,
}

impl fmt::Debug for NoiseFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoiseFloor {}", crate::percentiles(&self.lateness))
    }
}

/// Waits for instants `gap` apart, for as long as `lasting`, as a replay waits for its operations.
pub fn noise_floor(gap: Duration, lasting: Duration) -> NoiseFloor {
    wake_exactly();
    let mut lateness = crate::fidelity::histogram();
    let gap = gap.max(Duration::from_nanos(1));
    let begin = Instant::now() + Duration::from_millis(1);
    let mut due = begin;
    while due < begin + lasting {
        let now = loop {
            let now = Instant::now();
            if now >= due {
                break now;
            }
            approach(due);
        };
        lateness.saturating_record((now - due).as_nanos() as u64);
        due += gap;
    }
    NoiseFloor { lateness }
}
