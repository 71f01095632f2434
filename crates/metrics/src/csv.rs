//! A snapshot as a table: one figure a row, for spreadsheets and data frames.
//!
//! The columns are [`HEADER`]. A figure that too few values stand behind has an empty `value`. Histograms
//! also give their counts by power of two, with `from` and `below` filled in. The table is for reading: the
//! fine buckets are in the JSON form only, so a table is not read back.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::names::{self, Unit};
use crate::snapshot::{MetricsSnapshot, OperationSummary};
use crate::summary::HistogramSummary;

/// The first line. The columns have stayed the same within a schema version.
///
/// `section` is `counter`, `gauge`, `reads` (gets and ranges together), `operation`, `attempt`, `backend`,
/// `backend_operation`, `backend_attempt`, `page_cache`, `stage` or `queue`; `name` is the operation, backend, stage or
/// queue (or page-cache mode) that the figure is of, or `BACKEND/OPERATION`.
pub const HEADER: &str = "schema_version,section,name,metric,statistic,from,below,unit,value";

impl MetricsSnapshot {
    /// The table, its lines ended by `\n`, the first of them [`HEADER`](crate::csv::HEADER).
    pub fn to_csv(&self) -> String {
        let mut table = Table { text: format!("{HEADER}\n"), schema_version: self.schema_version };
        for (name, n) in &self.backend_counters {
            table.row(["counter", "", name, "total"], unit_of(name), n);
        }
        for (name, statistic, value) in [
            ("max_qd", "peak", Some(self.queue_depth.peak)),
            ("queue_depth", "level", Some(self.queue_depth.level)),
            ("peak_inflight", "peak", Some(self.inflight_bytes.peak)),
            ("inflight_bytes", "level", Some(self.inflight_bytes.level)),
            ("inflight_cap", "cap", self.inflight_bytes.cap),
            ("memory", "level", Some(self.shared_bytes.level)),
            ("memory", "peak", Some(self.shared_bytes.peak)),
            ("memory", "cap", self.shared_bytes.cap),
            ("concurrency_limit", "level", Some(self.concurrency_limit.level)),
            ("concurrency_limit", "peak", Some(self.concurrency_limit.peak)),
        ] {
            table.row(["gauge", "", name, statistic], unit_of(name), Optional(value));
        }
        let reads = self.reads();
        table.histogram(["reads", "", "req_bytes_hist"], &reads.request_bytes);
        table.histogram(["reads", "", "latency_us_hist"], &reads.latency_ns);
        table.histogram(["reads", "", "first_byte_us_hist"], &reads.first_byte_ns);
        table.operations(["operation", "attempt"], "", &self.operations);
        for (backend, summary) in &self.backends {
            for (name, n) in &summary.counters {
                table.row(["backend", backend, name, "total"], unit_of(name), n);
            }
            let sections = ["backend_operation", "backend_attempt"];
            table.operations(sections, &format!("{backend}/"), &summary.operations);
        }
        let cache = &self.page_cache;
        for (metric, n) in [
            ("hit", cache.hit),
            ("miss", cache.miss),
            ("unknown", cache.unknown),
            ("reads_sampled", cache.reads_sampled),
        ] {
            table.row(["page_cache", "", metric, "total"], unit_of(metric), n);
        }
        for (mode, n) in &cache.applied {
            table.row(["page_cache", mode, "applied", "total"], Unit::Operations.name(), n);
        }
        for downgrade in &cache.downgrades {
            let to = &downgrade.to;
            table.row(["page_cache", &downgrade.from, "downgraded_to", to], Unit::Events.name(), downgrade.n);
        }
        for stage in &self.stages {
            let count = |metric| ["stage", &*stage.name, metric, "total"];
            table.row(count("concurrency"), Unit::Items.name(), stage.concurrency);
            table.row(count("tasks"), Unit::Items.name(), stage.tasks);
            table.row(count("failures"), Unit::Items.name(), stage.failures);
            table.histogram(["stage", &stage.name, "service_us_hist"], &stage.service_ns);
            table.histogram(["stage", &stage.name, "pool_wait_us_hist"], &stage.pool_wait_ns);
            table.histogram(["stage", &stage.name, "blocked_us_hist"], &stage.blocked_ns);
        }
        for queue in &self.queues {
            let figure = |metric, statistic| ["queue", &*queue.name, metric, statistic];
            table.row(figure("capacity", "total"), Unit::Items.name(), queue.capacity);
            table.row(figure("items", "total"), Unit::Items.name(), queue.items);
            table.row(figure("qps", "mean"), "items/second", Optional(queue.qps()));
            table.row(figure("depth", "mean"), Unit::Items.name(), Optional(queue.mean_depth()));
            table.row(figure("depth", "max"), Unit::Items.name(), queue.max_depth);
            table.row(figure("data_readiness", "mean"), "fraction", Optional(queue.data_readiness()));
            table.row(figure("measured_ns", "total"), Unit::Nanoseconds.name(), queue.measured_ns);
            table.row(figure("empty_ns", "total"), Unit::Nanoseconds.name(), queue.empty_ns);
            table.histogram(["queue", &queue.name, "get_wait_us_hist"], &queue.get_wait_ns);
            table.histogram(["queue", &queue.name, "put_wait_us_hist"], &queue.put_wait_ns);
        }
        table.text
    }
}

