//! What the statistics say, by a clock that the test moves.

use std::task::Poll;
use std::time::Duration;

use forebay_pipeline::{Clock, OnError, Order, Pipeline, PipelineStats, QueueRole, Remainder};

use crate::gates::{Gates, concurrency, count, settle, spawn};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const MS: u64 = 1_000_000;

fn sum_ms(summary: &forebay_metrics::HistogramSummary) -> u64 {
    summary.sum() / MS
}

#[tokio::test(start_paused = true)]
async fn readiness_is_the_time_not_empty_and_an_open_gap_counts() {
    let (clock, hand) = Clock::manual();
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..3)
        .map("read", concurrency(3), Order::Delivery, gates.work())
        .clock(clock);
    let sink = spawn(pipeline, 4);
    settle().await;

    hand.advance(ms(30));
    assert_eq!(sink.stats().sink().unwrap().data_readiness(), Some(0.0), "empty from the start until now");
    gates.open(0);
    settle().await;
    hand.advance(ms(10));
    assert_eq!(sink.stats().sink().unwrap().data_readiness(), Some(0.25));
    gates.open(1);
    settle().await;
    hand.advance(ms(20));
    let queue = sink.stats().queues.pop().unwrap();
    assert_eq!((queue.measured_ns, queue.empty_ns), (60 * MS, 30 * MS));
    assert_eq!(queue.mean_depth(), Some((10.0 + 2.0 * 20.0) / 60.0));
    assert_eq!((queue.max_depth, queue.items, queue.capacity), (2, 0, 4));
    assert_eq!((queue.role, queue.name.as_str()), (QueueRole::Sink, "sink"));

    for _ in 0..2 {
        assert!(sink.next().await.unwrap().is_ok());
    }
    hand.advance(ms(40));
    assert_eq!(sink.stats().sink().unwrap().empty_ns, 70 * MS);

    gates.open(2);
    settle().await;
    assert!(sink.next().await.unwrap().is_ok());
    assert!(sink.next().await.is_none());
    hand.advance(ms(1_000));
    let queue = sink.stats().queues.pop().unwrap();
    assert_eq!(queue.measured_ns, 100 * MS, "time stops when there is nothing left to come");
    assert_eq!((queue.empty_ns, queue.items), (70 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn a_slow_stage_shows_in_service_and_in_the_wait_for_it() {
    let (clock, hand) = Clock::manual();
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..2)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .clock(clock);
    let sink = spawn(pipeline, 2);
    settle().await;
    let mut wait = Box::pin(sink.next());
    assert!(futures::poll!(&mut wait).is_pending());
    hand.advance(ms(70));
    gates.open(0);
    settle().await;
    assert!(wait.await.unwrap().is_ok());
    hand.advance(ms(5));
    gates.open(1);
    settle().await;
    assert!(sink.next().await.unwrap().is_ok());

    let stats = sink.stats();
    let read = &stats.stages[1];
    assert_eq!((read.name.as_str(), read.concurrency, read.tasks, read.failures), ("read", 2, 2, 0));
    assert_eq!((read.service_ns.min(), read.service_ns.max()), (Some(70 * MS), Some(75 * MS)));
    assert_eq!(sum_ms(&read.blocked_ns), 0);
    let sink_queue = stats.sink().unwrap();
    assert_eq!((sink_queue.get_wait_ns.n(), sink_queue.get_wait_ns.max()), (2, Some(70 * MS)));
    assert_eq!(sum_ms(&sink_queue.get_wait_ns), 70);
    assert_eq!((sink_queue.put_wait_ns.n(), sum_ms(&sink_queue.put_wait_ns)), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_shows_in_blocked_time_and_put_wait() {
    let (clock, hand) = Clock::manual();
    let pipeline = Pipeline::source("index", 0..10)
        .map("read", concurrency(1), Order::Delivery, async |n| Ok(n))
        .clock(clock);
    let sink = spawn(pipeline, 1);
    settle().await;
    for _ in 0..3 {
        hand.advance(ms(40));
        assert!(sink.next().await.unwrap().is_ok());
        settle().await;
    }
    let stats = sink.stats();
    assert_eq!(stats.sink().unwrap().data_readiness(), Some(1.0));
    assert_eq!(sum_ms(&stats.sink().unwrap().put_wait_ns), 120);
    assert_eq!(sum_ms(&stats.sink().unwrap().get_wait_ns), 0);
    let [index, read] = &stats.stages[..] else { panic!("two stages") };
    assert_eq!((sum_ms(&read.blocked_ns), sum_ms(&read.service_ns)), (120, 0));
    assert_eq!(sum_ms(&read.pool_wait_ns), 0, "its slot was free: the room behind it was not");
    assert_eq!(sum_ms(&index.blocked_ns), 120, "nobody asked the source");
}

#[tokio::test(start_paused = true)]
async fn busy_slots_show_in_pool_wait() {
    let (clock, hand) = Clock::manual();
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..10)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .clock(clock);
    let sink = spawn(pipeline, 8);
    settle().await;
    hand.advance(ms(25));
    gates.open(0);
    settle().await;
    hand.advance(ms(5));
    gates.open(1);
    settle().await;
    let stats = sink.stats();
    assert_eq!(stats.stages[1].pool_wait_ns.n(), 4);
    assert_eq!(sum_ms(&stats.stages[1].pool_wait_ns), 30);
    assert_eq!(sum_ms(&stats.stages[1].blocked_ns), 0);
}

#[tokio::test(start_paused = true)]
async fn pool_wait_does_not_count_time_without_input() {
    let (clock, hand) = Clock::manual();
    let (first, second) = (Gates::default(), Gates::default());
    let pipeline = Pipeline::source("index", 0..10)
        .map("read", concurrency(2), Order::Delivery, first.work())
        .map("decode", concurrency(1), Order::Delivery, second.work())
        .clock(clock);
    let sink = spawn(pipeline, 8);
    settle().await;
    first.open(0);
    settle().await;
    hand.advance(ms(30));
    // 1 comes only now, and then waits 12 ms for the slot that 0 has.
    first.open(1);
    settle().await;
    hand.advance(ms(12));
    second.open(0);
    settle().await;
    assert_eq!(second.begun(), [0, 1]);
    let stats = sink.stats();
    assert_eq!(sum_ms(&stats.stages[2].pool_wait_ns), 12);
    let [source, read, _] = &stats.queues[..] else { panic!("three exits") };
    assert_eq!((source.name.as_str(), source.capacity, source.role), ("index", 0, QueueRole::Inner));
    assert_eq!((read.name.as_str(), read.capacity, read.items), ("read", 2, 2));
    assert_eq!(read.empty_ns, 30 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_slow_starves_the_exit_it_hands_over_at() {
    let (clock, hand) = Clock::manual();
    let (put, get) = tokio::sync::mpsc::unbounded_channel();
    let items = futures::stream::unfold(get, async |mut get| {
        let item: Result<u32, &'static str> = get.recv().await?;
        Some((item, get))
    });
    let gates = Gates::default();
    let pipeline = Pipeline::stream("list", items)
        .map("read", concurrency(1), Order::Delivery, gates.work())
        .clock(clock);
    let sink = spawn(pipeline, 2);
    settle().await;
    hand.advance(ms(60));
    assert_eq!(sink.stats().queues[0].data_readiness(), Some(0.0), "it is still waited for");
    put.send(Ok(0)).unwrap();
    settle().await;
    hand.advance(ms(20));
    let stats = sink.stats();
    assert_eq!(stats.queues[0].data_readiness(), Some(0.25), "nobody waits while the slot is busy");
    assert_eq!((stats.queues[0].items, sum_ms(&stats.queues[0].get_wait_ns)), (1, 60));
    assert_eq!(sum_ms(&stats.stages[0].service_ns), 60);
    gates.open(0);
    drop(put);
    settle().await;
    hand.advance(ms(500));
    assert_eq!(sink.stats().queues[0].measured_ns, 80 * MS);
}

#[tokio::test(start_paused = true)]
async fn waits_that_were_given_up_count_with_the_next_item() {
    let (clock, hand) = Clock::manual();
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..2)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .clock(clock);
    let sink = spawn(pipeline, 2);
    settle().await;
    for wait in [3, 4] {
        let mut next = Box::pin(sink.next());
        assert!(futures::poll!(&mut next).is_pending());
        hand.advance(ms(wait));
        drop(next);
        // Time in which nobody waits.
        hand.advance(ms(1_000));
        assert!(matches!(sink.try_next(), Poll::Pending));
    }
    gates.open(0);
    gates.open(1);
    settle().await;
    assert!(sink.next().await.unwrap().is_ok());
    assert!(sink.next().await.unwrap().is_ok());
    let waits = sink.stats().queues.pop().unwrap().get_wait_ns;
    assert_eq!((waits.n(), sum_ms(&waits)), (2, 7));
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_what_happened_in_it() {
    let (clock, hand) = Clock::manual();
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..10)
        .map("read", concurrency(1), Order::Delivery, gates.work())
        .on_error(OnError::Deliver)
        .clock(clock);
    let sink = spawn(pipeline, 4);
    settle().await;
    hand.advance(ms(100));
    gates.open(0);
    settle().await;
    let before = sink.stats();
    hand.advance(ms(8));
    gates.open_with(1, Err("gone"));
    settle().await;
    assert!(sink.next().await.unwrap().is_ok());
    assert!(sink.next().await.unwrap().is_err());
    hand.advance(ms(2));

    let window = sink.stats().since(&before).unwrap();
    let read = &window.stages[1];
    assert_eq!((read.tasks, read.failures, read.service_ns.n()), (1, 1, 1));
    let service = read.service_ns.max().unwrap();
    assert!(service.abs_diff(8 * MS) <= 8 * MS / 1_000, "{service}");
    let queue = window.sink().unwrap();
    assert_eq!((queue.items, queue.measured_ns, queue.empty_ns), (2, 10 * MS, 2 * MS));
    assert_eq!(queue.data_readiness(), Some(0.8));
    assert_eq!(queue.qps(), Some(200.0));

    let same = before.since(&before).unwrap();
    assert_eq!((same.stages[1].tasks, same.sink().unwrap().measured_ns), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_stage_has_an_exit_and_a_name_of_its_own() {
    let pipeline = Pipeline::source("read", 0..12_u32)
        .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
        .aggregate("sink", count(3), Remainder::Keep)
        .map("read", concurrency(2), Order::Delivery, async |list| Ok(list));
    let sink = spawn(pipeline, 2);
    while let Some(list) = sink.next().await {
        assert_eq!(list.unwrap().len(), 3);
    }
    let stats = sink.stats();
    let stages: Vec<_> = stats.stages.iter().map(|stage| (stage.name.as_str(), stage.tasks)).collect();
    assert_eq!(stages, [("read", 12), ("read#2", 12), ("sink#2", 4), ("read#3", 4)]);
    let queues: Vec<_> = stats.queues.iter().map(|queue| (queue.name.as_str(), queue.items)).collect();
    assert_eq!(queues, [("read", 12), ("read#2", 12), ("sink#2", 4), ("sink", 4)]);
    let text = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<PipelineStats>(&text).unwrap(), stats);
}
