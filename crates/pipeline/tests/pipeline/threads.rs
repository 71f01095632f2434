//! Consumers that are plain threads, and pipelines on several workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use forebay_pipeline::{Assist, Concurrency, Order, Pipeline, Waited};
use tokio::runtime::Runtime;

use crate::gates::{Gates, concurrency, count};

/// Longer than any test takes: whoever waits for it, hangs.
const NEVER: Duration = Duration::from_secs(3600);

fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_time().build().unwrap()
}

/// What the pipeline's work tells the test, and is told by it, across threads.
fn stepwise(runtime: &Runtime) -> (forebay_pipeline::Sink<u32, &'static str>, mpsc::Sender<()>) {
    let (step, steps) = mpsc::channel::<()>();
    let steps = std::sync::Arc::new(std::sync::Mutex::new(steps));
    let sink = Pipeline::source("index", 0..3)
        .map("read", Concurrency::ONE, Order::Delivery, move |n| {
            let steps = steps.clone();
            async move {
                let step = tokio::task::spawn_blocking(move || steps.lock().unwrap().recv());
                step.await.expect("no panic").map(|()| n).map_err(|_| "no more steps")
            }
        })
        .sink(count(1))
        .spawn(runtime.handle());
    (sink, step)
}

#[test]
fn a_thread_sleeps_until_there_is_an_item() {
    let runtime = runtime(1);
    let (sink, step) = stepwise(&runtime);
    for n in 0..3 {
        assert!(matches!(sink.next_timeout(Duration::ZERO), Waited::TimedOut));
        step.send(()).unwrap();
        match sink.next_timeout(NEVER) {
            Waited::Ready(item) => assert_eq!(item.unwrap(), n),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(sink.next_timeout(NEVER), Waited::Ended));
    assert!(sink.next_blocking().is_none());
}

#[test]
fn a_limit_beyond_the_clock_is_no_limit() {
    let runtime = runtime(1);
    let (sink, step) = stepwise(&runtime);
    step.send(()).unwrap();
    assert!(matches!(sink.next_timeout(Duration::MAX), Waited::Ready(Ok(0))));
}

#[test]
fn cancelling_wakes_threads_that_wait() {
    let runtime = runtime(1);
    let gates = Gates::default();
    let sink = Pipeline::source("index", 0..9)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .sink(count(2))
        .spawn(runtime.handle());
    let control = sink.control();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| sink.next_timeout(NEVER))).collect();
        control.cancel();
        for thread in waiting {
            assert!(matches!(thread.join().unwrap(), Waited::Ended));
        }
    });
    runtime.block_on(control.closed());
    assert_eq!(gates.live(), 0);
}

#[test]
fn dropping_the_sink_on_a_thread_ends_the_tasks() {
    let runtime = runtime(2);
    let gates = Gates::default();
    let sink = Pipeline::source("index", 0..9)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .sink(count(2))
        .spawn(runtime.handle());
    let control = sink.control();
    drop(sink);
    runtime.block_on(control.closed());
    assert_eq!(gates.live(), 0);
}

#[test]
fn many_items_through_several_workers_keep_their_order() {
    const ITEMS: u64 = 20_000;
    let runtime = runtime(3);
    for (at_once, capacity) in [(1, 1), (4, 1), (4, 4), (16, 8)] {
        let sink = Pipeline::source("index", 0..ITEMS)
            .map("read", concurrency(at_once), Order::Delivery, |n| async move {
                if n % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                // A task of its own, so that futures are called from other threads.
                if n % 7 == 0 { tokio::spawn(async move { n }).await.map_err(|_| "no task") } else { Ok(n) }
            })
            .map("decode", concurrency(2), Order::Delivery, async |n| Ok(n + 1))
            .sink(count(capacity))
            .spawn(runtime.handle());
        for n in 0..ITEMS {
            assert_eq!(sink.next_blocking().unwrap().unwrap(), n + 1);
        }
        assert!(sink.next_blocking().is_none());
    }
}

#[test]
fn threads_and_tasks_share_a_sink_without_loss() {
    const ITEMS: u64 = 20_000;
    let runtime = runtime(2);
    let sink = std::sync::Arc::new(
        Pipeline::source("index", 1..=ITEMS)
            .map("read", concurrency(3), Order::Delivery, async |n| {
                tokio::task::yield_now().await;
                Ok::<_, &'static str>(n)
            })
            .sink(count(2))
            .spawn(runtime.handle()),
    );
    let sum = std::sync::Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (sink, sum) = (sink.clone(), sum.clone());
            runtime.spawn(async move {
                while let Some(item) = sink.next().await {
                    sum.fetch_add(item.unwrap(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    match sink.next_timeout(Duration::from_micros(50)) {
                        Waited::Ready(item) => drop(sum.fetch_add(item.unwrap(), Ordering::Relaxed)),
                        Waited::TimedOut => {}
                        Waited::Ended => break,
                    }
                }
            });
        }
    });
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    assert_eq!(sum.load(Ordering::Relaxed), ITEMS * (ITEMS + 1) / 2);
    assert_eq!(sink.stats().sink().unwrap().items, ITEMS);
}

