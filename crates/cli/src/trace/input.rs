//! A trace that a command reads: of which format, and what it takes to read it.

use crate::context::Context;
use crate::failure::Result;
use forebay_trace::import::{Import, ImportOptions, Source};
use forebay_trace::{Header, Reader, Record, Sorted};
use std::path::{Path, PathBuf};

/// What a trace of another tool may need.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InputFlags {
    /// The format of the trace: forebay, op-log (s3dlio, warp), fio, darshan or strace [default: by its first lines]
    #[arg(long, value_name = "FORMAT")]
    from: Option<Source>,
    /// The bucket of an operation log that names keys alone, as warp's does
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// The directory that relative file names are taken from [default: the working directory]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
}

/// A trace on disk, ready to be read as often as needed.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    path: PathBuf,
    pub(crate) source: Source,
    options: ImportOptions,
}

impl InputFlags {
    pub(crate) fn input(&self, path: &Path, context: &Context) -> Result<Input> {
        let path = context.cwd.join(path);
        let source = match self.from {
            Some(source) => source,
            None => Source::detect(&path)?,
        };
        let base =
            self.base.as_ref().map_or_else(|| context.cwd.to_path_buf(), |base| context.cwd.join(base));
        let options = ImportOptions { bucket: self.bucket.clone(), base: Some(base) };
        Ok(Input { path, source, options })
    }
}

impl Input {
    /// The records as they stand, with what is known about the trace as a whole.
    pub(crate) fn open(&self) -> forebay_trace::Result<Import> {
        Import::open(&self.path, self.source, &self.options)
    }

    /// The records in the order of asking.
    pub(crate) fn sorted(&self) -> forebay_trace::Result<(Header, Sorted)> {
        let import = self.open()?;
        let header = import.header().clone();
        Ok((header, Sorted::new(import, &scratch(), forebay_trace::RUN)?))
    }

    /// Operations that a trace of our own says it lacks; none for others, which do not say.
    pub(crate) fn dropped(&self) -> forebay_trace::Result<Option<u64>> {
        if self.source != Source::Forebay {
            return Ok(None);
        }
        let mut reader = Reader::open(&self.path)?;
        for record in reader.by_ref() {
            record?;
        }
        Ok(Some(reader.dropped()))
    }

    /// How many records there are, and when the last is asked for.
    pub(crate) fn measure(&self) -> forebay_trace::Result<(u64, u64)> {
        let (mut count, mut last) = (0, 0);
        for record in self.open()? {
            let record: Record = record?;
            count += 1;
            last = last.max(record.t_submit);
        }
        Ok((count, last))
    }
}

/// Where runs of a long trace are put aside while it is sorted.
pub(crate) fn scratch() -> PathBuf {
    std::env::temp_dir()
}
