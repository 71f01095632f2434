//! CPU that a pipeline costs per item, beside the same work on `StreamExt::buffered` and a channel.
//!
//! `ready`: the stage's future is ready at once, so all there is to see is the pipeline itself.
//! `pool`: another thread completes each future, as a storage engine does; its thread hand-overs
//! cost both sides the same. The consumer is a plain thread that takes as fast as it can, or, in
//! `paced`, takes 20,000 items a second.
//!
//! Of `ready` there is also a row with 0 workers: consumer and pipeline share one thread, and nobody
//! sleeps.
//!
//! Sides take turns within one run, and the round with the least CPU is printed: whatever else the
//! machine does only adds.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use forebay_pipeline::{Concurrency, Order, Pipeline};
use futures::StreamExt;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const ROUNDS: usize = 5;
const CAPACITY: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Ready,
    Pool,
}

struct Load {
    items: u64,
    concurrency: usize,
    workers: usize,
    work: Work,
    interval: Option<Duration>,
}

type Reply = Pin<Box<dyn Future<Output = Result<u64, ()>> + Send>>;
type Job = (u64, oneshot::Sender<u64>);

/// What a loader's read looks like to the pipeline.
fn worker(work: Work) -> impl FnMut(u64) -> Reply + Send + 'static {
    let jobs = (work == Work::Pool).then(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (n, reply) in inbox {
                // Nobody is left to tell when the consumer has gone.
                let _ = reply.send(n);
            }
        });
        jobs
    });
    move |n| match &jobs {
        None => Box::pin(std::future::ready(Ok(n))),
        Some(jobs) => {
            let (reply, answer) = oneshot::channel();
            jobs.send((n, reply)).expect("the pool lives as long as its jobs");
            Box::pin(async move { answer.await.map_err(|_| ()) })
        }
    }
}

/// Takes all items, on a thread of its own or on the only one there is.
fn consume<N: Future<Output = Option<u64>>>(
    load: &Load,
    runtime: &Runtime,
    mut blocking: impl FnMut() -> Option<u64>,
    mut next: impl FnMut() -> N,
) {
    if load.workers == 0 {
        return runtime.block_on(async {
            for n in 0..load.items {
                assert_eq!(next().await, Some(n));
            }
            assert_eq!(next().await, None);
        });
    }
    let start = Instant::now();
    for n in 0..load.items {
        if let Some(interval) = load.interval {
            let due = start + interval * n as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        assert_eq!(blocking(), Some(n));
    }
    assert_eq!(blocking(), None);
}

fn ours(load: &Load, runtime: &Runtime) {
    let concurrency = Concurrency::new(load.concurrency).expect("not 0");
    let sink = Pipeline::source("index", 0..load.items)
        .map("read", concurrency, Order::Delivery, worker(load.work))
        .sink(NonZeroUsize::new(CAPACITY).expect("not 0"))
        .spawn(runtime.handle());
    consume(
        load,
        runtime,
        || sink.next_blocking().map(|item| item.expect("no item fails")),
        || async { sink.next().await.map(|item| item.expect("no item fails")) },
    );
}

fn peer(load: &Load, runtime: &Runtime) {
    let (put, get) = tokio::sync::mpsc::channel(CAPACITY);
    let mut results = futures::stream::iter(0..load.items).map(worker(load.work)).buffered(load.concurrency);
    runtime.spawn(async move {
        while let Some(item) = results.next().await {
            if put.send(item).await.is_err() {
                break;
            }
        }
    });
    let get = std::cell::RefCell::new(get);
    consume(
        load,
        runtime,
        || get.borrow_mut().blocking_recv().map(|item| item.expect("no item fails")),
        || {
            std::future::poll_fn(|cx| {
                get.borrow_mut().poll_recv(cx).map(|item| item.map(|item| item.expect("no item fails")))
            })
        },
    );
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Times that a thread of this process went to sleep.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}

fn main() {
    println!(
        "{:<7}{:<7}{:>5}{:>8} | {:>9}{:>9}{:>8} | {:>9}{:>9}{:>8}",
        "work", "pace", "conc", "workers", "cpu µs", "wall µs", "sleeps", "peer cpu", "wall µs", "sleeps"
    );
    for workers in [0, 1, 2] {
        let mut builder = match workers {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(workers.max(1)).build().expect("a runtime");
        for (work, interval) in
            [(Work::Ready, None), (Work::Pool, None), (Work::Pool, Some(Duration::from_micros(50)))]
        {
            if workers == 0 && work != Work::Ready {
                continue;
            }
            for concurrency in [1, 8] {
                let load = Load {
                    items: if interval.is_some() { 20_000 } else { 100_000 },
                    concurrency,
                    workers,
                    work,
                    interval,
                };
                let mut rows = [Vec::new(), Vec::new()];
                for _ in 0..ROUNDS {
                    for (side, run) in [ours, peer].into_iter().enumerate() {
                        let (wall, used, slept) = (Instant::now(), cpu(), sleeps());
                        run(&load, &runtime);
                        let each = |time: Duration| time.as_secs_f64() * 1e6 / load.items as f64;
                        rows[side].push((
                            each(cpu() - used),
                            each(wall.elapsed()),
                            sleeps().saturating_sub(slept) as f64 / load.items as f64,
                        ));
                    }
                }
                let pace = if interval.is_some() { "paced" } else { "max" };
                print!("{:<7}{pace:<7}{concurrency:>5}{workers:>8}", format!("{work:?}").to_lowercase());
                for side in &mut rows {
                    side.sort_by(|a, b| a.0.total_cmp(&b.0));
                    let (cpu, wall, sleeps) = side[0];
                    print!(" | {cpu:>9.2}{wall:>9.2}{sleeps:>8.2}");
                }
                println!();
            }
        }
    }
}
