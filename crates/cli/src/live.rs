//! `load --progress`: one line that says how a run goes now: MiB/s, p99 and readiness of the last half second, not
//! of the whole run, because what one looks for is when it changes.

use crate::context::Context;
use clap::ValueEnum;
use forebay_metrics::{HistogramSummary, MetricsSnapshot, QueueRole, units};
use indicatif::ProgressBar;
use std::time::{Duration, Instant};

/// A person reads no faster, and a reading of every counter should cost the run nothing one can measure.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Lines in a file or a pipe are kept, so there are fewer.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Whether progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, without --json
    #[default]
    Auto,
    /// Also elsewhere, as a line on standard error every five seconds and at the end of each epoch
    Always,
    /// Not at all
    Never,
}

/// The line of a run.
pub(crate) struct Live {
    bar: ProgressBar,
    /// Lines of their own, where there is no terminal to redraw one on.
    lines: bool,
    shown: bool,
    epochs: u64,
    epoch: u64,
    /// None while a listing goes on.
    batches: Option<u64>,
    done: u64,
    next: Instant,
    before: Reading,
}

/// What the line is made of, at one moment.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    bytes: u64,
    latency: Option<HistogramSummary>,
    /// Of the sink of this epoch: for how long it was watched, and for how long it was empty.
    sink: Option<(u64, u64)>,
}

impl Reading {
    fn of(snapshot: &MetricsSnapshot, bytes: u64) -> Reading {
        let mut latency: Option<HistogramSummary> = None;
        for name in ["get", "read"] {
            let Some(operation) = snapshot.operations.get(name) else { continue };
            match &mut latency {
                None => latency = Some(operation.latency_ns.clone()),
                // Both are of one collector, so of one layout.
                Some(sum) => drop(sum.merge(&operation.latency_ns)),
            }
        }
        let sink = snapshot.queues.iter().find(|queue| queue.role == QueueRole::Sink);
        let sink = sink.map(|queue| (queue.measured_ns, queue.empty_ns));
        Reading { at: Instant::now(), bytes, latency, sink }
    }

    /// `1,234 MiB/s  p99 3.20 ms  ready 98.2 %`, of what happened since `before`.
    fn since(&self, before: &Reading) -> String {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-9);
        let rate = units::mib_per_second(self.bytes.saturating_sub(before.bytes) as f64 / seconds);
        let between = match (&self.latency, &before.latency) {
            (Some(now), Some(then)) => now.since(then).ok(),
            (now, _) => now.clone(),
        };
        let p99 = between.and_then(|latency| latency.percentile(0.99));
        let p99 = p99.map_or("-".to_owned(), |ns| units::duration(ns as f64));
        // Each epoch has a sink of its own: one that was watched for less than before is another.
        let (measured, empty) = match (self.sink, before.sink) {
            (Some(now), Some(then)) if now.0 >= then.0 && now.1 >= then.1 => (now.0 - then.0, now.1 - then.1),
            (now, _) => now.unwrap_or_default(),
        };
        let ready = match measured {
            0 => "-".to_owned(),
            _ => units::percent((1.0 - empty as f64 / measured as f64).clamp(0.0, 1.0)),
        };
        format!("{rate}  p99 {p99}  ready {ready}")
    }
}

impl Live {
    /// Of a run of so many epochs, each of so many batches where that is known.
    pub(crate) fn new(context: &Context, when: When, epochs: u64, batches: Option<u64>) -> Self {
        let bar = match when {
            When::Never => ProgressBar::hidden(),
            When::Auto | When::Always => context.console.batch_bar(batches),
        };
        let lines = when == When::Always && bar.is_hidden();
        let before = Reading::of(&MetricsSnapshot::default(), 0);
        let mut live = Live {
            shown: lines || !bar.is_hidden(),
            bar,
            lines,
            epochs,
            epoch: 0,
            batches,
            done: 0,
            next: before.at,
            before,
        };
        live.next += live.every();
        live
    }

    fn every(&self) -> Duration {
        if self.lines { LINE_EVERY } else { TELL_EVERY }
    }

    pub(crate) fn begin_epoch(&mut self, epoch: u64) {
        (self.epoch, self.done) = (epoch, 0);
        self.bar.set_position(0);
        self.bar.set_prefix(format!("epoch {}/{}", epoch + 1, self.epochs));
    }

    pub(crate) fn delivered(&mut self) {
        self.done += 1;
        self.bar.inc(1);
    }

    /// When the line is due; none where nobody sees it.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.shown.then_some(self.next)
    }

    /// Says how it goes, from what was measured until now and the bytes that were delivered.
    pub(crate) fn tell(&mut self, snapshot: &MetricsSnapshot, bytes: u64, context: &Context) {
        let now = Reading::of(snapshot, bytes);
        let text = now.since(&self.before);
        self.next = now.at + self.every();
        self.before = now;
        if self.lines {
            let (epoch, epochs) = (self.epoch + 1, self.epochs);
            let of = self.batches.map_or_else(String::new, |all| format!("/{}", units::count(all)));
            let done = units::count(self.done);
            context.console.progress_line(format_args!("epoch {epoch}/{epochs}  {done}{of} batches  {text}"));
        } else {
            self.bar.set_message(text);
        }
    }

    /// Whether a line is owed at the end of an epoch.
    pub(crate) fn tells_ends(&self) -> bool {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_metrics::{Digits, Layout, PerformanceHistogram};

    #[test]
    fn the_line_is_of_what_happened_since_the_last_one() {
        let latency = PerformanceHistogram::new(Layout::latency(Digits::THREE));
        let at = Instant::now();
        latency.record_all(std::iter::repeat_n(1_000_000_000, 500));
        let before =
            Reading { at, bytes: 1 << 40, latency: Some(latency.summary()), sink: Some((1_000, 1_000)) };
        latency.record_all(std::iter::repeat_n(2_000_000, 500));
        let now = Reading {
            at: at + Duration::from_secs(2),
            bytes: (1 << 40) + (100 << 20),
            latency: Some(latency.summary()),
            sink: Some((5_000, 2_000)),
        };
        assert_eq!(now.since(&before), "50.0 MiB/s  p99 2.00 ms  ready 75.0 %");
        let nothing = now.clone();
        assert_eq!(nothing.since(&now), "0.00 MiB/s  p99 -  ready -");
        let next_epoch = Reading { sink: Some((100, 50)), ..now.clone() };
        assert!(next_epoch.since(&now).ends_with("ready 50.0 %"));
    }
}
