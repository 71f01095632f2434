//! Percentiles of ten million values against exact ones: some minutes unless built for speed, so that it runs when
//! it is named: `cargo test --release -p forebay-metrics --test accuracy_ten_million`.

mod shapes;

use forebay_metrics::{Digits, Layout};
use shapes::{Shape, record, values};

#[test]
fn percentiles_of_ten_million_values_are_within_the_digits() {
    const N: usize = 10_000_000;
    for shape in [Shape::Uniform, Shape::LogNormal, Shape::Bimodal, Shape::HeavyTailed] {
        let mut exact = values(shape, N, 7);
        let recorded = (1..=5).map(|digits| record(Layout::latency(Digits::new(digits).unwrap()), &exact));
        let recorded: Vec<_> = recorded.collect();
        exact.sort_unstable();
        for (digits, summary) in (1..).zip(&recorded) {
            let mut worst = 0.0f64;
            for fraction in [0.5, 0.9, 0.99, 0.999, 0.9999] {
                let truth = exact[(N as f64 * fraction - 1e-6).ceil() as usize - 1];
                let error = summary.percentile(fraction).unwrap().abs_diff(truth) as f64 / truth as f64;
                assert!(
                    error < 10f64.powi(-digits),
                    "{shape:?} p{} {digits} digits: {error}",
                    fraction * 100.0
                );
                worst = worst.max(error);
            }
            // For `cargo xtask bench metrics`.
            println!("percentiles {shape:?} {digits} {worst:e}");
        }
    }
}
