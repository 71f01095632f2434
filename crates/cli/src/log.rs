//! `--log` and `FOREBAY_LOG`: what happens inside, on standard error. Operations, batches and tasks of stages are
//! spans; a line is written when one closes, with how long it was open.

use crate::console::Console;
use crate::failure::{Failure, Result};
use std::io::{self, Write};
use std::sync::Arc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What `--help` says about filters.
pub(crate) const HELP: &str = "\
Say what happens inside on standard error: FILTER is error, warn, info, debug or trace for everything, or \
TARGET=LEVEL,TARGET=LEVEL,… [env: FOREBAY_LOG]

Targets are forebay::operation (what stores are asked), forebay::batch and forebay::stage, all at level debug: \
`--log forebay=debug` has them all, `--log forebay::batch=debug` one of them. A line is written when one ends, \
with the time it was worked on (busy) and waited for (idle). With --json lines are JSON.";

/// Begins to write what the filter lets through; nothing without one.
///
/// # Errors
/// Wrong usage if the filter cannot be read.
pub(crate) fn begin(option: Option<&str>, console: &Arc<Console>) -> Result<()> {
    let (origin, text) = match (option, std::env::var("FOREBAY_LOG")) {
        (Some(text), _) => ("--log", text.to_owned()),
        (None, Ok(text)) if !text.is_empty() => ("FOREBAY_LOG", text),
        (None, Err(std::env::VarError::NotUnicode(_))) => {
            return Err(Failure::usage("FOREBAY_LOG is not UTF-8"));
        }
        (None, _) => return Ok(()),
    };
    let filter: Targets = text.parse().map_err(|error| {
        let valid = "a level (error, warn, info, debug, trace), or TARGET=LEVEL,…, such as forebay=debug";
        Failure::usage(format!("{origin} {text:?}: {error}; valid is {valid}"))
    })?;
    let lines = fmt::layer()
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(console.err_in_colour())
        .with_writer(ToConsole(console.clone()));
    let layer = match console.json() {
        true => lines.json().with_filter(filter).boxed(),
        false => lines.with_filter(filter).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|error| Failure::usage(format!("{origin}: {error}")))
}

struct ToConsole(Arc<Console>);

impl<'a> MakeWriter<'a> for ToConsole {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { console: &self.0, text: Vec::new() }
    }
}

/// A line that is written in one piece, past a progress bar.
struct Line<'a> {
    console: &'a Console,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.console.err_bytes(&self.text);
    }
}
