//! Charts of what a run did in all: latency by percentile, and request sizes.

use std::collections::BTreeSet;

use crate::draw::axis::{Axis, Quantity, nines};
use crate::draw::chart::{Bar, Chart, Curve, Mark, Stroke};
use crate::draw::run::Run;
use crate::operation::Operation;
use crate::snapshot::OperationSummary;
use crate::summary::HistogramSummary;

/// Points to a nine: enough that the corners between them cannot be seen.
const POINTS_A_NINE: u32 = 24;

/// Kinds of operation that any of the runs had, in the order in which reports have them.
fn operations(runs: &[Run]) -> Vec<&str> {
    let names: BTreeSet<&str> =
        runs.iter().flat_map(|run| run.whole.operations.keys().map(String::as_str)).collect();
    let place = |name: &str| Operation::ALL.iter().position(|operation| operation.name() == name);
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
}

/// Latency by percentile: a chart for each kind of operation, a line for each run. A run by itself also
/// has the first byte, and what its backend's requests took.
pub(super) fn latency(runs: &[Run]) -> Vec<Chart> {
    let alone = runs.len() == 1;
    let mut charts = Vec::new();
    for name in operations(runs) {
        let mut curves: Vec<Curve> = Vec::new();
        for (colour, run) in runs.iter().enumerate() {
            let Some(operation) = run.whole.operations.get(name) else { continue };
            let whole = if alone { "whole operation" } else { &run.name };
            curves.extend(percentiles(whole, colour, Stroke::Solid, &operation.latency_ns));
            if alone {
                let first = percentiles("first byte", 0, Stroke::Dashed, &operation.first_byte_ns);
                curves.extend(first);
                if let Some(attempts) = &operation.attempts {
                    let requests = "request to the backend";
                    curves.extend(percentiles(requests, 1, Stroke::Solid, &attempts.latency_ns));
                    let first = "first byte of a request";
                    curves.extend(percentiles(first, 1, Stroke::Dashed, &attempts.first_byte_ns));
                }
            }
        }
        let ends = curves.iter().filter_map(|curve| curve.points.last()).map(|point| point.0);
        let high = ends.fold(0.0, f64::max);
        // Fewer than two values have no percentiles to draw.
        if high < nines(0.5) {
            continue;
        }
        let values = curves.iter().flat_map(|curve| {
            let bands = curve.band.iter().flat_map(|band| [band.1, band.2]);
            curve.points.iter().map(|point| point.1).chain(bands)
        });
        charts.push(Chart {
            title: format!("Latency, {name}"),
            note:
                "How many of all took at most how long; the shade holds the percentile with 95 % confidence \
                   (order statistics, for values that do not depend on each other)."
                    .to_owned(),
            x: Axis {
                label: "percentile".to_owned(),
                quantity: Quantity::Nines,
                low: 0.0,
                high: high.max(nines(0.9)),
            },
            y: Axis::over("latency", Quantity::Nanoseconds, values),
            marks: curves.into_iter().map(Mark::Curve).collect(),
        });
    }
    charts
}

fn percentiles(name: &str, colour: usize, stroke: Stroke, summary: &HistogramSummary) -> Option<Curve> {
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for step in 0.. {
        let x = f64::from(step) / f64::from(POINTS_A_NINE);
        let fraction = 1.0 - 10f64.powf(-x);
        let Some(value) = summary.percentile(fraction) else { break };
        points.push((x, value as f64));
        if let Some((low, high)) = summary.percentile_interval(fraction) {
            band.push((x, low as f64, high as f64));
        }
    }
    (!points.is_empty()).then(|| Curve { name: name.to_owned(), colour, stroke, steps: false, points, band })
}

/// Request sizes by power of two, as parts of all requests: what the caller asked for, and what was
/// asked of the backend.
pub(super) fn sizes(runs: &[Run]) -> Vec<Chart> {
    let mut charts = Vec::new();
    for name in operations(runs) {
        let asked = |operation: &OperationSummary| Some(operation.request_bytes.clone());
        charts.extend(size_chart(format!("Request sizes, {name}"), name, runs, asked));
        let of_backend =
            |operation: &OperationSummary| Some(operation.attempts.as_ref()?.request_bytes.clone());
        charts.extend(size_chart(
            format!("Request sizes asked of the backend, {name}"),
            name,
            runs,
            of_backend,
        ));
    }
    charts
}

fn size_chart(
    title: String,
    operation: &str,
    runs: &[Run],
    of: impl Fn(&OperationSummary) -> Option<HistogramSummary>,
) -> Option<Chart> {
    let mut marks = Vec::new();
    let mut all = Vec::new();
    for (colour, run) in runs.iter().enumerate() {
        let Some(sizes) = run.whole.operations.get(operation).and_then(&of) else { continue };
        let bars: Vec<Bar> = sizes
            .powers_of_two()
            .iter()
            .map(|class| Bar {
                // Nothing at all has no place where each step is twice the last; it takes the one below 1.
                from: if class.from == 0 { 0.5 } else { class.from as f64 },
                below: class.below as f64,
                value: class.n as f64 / sizes.n() as f64,
            })
            .collect();
        if !bars.is_empty() {
            all.extend(bars.iter().copied());
            marks.push(Mark::Bars { name: run.name.clone(), colour, bars });
        }
    }
    if all.is_empty() {
        return None;
    }
    // A class of room on both sides: one bar alone would look like a wall.
    let ends = all.iter().flat_map(|bar| [(bar.from / 2.0).max(0.5), bar.below * 2.0]);
    Some(Chart {
        title,
        note: "A bar for each power of two: what part of all requests had at least the size at its left \
               and less than the one at its right."
            .to_owned(),
        x: Axis::over("size", Quantity::Sizes, ends),
        y: Axis::over("of all requests", Quantity::Share, all.iter().map(|bar| bar.value)).with_room(),
        marks,
    })
}
