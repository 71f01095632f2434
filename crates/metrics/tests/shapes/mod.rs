//! Values as operations have them, and a histogram of them.

use forebay_metrics::{HistogramSummary, Layout, PerformanceHistogram};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Pareto};

/// How values are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Uniform,
    LogNormal,
    Bimodal,
    HeavyTailed,
}

/// As many values, the same for the same seed.
pub(crate) fn values(shape: Shape, n: usize, seed: u64) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Without a mean: the tail goes on to the end of the range.
    let pareto = Pareto::new(1_000.0, 0.9).unwrap();
    let lognormal = LogNormal::new(12.0, 2.0).unwrap();
    (0..n)
        .map(|_| match shape {
            Shape::Uniform => random.random_range(1..10_000_000),
            Shape::LogNormal => lognormal.sample(&mut random) as u64 + 1,
            // Cached and cold reads in one run: the case that linear buckets get wrong.
            Shape::Bimodal if random.random_bool(0.9) => random.random_range(4_000..6_000),
            Shape::Bimodal => random.random_range(8_000_000..12_000_000),
            Shape::HeavyTailed => (pareto.sample(&mut random) as u64).min(3_600_000_000_000),
        })
        .collect()
}

/// What a histogram says of them.
pub(crate) fn record(layout: Layout, values: &[u64]) -> HistogramSummary {
    let histogram = PerformanceHistogram::new(layout);
    histogram.record_all(values.iter().copied());
    histogram.summary()
}
