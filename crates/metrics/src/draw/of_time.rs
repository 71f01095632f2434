//! Charts over time: latency as a heatmap, throughput, and what was in flight against its cap.

use crate::draw::axis::{Axis, Quantity};
use crate::draw::chart::{Cell, Chart, Curve, Mark, Stroke};
use crate::draw::run::{Run, Slice};
use crate::gauge::GaugeReading;
use crate::names::Counter;
use crate::snapshot::MetricsSnapshot;
use crate::summary::HistogramSummary;

/// Columns of a heatmap at most; more could not be told apart on a page.
const COLUMNS: usize = 160;
/// Points of a line at most, for the same reason.
const POINTS: usize = 600;
/// Rows to each power of ten of latency.
const ROWS_A_DECADE: f64 = 12.0;

pub(super) fn charts(runs: &[Run]) -> Vec<Chart> {
    // One slice is the whole run: there is nothing over time to see.
    let timed: Vec<(usize, &Run)> = runs.iter().enumerate().filter(|(_, run)| run.slices.len() > 1).collect();
    let mut charts: Vec<Chart> = timed.iter().flat_map(|(_, run)| heatmaps(run, runs.len() == 1)).collect();
    charts.extend(throughput(&timed));
    charts.extend(level(
        &timed,
        "Bytes in flight",
        Quantity::Bytes,
        |happened| &happened.inflight_bytes,
        "Bytes granted by the budget and not yet given back, read at the end of each interval; the peak is the \
         highest until then, between readings too. Of processes side by side, those of the one that had most.",
    ));
    charts.extend(level(
        &timed,
        "Operations in flight",
        Quantity::Count,
        |happened| &happened.queue_depth,
        "Operations begun and not ended, read at the end of each interval; the peak is the highest until then, \
         between readings too. Of processes side by side, those of the one that had most.",
    ));
    charts
}

/// Neighbours put together until there are few enough.
fn groups(slices: &[Slice], most: usize) -> std::slice::Chunks<'_, Slice> {
    slices.chunks(slices.len().div_ceil(most).max(1))
}

fn columns(
    slices: &[Slice],
    of: impl Fn(&MetricsSnapshot) -> Option<&HistogramSummary>,
) -> Vec<(f64, f64, HistogramSummary)> {
    let mut columns = Vec::new();
    for group in groups(slices, COLUMNS) {
        let mut sum: Option<HistogramSummary> = None;
        for summary in group.iter().filter_map(|slice| of(&slice.happened)) {
            match &mut sum {
                None => sum = Some(summary.clone()),
                // Of one run, so of one layout; another would be left out rather than drawn wrong.
                Some(sum) => drop(sum.merge(summary)),
            }
        }
        if let (Some(sum), Some(first), Some(last)) = (sum, group.first(), group.last()) {
            columns.push((first.begin.as_secs_f64(), last.end.as_secs_f64(), sum));
        }
    }
    columns
}

fn heatmaps(run: &Run, alone: bool) -> Vec<Chart> {
    let mut charts = Vec::new();
    for name in run.whole.operations.keys() {
        let columns = columns(&run.slices, |happened| Some(&happened.operations.get(name)?.latency_ns));
        let row = |value: u64| ((value.max(1) as f64).log10() * ROWS_A_DECADE).floor() as i64;
        let mut cells: Vec<Cell> = Vec::new();
        let mut lines = [("median", 0.5, Vec::new()), ("p99", 0.99, Vec::new())];
        for (begin, end, summary) in &columns {
            // A rate, so that a longer interval is not darker.
            let length = (end - begin).max(1e-9);
            let mut last = None;
            for &(low, n) in summary.buckets() {
                let (row, rate) = (row(low), n as f64 / length);
                match cells.last_mut().filter(|_| last == Some(row)) {
                    Some(cell) => cell.weight += rate,
                    None => {
                        let edge = |row: i64| 10f64.powf(row as f64 / ROWS_A_DECADE);
                        cells.push(Cell { x: (*begin, *end), y: (edge(row), edge(row + 1)), weight: rate });
                    }
                }
                last = Some(row);
            }
            for (_, fraction, points) in &mut lines {
                if let Some(value) = summary.percentile(*fraction) {
                    points.extend([(*begin, value as f64), (*end, value as f64)]);
                }
            }
        }
        let most = cells.iter().map(|cell| cell.weight).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        for cell in &mut cells {
            // By the logarithm: one slow read among a million is what one looks for. Nothing is invisible.
            let part = (1.0 + cell.weight / most * 999.0).log10() / 3.0;
            cell.weight = part.clamp(0.06, 1.0);
        }
        let x =
            Axis::over("time since the run began", Quantity::Seconds, columns.iter().map(|column| column.1));
        let y =
            Axis::over("latency", Quantity::Nanoseconds, cells.iter().flat_map(|cell| [cell.y.0, cell.y.1]));
        let curves = lines.into_iter().enumerate().map(|(i, (name, _, points))| {
            Mark::Curve(Curve {
                name: name.to_owned(),
                colour: [1, 4][i],
                stroke: [Stroke::Solid, Stroke::Dashed][i],
                steps: true,
                points,
                band: Vec::new(),
            })
        });
        charts.push(Chart {
            title: match alone {
                true => format!("Latency over time, {name}"),
                false => format!("Latency over time, {name}: {}", run.name),
            },
            note: "The darker, the more operations a second took that long (by the logarithm).".to_owned(),
            x,
            y,
            marks: std::iter::once(Mark::Cells(cells)).chain(curves).collect(),
        });
    }
    charts
}

