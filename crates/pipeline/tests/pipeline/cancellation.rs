//! A pipeline that is given up leaves nothing behind.

use std::sync::Arc;
use std::task::Poll;

use forebay_pipeline::{Order, Pipeline, Remainder, Sink};

use crate::gates::{Gates, concurrency, count, settle, spawn};

/// Two stages with work in flight in both, items in every queue, and the gates of each.
async fn busy() -> (Sink<Vec<u32>, &'static str>, Gates, Gates) {
    let (first, second) = (Gates::default(), Gates::default());
    let pipeline = Pipeline::source("index", 0..100)
        .map("read", concurrency(3), Order::Delivery, first.work())
        .map("decode", concurrency(2), Order::Delivery, second.work())
        .aggregate("batch", count(2), Remainder::Keep);
    let sink = spawn(pipeline, 2);
    for n in 0..5 {
        settle().await;
        first.open(n);
    }
    for n in 0..3 {
        settle().await;
        second.open(n);
    }
    settle().await;
    assert!(first.live() > 0 && second.live() > 0);
    (sink, first, second)
}

#[tokio::test(start_paused = true)]
async fn cancelling_drops_work_in_flight_and_every_task() {
    let (sink, first, second) = busy().await;
    sink.cancel();
    assert!(sink.next().await.is_none(), "also what was waiting is gone");
    sink.closed().await;
    assert_eq!((first.live(), second.live()), (0, 0));
    sink.cancel();
    assert!(sink.next().await.is_none());
    let begun = (first.begun(), second.begun());
    settle().await;
    assert_eq!((first.begun(), second.begun()), begun);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_sink_mid_way_does_the_same() {
    let (sink, first, second) = busy().await;
    assert_eq!(sink.next().await.unwrap().unwrap(), [0, 1]);
    let control = sink.control();
    drop(sink);
    control.closed().await;
    assert_eq!((first.live(), second.live()), (0, 0));
    assert_eq!(control.stats().stages[1].name, "read", "what was measured can still be read");
}

#[tokio::test(start_paused = true)]
async fn cancelling_wakes_a_consumer_that_waits() {
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..9).map("read", concurrency(2), Order::Delivery, gates.work());
    let sink = Arc::new(spawn(pipeline, 2));
    let control = sink.control();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let sink = sink.clone();
            tokio::spawn(async move { sink.next().await.is_none() })
        })
        .collect();
    settle().await;
    control.cancel();
    for consumer in consumers {
        assert!(consumer.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_wait_are_dropped_with_the_sink_and_not_later() {
    let item = Arc::new(());
    let items: Vec<_> = (0..20).map(|_| item.clone()).collect();
    let pipeline = Pipeline::source("index", items)
        .map("read", concurrency(2), Order::Delivery, async |item| Ok(item))
        .queue(count(3))
        .map("decode", concurrency(2), Order::Delivery, async |item| Ok::<_, &'static str>(item));
    let sink = spawn(pipeline, 4);
    settle().await;
    assert_eq!(Arc::strong_count(&item), 21);
    let control = sink.control();
    drop(sink);
    control.closed().await;
    assert_eq!(Arc::strong_count(&item), 1, "although its statistics are still held");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_no_item_and_no_wake_up() {
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..2).map("read", concurrency(2), Order::Delivery, gates.work());
    let sink = Arc::new(spawn(pipeline, 2));
    let mut dropped = Box::pin(sink.next());
    assert!(futures::poll!(&mut dropped).is_pending());
    let waiting = {
        let sink = sink.clone();
        tokio::spawn(async move { sink.next().await.unwrap().unwrap() })
    };
    settle().await;
    gates.open(0);
    // Both were told of the item; this one does not come for it.
    drop(dropped);
    assert_eq!(waiting.await.unwrap(), 0);
    gates.open(1);
    assert_eq!(sink.next().await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_ended_has_no_task_left() {
    let pipeline = Pipeline::source("index", 0..3)
        .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
        .map("decode", concurrency(2), Order::Completion, async |n| Ok::<_, &'static str>(n));
    let sink = spawn(pipeline, 8);
    sink.closed().await;
    for n in 0..3 {
        assert_eq!(sink.next().await.unwrap().unwrap(), n);
    }
    assert!(matches!(sink.try_next(), Poll::Ready(None)));
}

#[tokio::test(start_paused = true)]
async fn a_future_whose_destructor_panics_has_failed() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor failed");
        }
    }
    let pipeline = Pipeline::source("index", 0..3_u32).map("read", concurrency(1), Order::Delivery, |n| {
        let bomb = (n == 1).then(|| Bomb);
        std::future::poll_fn(move |_| {
            let _held = &bomb;
            Poll::Ready(Ok::<_, &'static str>(n))
        })
    });
    let sink = spawn(pipeline, 2);
    assert_eq!(sink.next().await.unwrap().unwrap(), 0);
    let error = sink.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "stage \"read\" panicked: the destructor failed");
    assert!(sink.next().await.is_none());
    sink.closed().await;
}
