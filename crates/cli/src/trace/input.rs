//! A trace that a command reads: of which format, and what it takes to read it.

use crate::context::Context;
use crate::failure::Result;
use forebay_trace::import::{ImportOptions, Input, Source};
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

impl InputFlags {
    pub(crate) fn input(&self, path: &Path, context: &Context) -> Result<Input> {
        let base =
            self.base.as_ref().map_or_else(|| context.cwd.to_path_buf(), |base| context.cwd.join(base));
        let options = ImportOptions { bucket: self.bucket.clone(), base: Some(base) };
        // Runs of a long trace are put aside there while it is sorted.
        Ok(Input::new(context.cwd.join(path), self.from, options, std::env::temp_dir())?)
    }
}
