//! What a Forebay job really did: exact counters, histograms, peaks, and a report to read.
//!
//! * A [`MetricsCollector`] counts what one loader or store does. Recording is wait-free and goes to the
//!   calling thread's own shard; see [`PerformanceHistogram`] for how and what it costs.
//! * A [`MetricsSnapshot`] is its reading as plain data: JSON and back without loss, and mergeable.
//! * A [`Report`] is a snapshot for a terminal.
//! * [`names`] is the registry: what each metric means and what a conspicuous value points to.
//! * [`StageStats`] and [`QueueStats`] are the shapes a pipeline fills in.
//!
//! Counters are exact always. Histograms have the bucket layout of `hdrhistogram`; a value outside
//! their range is clamped *and* counted. A percentile that too few values stand behind is absent,
//! never made up.
//!
//! With the default feature `io`, a [`MetricsCollector`] is an observer of Forebay's stores. Without it this
//! crate depends on no sibling. The default features `prometheus` and `hlog` are exports.
//!
//! What this crate never does: start a thread, keep a registry, read a clock, or print.
//!
//! ```
//! use std::time::Duration;
//! use forebay_metrics::{
//!     Backend, CacheUse, MetricsCollector, Counter, Ended, Extent, Operation, Outcome, Report, RunFacts, MetricsSnapshot,
//! };
//!
//! let collector = MetricsCollector::new();
//! collector.started(2);
//! collector.ended([64 << 10, 0].map(|bytes| Ended {
//!     operation: Operation::Get,
//!     backend: Backend::File,
//!     extent: Extent::Whole,
//!     outcome: Outcome::Done {
//!         bytes,
//!         latency_ns: 12_500,
//!         first_byte_ns: None,
//!         cache: CacheUse::Default,
//!     },
//! }));
//!
//! let snapshot = collector.snapshot();
//! assert_eq!(snapshot.counter(Counter::Gets), 2);
//! assert_eq!(snapshot.queue_depth.peak, 2);
//! let gets = snapshot.operation(Operation::Get).unwrap();
//! assert_eq!(gets.request_bytes.max(), Some(65_536));
//! assert_eq!(gets.latency_ns.percentile(0.99), None, "two values have no p99");
//! assert_eq!(MetricsSnapshot::from_json(&snapshot.to_json())?, snapshot);
//!
//! let facts = RunFacts {
//!     samples: 2,
//!     bytes: 64 << 10,
//!     ..RunFacts::new(Duration::from_millis(3))
//! };
//! print!("{}", Report::new(&snapshot, &facts));
//! # Ok::<_, forebay_metrics::SnapshotError>(())
//! ```

#![forbid(unsafe_code)]

mod attempts;
mod backend;
mod collector;
pub mod csv;
mod diff;
#[cfg(feature = "draw")]
pub mod draw;
mod gauge;
pub mod histogram;
mod histogram_shard;
#[cfg(feature = "hlog")]
pub mod hlog;
mod layout;
mod named;
pub mod names;
#[cfg(feature = "io")]
mod observe;
mod operation;
mod operation_series;
mod preset;
#[cfg(feature = "prometheus")]
pub mod prometheus;
mod queue;
mod reading;
mod recording;
pub mod reference;
mod report;
mod report_backends;
mod run_facts;
#[cfg(any(feature = "prometheus", feature = "hlog"))]
mod series;
mod sharded;
mod snapshot;
mod snapshot_json;
mod stage;
mod summary;
mod summary_json;
mod sync;
mod tally;
mod thread_slot;
pub mod units;

pub use attempts::{AttemptSummary, Attempted};
pub use backend::BackendSummary;
pub use collector::MetricsCollector;
pub use gauge::{Gauge, GaugeReading};
pub use histogram::PerformanceHistogram;
pub use layout::{Digits, Layout, LayoutError};
pub use named::NameError;
pub use names::Counter;
pub use operation::{Backend, CacheUse, Ended, Extent, Failure, Happening, Operation, Outcome};
pub use preset::Preset;
pub use queue::{QueueRole, QueueStats};
pub use recording::{RecordingError, RecordingOptions};
pub use report::Report;
pub use run_facts::RunFacts;
pub use snapshot::{
    Downgrade, MetricsSnapshot, OperationSummary, PageCache, Reads, SCHEMA_VERSION, SnapshotError,
};
pub use stage::StageStats;
pub use summary::{HistogramSummary, MergeError, PowerOfTwo};
