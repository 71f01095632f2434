//! Which item comes when, and how far a stage works ahead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use forebay_pipeline::{Concurrency, OnError, Order, Pipeline, PipelineError, Remainder};
use proptest::prelude::*;

use crate::gates::{Gates, concurrency, count, settle, spawn, still};

#[tokio::test(start_paused = true)]
async fn delivery_order_is_the_sources_whatever_finishes_first() {
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..4).map("read", concurrency(4), Order::Delivery, gates.work());
    let sink = spawn(pipeline, 4);
    settle().await;
    for item in [2, 3, 1] {
        gates.open(item);
        settle().await;
        assert!(matches!(sink.try_next(), Poll::Pending), "0 is not there yet");
    }
    gates.open(0);
    for item in 0..4 {
        assert_eq!(sink.next().await.unwrap().unwrap(), item);
    }
    assert!(sink.next().await.is_none());
    assert!(sink.next().await.is_none(), "the end stays the end");
}

#[tokio::test(start_paused = true)]
async fn completion_order_is_that_of_finishing() {
    let gates = Gates::default();
    let pipeline =
        Pipeline::source("index", 0..4).map("read", concurrency(4), Order::Completion, gates.work());
    let sink = spawn(pipeline, 4);
    settle().await;
    for item in [2, 0, 3, 1] {
        gates.open(item);
        assert_eq!(sink.next().await.unwrap().unwrap(), item);
    }
    assert!(sink.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn completion_order_begins_behind_the_first_so_many() {
    let gates = Gates::default();
    let order = Order::CompletionAfter(2);
    let sink = spawn(Pipeline::source("index", 0..5).map("read", concurrency(5), order, gates.work()), 5);
    settle().await;
    for item in [4, 1, 3] {
        gates.open(item);
        settle().await;
        assert!(matches!(sink.try_next(), Poll::Pending), "0 is not there yet");
    }
    gates.open(0);
    for item in [0, 1, 4, 3] {
        assert_eq!(sink.next().await.unwrap().unwrap(), item);
    }
    gates.open(2);
    assert_eq!(sink.next().await.unwrap().unwrap(), 2);
    assert!(sink.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn finished_items_behind_a_late_one_use_up_the_look_ahead_and_no_more() {
    let gates = Gates::default();
    let pipeline =
        Pipeline::source("index", 0..100).map("read", concurrency(3), Order::Delivery, gates.work());
    let sink = spawn(pipeline, 2);
    settle().await;
    assert_eq!(gates.begun(), [0, 1, 2]);
    gates.open(1);
    settle().await;
    gates.open(2);
    settle().await;
    assert_eq!(gates.begun(), [0, 1, 2, 3, 4], "3 in work and 2 that wait");
    gates.open(3);
    settle().await;
    assert_eq!(gates.begun().len(), 5, "concurrency + capacity is the limit");
    gates.open(0);
    settle().await;
    assert_eq!(gates.begun().len(), 5, "0 and 1 are in the queue, 2 and 3 wait, 4 is in work");
    assert_eq!(sink.next().await.unwrap().unwrap(), 0);
    settle().await;
    assert_eq!(gates.begun().len(), 6);
    assert_eq!(gates.most_live(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_stays_away_stops_the_source() {
    for order in [Order::Delivery, Order::Completion] {
        let pulled = Arc::new(AtomicUsize::new(0));
        let counter = pulled.clone();
        let items = (0..1_000_u32).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let pipeline = Pipeline::source("index", items).map("read", concurrency(3), order, async |n| Ok(n));
        let sink = spawn(pipeline, 5);
        settle().await;
        assert_eq!(pulled.load(Ordering::Relaxed), 3 + 5);
        for n in 0..5 {
            assert_eq!(sink.next().await.unwrap().unwrap(), n);
        }
        settle().await;
        assert_eq!(pulled.load(Ordering::Relaxed), 3 + 5 + 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_refilled_when_half_of_it_is_free() {
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let items = (0..100_u32).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let pipeline =
        Pipeline::source("index", items).map("read", concurrency(1), Order::Delivery, async |n| Ok(n));
    let sink = spawn(pipeline, 6);
    for (taken, begun) in [(0, 7), (1, 7), (2, 7), (3, 10), (4, 10), (5, 10), (6, 13)] {
        settle().await;
        assert_eq!(pulled.load(Ordering::Relaxed), begun, "after {taken} were taken");
        assert_eq!(sink.next().await.unwrap().unwrap(), taken);
    }
}

#[tokio::test(start_paused = true)]
async fn stages_work_ahead_of_each_other_within_their_bounds() {
    let (first, second) = (Gates::default(), Gates::default());
    let pipeline = Pipeline::source("index", 0..100)
        .map("read", concurrency(2), Order::Delivery, first.work())
        .queue(count(3))
        .map("decode", concurrency(1), Order::Delivery, second.work());
    let sink = spawn(pipeline, 1);
    for n in 0..6 {
        settle().await;
        first.open(n);
    }
    settle().await;
    // 1 in work behind, 3 in the queue, 2 with the first stage.
    assert_eq!(first.begun(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(second.begun(), [0]);
    second.open(0);
    assert_eq!(sink.next().await.unwrap().unwrap(), 0);
    settle().await;
    assert_eq!(second.begun(), [0, 1]);
    assert_eq!(first.begun().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_makes_lists_of_its_length() {
    for (remainder, lists) in [
        (Remainder::Keep, vec![vec![0, 1, 2], vec![3, 4, 5], vec![6]]),
        (Remainder::Drop, vec![vec![0, 1, 2], vec![3, 4, 5]]),
    ] {
        // Behind a map, and between a source and a map.
        let behind = Pipeline::source("index", 0..7)
            .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
            .aggregate("batch", count(3), remainder);
        let before = Pipeline::source("index", 0..7).aggregate("batch", count(3), remainder).map(
            "read",
            concurrency(2),
            Order::Delivery,
            async |list| Ok(list),
        );
        for pipeline in [behind, before] {
            let sink = spawn(pipeline, 1);
            let mut got = Vec::new();
            while let Some(list) = sink.next().await {
                settle().await;
                got.push(list.unwrap());
            }
            assert_eq!(got, lists);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_one_and_a_last_list_without_room_arrive() {
    let pipeline = Pipeline::source("index", 0..5)
        .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
        .aggregate("one", count(1), Remainder::Drop)
        .aggregate("two", count(2), Remainder::Keep);
    let sink = spawn(pipeline, 1);
    settle().await;
    let mut got = Vec::new();
    while let Some(list) = sink.next().await {
        settle().await;
        got.push(list.unwrap());
    }
    assert_eq!(got, [vec![vec![0], vec![1]], vec![vec![2], vec![3]], vec![vec![4]]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_list_waits_for_room_with_all_but_its_last_item() {
    let gates = Gates::default();
    let pipeline = Pipeline::source("index", 0..100)
        .map("read", concurrency(1), Order::Delivery, gates.work())
        .aggregate("batch", count(3), Remainder::Keep);
    let sink = spawn(pipeline, 1);
    // 3 in the queue, 2 in the list that fills, 1 held by the stage.
    for n in 0..6 {
        settle().await;
        gates.open(n);
    }
    settle().await;
    assert_eq!(gates.begun().len(), 6);
    assert_eq!(sink.next().await.unwrap().unwrap(), [0, 1, 2]);
    settle().await;
    assert_eq!(gates.begun().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn an_empty_source_is_an_end_and_no_error() {
    let plain = Pipeline::source("index", std::iter::empty::<u32>());
    assert!(spawn(plain, 1).next().await.is_none());
    let mapped = Pipeline::source("index", std::iter::empty::<u32>())
        .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
        .aggregate("batch", count(2), Remainder::Keep);
    let sink = spawn(mapped, 1);
    assert!(sink.next().await.is_none());
    sink.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_alone_is_a_pipeline() {
    let sink = spawn(Pipeline::source("index", 0..10), 3);
    for n in 0..10 {
        assert_eq!(sink.next().await.unwrap().unwrap(), n);
    }
    assert!(sink.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_pauses_is_waited_for() {
    let (put, get) = tokio::sync::mpsc::unbounded_channel();
    let items = futures::stream::unfold(get, async |mut get| {
        let item: Result<u32, &'static str> = get.recv().await?;
        Some((item, get))
    });
    let pipeline =
        Pipeline::stream("list", items).map("read", concurrency(2), Order::Delivery, async |n| Ok(n));
    let sink = spawn(pipeline, 2);
    for n in 0..3 {
        settle().await;
        assert!(matches!(sink.try_next(), Poll::Pending));
        put.send(Ok(n)).unwrap();
        assert_eq!(sink.next().await.unwrap().unwrap(), n);
    }
    drop(put);
    assert!(sink.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn ready_items_do_not_keep_the_thread_to_themselves() {
    let pipeline =
        Pipeline::source("index", 0_u32..).map("read", Concurrency::ONE, Order::Delivery, async |n| Ok(n));
    let sink = spawn(pipeline, 1_000_000);
    // The pipeline could go on for a million items; this task must get its turn long before.
    tokio::task::yield_now().await;
    let depth = sink.stats().sink().unwrap().max_depth;
    assert!((1..10_000).contains(&depth), "{depth} items in one turn");
}

/// Notes how many items were begun when the consumer was first woken.
#[derive(Default)]
struct Begun {
    items: AtomicUsize,
    at_wake: OnceLock<usize>,
}

impl Wake for Begun {
    fn wake(self: Arc<Self>) {
        self.at_wake.get_or_init(|| self.items.load(Ordering::Relaxed));
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_done_at_once_does_not_wait_until_the_look_ahead_is_full() {
    let begun = Arc::new(Begun::default());
    let counter = begun.clone();
    let work = move |n: u32| {
        counter.items.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(n))
    };
    let pipeline = Pipeline::source("index", 0..100).map("read", concurrency(4), Order::Delivery, work);
    let sink = spawn(pipeline, 50);
    let waker = Waker::from(begun.clone());
    let mut next = std::pin::pin!(sink.next());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    settle().await;
    assert_eq!(begun.items.load(Ordering::Relaxed), 54);
    assert_eq!(begun.at_wake.get(), Some(&2));
    assert_eq!(next.await.unwrap().unwrap(), 0);
}

/// Delay of each item in ms, and whether it fails.
fn items() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((0..20_u64, prop::bool::weighted(0.1)), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_delays_in_delivery_order_are_a_sequential_map(
        items in items(),
        at_once in 1..9_usize,
        capacity in 1..6_usize,
        pauses in prop::collection::vec(0..30_u64, 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let expected: Vec<Result<usize, usize>> =
            items.iter().enumerate().map(|(n, &(_, fails))| if fails { Err(n) } else { Ok(n) }).collect();
        let (begun, live, most_live) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counters = (begun.clone(), live, most_live.clone());
        let delays = items.clone();
        let got = runtime.block_on(async move {
            let sink = Pipeline::source("index", 0..delays.len())
                .map("read", Concurrency::new(at_once).unwrap(), Order::Delivery, move |n| {
                    let (begun, live, most_live) = counters.clone();
                    let (delay, fails) = delays[n];
                    async move {
                        begun.fetch_add(1, Ordering::Relaxed);
                        most_live.fetch_max(live.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        if delay > 0 {
                            tokio::time::sleep(Duration::from_millis(delay)).await;
                        }
                        live.fetch_sub(1, Ordering::Relaxed);
                        if fails { Err(n) } else { Ok(n) }
                    }
                })
                .on_error(OnError::Deliver)
                .clock(still())
                .sink(count(capacity))
                .spawn(&tokio::runtime::Handle::current());
            let mut got = Vec::new();
            while let Some(item) = sink.next().await {
                got.push(item);
                tokio::time::sleep(Duration::from_millis(pauses[got.len() - 1])).await;
                let ahead = begun.load(Ordering::Relaxed) - got.len();
                assert!(ahead <= at_once + capacity, "{ahead} items ahead");
            }
            sink.closed().await;
            got
        });
        let got: Vec<_> = got
            .into_iter()
            .map(|item| item.map_err(|error| match error {
                PipelineError::Failed { stage, source } => {
                    assert_eq!(&*stage, "read");
                    source
                }
                other => panic!("{other:?}"),
            }))
            .collect();
        prop_assert_eq!(got, expected);
        prop_assert!(most_live.load(Ordering::Relaxed) <= at_once);
    }

    #[test]
    fn any_delays_in_completion_order_lose_and_repeat_nothing(
        delays in prop::collection::vec(0..20_u64, 0..60),
        at_once in 1..9_usize,
        capacity in 1..6_usize,
        length in 1..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let items = delays.len();
        let mut got = runtime.block_on(async move {
            let delay = move |n: usize| {
                let delay = Duration::from_millis(delays[n]);
                async move {
                    tokio::time::sleep(delay).await;
                    Ok::<_, &'static str>(n)
                }
            };
            let pipeline = Pipeline::source("index", 0..items)
                .map("read", concurrency(at_once), Order::Completion, delay.clone())
                .map("decode", concurrency(at_once), Order::Completion, delay)
                .aggregate("batch", count(length), Remainder::Keep);
            let sink = spawn(pipeline, capacity);
            let mut got = Vec::new();
            while let Some(list) = sink.next().await {
                got.extend(list.unwrap());
            }
            got
        });
        got.sort_unstable();
        prop_assert_eq!(got, (0..items).collect::<Vec<_>>());
    }
}
