//! What a loader has delivered, for its report: sums over epochs, and the stages and queues of the last.

use crate::cpu;
use forebay_metrics::{MetricsSnapshot, Report, RunFacts};
use forebay_pipeline::PipelineStats;
use std::time::{Duration, Instant};

/// Locked with the interpreter's lock held, and for an addition at most.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    begun: Option<Moment>,
    /// When the last epoch ended; none while one is under way.
    ended: Option<Moment>,
    samples: u64,
    batches: u64,
    bytes: u64,
    epochs: u64,
    last: Option<PipelineStats>,
}

/// A reading of the clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    wall: Instant,
    /// Processor time of the process, in user mode and in the kernel.
    cpu: (Duration, Duration),
}

impl Moment {
    fn now() -> Self {
        Moment { wall: Instant::now(), cpu: cpu::times() }
    }
}

impl Ledger {
    /// An epoch begins.
    pub(crate) fn begin(&mut self) {
        self.begun.get_or_insert_with(Moment::now);
        self.ended = None;
        self.epochs += 1;
    }

    /// A batch was delivered.
    pub(crate) fn add(&mut self, samples: u64, bytes: u64) {
        self.batches += 1;
        self.samples += samples;
        self.bytes += bytes;
    }

    /// An epoch is over, at its end or not.
    pub(crate) fn end(&mut self, stats: Option<PipelineStats>) {
        self.seen(stats);
        self.ended = Some(Moment::now());
    }

    /// Keeps what the stages and queues of the running epoch say now.
    pub(crate) fn seen(&mut self, stats: Option<PipelineStats>) {
        self.last = stats.or(self.last.take());
    }

    /// Adds stages and queues to what a loader counts.
    pub(crate) fn complete(&self, snapshot: MetricsSnapshot) -> MetricsSnapshot {
        match &self.last {
            Some(stats) => {
                MetricsSnapshot { stages: stats.stages.clone(), queues: stats.queues.clone(), ..snapshot }
            }
            None => snapshot,
        }
    }

    /// The report of a terminal.
    pub(crate) fn report(
        &self,
        snapshot: &MetricsSnapshot,
        options: &forebay_loader::LoaderOptions,
    ) -> String {
        Report::new(snapshot, &self.facts(options)).to_string()
    }

    /// What only the one who runs the loader can know.
    pub(crate) fn facts(&self, options: &forebay_loader::LoaderOptions) -> RunFacts {
        let now = self.ended.unwrap_or_else(Moment::now);
        let begun = self.begun.unwrap_or(now);
        RunFacts {
            cpu_user: Some(now.cpu.0.saturating_sub(begun.cpu.0)),
            cpu_system: Some(now.cpu.1.saturating_sub(begun.cpu.1)),
            samples: self.samples,
            batches: self.batches,
            bytes: self.bytes,
            epochs: self.epochs,
            max_bytes_in_flight: Some(options.max_bytes_in_flight),
            page_cache_requested: Some(options.page_cache_mode.name().to_owned()),
            ..RunFacts::new(now.wall.saturating_duration_since(begun.wall))
        }
    }
}
