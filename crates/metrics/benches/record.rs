//! What recording costs, beside what reading the clock costs.
//!
//! `cargo bench -p forebay-metrics` prints nanoseconds of processor time a value or operation, the
//! least and the median of eleven rounds that take turns. Processor time, because a neighbour on the
//! machine would otherwise be measured with it. The clock is the yardstick: whoever measures a
//! latency reads it anyway.

use std::hint::black_box;
use std::time::{Duration, Instant};

use forebay_metrics::{
    Backend, CacheUse, Digits, Ended, Extent, Layout, MetricsCollector, Operation, Outcome,
    PerformanceHistogram,
};

const ROUNDS: usize = 11;
const OPERATIONS: u64 = 2_000_000;

/// What is measured and the work of one round.
type Case<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Latencies as they come, spread over four powers of two.
fn latency(i: u64) -> u64 {
    4_000 + (i.wrapping_mul(2_654_435_761) & 0xffff)
}

fn batch(first: u64) -> impl Iterator<Item = Ended> {
    (first..first + 32).map(|i| Ended {
        operation: Operation::Get,
        backend: Backend::File,
        extent: Extent::Whole,
        outcome: Outcome::Done {
            bytes: 65_536,
            latency_ns: latency(i),
            first_byte_ns: None,
            cache: CacheUse::Default,
        },
    })
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time does not run backwards")
}

fn nanoseconds_each(work: &dyn Fn()) -> f64 {
    let start = processor_time();
    work();
    (processor_time() - start).as_nanos() as f64 / OPERATIONS as f64
}

fn main() {
    let one = PerformanceHistogram::new(Layout::latency(Digits::THREE));
    let all = PerformanceHistogram::new(Layout::latency(Digits::THREE));
    let many = PerformanceHistogram::new(Layout::latency(Digits::THREE));
    let collector = MetricsCollector::new();
    let singly = MetricsCollector::new();
    let cases: [Case<'_>; 7] = [
        (
            "making up a value",
            Box::new(|| {
                for i in 0..OPERATIONS {
                    black_box(latency(black_box(i)));
                }
            }),
        ),
        (
            "reading the clock",
            Box::new(|| {
                for _ in 0..OPERATIONS {
                    black_box(Instant::now());
                }
            }),
        ),
        (
            "PerformanceHistogram::record",
            Box::new(|| {
                for i in 0..OPERATIONS {
                    one.record(black_box(latency(i)));
                }
            }),
        ),
        (
            "PerformanceHistogram::record_all, 32 at a time",
            Box::new(|| {
                for first in (0..OPERATIONS).step_by(32) {
                    all.record_all((first..first + 32).map(|i| black_box(latency(i))));
                }
            }),
        ),
        (
            "PerformanceHistogram::record, 2 threads at once",
            Box::new(|| {
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            for i in 0..OPERATIONS / 2 {
                                many.record(black_box(latency(i)));
                            }
                        });
                    }
                });
            }),
        ),
        (
            "MetricsCollector, whole operation, 32 a batch",
            Box::new(|| {
                for first in (0..OPERATIONS).step_by(32) {
                    collector.started(32);
                    collector.ended(batch(black_box(first)));
                }
            }),
        ),
        (
            "MetricsCollector, whole operation, singly",
            Box::new(|| {
                for i in 0..OPERATIONS {
                    singly.started(1);
                    singly.ended(batch(black_box(i)).take(1));
                }
            }),
        ),
    ];
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, work), times) in cases.iter().zip(&mut times) {
            times.push(nanoseconds_each(work));
        }
    }
    println!("{:<40} {:>10} {:>12}", "", "least", "median");
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:<40} {:>7.2} ns {:>9.2} ns", times[0], times[ROUNDS / 2]);
    }
    let of = |name: &str| {
        let at = cases.iter().position(|case| case.0 == name).expect("a case of this name");
        (times[at][0], times[at][ROUNDS / 2])
    };
    let made_up = of("making up a value");
    let less = |name: &str| {
        let (least, median) = of(name);
        format!(r#"{{"least":{:.3},"median":{:.3}}}"#, least - made_up.0, median - made_up.1)
    };
    println!(
        r#"{{"clock":{},"entry_of_32":{},"entry":{},"operation_of_32":{}}}"#,
        less("reading the clock"),
        less("PerformanceHistogram::record_all, 32 at a time"),
        less("PerformanceHistogram::record"),
        less("MetricsCollector, whole operation, 32 a batch"),
    );
}
