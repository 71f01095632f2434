//! The recorder's ring under every order of events that the memory model allows: its source is compiled here a second
//! time, on the checker's atomics (loom). A model ends only if both ends do: neither ever waits for the other, or a
//! run in which the other stands still would not end.

mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
}

#[path = "../src/ring.rs"]
mod ring;

use loom::thread;
use ring::ring;

/// Runs a model with at most so many switches between threads that the scheduler forces: few enough for all orders to
/// be gone through in seconds.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(run);
}

#[test]
fn what_is_published_arrives_once_and_in_order_whoever_is_faster() {
    model(|| {
        let (mut producer, mut consumer) = ring(2);
        let writer = thread::spawn(move || {
            let mut refused = Vec::new();
            for value in 0..3u64 {
                if let Err(value) = producer.push(Box::new(value)) {
                    refused.push(*value);
                }
                producer.publish();
            }
            refused
        });
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(consumer.pop().map(|value| *value));
        }
        let refused = writer.join().unwrap();
        assert!(consumer.is_closed());
        while let Some(value) = consumer.pop() {
            seen.push(*value);
        }
        // Nothing twice, nothing lost in silence, and in order.
        assert!(seen.is_sorted(), "{seen:?}");
        let mut all = [seen, refused].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn a_batch_is_seen_as_a_whole_or_not_at_all() {
    model(|| {
        let (mut producer, mut consumer) = ring(4);
        let writer = thread::spawn(move || {
            producer.push(Box::new(1)).unwrap();
            producer.push(Box::new(2)).unwrap();
            producer.publish()
        });
        if let Some(first) = consumer.pop() {
            assert_eq!((*first, consumer.pop().map(|second| *second)), (1, Some(2)));
        }
        assert_eq!(writer.join().unwrap(), 2);
    });
}

#[test]
fn the_producer_ends_although_nobody_ever_takes_anything() {
    model(|| {
        let (mut producer, consumer) = ring(2);
        let writer = thread::spawn(move || {
            let refused = (0..4u64).filter(|value| producer.push(Box::new(*value)).is_err()).count();
            let used = producer.publish();
            // Seen or not, by chance; asking waits for nothing either.
            let _gone = producer.is_closed();
            (used, refused)
        });
        // The other end goes at any time; values that are still inside are freed, which the checker looks after.
        drop(consumer);
        assert_eq!(writer.join().unwrap(), (2, 2));
    });
}

#[test]
fn an_end_that_is_gone_is_noticed_after_its_last_value() {
    model(|| {
        let (mut producer, mut consumer) = ring(2);
        let writer = thread::spawn(move || {
            producer.push(Box::new(7)).unwrap();
        });
        let closed = consumer.is_closed();
        let found = consumer.pop().is_some();
        assert!(!closed || found, "closed before its last value could be seen");
        writer.join().unwrap();
        assert!(consumer.is_closed() && (found || consumer.pop().is_some()));
    });
}
