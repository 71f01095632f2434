//! `report --html`, `--svg` and `--plot`: the charts of the runs, in a file or on the terminal.

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use forebay_io::Kind;
use forebay_metrics::draw::{Chart, Plot, Run, charts, html, svg};
use std::path::{Path, PathBuf};

/// How charts are shown.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Also write the report and its charts to FILE, as a page that needs no other file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the charts to FILE, as one picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also draw the charts on the terminal, as wide as it is; =ascii without characters beyond ASCII
    #[arg(long, value_name = "ALPHABET", num_args = 0..=1, require_equals = true, default_missing_value = "unicode", conflicts_with = "json")]
    plot: Option<Alphabet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Alphabet {
    Unicode,
    Ascii,
}

impl Flags {
    /// The files that they name.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        self.html.iter().for_each(|file| named.writes("--html", file));
        self.svg.iter().for_each(|file| named.writes("--svg", file));
    }

    /// Draws, if any of the flags was given. `text` is what the terminal is told.
    pub(super) fn draw(&self, title: &str, text: &str, runs: &[Run], context: &Context) -> Result<()> {
        if self.html.is_none() && self.svg.is_none() && self.plot.is_none() {
            return Ok(());
        }
        let charts = charts(runs);
        if charts.is_empty() {
            return Err(Failure::refused(
                Kind::InvalidConfig,
                "nothing to draw: no operation of these runs came to its end",
            ));
        }
        if runs.iter().all(|run| run.slices.len() < 2) {
            let advice = "charts over time take a --metrics-interval SECONDS that the run is longer than";
            context.console.note("note", format_args!("only totals were written down; {advice}"));
        }
        if let Some(path) = &self.html {
            write(&context.cwd.join(path), &html(title, text, &charts))?;
        }
        if let Some(path) = &self.svg {
            write(&context.cwd.join(path), &svg(&charts))?;
        }
        match self.plot {
            Some(alphabet) => plot(&charts, alphabet, context),
            None => Ok(()),
        }
    }
}

fn plot(charts: &[Chart], alphabet: Alphabet, context: &Context) -> Result<()> {
    let console = &context.console;
    for chart in charts {
        let plot = Plot::new(chart)
            .width(console.out_columns().unwrap_or(80).min(160))
            .ascii(alphabet == Alphabet::Ascii)
            .coloured(console.out_in_colour());
        console.print(format_args!("\n{plot}"))?;
    }
    Ok(())
}

/// The whole file or none of it.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(|error| {
        // Best effort: what went wrong with the file itself is what there is to say.
        let _ = std::fs::remove_file(&part);
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            _ => Kind::Unavailable,
        };
        Failure::refused(kind, format!("cannot write {}: {error}", path.display()))
    })
}
