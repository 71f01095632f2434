//! Pictures of runs: what a chart shows is worked out here, how it looks is the drawing's own business.
//!
//! [`charts`] turns one run or several into charts, which are data: axes, lines, cells, bars. [`svg`] draws them
//! for a screen or a page, [`html`] puts such a drawing and a text into one file that needs no other, and
//! [`Plot`] draws for a terminal.
//!
//! ```
//! use forebay_metrics::draw::{Plot, Run, charts, svg};
//! use forebay_metrics::{Layout, MetricsSnapshot, Operation, Outcome};
//! # use forebay_metrics::{Backend, CacheUse, MetricsCollector, Ended, Extent};
//! # let collector = MetricsCollector::new();
//! # collector.started(200);
//! # collector.ended((1..=200).map(|i| Ended {
//! #     operation: Operation::Get,
//! #     backend: Backend::File,
//! #     extent: Extent::Whole,
//! #     outcome: Outcome::Done { bytes: 65_536, latency_ns: i * 1_000, first_byte_ns: None, cache: CacheUse::Default },
//! # }));
//! let run = Run { name: "nvme".to_owned(), whole: collector.snapshot(), slices: Vec::new() };
//! let charts = charts(&[run]);
//! assert_eq!(charts[0].title, "Latency, get");
//! assert!(svg(&charts).starts_with("<svg"));
//! assert!(Plot::new(&charts[0]).width(60).to_string().lines().all(|line| line.chars().count() <= 60));
//! ```

mod axis;
mod canvas;
mod chart;
mod html;
mod of_time;
mod plot;
mod run;
mod svg;
mod whole_run;

pub use axis::{Axis, Quantity};
pub use chart::{Bar, Cell, Chart, Curve, Mark, Stroke};
pub use html::html;
pub use plot::Plot;
pub use run::{Run, Slice};
pub use svg::svg;

/// The charts of one run, or of several beside each other: latency by percentile for each kind of operation,
/// and request sizes; and where a run was written down in intervals, latency and bytes in flight over time.
///
/// What was not measured has no chart.
pub fn charts(runs: &[Run]) -> Vec<Chart> {
    let mut all = whole_run::latency(runs);
    all.extend(whole_run::sizes(runs));
    all.extend(of_time::charts(runs));
    all
}
