//! `forebay report`: files of metrics printed, merged, turned into other formats and compared.

mod comparison;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use comparison::Comparison;
use forebay_io::Kind;
use forebay_metrics::{MetricsSnapshot, Report, RunFacts};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Prints what `--metrics-out` wrote; several files are merged, as of processes that ran side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file holds what `forebay load --metrics-out FILE.json` or `load --json` wrote, or a snapshot from Python. Of several \
lines the last with metrics is taken: it has everything before it in it. Merging is exact, bucket by bucket.

--compare tells two runs apart. A percentile's interval holds it with 95 % confidence, for values that do not \
depend on each other; two percentiles are said to differ where their intervals do not meet.

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
}

/// What a file holds.
pub(super) struct Measured {
    /// None in a bare snapshot.
    facts: Option<RunFacts>,
    snapshot: MetricsSnapshot,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let read = |path: &PathBuf| Measured::read(&context.cwd.join(path));
    if args.compare {
        let [a, b] = &args.files[..] else {
            let n = args.files.len();
            return Err(Failure::usage(format!("--compare takes two files, not {n}")));
        };
        return compare(a, b, &Comparison::of(&read(a)?, &read(b)?), context);
    }
    let mut all: Option<Measured> = None;
    for path in &args.files {
        let next = read(path)?;
        match &mut all {
            None => all = Some(next),
            Some(all) => all.merge(next, path)?,
        }
    }
    let Some(Measured { facts, snapshot }) = all else {
        return Err(Failure::usage("no file to report on"));
    };
    let console = &context.console;
    if console.json() {
        console.record(&json!({ "type": "report", "facts": facts, "metrics": snapshot }))?;
        return Ok(Exit::Done);
    }
    let none = RunFacts::default();
    let report = Report::new(&snapshot, facts.as_ref().unwrap_or(&none)).coloured(console.out_in_colour());
    console.print(if facts.is_some() { report } else { report.without_run() })?;
    Ok(Exit::Done)
}

fn compare(a: &Path, b: &Path, comparison: &Comparison, context: &Context) -> Result<Exit> {
    let console = &context.console;
    let [a, b] = [a, b].map(|path| path.display().to_string());
    if console.json() {
        let rows = comparison.to_json();
        console.record(&json!({ "type": "comparison", "a": a, "b": b, "rows": rows }))?;
    } else {
        console.print(format_args!("a: {a}\nb: {b}\n\n{comparison}"))?;
    }
    Ok(Exit::Done)
}

impl Measured {
    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Denied,
                std::io::ErrorKind::InvalidData => Kind::Corrupt,
                _ => Kind::Unavailable,
            };
            Failure::refused(kind, format!("cannot read metrics from {shown}: {error}"))
        })?;
        let corrupt = |why: String| Failure::refused(Kind::Corrupt, format!("{shown}: {why}"));
        let mut last = None;
        for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let value = value.map_err(|error| corrupt(format!("not JSON: {error}")))?;
            if value.get("metrics").is_some() || value.get("schema_version").is_some() {
                last = Some(value);
            }
        }
        let Some(mut value) = last else {
            return Err(corrupt("no line has metrics, such as --metrics-out FILE.json writes".to_owned()));
        };
        let facts = match value.get_mut("facts").map(Value::take) {
            None | Some(Value::Null) => None,
            Some(facts) => {
                Some(serde_json::from_value(facts).map_err(|error| corrupt(format!("facts: {error}")))?)
            }
        };
        let snapshot = value.get_mut("metrics").map(Value::take).unwrap_or(value);
        let snapshot =
            MetricsSnapshot::from_json(&snapshot.to_string()).map_err(|error| corrupt(error.to_string()))?;
        Ok(Measured { facts, snapshot })
    }

    fn merge(&mut self, other: Measured, path: &Path) -> Result<()> {
        self.snapshot
            .merge(&other.snapshot)
            .map_err(|error| Failure::refused(Kind::Corrupt, format!("{}: {error}", path.display())))?;
        self.facts = match (self.facts.take(), other.facts) {
            (Some(mut ours), Some(theirs)) => {
                ours.merge(&theirs);
                Some(ours)
            }
            // Part of it would pass for the whole.
            _ => None,
        };
        Ok(())
    }
}
