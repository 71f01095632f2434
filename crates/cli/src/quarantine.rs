//! The samples that a run went without, for a person to read.

use forebay_loader::{Quarantine, Treatment};
use forebay_metrics::units;
use std::fmt;

/// So many are written out; a person who needs all of them asks for `--json`.
const SHOWN: usize = 20;

/// A quarantine report as text.
pub(crate) struct Listed<'a>(pub(crate) &'a Quarantine);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.samples();
        let (skipped, substituted) = (units::count(self.0.skipped()), units::count(self.0.substituted()));
        writeln!(f, "\nQuarantine    {skipped} skipped, {substituted} substituted")?;
        let more = all.len().saturating_sub(SHOWN) as u64 + self.0.unlisted();
        for sample in all.take(SHOWN) {
            write!(f, "  sample {} {} x: {}", sample.sample, sample.times, sample.reason)?;
            match sample.treatment {
                Treatment::Substituted { by } => writeln!(f, " (sample {by} in its place)")?,
                _ => writeln!(f)?,
            }
        }
        if more > 0 {
            writeln!(f, "  and {} more; --json has up to {}", units::count(more), Quarantine::MOST_LISTED)?;
        }
        Ok(())
    }
}
