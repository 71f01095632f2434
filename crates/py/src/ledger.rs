//! What a loader has delivered, for its report: sums over epochs, and the stages and queues of the last.

use forebay_metrics::{Report, RunFacts, Snapshot};
use forebay_pipeline::PipelineStats;
use pyo3::prelude::*;
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
    fn now(py: Python<'_>) -> PyResult<Self> {
        let times = py.import("os")?.call_method0("times")?;
        let read = |field: &str| -> PyResult<Duration> {
            let seconds: f64 = times.getattr(field)?.extract()?;
            Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
        };
        Ok(Moment { wall: Instant::now(), cpu: (read("user")?, read("system")?) })
    }
}

impl Ledger {
    /// An epoch begins.
    pub(crate) fn begin(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.begun.is_none() {
            self.begun = Some(Moment::now(py)?);
        }
        self.ended = None;
        self.epochs += 1;
        Ok(())
    }

    /// A batch was delivered.
    pub(crate) fn add(&mut self, samples: u64, bytes: u64) {
        self.batches += 1;
        self.samples += samples;
        self.bytes += bytes;
    }

    /// An epoch is over, at its end or not.
    pub(crate) fn end(&mut self, py: Python<'_>, stats: Option<PipelineStats>) -> PyResult<()> {
        self.seen(stats);
        self.ended = Some(Moment::now(py)?);
        Ok(())
    }

    /// Keeps what the stages and queues of the running epoch say now.
    pub(crate) fn seen(&mut self, stats: Option<PipelineStats>) {
        self.last = stats.or(self.last.take());
    }

    /// Adds stages and queues to what a loader counts.
    pub(crate) fn complete(&self, snapshot: Snapshot) -> Snapshot {
        match &self.last {
            Some(stats) => {
                Snapshot { stages: stats.stages.clone(), queues: stats.queues.clone(), ..snapshot }
            }
            None => snapshot,
        }
    }

    /// The report of a terminal.
    pub(crate) fn report(
        &self,
        py: Python<'_>,
        snapshot: &Snapshot,
        options: &forebay_loader::LoaderOptions,
    ) -> PyResult<String> {
        let now = match self.ended {
            Some(ended) => ended,
            None => Moment::now(py)?,
        };
        let begun = self.begun.unwrap_or(now);
        let facts = RunFacts {
            cpu_user: Some(now.cpu.0.saturating_sub(begun.cpu.0)),
            cpu_system: Some(now.cpu.1.saturating_sub(begun.cpu.1)),
            samples: self.samples,
            batches: self.batches,
            bytes: self.bytes,
            epochs: self.epochs,
            max_bytes_in_flight: Some(options.max_bytes_in_flight),
            page_cache_requested: Some(options.page_cache_mode.name().to_owned()),
            ..RunFacts::new(now.wall.saturating_duration_since(begun.wall))
        };
        Ok(Report::new(snapshot, &facts).to_string())
    }
}
