//! A recording of what a command asks its stores, and `forebay trace record`, which loads and records.

use crate::console::Console;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::load;
use crate::metrics_out;
use crate::named_files::NamedFiles;
use forebay_io::Observe;
use forebay_metrics::units;
use forebay_trace::{Clock, Header, Recorder, RecorderOptions};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Loads as `forebay load` does, and records every operation. (Every command records with --trace FILE.)
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The trace to write; `.zst` at its end compresses
    out: PathBuf,
    #[command(flatten)]
    load: load::Args,
}

impl Args {
    pub(crate) fn out(&self) -> &PathBuf {
        &self.out
    }

    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.writes("OUT", &self.out);
        self.load.name_files(named);
    }

    pub(crate) fn chrome_trace(&self) -> Option<&PathBuf> {
        self.load.chrome_trace()
    }

    pub(crate) fn metrics(&self) -> &metrics_out::Flags {
        self.load.metrics()
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    load::run(args.load, context).await
}

/// What a trace of this command says first, and the instant from which its times count.
pub(crate) fn header(arguments: &[String]) -> (Header, Instant) {
    let origin = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = Clock::now(since_1970);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let engine = concat!("forebay ", env!("CARGO_PKG_VERSION"));
    let mut options = Map::new();
    options.insert("command".into(), Value::from(arguments.to_vec()));
    (Header { options, ..Header::new(engine, host, clock) }, origin)
}

/// A recording under way.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    path: PathBuf,
}

impl Recording {
    /// Begins to record into `path`. `arguments` are the command's own.
    pub(crate) fn begin(path: &Path, arguments: &[String], rotate_bytes: Option<u64>) -> Result<Recording> {
        let (header, origin) = header(arguments);
        let options = RecorderOptions { rotate_bytes, ..RecorderOptions::default() };
        let recorder = Recorder::create(path, header, origin, &options)?;
        Ok(Recording { recorder, path: path.to_owned() })
    }

    /// What stores tell of their operations.
    pub(crate) fn observer(&self) -> Arc<dyn Observe> {
        self.recorder.clone()
    }

    /// Ends the trace and says what became of it.
    pub(crate) fn end(&self, console: &Console) {
        let Some(recorded) = self.recorder.finish() else { return };
        if console.json() {
            console.err_record(&json!({ "trace": recorded.to_json() }));
            return;
        }
        let mut text = format!(
            "{} operations in {} ({})",
            units::count(recorded.records),
            self.path.display(),
            units::bytes(recorded.bytes)
        );
        if recorded.files.len() > 1 {
            text += &format!(" and {} files more", recorded.files.len() - 1);
        }
        if recorded.dropped > 0 {
            text += &format!("; INCOMPLETE: {} are missing", units::count(recorded.dropped));
        }
        if let Some(failure) = recorded.failure {
            text += &format!("; recording ended early: {failure}");
        }
        console.note("traced", text);
    }
}
