//! Percentiles against exact ones, shards against one histogram, and counts against the truth.

mod shapes;

use std::sync::Barrier;

use forebay_metrics::{Digits, HistogramSummary, Layout, PerformanceHistogram};
use proptest::prelude::*;
use shapes::{Shape, record, values};

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(Shape::Uniform), Just(Shape::LogNormal), Just(Shape::Bimodal), Just(Shape::HeavyTailed)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn percentiles_are_within_the_digits_of_exact_ones(
        shape in shape(),
        digits in 1u8..=5,
        n in 1usize..20_000,
        seed in any::<u64>(),
    ) {
        let mut exact = values(shape, n, seed);
        let summary = record(Layout::latency(Digits::new(digits).unwrap()), &exact);
        exact.sort_unstable();
        for fraction in [0.5, 0.9, 0.99, 0.999, 0.9999] {
            let rank = (n as f64 * fraction - 1e-6).ceil().max(1.0) as usize;
            match summary.percentile(fraction) {
                Some(value) => {
                    let truth = exact[rank - 1];
                    let error = value.abs_diff(truth) as f64 / truth as f64;
                    prop_assert!(
                        error < 10f64.powi(-i32::from(digits)),
                        "p{} is {value}, exactly {truth}", fraction * 100.0
                    );
                }
                None => prop_assert!((n as f64) * (1.0 - fraction) < 1.0),
            }
        }
        prop_assert_eq!(summary.min(), exact.first().copied());
        prop_assert_eq!(summary.max(), exact.last().copied());
        let mean = exact.iter().sum::<u64>() as f64 / n as f64;
        prop_assert!((summary.mean().unwrap() - mean).abs() <= mean * 1e-9);
    }

    #[test]
    fn percentiles_are_those_of_hdrhistogram(shape in shape(), n in 10_000usize..20_000, seed in any::<u64>()) {
        let summary = record(Layout::latency(Digits::THREE), &values(shape, n, seed));
        let hdr = summary.to_hdr();
        prop_assert_eq!(hdr.len(), n as u64);
        for fraction in [0.5, 0.9, 0.99, 0.999, 0.9999] {
            prop_assert_eq!(
                summary.percentile(fraction).unwrap(),
                hdr.value_at_quantile(fraction).min(summary.max().unwrap())
            );
        }
    }

    #[test]
    fn shards_add_up_to_one_histogram(
        shape in shape(),
        n in 0usize..4_000,
        parts in 1usize..6,
        seed in any::<u64>(),
    ) {
        let all = values(shape, n, seed);
        let layout = Layout::latency(Digits::THREE);
        let sharded = PerformanceHistogram::new(layout);
        let all_alive = Barrier::new(parts);
        std::thread::scope(|scope| {
            for part in 0..parts {
                let (all, sharded, all_alive) = (&all, &sharded, &all_alive);
                scope.spawn(move || {
                    // All at once, else a thread that ends early would hand its shard to the next.
                    all_alive.wait();
                    sharded.record_all(all.iter().copied().skip(part).step_by(parts));
                    all_alive.wait();
                });
            }
        });
        prop_assert_eq!(sharded.summary(), record(layout, &all));
    }

    #[test]
    fn merging_summaries_is_recording_everything_in_one(
        a in prop::collection::vec(0u64..1 << 42, 0..300),
        b in prop::collection::vec(0u64..1 << 42, 0..300),
        digits in 1u8..=5,
    ) {
        let layout = Layout::request_bytes(Digits::new(digits).unwrap());
        let mut merged = record(layout, &a);
        merged.merge(&record(layout, &b)).unwrap();
        let mut all = a;
        all.extend(b);
        prop_assert_eq!(merged, record(layout, &all));
    }

    #[test]
    fn what_is_out_of_range_is_clamped_and_counted(
        values in prop::collection::vec(prop_oneof![0u64..3, 0..7_200_000_000_000u64, any::<u64>()], 0..200)
    ) {
        let layout = Layout::latency(Digits::THREE);
        let summary = record(layout, &values);
        let outside = values.iter().filter(|v| !(1..=3_600_000_000_000).contains(*v)).count();
        prop_assert_eq!(summary.clamped(), outside as u64);
        prop_assert_eq!(summary.n(), values.len() as u64);
        prop_assert_eq!(summary.min(), values.iter().map(|v| layout.clamp(*v)).min());
        prop_assert_eq!(summary.max(), values.iter().map(|v| layout.clamp(*v)).max());
    }

    #[test]
    fn a_summary_survives_json(
        values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 64)), 0..300),
        digits in 1u8..=5,
    ) {
        let summary = record(Layout::request_bytes(Digits::new(digits).unwrap()), &values);
        let json = serde_json::to_string(&summary).unwrap();
        prop_assert_eq!(serde_json::from_str::<HistogramSummary>(&json).unwrap(), summary);
    }

    #[test]
    fn powers_of_two_count_every_value_once(values in prop::collection::vec(0u64..=1 << 40, 1..300)) {
        let classes = record(Layout::request_bytes(Digits::THREE), &values).powers_of_two();
        for class in &classes {
            let inside = values.iter().filter(|v| (class.from..class.below).contains(*v)).count();
            prop_assert_eq!(class.n, inside as u64);
        }
        prop_assert_eq!(classes.iter().map(|c| c.n).sum::<u64>(), values.len() as u64);
    }
}

#[test]
fn eight_threads_recording_at_once_lose_nothing() {
    const EACH: u64 = 200_000;
    let histogram = PerformanceHistogram::new(Layout::latency(Digits::THREE));
    let all_alive = Barrier::new(9);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (histogram, all_alive) = (&histogram, &all_alive);
            scope.spawn(move || {
                all_alive.wait();
                for i in 0..EACH / 2 {
                    histogram.record(1 + (i * 7 + thread) % 50_000);
                    histogram.record_n(1_000_000 + thread, 1);
                }
            });
        }
        // Reading meanwhile sees only what has happened, and disturbs nothing.
        all_alive.wait();
        let mut last = 0;
        while last < 8 * EACH / 2 {
            let now = histogram.summary().n();
            assert!(now >= last && now <= 8 * EACH);
            last = now;
        }
    });
    let summary = histogram.summary();
    assert_eq!(summary.n(), 8 * EACH);
    assert_eq!(histogram.merged().len(), 8 * EACH);
    let expected: u64 = (0..8u64)
        .flat_map(|thread| (0..EACH / 2).map(move |i| 1 + (i * 7 + thread) % 50_000 + 1_000_000 + thread))
        .sum();
    assert_eq!(summary.sum(), expected);
}

#[test]
fn an_empty_request_is_a_value_and_not_clamped() {
    let histogram = PerformanceHistogram::new(Layout::request_bytes(Digits::THREE));
    histogram.record_n(0, 3);
    histogram.record_n(7, 0);
    let summary = histogram.summary();
    assert_eq!((summary.n(), summary.clamped()), (3, 0));
    assert_eq!((summary.min(), summary.max(), summary.mean()), (Some(0), Some(0), Some(0.0)));
    assert_eq!(summary.buckets(), [(0, 3)]);
}
