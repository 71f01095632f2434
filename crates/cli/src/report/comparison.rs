//! Two runs beside each other: rates, and percentiles with the confidence that their values allow.

use super::Measured;
use super::pace::{MeanRate, Pace};
use forebay_metrics::{HistogramSummary, RunFacts, units};
use serde_json::{Value, json};
use std::fmt;

/// Figures of two runs, row by row.
pub(super) struct Comparison {
    rows: Vec<Row>,
    /// Readings of the rates of both, where both have enough.
    readings: Option<[usize; 2]>,
}

#[derive(Clone, Copy)]
enum Unit {
    Nanoseconds,
    Bytes,
    BytesPerSecond,
    SamplesPerSecond,
    Seconds,
}

struct Row {
    what: String,
    unit: Unit,
    a: Option<f64>,
    b: Option<f64>,
    intervals: Option<[(f64, f64); 2]>,
}

impl Comparison {
    pub(super) fn of(a: &Measured, b: &Measured) -> Self {
        let mut rows = Vec::new();
        let paces = [&*a.paces, &*b.paces];
        let readings = match paces.map(Pace::bytes) {
            [Some(a), Some(b)] => Some([a.readings, b.readings]),
            _ => None,
        };
        if let (Some(a), Some(b)) = (&a.facts, &b.facts) {
            let rate = |what: &str, unit, of: fn(&RunFacts) -> Option<f64>, intervals| Row {
                what: what.to_owned(),
                unit,
                a: of(a),
                b: of(b),
                intervals,
            };
            let bytes: fn(&RunFacts) -> _ = |facts| facts.per_second(facts.bytes);
            let samples: fn(&RunFacts) -> _ = |facts| facts.per_second(facts.samples);
            rows.push(rate("throughput", Unit::BytesPerSecond, bytes, both(paces.map(Pace::bytes))));
            rows.push(rate("samples", Unit::SamplesPerSecond, samples, both(paces.map(Pace::samples))));
            rows.push(rate("wall time", Unit::Seconds, |facts| Some(facts.elapsed.as_secs_f64()), None));
            rows.push(rate("CPU time", Unit::Seconds, |facts| Some(facts.cpu()?.as_secs_f64()), None));
        }
        for (name, ours) in &a.snapshot.operations {
            let Some(theirs) = b.snapshot.operations.get(name) else { continue };
            distribution(
                &mut rows,
                &format!("{name} latency"),
                Unit::Nanoseconds,
                &ours.latency_ns,
                &theirs.latency_ns,
            );
            let first_byte = format!("{name} first byte");
            distribution(
                &mut rows,
                &first_byte,
                Unit::Nanoseconds,
                &ours.first_byte_ns,
                &theirs.first_byte_ns,
            );
            distribution(
                &mut rows,
                &format!("{name} size"),
                Unit::Bytes,
                &ours.request_bytes,
                &theirs.request_bytes,
            );
        }
        for ours in &a.snapshot.queues {
            let Some(theirs) = b.snapshot.queues.iter().find(|queue| queue.name == ours.name) else {
                continue;
            };
            let what = format!("{} get wait", ours.name);
            distribution(&mut rows, &what, Unit::Nanoseconds, &ours.get_wait_ns, &theirs.get_wait_ns);
        }
        Comparison { rows, readings }
    }

    pub(super) fn to_json(&self) -> Vec<Value> {
        self.rows
            .iter()
            .map(|row| {
                let [a_interval, b_interval] = match row.intervals {
                    Some([a, b]) => [Some(a), Some(b)],
                    None => [None, None],
                };
                json!({
                    "what": row.what,
                    "unit": row.unit.name(),
                    "a": row.a,
                    "b": row.b,
                    "change": row.change(),
                    "a_interval": a_interval,
                    "b_interval": b_interval,
                    "differs": row.differs(),
                })
            })
            .collect()
    }
}

/// The intervals of two mean rates, where both are known.
fn both([a, b]: [Option<MeanRate>; 2]) -> Option<[(f64, f64); 2]> {
    Some([a?, b?].map(|rate| (rate.low, rate.high)))
}

fn distribution(rows: &mut Vec<Row>, what: &str, unit: Unit, a: &HistogramSummary, b: &HistogramSummary) {
    if a.n() == 0 && b.n() == 0 {
        return;
    }
    rows.push(Row { what: format!("{what} mean"), unit, a: a.mean(), b: b.mean(), intervals: None });
    for (name, fraction) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        let [ours, theirs] = [a, b].map(|summary| summary.percentile(fraction).map(|value| value as f64));
        if ours.is_some() || theirs.is_some() {
            let intervals = a.percentile_interval(fraction).zip(b.percentile_interval(fraction));
            let exact = |(low, high): (u64, u64)| (low as f64, high as f64);
            let intervals = intervals.map(|(a, b)| [exact(a), exact(b)]);
            rows.push(Row { what: format!("{what} {name}"), unit, a: ours, b: theirs, intervals });
        }
    }
}

impl Row {
    fn change(&self) -> Option<f64> {
        let (a, b) = self.a.zip(self.b)?;
        (a > 0.0).then(|| b / a - 1.0)
    }

    /// Whether the intervals do not meet; none where there are none.
    fn differs(&self) -> Option<bool> {
        let [a, b] = self.intervals?;
        Some(a.1 < b.0 || b.1 < a.0)
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "bytes/second",
            Unit::SamplesPerSecond => "samples/second",
            Unit::Seconds => "seconds",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds => units::duration(value),
            Unit::Bytes => units::bytes(value as u64),
            Unit::BytesPerSecond => units::mib_per_second(value),
            Unit::SamplesPerSecond => format!("{}/s", units::number(value)),
            Unit::Seconds => units::duration(value * 1e9),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>14}{:>14}{:>11}  95 % confidence", "", "a", "b", "change")?;
        for row in &self.rows {
            let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| row.unit.show(value));
            let change = row.change().map_or("-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
            let verdict = match row.differs() {
                Some(true) => "  differs",
                Some(false) => "  may be chance",
                None => "",
            };
            writeln!(f, "{:<28}{:>14}{:>14}{change:>11}{verdict}", row.what, show(row.a), show(row.b))?;
        }
        writeln!(
            f,
            "\n  differs: more than chance explains, at 95 % confidence; may be chance: repeat or run\n  longer before \
             acting on it. Percentiles are bounded by their order statistics."
        )?;
        match self.readings {
            Some([a, b]) => {
                writeln!(f, "  Rates are bounded by Student's t over {a} intervals of a and {b} of b.")
            }
            None => writeln!(
                f,
                "  Rates have no bounds: that wants five intervals of each run (--metrics-interval SECONDS)."
            ),
        }
    }
}
