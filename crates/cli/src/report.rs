//! `forebay report`: files of metrics printed, merged, turned into other formats and compared.

mod comparison;
mod measured;
mod pace;
mod pictures;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use comparison::Comparison;
use forebay_metrics::draw::Run;
use forebay_metrics::{Report, RunFacts};
use measured::Measured;
use serde_json::json;
use std::path::PathBuf;

/// Prints what `--metrics-out` wrote; several files are merged, as of processes that ran side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file holds what `forebay load --metrics-out FILE.json` or `load --json` wrote, or a snapshot from Python. Of several \
lines the last with metrics is taken: it has everything before it in it. Merging is exact, bucket by bucket. \
A FILE.hlog of --metrics-out has latencies and sizes only.

--html, --svg and --plot draw: latency by percentile on an axis of nines, request sizes, and from a file that was \
written with --metrics-interval also latency as a heatmap over time, throughput, and bytes and operations in flight \
against the cap. With --compare both runs are in the same charts.

--compare tells two runs apart. A percentile's interval holds it with 95 % confidence, for values that do not \
depend on each other (from order statistics, as in Conover, Practical Nonparametric Statistics, 3.2); two percentiles are said to differ where their intervals do not meet. So are two rates, where both files were written \
with --metrics-interval: their intervals are Student's, over the rates of five intervals or more.

With --json one line: {\"type\": \"report\", \"facts\" (null where a file has none), \"metrics\"}, or \
{\"type\": \"comparison\", \"a\", \"b\", \"rows\"}, each row with \"what\", \"unit\", \"a\", \"b\", \"change\" (b over a, \
less 1), \"a_interval\", \"b_interval\" and \"differs\"; null is what is not known.")]
pub(crate) struct Args {
    /// Files of metrics
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare two files instead of merging them
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    pictures: pictures::Flags,
}

impl Args {
    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        self.files.iter().for_each(|file| named.reads(file));
        self.pictures.name_files(named);
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let read = |path: &PathBuf| Measured::read(&context.cwd.join(path));
    if args.compare {
        let [a, b] = &args.files[..] else {
            let n = args.files.len();
            return Err(Failure::usage(format!("--compare takes two files, not {n}")));
        };
        return compare(args, [(a, read(a)?), (b, read(b)?)], context);
    }
    let mut all: Option<Measured> = None;
    for path in &args.files {
        let next = read(path)?;
        match &mut all {
            None => all = Some(next),
            Some(all) => all.merge(next, path)?,
        }
    }
    let Some(all) = all else {
        return Err(Failure::usage("no file to report on"));
    };
    let console = &context.console;
    if all.unfinished {
        console.note("note", "the last line is of a run that had not ended: it was cut off, or still runs");
    }
    let none = RunFacts::default();
    let facts = &all.facts;
    let report = Report::new(&all.snapshot, facts.as_ref().unwrap_or(&none));
    let report = if facts.is_some() { report } else { report.without_run() };
    if console.json() {
        console.record(&json!({ "type": "report", "facts": facts, "metrics": all.snapshot }))?;
    } else {
        console.print(report.coloured(console.out_in_colour()))?;
    }
    let text = report.coloured(false).to_string();
    let names: Vec<_> = args.files.iter().map(|path| path.display().to_string()).collect();
    let name = names.join(" + ");
    let run = Run { name: name.clone(), whole: all.snapshot.clone(), slices: all.slices };
    args.pictures.draw(&name, &text, &[run], context)?;
    Ok(Exit::Done)
}

fn compare(args: &Args, files: [(&PathBuf, Measured); 2], context: &Context) -> Result<Exit> {
    let console = &context.console;
    let [(a_path, a), (b_path, b)] = files;
    let comparison = Comparison::of(&a, &b);
    let [a_name, b_name] = [a_path, b_path].map(|path| path.display().to_string());
    let text = format!("a: {a_name}\nb: {b_name}\n\n{comparison}");
    if console.json() {
        let rows = comparison.to_json();
        console.record(&json!({ "type": "comparison", "a": a_name, "b": b_name, "rows": rows }))?;
    } else {
        console.print(&text)?;
    }
    let title = format!("{a_name} and {b_name}");
    let runs = [(a_name, a), (b_name, b)].map(|(name, measured)| Run {
        name,
        whole: measured.snapshot,
        slices: measured.slices,
    });
    args.pictures.draw(&title, &text, &runs, context)?;
    Ok(Exit::Done)
}
