//! The recorder's ring under every order of events that the memory model allows: its source is compiled here a second
//! time, on the checker's atomics (loom). A model ends only if both ends do: neither ever waits for the other, or a
//! run in which the other stands still would not end.

mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
            for value in 1..4 {
                if !producer.write(&[value]) {
                    refused.push(value);
                }
                producer.publish();
            }
            refused
        });
        let mut seen = Vec::new();
        for _ in 0..3 {
            consumer.take(&mut seen);
        }
        let refused = writer.join().unwrap();
        assert!(consumer.is_closed());
        consumer.take(&mut seen);
        // Nothing twice, nothing lost in silence, and in order.
        assert!(seen.is_sorted(), "{seen:?}");
        let mut all = [seen, refused].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}

#[test]
fn a_batch_is_seen_as_a_whole_or_not_at_all_and_wakes_its_reader_once() {
    model(|| {
        let (mut producer, mut consumer) = ring(4);
        let writer = thread::spawn(move || {
            assert!(producer.write(&[1]) && producer.write(&[2, 3]));
            let woken = producer.publish();
            assert!(!producer.write(&[4, 5, 6, 7, 8]), "more than the ring has is refused");
            (woken, producer.publish())
        });
        let mut seen = Vec::new();
        let found = consumer.take(&mut seen);
        assert!(if found { seen == [1, 2, 3] } else { seen.is_empty() }, "{seen:?}");
        let (first, second) = writer.join().unwrap();
        assert!(!(first && second), "half full once");
        assert!(first || found, "it was more than half full, and nobody had taken anything");
    });
}

#[test]
fn the_producer_ends_although_nobody_ever_takes_anything() {
    model(|| {
        let (mut producer, consumer) = ring(2);
        let writer = thread::spawn(move || {
            let refused = (0..4u64).filter(|value| !producer.write(&[*value])).count();
            let woken = producer.publish();
            // Seen or not, by chance; asking waits for nothing either.
            let _gone = producer.is_closed();
            (woken, refused)
        });
        // The other end goes at any time.
        drop(consumer);
        assert_eq!(writer.join().unwrap(), (true, 2));
    });
}

#[test]
fn an_end_that_is_gone_is_noticed_after_its_last_word() {
    model(|| {
        let (mut producer, mut consumer) = ring(2);
        let writer = thread::spawn(move || {
            assert!(producer.write(&[7]));
        });
        let mut seen = Vec::new();
        let closed = consumer.is_closed();
        let found = consumer.take(&mut seen);
        assert!(!closed || found, "closed before its last word could be seen");
        writer.join().unwrap();
        assert!(consumer.is_closed() && (found || consumer.take(&mut seen)));
        assert_eq!(seen, [7]);
    });
}
