//! A trace on disk as commands and bindings use it: of which format, what it takes to read it, and what is
//! done with it as a whole. The file is read once for each thing that is done.

use super::{Import, ImportOptions, Source};
use crate::error::Result;
use crate::export::{self, Exported, Target};
use crate::replay::Plan;
use crate::{Header, RUN, Sorted, Summary};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A trace on disk, ready to be read as often as needed.
#[derive(Debug, Clone)]
pub struct Input {
    path: PathBuf,
    source: Source,
    options: ImportOptions,
    scratch: PathBuf,
}

/// A trace in the order of asking, with what is known about it as a whole.
pub struct Ordered {
    /// Its first line, or what an importer makes up for one.
    pub header: Header,
    /// Its records.
    pub records: Sorted,
    /// Operations that it says it lacks; none where its format does not say.
    pub dropped: Option<u64>,
    /// Operations left out because what they were on is not known ([`Import::left_out`]).
    pub left_out: u64,
}

/// What a trace holds.
#[derive(Debug, Clone)]
pub struct Info {
    /// Its first line, or what an importer makes up for one.
    pub header: Header,
    /// Its format.
    pub source: Source,
    /// Operations that it says it lacks; none where its format does not say.
    pub dropped: Option<u64>,
    /// Operations left out because what they were on is not known ([`Import::left_out`]).
    pub left_out: u64,
    /// Its operations in numbers.
    pub summary: Summary,
}

/// What became of a conversion.
#[derive(Debug, Clone, Copy)]
pub struct Converted {
    /// Records written and left out.
    pub exported: Exported,
    /// Operations that the source says it lacks; 0 where its format does not say.
    pub dropped: u64,
    source: Source,
    target: Target,
}

impl Input {
    /// A trace at `path`, of the format `source` or of the one that its first lines look like. `scratch` is a directory
    /// for what does not fit into memory while it is sorted.
    ///
    /// # Errors
    /// Those of [`Source::detect`], where no format is given.
    pub fn new(
        path: impl Into<PathBuf>,
        source: Option<Source>,
        options: ImportOptions,
        scratch: impl Into<PathBuf>,
    ) -> Result<Input> {
        let path = path.into();
        let source = match source {
            Some(source) => source,
            None => Source::detect(&path)?,
        };
        Ok(Input { path, source, options, scratch: scratch.into() })
    }

    /// Its format.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The records as they stand.
    ///
    /// # Errors
    /// Those of [`Import::open`].
    pub fn open(&self) -> Result<Import> {
        Import::open(&self.path, self.source, &self.options)
    }

    /// The records in the order of asking.
    ///
    /// # Errors
    /// Those of the trace and of scratch files.
    pub fn ordered(&self) -> Result<Ordered> {
        let mut import = self.open()?;
        let records = Sorted::new(&mut import, &self.scratch, RUN)?;
        // Parts of a trace in several files have headers of their own; the first one speaks for all.
        let (header, dropped, left_out) = (import.header().clone(), import.dropped(), import.left_out());
        Ok(Ordered { header, records, dropped, left_out })
    }

    /// What the trace holds.
    ///
    /// # Errors
    /// Those of the trace and of scratch files.
    pub fn info(&self) -> Result<Info> {
        let Ordered { header, records, dropped, left_out } = self.ordered()?;
        Ok(Info { header, source: self.source, dropped, left_out, summary: Summary::of(records)? })
    }

    /// The trace as something to replay.
    pub fn plan(&self) -> Plan {
        let input = self.clone();
        Plan::new(move || Ok(Box::new(input.open()?)), &self.scratch)
    }

    /// Writes the trace to `out` in another format, in the order of asking.
    ///
    /// # Errors
    /// Those of the trace, of scratch files and of `out`.
    pub fn convert(&self, out: &Path, target: Target) -> Result<Converted> {
        let Ordered { header, records, dropped, left_out } = self.ordered()?;
        let dropped = dropped.unwrap_or(0);
        let mut exported = export::write(out, target, &header, records, dropped)?;
        exported.left_out += left_out;
        Ok(Converted { exported, dropped, source: self.source, target })
    }
}

impl Info {
    /// Whether nothing is missing, also of parts before this one; none where the format does not say.
    pub fn is_complete(&self) -> Option<bool> {
        self.dropped.map(|dropped| dropped == 0 && self.header.part == 0)
    }

    /// All of it, times in nanoseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "header": self.header,
            "format": self.source.name(),
            "complete": self.is_complete(),
            "dropped": self.dropped,
            "left_out": self.left_out,
            "lacks": self.source.lacks(),
            "summary": self.summary.to_json(),
        })
    }
}

impl Converted {
    /// All of it, with what the source lacks and the target loses.
    pub fn to_json(&self) -> Value {
        json!({
            "written": self.exported.written,
            "left_out": self.exported.left_out,
            "dropped": self.dropped,
            "lacks": self.source.lacks(),
            "loses": self.target.loses(),
        })
    }
}