fn line(name: String, colour: usize, stroke: Stroke, points: Vec<(f64, f64)>) -> Mark {
    Mark::Curve(Curve { name, colour, stroke, steps: true, points, band: Vec::new() })
}

fn named(run: &Run, alone: bool, what: &str) -> String {
    if alone { what.to_owned() } else { format!("{}, {what}", run.name) }
}

fn finish(title: &str, note: &str, quantity: Quantity, marks: Vec<Mark>) -> Option<Chart> {
    let points = || {
        marks.iter().flat_map(|mark| match mark {
            Mark::Curve(curve) => &curve.points[..],
            _ => &[],
        })
    };
    points().any(|point| point.1 > 0.0).then(|| Chart {
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::over("time since the run began", Quantity::Seconds, points().map(|point| point.0)),
        y: Axis::over(&title.to_lowercase(), quantity, points().map(|point| point.1)).with_room(),
        marks: marks.clone(),
    })
}

fn throughput(runs: &[(usize, &Run)]) -> Option<Chart> {
    let mut marks = Vec::new();
    for &(colour, run) in runs {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for group in groups(&run.slices, POINTS) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let (begin, end) = (first.begin.as_secs_f64(), last.end.as_secs_f64());
            let bytes: f64 =
                group.iter().map(|slice| slice.happened.counter(Counter::BytesRead) as f64).sum();
            let rate = bytes / (end - begin).max(1e-9);
            points.extend([(begin, rate), (end, rate)]);
        }
        marks.push(line(named(run, runs.len() == 1, "read"), colour, Stroke::Solid, points));
    }
    finish("Throughput", "Bytes read in each interval, over its length.", Quantity::BytesPerSecond, marks)
}

fn level(
    runs: &[(usize, &Run)],
    title: &str,
    quantity: Quantity,
    of: impl Fn(&MetricsSnapshot) -> &GaugeReading,
    note: &str,
) -> Option<Chart> {
    let alone = runs.len() == 1;
    let mut marks = Vec::new();
    for &(colour, run) in runs {
        let (mut levels, mut peaks, mut caps) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups(&run.slices, POINTS) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let (begin, end) = (first.begin.as_secs_f64(), last.end.as_secs_f64());
            let reading = of(&last.happened);
            // Where readings are put together, the highest: it is the one that the cap is for.
            let level = group.iter().map(|slice| of(&slice.happened).level).max().unwrap_or(0);
            levels.push((end, level as f64));
            peaks.extend([(begin, reading.peak as f64), (end, reading.peak as f64)]);
            if let Some(cap) = reading.cap {
                caps.extend([(begin, cap as f64), (end, cap as f64)]);
            }
        }
        let colour = if alone { 0 } else { colour };
        let name = named(run, alone, "at the reading");
        let level =
            Curve { name, colour, stroke: Stroke::Solid, steps: false, points: levels, band: Vec::new() };
        marks.push(Mark::Curve(level));
        marks.push(line(named(run, alone, "peak until then"), colour, Stroke::Dashed, peaks));
        if !caps.is_empty() {
            let colour = if alone { 1 } else { colour + 2 };
            marks.push(line(named(run, alone, "cap"), colour, Stroke::Solid, caps));
        }
    }
    finish(title, note, quantity, marks)
}