#[test]
fn a_thread_that_waits_does_the_work_itself() {
    // Nobody drives this runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let me = thread::current().id();
    let sink = Pipeline::source("index", 0..5)
        .map("read", concurrency(2), Order::Delivery, move |n| async move {
            if thread::current().id() == me { Ok(n) } else { Err("another thread's work") }
        })
        .sink(count(2))
        .spawn(runtime.handle());
    for n in 0..5 {
        assert_eq!(sink.next_blocking().unwrap().unwrap(), n);
    }
    assert!(sink.next_blocking().is_none());
    // Its task ends when the runtime gets to it.
    runtime.block_on(sink.closed());
}

#[test]
fn who_leaves_does_what_its_taking_made_possible() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gates = Gates::default();
    let sink = Pipeline::source("index", 0..5)
        .map("read", concurrency(1), Order::Delivery, gates.work())
        .sink(count(1))
        .spawn(runtime.handle());
    assert!(matches!(sink.next_timeout(Duration::ZERO), Waited::TimedOut));
    assert_eq!(gates.begun(), [0], "what was due when it left");
    let attending = sink.attend();
    gates.open(0);
    assert!(matches!(attending.next_timeout(NEVER), Waited::Ready(Ok(0))));
    drop(attending);
    assert_eq!(gates.begun(), [0, 1]);
}

/// Opens the gates in turn, each as a piece of work.
struct Opens {
    gates: Gates,
    pieces: u64,
    done: AtomicU64,
    attended: AtomicU64,
}

impl Assist for Opens {
    fn attends(&self) {
        self.attended.fetch_add(1, Ordering::Relaxed);
    }

    fn assist(&self) -> bool {
        let piece = self.done.load(Ordering::Relaxed);
        if piece == self.pieces {
            return false;
        }
        self.gates.open(piece as u32);
        self.done.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[test]
fn who_waits_takes_a_part_in_what_the_stages_wait_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gates = Gates::default();
    let (done, attended) = (AtomicU64::new(0), AtomicU64::new(0));
    let opens = std::sync::Arc::new(Opens { gates: gates.clone(), pieces: 3, done, attended });
    let sink = Pipeline::source("index", 0..4)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .sink(count(1))
        .spawn(runtime.handle())
        .assisting(opens.clone());
    assert!(
        matches!(sink.next_timeout(Duration::ZERO), Waited::TimedOut),
        "who does not wait does not assist"
    );
    assert_eq!(opens.done.load(Ordering::Relaxed), 0);
    // Nobody else runs.
    for n in 0..3 {
        assert!(matches!(sink.next_timeout(NEVER), Waited::Ready(Ok(item)) if item == n));
    }
    assert_eq!(opens.attended.load(Ordering::Relaxed), 2 * 4, "at the begin and the end of each wait");
    // There is nothing left to assist in.
    assert!(matches!(sink.next_timeout(Duration::from_millis(1)), Waited::TimedOut));
}

#[test]
fn the_runtime_works_ahead_while_no_thread_attends() {
    let runtime = runtime(1);
    let (tell, begun) = mpsc::channel();
    let sink = Pipeline::source("index", 0..9)
        .map("read", Concurrency::ONE, Order::Delivery, move |n| {
            tell.send(n).unwrap();
            async move {
                tokio::task::yield_now().await;
                Ok::<_, &'static str>(n)
            }
        })
        .sink(count(3))
        .spawn(runtime.handle());
    assert_eq!(sink.next_blocking().unwrap().unwrap(), 0);
    // Item 0 is gone, three fit into the queue.
    assert_eq!((0..4).map(|_| begun.recv().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    drop(sink);
}

#[test]
fn cancelling_wakes_the_thread_that_attends() {
    let runtime = runtime(1);
    let gates = Gates::default();
    let sink = Pipeline::source("index", 0..9)
        .map("read", concurrency(2), Order::Delivery, gates.work())
        .sink(count(2))
        .spawn(runtime.handle());
    let control = sink.control();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sink.attend().next_blocking());
        while gates.begun().len() < 2 {
            thread::yield_now();
        }
        control.cancel();
        assert!(waiting.join().unwrap().is_none());
    });
    runtime.block_on(control.closed());
    assert_eq!(gates.live(), 0);
}
