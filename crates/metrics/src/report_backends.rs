//! The part of a report that tells backends apart, where a run had several.

use std::fmt;

use crate::backend::BackendSummary;
use crate::names::Counter;
use crate::operation::Operation;
use crate::report::{Report, figure, fit};
use crate::units;

/// What layers around a backend did, where they did.
const TROUBLE: [Counter; 8] = [
    Counter::Connections,
    Counter::Retries,
    Counter::Throttles,
    Counter::Hedges,
    Counter::BreakerOpens,
    Counter::Failovers,
    Counter::Downgrades,
    Counter::Unregistered,
];

impl Report<'_> {
    /// What each backend did; nothing where there is one only, of which the rest of the report speaks.
    pub(crate) fn backends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did_something = |(_, backend): &(&String, &BackendSummary)| !backend.operations.is_empty();
        let of_several: Vec<_> = self.snapshot.backends.iter().filter(did_something).collect();
        if of_several.len() < 2 {
            return Ok(());
        }
        let header = format!(
            "{:<13}{:<10}{:>11}{:>8}{:>11}{:>9}{:>9}{:>9}",
            "Backend", "operation", "n", "failed", "bytes", "p50", "p99", "max"
        );
        writeln!(f, "\n{}", self.heading(&header))?;
        for (name, backend) in of_several {
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
            let trouble = TROUBLE.iter().filter_map(|&counter| match backend.counter(counter) {
                0 => None,
                n => Some(format!("{} {}", counter.definition().name.replace('_', " "), units::count(n))),
            });
            // Four of them fit into a line of 80 columns.
            for line in trouble.collect::<Vec<_>>().chunks(4) {
                writeln!(f, "{:<13}{}", "", line.join(", "))?;
            }
        }
        Ok(())
    }
}
