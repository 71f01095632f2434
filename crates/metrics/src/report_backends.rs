//! The part of a report that tells backends apart, where a run had several.

use std::fmt;

use crate::operation::Operation;
use crate::report::{Report, figure, fit};
use crate::units;

impl Report<'_> {
    /// What each backend did; nothing where there is one only, of which the rest of the report speaks.
    pub(crate) fn backends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshot.backends.len() < 2 {
            return Ok(());
        }
        let header = format!(
            "{:<13}{:<10}{:>11}{:>8}{:>11}{:>9}{:>9}{:>9}",
            "Backend", "operation", "n", "failed", "bytes", "p50", "p99", "max"
        );
        writeln!(f, "\n{}", self.heading(&header))?;
        for (name, backend) in &self.snapshot.backends {
            let mut name = name.as_str();
            for &operation in Operation::ALL {
                let Some(summary) = backend.operation(operation) else { continue };
                let latency = &summary.latency_ns;
                let failed: u64 = summary.failures.values().sum();
                writeln!(
                    f,
                    "{:<13}{:<10}{:>11}{:>8}{:>11}{:>9}{:>9}{:>9}",
                    fit(name, 12),
                    operation.name(),
                    units::count(summary.ops),
                    units::count(failed),
                    units::bytes(summary.bytes),
                    figure(latency.percentile(0.5)),
                    figure(latency.percentile(0.99)),
                    figure(latency.max())
                )?;
                name = "";
            }
        }
        Ok(())
    }
}
