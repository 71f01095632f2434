//! The recording path under every order of events that the memory model allows: its source is compiled here a second
//! time, on the checker's atomics (loom), which also count. Wait-free means that a recording takes no more steps than
//! its own, whatever others do meanwhile; a path with a lock or a loop of tries would exceed any bound in some order.

#![allow(dead_code, unreachable_pub, reason = "the library uses the rest, and offers it")]

mod sync {
    pub(crate) use loom::sync::atomic::{Ordering, fence};
    pub(crate) use loom::thread::yield_now;
    /// Not the checker's, which has none: the models begin with pages that are there already.
    pub(crate) use std::sync::OnceLock;

    loom::thread_local! {
        static STEPS: std::cell::Cell<u64> = std::cell::Cell::new(0);
    }

    /// Atomic steps of the calling thread until now.
    pub(crate) fn steps() -> u64 {
        STEPS.with(std::cell::Cell::get)
    }

    fn step() {
        STEPS.with(|steps| steps.set(steps.get() + 1));
    }

    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> AtomicU64 {
            AtomicU64(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            step();
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            step();
            self.0.store(value, order);
        }

        pub(crate) fn fetch_add(&self, n: u64, order: Ordering) -> u64 {
            step();
            self.0.fetch_add(n, order)
        }

        pub(crate) fn fetch_min(&self, value: u64, order: Ordering) -> u64 {
            step();
            self.0.fetch_min(value, order)
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            step();
            self.0.fetch_max(value, order)
        }
    }
}

#[path = "../src/histogram_shard.rs"]
mod histogram_shard;
#[path = "../src/layout.rs"]
mod layout;
#[path = "../src/names.rs"]
mod names;
#[path = "../src/preset.rs"]
mod preset;
#[path = "../src/recording.rs"]
mod recording;
#[path = "../src/tally.rs"]
mod tally;

use histogram_shard::{HistogramShard, Totals};
use layout::{Digits, Layout};
use loom::sync::Arc;
use loom::thread;
use names::Unit;
use recording::{Plan, RecordingOptions};
use tally::Writer;

/// Steps of one value into its bucket: the bucket, the sum, the minimum and the maximum, each read and written.
const BUCKET: u64 = 8;

/// Buckets as few as can be, or the checker has more to look at than there is to see.
fn few(digits: Digits) -> Layout {
    Layout::new(Unit::Values, 0, 15, digits).unwrap()
}

fn plan(batch_size: u32) -> Plan {
    let digits = Digits::new(1).unwrap();
    RecordingOptions { batch_size, ..RecordingOptions::new(digits) }.plan(few).unwrap()
}

/// With one value in it: the first in a page takes memory, and is the one that may have to wait for it.
fn begun(batch_size: u32) -> Arc<HistogramShard> {
    let shard = HistogramShard::new(&plan(batch_size));
    shard.record_n(&plan(batch_size), 3, 1, Writer::Shared);
    Arc::new(shard)
}

fn n(totals: &Totals) -> u64 {
    totals.pages.iter().flatten().sum()
}

/// Runs a model with at most so many switches between threads that the scheduler forces: few enough for all orders to
/// be gone through in seconds.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(run);
}

#[test]
fn a_value_takes_its_own_steps_only_whoever_reads_meanwhile() {
    model(2, || {
        let shard = begun(1);
        let writer = thread::spawn({
            let shard = shard.clone();
            move || {
                for value in [3, 3] {
                    let before = sync::steps();
                    shard.record_n(&plan(1), value, 1, Writer::Sole);
                    assert!(sync::steps() - before <= BUCKET, "{}", sync::steps() - before);
                }
            }
        });
        let seen = n(&shard.read(&plan(1)));
        assert!((1..=3).contains(&seen));
        writer.join().unwrap();
        let totals = shard.read(&plan(1));
        assert_eq!((n(&totals), totals.sum, totals.min, totals.max), (3, 9, 3, 3));
    });
}

#[test]
fn threads_that_share_a_shard_lose_nothing_and_do_not_wait() {
    model(2, || {
        let shard = begun(1);
        let record = |shard: &HistogramShard, value| {
            let before = sync::steps();
            shard.record_n(&plan(1), value, 1, Writer::Shared);
            assert!(sync::steps() - before <= BUCKET, "{}", sync::steps() - before);
        };
        let other = thread::spawn({
            let shard = shard.clone();
            move || record(&shard, 3)
        });
        record(&shard, 3);
        other.join().unwrap();
        let totals = shard.read(&plan(1));
        assert_eq!((n(&totals), totals.sum, totals.min, totals.max), (3, 9, 3, 3));
    });
}

#[test]
fn a_list_is_put_into_buckets_in_a_bounded_number_of_steps_and_seen_once() {
    const BATCH: u32 = 2;
    model(2, || {
        let shard = begun(BATCH);
        let writer = thread::spawn({
            let shard = shard.clone();
            move || {
                for value in [1, 2, 2] {
                    let before = sync::steps();
                    shard.record_n(&plan(BATCH), value, 1, Writer::Sole);
                    // Into the list; and, where that fills it, all of it into buckets, marked before and after.
                    let most = 3 + 5 + u64::from(BATCH) * (1 + BUCKET);
                    assert!(sync::steps() - before <= most, "{}", sync::steps() - before);
                }
            }
        });
        let (first, second) = (n(&shard.read(&plan(BATCH))), n(&shard.read(&plan(BATCH))));
        assert!(1 <= first && first <= second && second <= 4, "{first}, then {second}");
        writer.join().unwrap();
        let totals = shard.read(&plan(BATCH));
        assert_eq!((n(&totals), totals.sum, totals.min, totals.max), (4, 8, 1, 3));
        assert_eq!(shard.waiting(), 1);
    });
}
