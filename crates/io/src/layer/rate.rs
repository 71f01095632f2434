//! Bytes per second, paid for before they move. First come, first served.
//!
//! Not here: which bytes are paid for (see [`Limited`](super::Limited)).

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The limiter's interval between two cells is whole nanoseconds. With at most this many cells a
/// second it is 1000 ns or more, so rounding changes the rate by 0.1 % at most, at any rate.
const CELLS_PER_SECOND: u64 = 1_000_000;

/// Time as tokio sees it, so that what waits here follows a paused clock in tests.
#[derive(Clone)]
struct Tokio(Instant);

impl Clock for Tokio {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A rate that everything which shares it stays under, with bursts of one second's worth at most.
pub(super) struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Tokio, NoOpMiddleware<Duration>>,
    clock: Tokio,
    bytes_per_second: NonZeroU64,
    /// Bytes in a cell, the limiter's unit.
    cell: u64,
    /// Cells in a burst.
    burst: u64,
    /// Held while paying, which makes the line: without it, small payments would keep passing a
    /// large one for ever. In it: bytes paid for in whole cells and not used yet, less than a cell.
    line: Mutex<u64>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        let rate = bytes_per_second.get();
        let cell = rate.div_ceil(CELLS_PER_SECOND);
        let burst = rate / cell;
        let period = (u128::from(cell) * 1_000_000_000).div_ceil(u128::from(rate));
        let quota = Quota::with_period(Duration::from_nanos(period as u64))
            .expect("the period is 1 ns or more")
            .allow_burst(NonZeroU32::new(burst as u32).expect("from 1 to CELLS_PER_SECOND"));
        let clock = Tokio(Instant::now());
        Rate {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            bytes_per_second,
            cell,
            burst,
            line: Mutex::new(0),
        }
    }

    /// The most bytes that can be paid for at once: one second's worth.
    pub(super) fn burst(&self) -> u64 {
        self.burst * self.cell
    }

    /// Pays for `bytes` now, or not at all.
    pub(super) fn try_pay(&self, bytes: u64) -> bool {
        let Ok(mut rest) = self.line.try_lock() else { return false };
        bytes <= self.burst() && self.pay_piece(&mut rest, bytes).is_ok()
    }

    /// Pays for `bytes`, waiting behind whoever came before. Dropped half way, what was paid is gone:
    /// giving it back would allow a larger burst later.
    pub(super) async fn pay(&self, bytes: u64) {
        let mut rest = self.line.lock().await;
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(self.burst());
            match self.pay_piece(&mut rest, piece) {
                Ok(()) => left -= piece,
                Err(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Pays for one piece, or says how long it takes until that is possible.
    fn pay_piece(&self, rest: &mut u64, bytes: u64) -> Result<(), Duration> {
        let missing = bytes.saturating_sub(*rest).div_ceil(self.cell);
        if let Some(cells) = NonZeroU32::new(missing as u32) {
            self.limiter
                .check_n(cells)
                .expect("a piece is not above the burst")
                .map_err(|until| until.wait_time_from(self.clock.now()))?;
        }
        *rest = *rest + missing * self.cell - bytes;
        Ok(())
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(bytes_per_second: u64) -> Rate {
        Rate::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn any_rate_is_representable() {
        for bytes in [1, 2, 999_999, 1_000_001, 1_999_999, 12_000_000_000, u64::MAX] {
            let rate = rate(bytes);
            assert!(rate.burst() <= bytes && rate.burst() >= bytes - bytes / 2, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_payment_is_not_passed_by_small_ones() {
        let rate = rate(1000);
        let large = rate.pay(2500);
        tokio::pin!(large);
        assert!(futures::poll!(&mut large).is_pending());
        assert!(!rate.try_pay(1), "somebody is in line");
        tokio::select! {
            biased;
            () = rate.pay(1) => panic!("the large one was first"),
            () = large => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the sizes, n seconds move at most n + 1 seconds' worth, and not much less.
        #[test]
        fn the_rate_holds(
            per_second in 1_000u64..20_000_000_000,
            parts in proptest::collection::vec(0u64..100, 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let rate = rate(per_second);
                let begin = Instant::now();
                let mut sum = 0u64;
                for part in parts {
                    let bytes = per_second * part / 40;
                    rate.pay(bytes).await;
                    sum += bytes;
                    let seconds = begin.elapsed().as_secs_f64();
                    let allowed = (seconds + 1.0) * per_second as f64;
                    prop_assert!(sum as f64 <= allowed * 1.001, "{sum} bytes in {seconds} s at {per_second}");
                    // Each pause is rounded up to a millisecond by the timer.
                    let least = (seconds - 0.002 * (seconds + 1.0) * 3.0) * per_second as f64;
                    prop_assert!(sum as f64 >= least * 0.99, "{sum} bytes took {seconds} s at {per_second}");
                }
                Ok(())
            })?;
        }
    }
}