struct Table {
    text: String,
    schema_version: u32,
}

impl Table {
    fn row(&mut self, [section, name, metric, statistic]: [&str; 4], unit: &str, value: impl fmt::Display) {
        self.write([section, name, metric, statistic, "", "", unit], value);
    }

    fn operations(
        &mut self,
        [section, attempt]: [&str; 2],
        of: &str,
        operations: &BTreeMap<String, OperationSummary>,
    ) {
        for (name, operation) in operations {
            let name = &*format!("{of}{name}");
            let count = |metric| [section, name, metric, "total"];
            self.row(count("ops"), Unit::Operations.name(), operation.ops);
            self.row(count("bytes"), Unit::Bytes.name(), operation.bytes);
            self.row(count("cancelled"), Unit::Operations.name(), operation.cancelled);
            for (kind, n) in &operation.failures {
                self.row([section, name, "failures", kind], Unit::Operations.name(), n);
            }
            self.histogram([section, name, "latency_us_hist"], &operation.latency_ns);
            self.histogram([section, name, "first_byte_us_hist"], &operation.first_byte_ns);
            self.histogram([section, name, "req_bytes_hist"], &operation.request_bytes);
            let Some(attempts) = &operation.attempts else { continue };
            self.row([attempt, name, "requests", "total"], Unit::Operations.name(), attempts.requests);
            self.row([attempt, name, "bytes", "total"], Unit::Bytes.name(), attempts.bytes);
            for (metric, counts) in [("failures", &attempts.failures), ("statuses", &attempts.statuses)] {
                for (which, n) in counts {
                    self.row([attempt, name, metric, which], Unit::Operations.name(), n);
                }
            }
            self.histogram([attempt, name, "latency_us_hist"], &attempts.latency_ns);
            self.histogram([attempt, name, "first_byte_us_hist"], &attempts.first_byte_ns);
            self.histogram([attempt, name, "req_bytes_hist"], &attempts.request_bytes);
        }
    }

    fn histogram(&mut self, [section, name, metric]: [&str; 3], summary: &HistogramSummary) {
        let (unit, scale) = match summary.layout().unit() {
            Unit::Nanoseconds => (Unit::Microseconds, 1e3),
            unit => (unit, 1.0),
        };
        let unit = unit.name();
        // An integer is written as one.
        let scaled = |value: u64| value as f64 / scale;
        let values = Unit::Values.name();
        self.row([section, name, metric, "n"], values, summary.n());
        self.row([section, name, metric, "of"], values, summary.offered());
        self.row([section, name, metric, "sum"], unit, scaled(summary.sum()));
        self.row([section, name, metric, "min"], unit, Optional(summary.min().map(scaled)));
        self.row([section, name, metric, "mean"], unit, Optional(summary.mean().map(|mean| mean / scale)));
        for (statistic, fraction) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)]
        {
            self.row(
                [section, name, metric, statistic],
                unit,
                Optional(summary.percentile(fraction).map(scaled)),
            );
        }
        self.row([section, name, metric, "max"], unit, Optional(summary.max().map(scaled)));
        self.row([section, name, metric, "clamped"], values, summary.clamped());
        for class in summary.powers_of_two() {
            let [from, below] = [class.from, class.below].map(|bound| scaled(bound).to_string());
            self.write([section, name, metric, "count", &from, &below, values], class.n);
        }
    }

    fn write(&mut self, cells: [&str; 7], value: impl fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{}", self.schema_version);
        for cell in cells {
            let _ = write!(self.text, ",{}", Cell(cell));
        }
        let _ = writeln!(self.text, ",{value}");
    }
}

/// Quoted where it has to be, as RFC 4180 says: a stage may be named anything.
struct Cell<'a>(&'a str);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains([',', '"', '\n', '\r']) {
            true => write!(f, "\"{}\"", self.0.replace('"', "\"\"")),
            false => f.write_str(self.0),
        }
    }
}

struct Optional<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Optional<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

fn unit_of(name: &str) -> &'static str {
    names::definition(name).map_or("", |definition| definition.unit.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_columns_stay_in_theirs() {
        assert_eq!(Cell("a,b\"c").to_string(), "\"a,b\"\"c\"");
        assert_eq!(Cell("read").to_string(), "read");
    }
}
