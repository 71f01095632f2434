//! `forebay trace diff`: how two traces differ.

use super::info::describe;
use super::input::InputFlags;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::named_files::NamedFiles;
use forebay_trace::Summary;
use serde_json::json;
use std::path::PathBuf;

/// Compares two traces: what they hold, and how far apart their sizes, latencies and times between operations are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Distances are those of Kolmogorov and Smirnov: 0 for the same distribution, 1 for two that share nothing.

With --json one line: {\"type\": \"trace_diff\", \"a\", \"b\", \"difference\"}.")]
pub(crate) struct Args {
    /// One trace
    a: PathBuf,
    /// The other
    b: PathBuf,
    #[command(flatten)]
    input: InputFlags,
}

impl Args {
    /// The files that it names.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.a);
        named.reads(&self.b);
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let summary = |path| -> Result<Summary> { Ok(args.input.input(path, context)?.info()?.summary) };
    let (a, b) = (summary(&args.a)?, summary(&args.b)?);
    let difference = a.compare(&b);
    if context.console.json() {
        context.console.record(
            &json!({ "type": "trace_diff", "a": a.to_json(), "b": b.to_json(), "difference": difference }),
        )?;
        return Ok(Exit::Done);
    }
    let number = |name: &str| difference[name].as_f64().map_or("-".to_owned(), |n| format!("{n:.3}"));
    context.console.print(format_args!(
        "a: {}\n{}\nb: {}\n{}\n\
         b to a        operations {}   bytes {}   time {}   locations {}\n\
         Distances     sizes {}   latency {}   times between {}\n",
        args.a.display(),
        describe(&a),
        args.b.display(),
        describe(&b),
        number("operations_ratio"),
        number("bytes_ratio"),
        number("span_ratio"),
        number("locations_ratio"),
        number("size_distance"),
        number("latency_distance"),
        number("gap_distance"),
    ))?;
    Ok(Exit::Done)
}
