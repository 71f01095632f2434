//! What becomes of an item that fails, and of those around it.

use std::task::Poll;

use forebay_pipeline::{OnError, Order, Pipeline, PipelineError, Remainder, Sink, ZeroConcurrency};

use crate::gates::{Gates, concurrency, count, settle, spawn};

/// All that comes out of a sink, with errors as text.
async fn drain<T>(sink: &Sink<T, &'static str>) -> Vec<Result<T, String>> {
    let mut got = Vec::new();
    while let Some(item) = sink.next().await {
        got.push(item.map_err(|error| match error {
            PipelineError::Failed { stage, source } => format!("{stage}: {source}"),
            other => other.to_string(),
        }));
    }
    got
}

fn fails_at(bad: u32) -> impl FnMut(u32) -> std::future::Ready<Result<u32, &'static str>> + Send {
    move |n| std::future::ready(if n == bad { Err("bad sector") } else { Ok(n) })
}

#[tokio::test(start_paused = true)]
async fn a_failure_comes_in_its_place_and_ends_the_pipeline() {
    for at_once in [1, 3, 20] {
        let pipeline =
            Pipeline::source("index", 0..10).map("read", concurrency(at_once), Order::Delivery, fails_at(3));
        let sink = spawn(pipeline, 2);
        let failed = Err("read: bad sector".to_owned());
        assert_eq!(drain(&sink).await, [Ok(0), Ok(1), Ok(2), failed]);
        sink.closed().await;
        let stats = sink.stats();
        assert_eq!(stats.stages[1].failures, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn with_deliver_the_pipeline_goes_on() {
    for order in [Order::Delivery, Order::Completion] {
        let pipeline = Pipeline::source("index", 0..5)
            .map("read", concurrency(1), order, fails_at(2))
            .map("decode", concurrency(2), order, async |n| Ok(n * 10))
            .on_error(OnError::Deliver);
        let sink = spawn(pipeline, 2);
        let got = drain(&sink).await;
        let failed = Err("read: bad sector".to_owned());
        assert_eq!(got, [Ok(0), Ok(10), failed, Ok(30), Ok(40)]);
        let stats = sink.stats();
        assert_eq!((stats.stages[1].tasks, stats.stages[1].failures), (5, 1));
        assert_eq!((stats.stages[2].tasks, stats.stages[2].failures), (4, 0), "it only passed by");
    }
}

#[tokio::test(start_paused = true)]
async fn items_before_a_failure_are_waited_for_and_nothing_is_begun_after_it() {
    let gates = Gates::default();
    let pipeline =
        Pipeline::source("index", 0..100).map("read", concurrency(3), Order::Delivery, gates.work());
    let sink = spawn(pipeline, 4);
    settle().await;
    gates.open_with(1, Err("gone"));
    settle().await;
    assert!(matches!(sink.try_next(), Poll::Pending));
    assert_eq!(gates.begun(), [0, 1, 2]);
    gates.open(0);
    assert_eq!(drain(&sink).await, [Ok(0), Err("read: gone".to_owned())]);
    sink.closed().await;
    assert_eq!(gates.live(), 0, "the one behind the failure was dropped");
    assert_eq!(gates.begun(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_a_later_stage_ends_the_earlier_ones() {
    let (first, second) = (Gates::default(), Gates::default());
    let pipeline = Pipeline::source("index", 0..100)
        .map("read", concurrency(4), Order::Delivery, first.work())
        .map("decode", concurrency(1), Order::Delivery, second.work());
    let sink = spawn(pipeline, 1);
    settle().await;
    first.open(0);
    settle().await;
    second.open_with(0, Err("not an image"));
    assert_eq!(drain(&sink).await, [Err("decode: not an image".to_owned())]);
    sink.closed().await;
    assert_eq!((first.live(), second.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_an_earlier_stage_lets_the_later_one_finish_what_came_before() {
    let (first, second) = (Gates::default(), Gates::default());
    let pipeline = Pipeline::source("index", 0..100)
        .map("read", concurrency(2), Order::Delivery, first.work())
        .map("decode", concurrency(2), Order::Delivery, second.work());
    let sink = spawn(pipeline, 1);
    settle().await;
    first.open(0);
    first.open_with(1, Err("gone"));
    settle().await;
    assert_eq!(first.live(), 0, "the first stage has ended");
    assert!(matches!(sink.try_next(), Poll::Pending));
    second.open(0);
    assert_eq!(drain(&sink).await, [Ok(0), Err("read: gone".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_item_is_missing_from_its_list_or_ends_it() {
    for (policy, expected) in [
        (OnError::Stop, vec![Ok(vec![0, 1]), Err("read: bad sector".to_owned())]),
        (
            OnError::Deliver,
            vec![Ok(vec![0, 1]), Err("read: bad sector".to_owned()), Ok(vec![2, 4]), Ok(vec![5])],
        ),
    ] {
        let pipeline = Pipeline::source("index", 0..6)
            .map("read", concurrency(2), Order::Delivery, fails_at(3))
            .aggregate("batch", count(2), Remainder::Keep)
            .on_error(policy);
        assert_eq!(drain(&spawn(pipeline, 1)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_that_names_stage_and_message() {
    let in_function = Pipeline::source("index", 0..3_u32).map("read", concurrency(2), Order::Delivery, |n| {
        assert!(n != 1, "no item {n}");
        std::future::ready(Ok(n))
    });
    let in_future =
        Pipeline::source("index", 0..3_u32).map("read", concurrency(2), Order::Delivery, async |n| {
            tokio::task::yield_now().await;
            assert!(n != 1, "no item {n}");
            Ok(n)
        });
    for pipeline in [in_function, in_future] {
        let sink = spawn(pipeline, 2);
        let panicked = Err("stage \"read\" panicked: no item 1".to_owned());
        assert_eq!(drain(&sink).await, [Ok(0), panicked]);
        assert_eq!(sink.stats().stages[1].failures, 1);
        sink.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_the_stage_goes_on_where_that_is_asked_for() {
    let pipeline = Pipeline::source("index", 0..4_u32)
        .map("read", concurrency(2), Order::Delivery, async |n| {
            assert!(n != 1, "no item {n}");
            Ok(n)
        })
        .on_error(OnError::Deliver);
    let got = drain(&spawn(pipeline, 1)).await;
    let panicked = Err("stage \"read\" panicked: no item 1".to_owned());
    assert_eq!(got, [Ok(0), panicked, Ok(2), Ok(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_ends_with_an_error() {
    for policy in [OnError::Stop, OnError::Deliver] {
        let items = (0..5_u32).inspect(|&n| {
            if n == 2 {
                std::panic::panic_any(7_u8);
            }
        });
        let pipeline = Pipeline::source("index", items)
            .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
            .on_error(policy);
        let panicked = Err("stage \"index\" panicked: a payload that is not text".to_owned());
        assert_eq!(drain(&spawn(pipeline, 2)).await, [Ok(0), Ok(1), panicked]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_the_source_is_delivered() {
    let listing = [Ok(0), Err("no permission"), Ok(2)];
    for (policy, rest) in [(OnError::Stop, None), (OnError::Deliver, Some(Ok(2)))] {
        let pipeline = Pipeline::stream("list", futures::stream::iter(listing))
            .map("read", concurrency(2), Order::Delivery, async |n| Ok(n))
            .on_error(policy);
        let mut expected = vec![Ok(0), Err("list: no permission".to_owned())];
        expected.extend(rest);
        assert_eq!(drain(&spawn(pipeline, 2)).await, expected);
    }
}

#[test]
fn a_runtime_that_goes_away_is_an_error_and_no_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let gates = Gates::default();
    let sink = Pipeline::source("index", 0..10)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .aggregate("batch", count(2), Remainder::Keep)
        .sink(count(2))
        .spawn(runtime.handle());
    drop(runtime);
    let error = sink.next_blocking().unwrap().unwrap_err();
    assert!(matches!(error, PipelineError::Interrupted { .. }), "{error}");
    assert_eq!(error.stage(), "batch");
    assert!(error.to_string().contains("keep the runtime alive"), "{error}");
    assert!(sink.next_blocking().is_none());
    assert_eq!(gates.live(), 0);
}

#[test]
fn a_concurrency_of_zero_is_refused() {
    let error: ZeroConcurrency = forebay_pipeline::Concurrency::new(0).unwrap_err();
    assert!(error.to_string().contains("the least is 1"));
}
