//! The samples that a run went without, for a person to read.

use forebay_loader::{Damage, Quarantine, Treatment};
use forebay_metrics::units;
use std::fmt;

/// So many are written out; a person who needs all of them asks for `--json`.
const SHOWN: usize = 20;

/// What of a dataset was set aside, as text; nothing if nothing was.
pub(crate) struct SetAside<'a>(pub(crate) &'a [Damage]);

impl fmt::Display for SetAside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nSet aside     damage at {} places", units::count(self.0.len() as u64))?;
        for Damage { location, offset, reason } in self.0.iter().take(SHOWN) {
            writeln!(f, "  {location} at offset {offset}: {reason}")?;
        }
        match self.0.len().saturating_sub(SHOWN) as u64 {
            0 => Ok(()),
            more => writeln!(f, "  and {} more; --json has all", units::count(more)),
        }
    }
}

/// A quarantine report as text.
pub(crate) struct Listed<'a>(pub(crate) &'a Quarantine);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SetAside(self.0.damage()).fmt(f)?;
        let all = self.0.samples();
        if all.len() == 0 {
            return Ok(());
        }
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
