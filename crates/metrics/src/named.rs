//! Operations that a program names itself: a convenience over a collector, for steps that no store sees.
//!
//! Unlike what stores report, each costs a look-up by name under a lock that readers share.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::collector::{MetricsCollector, Plans};
use crate::operation::{Backend, CacheUse, Ended, Extent, Operation, Outcome};
use crate::operation_series::Series;
use crate::report::Report;
use crate::run_facts::RunFacts;
use crate::sharded::Sharded;
use crate::snapshot::OperationSummary;
use crate::summary::HistogramSummary;

/// Names that a collector keeps; a program that makes up a name for each sample is told so instead.
const MANY: usize = 1_000;

/// Series by name.
#[derive(Default)]
pub(crate) struct Named(RwLock<BTreeMap<String, Arc<Sharded<Series>>>>);

/// An operation's name that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long or with other characters.
    #[error("operation name {0:?}: 1 to 64 letters of a to z, digits, and any of _ - . must name it")]
    Spelling(String),
    /// One too many.
    #[error("operation name {0:?}: there are 1000 others already; name kinds of operations, not single ones")]
    TooMany(String),
}

impl Named {
    fn series(&self, name: &str) -> Result<Arc<Sharded<Series>>, NameError> {
        if let Some(series) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(series.clone());
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            return Err(NameError::Spelling(name.to_owned()));
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY && !all.contains_key(name) {
            return Err(NameError::TooMany(name.to_owned()));
        }
        Ok(all.entry(name.to_owned()).or_insert_with(|| Arc::new(Sharded::new())).clone())
    }

    pub(crate) fn flush(&self, plans: &Plans) {
        for series in self.0.read().unwrap_or_else(PoisonError::into_inner).values() {
            let (series, writer) = series.mine(|| Series::new(plans));
            series.publish(plans, writer);
        }
    }

    pub(crate) fn summaries(&self, plans: &Plans) -> Vec<(String, OperationSummary)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let summary = |series: &Sharded<Series>| Series::summary(&series.all().collect::<Vec<_>>(), plans);
        all.iter().map(|(name, series)| (name.clone(), summary(series))).collect()
    }
}

impl MetricsCollector {
    /// Counts one operation that was done, and its time and size if it has one. The name of a store's
    /// operation (`get`, `put` …) is counted as that; any other gets a series of its own among the snapshot's
    /// `operations`.
    ///
    /// # Errors
    /// A name that is spelt otherwise than with 1 to 64 small letters, digits, `_`, `-` and `.`, and more than a
    /// thousand of them.
    pub fn record_operation(
        &self,
        name: &str,
        latency: Duration,
        bytes: Option<u64>,
    ) -> Result<(), NameError> {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(&operation) = Operation::ALL.iter().find(|operation| operation.name() == name) {
            let (bytes, cache) = (bytes.unwrap_or(0), CacheUse::NotApplicable);
            let outcome = Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache };
            self.started(1);
            self.ended([Ended { operation, backend: Backend::Other, extent: Extent::Whole, outcome }]);
            return Ok(());
        }
        let series = self.named.series(name)?;
        let (series, writer) = series.mine(|| Series::new(self.plans()));
        series.record(self.plans(), bytes, latency_ns, writer);
        Ok(())
    }

    /// What was counted so far, as text for a terminal.
    pub fn report(&self) -> String {
        Report::new(&self.snapshot(), &RunFacts::default()).without_run().to_string()
    }

    /// The latencies of one operation, in nanoseconds; none if it was never done.
    pub fn latency_summary(&self, name: &str) -> Option<HistogramSummary> {
        self.snapshot().operations.remove(name).map(|operation| operation.latency_ns)
    }
}
