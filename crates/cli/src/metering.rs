//! What commands that read measure, other than the loader's: what their stores were asked and did, written as
//! `--metrics-out` and `--metrics-interval` say, also of a run that fails or is interrupted.

use crate::context::Context;
use crate::cpu::CpuTime;
use crate::failure::Result;
use crate::metrics_out::{Flags, MetricsOut};
use forebay_metrics::RunFacts;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A run that is measured.
#[derive(Debug)]
pub(crate) struct Metering {
    /// None when it has been ended.
    out: Mutex<Option<MetricsOut>>,
    begin: Instant,
    cpu: CpuTime,
}

impl Metering {
    /// Checks the flags. None where they ask for no file.
    pub(crate) fn begin(flags: &Flags, cwd: &Path) -> Result<Option<Metering>> {
        let out = MetricsOut::new(flags, cwd)?;
        Ok(out.map(|out| Metering { out: Mutex::new(Some(out)), begin: Instant::now(), cpu: CpuTime::now() }))
    }

    /// Writes what is known whenever an interval is over, without end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn keep_telling(&self, context: &Context) -> Result<std::convert::Infallible> {
        loop {
            let due = self.out().as_ref().and_then(MetricsOut::due);
            // Without intervals there is nothing to do but at the end.
            let Some(due) = due else { std::future::pending().await };
            tokio::time::sleep_until(due.into()).await;
            if let Some(out) = self.out().as_mut() {
                out.tick(&self.facts(context), &context.collector.snapshot())?;
            }
        }
    }

    /// The run is over. A second call does nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn end(&self, context: &Context) -> Result<()> {
        let out = self.out().take();
        out.map_or(Ok(()), |out| out.end(&self.facts(context), &context.collector.snapshot()))
    }

    /// What a command counts are samples where a loader would deliver them.
    fn facts(&self, context: &Context) -> RunFacts {
        let cpu = CpuTime::now().since(self.cpu);
        let elapsed: Duration = self.begin.elapsed();
        RunFacts {
            cpu_user: Some(cpu.user),
            cpu_system: Some(cpu.system),
            samples: context.tally.things(),
            bytes: context.tally.bytes(),
            ..RunFacts::new(elapsed)
        }
    }

    fn out(&self) -> std::sync::MutexGuard<'_, Option<MetricsOut>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
