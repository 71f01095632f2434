//! `forebay trace convert`: from and to what other tools write.

use super::input::InputFlags;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use forebay_metrics::units;
use forebay_trace::export::Target;
use std::path::PathBuf;

/// Converts a trace, and says what is lost. Records come out in the order in which they were asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats to read: forebay, op-log (s3dlio, MinIO warp), fio (I/O log 2 and 3), darshan (DXT text), strace (-f -ttt). \
Formats to write: forebay (.jsonl), fio (.iolog), op-log (.tsv), csv, parquet, chrome \
(.json: a timeline for ui.perfetto.dev); .zst compresses all but parquet.

With --json one line: {\"type\": \"trace_converted\", \"written\", \"left_out\", \"dropped\", \"lacks\", \"loses\"}.")]
pub(crate) struct Args {
    /// The trace to read
    file: PathBuf,
    /// The trace to write
    out: PathBuf,
    /// The format to write [default: by the name]
    #[arg(long, value_name = "FORMAT")]
    to: Option<Target>,
    #[command(flatten)]
    input: InputFlags,
}

impl Args {
    /// The files that it names.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.file);
        named.writes("OUT", &self.out);
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let target = args.to.or_else(|| Target::of(&args.out)).ok_or_else(|| {
        let names: Vec<_> = Target::ALL.iter().map(|target| target.name()).collect();
        Failure::usage(format!(
            "the name {:?} does not say which format to write; give --to with one of {}",
            args.out.display(),
            names.join(", ")
        ))
    })?;
    let input = args.input.input(&args.file, context)?;
    let converted = input.convert(&context.cwd.join(&args.out), target)?;
    let exported = converted.exported;
    context.tally.add_things(exported.written);
    if context.console.json() {
        let mut line = converted.to_json();
        line["type"] = "trace_converted".into();
        context.console.record(&line)?;
        return Ok(Exit::Done);
    }
    context.console.print(format_args!(
        "wrote {} operations to {} ({target}); left out {}\n",
        units::count(exported.written),
        args.out.display(),
        units::count(exported.left_out)
    ))?;
    for (name, notes) in [("not in the source", input.source().lacks()), ("lost on the way", target.loses())]
    {
        for note in notes {
            context.console.note(name, note);
        }
    }
    if converted.dropped > 0 {
        context
            .console
            .note("incomplete", format!("the source lacks {} operations", units::count(converted.dropped)));
    }
    Ok(Exit::Done)
}
