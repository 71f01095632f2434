//! The doors of one service, and which of them to take.
//!
//! Two of those that are well are drawn by lot, and the one with fewer bytes outstanding is taken ("the
//! power of two choices", M. Mitzenmacher, 1996): nearly as even as asking all of them, and without the
//! herd that runs to the one that was emptiest a moment ago. A door that failed is unwell for a second, for
//! two when it fails again, and so on up to a minute, or as long as it said itself; an answer makes it
//! well. When none is well, the one that soonest will be is taken: to refuse is a breaker's business.

use crate::lock::Mutex;
use crate::{Error, Kind, Result, Retry, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a door is unwell after its first failure.
const UNWELL: Duration = Duration::from_secs(1);

/// The longest that a door is unwell after many.
const LONG_UNWELL: Duration = Duration::from_secs(60);

/// What an operation of unknown size counts for before any size was seen: what objects of training data
/// commonly have. A round trip costs something too, so nothing counts for less than the other.
const PRESUMED: u64 = 128 << 10;
const ROUND_TRIP: u64 = 16 << 10;

pub(super) struct Endpoints {
    doors: Vec<Door>,
    lots: Mutex<ChaCha8Rng>,
    /// Mean size of what was read lately.
    mean: AtomicU64,
}

pub(super) struct Door {
    pub(super) store: Arc<dyn Store>,
    outstanding: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    until: Option<Instant>,
}

/// An operation on its way through a door.
pub(super) struct Visit<'a> {
    pub(super) door: &'a Door,
    pub(super) index: usize,
    bytes: u64,
}

impl Endpoints {
    pub(super) fn new(stores: Vec<Arc<dyn Store>>, seed: u64) -> Self {
        let door = |store| Door { store, outstanding: AtomicU64::new(0), health: Mutex::default() };
        Endpoints {
            doors: stores.into_iter().map(door).collect(),
            lots: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            mean: AtomicU64::new(PRESUMED),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.doors.len()
    }

    pub(super) fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Takes a door for an operation of so many bytes, if that is known, other than those already `tried`.
    /// None if the others are not well (with nothing tried yet, there always is one).
    pub(super) fn choose(&self, bytes: Option<u64>, tried: &[usize]) -> Option<Visit<'_>> {
        let now = Instant::now();
        let open = |index: &usize| !tried.contains(index);
        let well: Vec<usize> =
            (0..self.doors.len()).filter(open).filter(|&index| self.doors[index].is_well(now)).collect();
        let index = match well[..] {
            [] if tried.is_empty() => {
                (0..self.doors.len()).min_by_key(|&index| self.doors[index].health.lock().until)?
            }
            [] => return None,
            [only] => only,
            _ => {
                let (one, two) = {
                    let mut lots = self.lots.lock();
                    let one = lots.random_range(0..well.len());
                    let two = lots.random_range(0..well.len() - 1);
                    (well[one], well[two + usize::from(two >= one)])
                };
                if self.doors[two].outstanding() < self.doors[one].outstanding() { two } else { one }
            }
        };
        Some(self.visit(index, bytes))
    }

    /// Goes through a door that was taken before.
    pub(super) fn visit(&self, index: usize, bytes: Option<u64>) -> Visit<'_> {
        let bytes = bytes.unwrap_or_else(|| self.mean.load(Ordering::Relaxed)).saturating_add(ROUND_TRIP);
        let door = &self.doors[index];
        door.outstanding.fetch_add(bytes, Ordering::Relaxed);
        Visit { door, index, bytes }
    }

    /// Learns how large things are.
    pub(super) fn served(&self, bytes: u64) {
        let mean = self.mean.load(Ordering::Relaxed);
        // One sixteenth of the way; that another thread's step may be lost does not matter.
        self.mean.store(mean - mean / 16 + bytes / 16, Ordering::Relaxed);
    }
}

impl Door {
    fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::Relaxed)
    }

    fn is_well(&self, now: Instant) -> bool {
        self.health.lock().until.is_none_or(|until| until <= now)
    }

    /// Hears how an operation ended here. Whether it would be worth going to another door with it.
    pub(super) fn ended<T>(&self, result: &Result<T>) -> bool {
        let error = match result {
            Err(error) if has_failed(error) => error,
            Err(error) if error.kind() == Kind::Cancelled => return false,
            _ => {
                *self.health.lock() = Health::default();
                return false;
            }
        };
        let now = Instant::now();
        let mut health = self.health.lock();
        // What was on its way when it failed says the same once more.
        if health.until.is_none_or(|until| until <= now) {
            let doubled = UNWELL.saturating_mul(1 << health.failures.min(16)).min(LONG_UNWELL);
            let pause = match error.retry() {
                Retry::After(said) => said,
                Retry::Never | Retry::Soon | Retry::Backoff => doubled,
            };
            *health = Health { failures: health.failures + 1, until: Some(now + pause) };
        }
        true
    }
}

/// Whether an error says that the door is closed, not what is behind it.
fn has_failed(error: &Error) -> bool {
    error.kind() == Kind::Unavailable
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.door.outstanding.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Operation};
    use proptest::prelude::*;

    fn endpoints(doors: usize) -> Endpoints {
        Endpoints::new((0..doors).map(|_| Arc::new(MemoryStore::new()) as Arc<dyn Store>).collect(), 1)
    }

    fn failed() -> Result<()> {
        Err(Error::new(Kind::Unavailable, Operation::Get, "down"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_that_failed_is_left_alone_longer_each_time() {
        let endpoints = endpoints(2);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            endpoints.doors()[0].ended(&failed());
            endpoints.doors()[0].ended(&failed());
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!((0..20).all(|_| endpoints.choose(None, &[]).unwrap().index == 1), "{seconds}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!((0..20).any(|_| endpoints.choose(None, &[]).unwrap().index == 0), "{seconds}");
        }
        endpoints.doors()[0].ended(&Ok(()));
        endpoints.doors()[0].ended(&failed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!((0..20).any(|_| endpoints.choose(None, &[]).unwrap().index == 0), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn when_none_is_well_the_one_that_soonest_will_be_is_taken() {
        let endpoints = endpoints(3);
        let later = Error::new(Kind::Unavailable, Operation::Get, "").with_retry(Retry::After(5 * UNWELL));
        endpoints.doors()[0].ended(&Err::<(), _>(later));
        endpoints.doors()[2].ended(&failed());
        assert_eq!(endpoints.choose(None, &[1]).map(|v| v.index), None);
        endpoints.doors()[1].ended(&failed());
        endpoints.doors()[1].ended(&Ok(()));
        endpoints.doors()[1].ended(&Err::<(), _>(
            Error::new(Kind::Unavailable, Operation::Get, "").with_retry(Retry::After(UNWELL / 2)),
        ));
        assert_eq!(endpoints.choose(None, &[]).unwrap().index, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Two choices keep the load even whatever the sizes: no door has much more than its share.
        #[test]
        fn load_is_even(doors in 2usize..8, sizes in proptest::collection::vec(1u64..4 << 20, 400)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let endpoints = endpoints(doors);
                let visits: Vec<_> = sizes.iter().map(|&size| endpoints.choose(Some(size), &[]).unwrap()).collect();
                let loads: Vec<_> = endpoints.doors().iter().map(Door::outstanding).collect();
                let mean = loads.iter().sum::<u64>() / doors as u64;
                prop_assert!(loads.iter().all(|&load| load < mean * 5 / 4 + (8 << 20)), "{loads:?}");
                drop(visits);
                prop_assert!(endpoints.doors().iter().all(|door| door.outstanding() == 0));
                Ok(())
            })?;
        }
    }
}
