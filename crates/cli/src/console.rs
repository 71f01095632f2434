//! Where a command writes: results to standard output, everything about them to standard error.
//!
//! This is the only place that knows whether someone looks at a terminal. Colours and progress bars
//! appear there only; with `--json` there are neither, and each line is one JSON value.

use crate::failure::{Failure, Result};
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Errors, as the parser of the command line shows them.
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Things to know that are not errors.
const NOTE: Style = AnsiColor::Yellow.on_default().bold();

/// Standard output and standard error of one command.
#[derive(Debug)]
pub(crate) struct Console {
    json: bool,
    out_is_terminal: bool,
    out_in_colour: bool,
    err_in_colour: bool,
    out: Mutex<BufWriter<Stdout>>,
    bar: OnceLock<ProgressBar>,
}

impl Console {
    /// The console of this process. `NO_COLOR` and `CLICOLOR` are honoured.
    pub(crate) fn new(json: bool) -> Self {
        let coloured = |choice| !json && choice != ColorChoice::Never;
        Console {
            json,
            out_is_terminal: io::stdout().is_terminal(),
            out_in_colour: coloured(AutoStream::choice(&io::stdout())),
            err_in_colour: coloured(AutoStream::choice(&io::stderr())),
            out: Mutex::new(BufWriter::with_capacity(64 << 10, io::stdout())),
            bar: OnceLock::new(),
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether a person reads standard output directly.
    pub(crate) fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether standard output takes colours.
    pub(crate) fn out_in_colour(&self) -> bool {
        self.out_in_colour
    }

    /// How many columns the terminal has that standard output is, if it is one and says so.
    pub(crate) fn out_columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (self.out_is_terminal && size.ws_col > 0).then_some(size.ws_col.into())
    }

    /// Whether standard error takes colours.
    pub(crate) fn err_in_colour(&self) -> bool {
        self.err_in_colour
    }

    /// Writes whole lines to standard error.
    pub(crate) fn err_bytes(&self, lines: &[u8]) {
        let write = || drop(io::stderr().lock().write_all(lines));
        match self.bar.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Writes bytes to standard output as they are. They may stay in our buffer until
    /// [`Console::flush`].
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.locked(|out| out.write_all(bytes))
    }

    /// Writes a text to standard output, and everything before it.
    pub(crate) fn print(&self, text: impl Display) -> Result<()> {
        self.locked(|out| {
            write!(out, "{text}")?;
            out.flush()
        })
    }

    /// Writes one JSON value as a line of standard output. As [`Console::write`], it may wait.
    pub(crate) fn record(&self, value: &impl Serialize) -> Result<()> {
        self.locked(|out| {
            serde_json::to_writer(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    /// Hands over what was written.
    pub(crate) fn flush(&self) -> Result<()> {
        self.locked(Write::flush)
    }

    fn locked(&self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || write(&mut out);
        match self.bar.get() {
            // A bar on the same terminal steps aside while something is printed.
            Some(bar) if self.out_is_terminal => bar.suspend(write),
            _ => write(),
        }
        .map_err(Failure::output)
    }

    /// Reports a failure on standard error, as text or as a JSON line.
    pub(crate) fn error(&self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        match self.json {
            true => self.err_line(format_args!("{}", failure.to_json())),
            false => self.labelled("error", ERROR, failure),
        }
    }

    /// Says something that is not an error on standard error. Programs that read JSON are spared it.
    pub(crate) fn note(&self, label: &str, text: impl Display) {
        if !self.json {
            self.labelled(label, NOTE, text);
        }
    }

    /// Writes one JSON value as a line of standard error.
    pub(crate) fn err_record(&self, value: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(value) {
            self.err_line(line);
        }
    }

    fn labelled(&self, label: &str, style: Style, text: impl Display) {
        match self.err_in_colour {
            true => self.err_line(format_args!("{style}{label}:{style:#} {text}")),
            false => self.err_line(format_args!("{label}: {text}")),
        }
    }

    fn err_line(&self, line: impl Display) {
        // Nobody is left to be told when standard error is gone.
        let write = || drop(writeln!(io::stderr().lock(), "{line}"));
        match self.bar.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// A line of progress on standard error, where there is no bar to redraw.
    pub(crate) fn progress_line(&self, text: impl Display) {
        self.err_line(text);
    }

    /// A progress bar over bytes. Without a total it shows how much is done and how fast.
    pub(crate) fn bar(&self, total: Option<u64>) -> ProgressBar {
        let template = match total {
            Some(_) => "{msg} GAUGE {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
            None => "{spinner} {msg} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        };
        self.draw(total, template)
    }

    /// A progress bar over the batches of an epoch, with the epoch in front and a message at the end.
    /// Without a total, as where a listing is still under way, it shows how many were done.
    pub(crate) fn batch_bar(&self, batches: Option<u64>) -> ProgressBar {
        let template = match batches {
            Some(_) => "{prefix} {bar:14} {pos}/{len} batches  {msg}  {eta} left",
            None => "{spinner} {prefix} {pos} batches  {msg}  {elapsed}",
        };
        self.draw(batches, template)
    }

    /// A progress bar over operations, with a message at the end.
    pub(crate) fn operation_bar(&self) -> ProgressBar {
        self.draw(Some(0), "GAUGE {human_pos}/{human_len} operations  {msg}")
    }

    /// Not shown with `--json`, nor unless standard error is a terminal.
    fn draw(&self, total: Option<u64>, template: &str) -> ProgressBar {
        let target = if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let colours = if self.err_in_colour { ".cyan/blue}" } else { "}" };
        let template = template
            .replace("GAUGE", &format!("{{bar:28{colours}"))
            .replace("{bar:14}", &format!("{{bar:14{colours}"));
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        // The first bar stays the one that steps aside; a command draws one.
        self.bar.get_or_init(|| bar.clone());
        bar
    }

    /// Removes the progress bar, if one is shown.
    pub(crate) fn clear_bar(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
