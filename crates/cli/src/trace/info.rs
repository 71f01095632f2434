//! `forebay trace info`: what a trace holds.

use super::input::InputFlags;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::named_files::NamedFiles;
use forebay_metrics::units;
use forebay_trace::Summary;
use std::fmt::Write;
use std::path::PathBuf;

/// Says what a trace holds: operations, sizes, times, and whether anything is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json one line: {\"type\": \"trace_info\", \"header\", \"format\", \"complete\" (null where the format does not say), \"dropped\", \"left_out\", \"lacks\", \"summary\"}; \
times are nanoseconds.")]
pub(crate) struct Args {
    /// The trace
    file: PathBuf,
    #[command(flatten)]
    input: InputFlags,
}

impl Args {
    /// The files that it names.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.file);
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let input = args.input.input(&args.file, context)?;
    let info = input.info()?;
    if context.console.json() {
        let mut line = info.to_json();
        line["type"] = "trace_info".into();
        context.console.record(&line)?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    let _ = writeln!(text, "Trace         {} ({})", args.file.display(), info.source);
    let _ = writeln!(text, "Made by       {} {}", info.header.engine, info.header.host);
    let missing = match info.dropped {
        Some(0) if info.header.part > 0 => {
            format!("INCOMPLETE: it begins with part {}; those before it are other files", info.header.part)
        }
        Some(0) => "complete".to_owned(),
        Some(dropped) => format!("INCOMPLETE: {} operations are missing", units::count(dropped)),
        None => format!("the format does not say; it lacks {}", info.source.lacks().join("; ")),
    };
    let _ = writeln!(text, "Missing       {missing}");
    if info.left_out > 0 {
        let what = "operations on files that the trace does not name";
        let _ = writeln!(text, "Left out      {} {what}", units::count(info.left_out));
    }
    let _ = write!(text, "{}", describe(&info.summary));
    context.console.print(text)?;
    Ok(Exit::Done)
}

/// A summary for people.
pub(super) fn describe(summary: &Summary) -> String {
    let seconds = summary.span as f64 / 1e9;
    let each: Vec<_> =
        summary.operations.iter().map(|(op, n)| format!("{} {op}", units::count(*n))).collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Operations    {} ({}) on {} locations",
        units::count(summary.count()),
        each.join(", "),
        units::count(summary.locations)
    );
    for (status, n) in &summary.failures {
        let _ = writeln!(text, "Failed        {} {status}", units::count(*n));
    }
    let _ = writeln!(text, "Lasted        {}", units::duration(summary.span as f64));
    if seconds > 0.0 {
        let _ = writeln!(
            text,
            "Rate          {} operations/s   {}",
            units::number(summary.count() as f64 / seconds),
            summary.bytes.map_or(String::new(), |bytes| units::mib_per_second(bytes as f64 / seconds))
        );
    }
    if let Some(bytes) = summary.bytes {
        let _ = writeln!(text, "Moved         {}", units::bytes(bytes));
    }
    // Without ends nothing is known about what ran at once.
    if !summary.latency.is_empty() {
        let _ = writeln!(text, "In flight     at most {}", units::count(summary.peak_in_flight));
    }
    for (name, histogram, unit) in [
        ("Sizes", &summary.sizes, units::bytes as fn(u64) -> String),
        ("Latency", &summary.latency, |ns| units::duration(ns as f64)),
        ("Between", &summary.gaps, |ns| units::duration(ns as f64)),
    ] {
        if !histogram.is_empty() {
            let at = |q: f64| unit(histogram.value_at_quantile(q));
            let _ = writeln!(
                text,
                "{name:<14}p50 {}   p90 {}   p99 {}   max {}",
                at(0.5),
                at(0.9),
                at(0.99),
                unit(histogram.max())
            );
        }
    }
    text
}
