//! `--metrics-out` and `--metrics-interval`: what a run measured, in a file.
//!
//! The file's suffix says the format, before anything is loaded. Without an interval the file appears whole
//! at the end of the run. With one it grows by a line (or an interval of the log) each time.

use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use forebay_io::Kind;
use forebay_metrics::hlog::{self, Interval};
use forebay_metrics::{MetricsCollector, MetricsSnapshot, Preset, RecordingOptions, RunFacts};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the metrics of a run go.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// Write what was measured to FILE: its suffix is .json, .csv, .prom (Prometheus), .om (OpenMetrics) or .hlog
    #[arg(long, value_name = "FILE")]
    metrics_out: Option<PathBuf>,
    /// Also write it every so many seconds until the end (.json: a line each; .hlog: an interval each)
    #[arg(long, value_name = "SECONDS", requires = "metrics_out", value_parser = seconds)]
    metrics_interval: Option<Duration>,
    /// How finely histograms are kept: training (3 digits), inference (4) or high_frequency (2)
    #[arg(long, value_name = "PRESET", default_value = "training", value_parser = Preset::ALL.map(Preset::name))]
    metrics_preset: String,
    /// Significant digits of percentiles, 1 to 5, in place of the preset's
    #[arg(long, value_name = "DIGITS")]
    metrics_significant_digits: Option<u8>,
    /// The part of the operations that goes into histograms, above 0 up to 1; counters are exact always
    #[arg(long, value_name = "RATE")]
    metrics_sampling_rate: Option<f64>,
    /// Values that a thread lists before it puts them into a histogram, 1 to 4096
    #[arg(long, value_name = "N")]
    metrics_batch_size: Option<u32>,
}

impl Flags {
    /// The file that they name.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        self.metrics_out.iter().for_each(|file| named.writes("--metrics-out", file));
    }

    /// A collector that keeps what the flags say.
    pub(crate) fn collector(&self) -> Result<MetricsCollector> {
        RecordingOptions::asked(
            Some(&self.metrics_preset),
            self.metrics_significant_digits,
            self.metrics_sampling_rate,
            self.metrics_batch_size,
        )
        .and_then(MetricsCollector::with_options)
        .map_err(|error| Failure::usage(format!("--metrics-…: {error}")))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let valid = "seconds from 0.001 to 86400, such as 0.5 or 10";
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("an interval is {valid}")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Prometheus,
    OpenMetrics,
    Hlog,
}

/// A file of metrics that is under way.
#[derive(Debug)]
pub(crate) struct MetricsOut {
    path: PathBuf,
    format: Format,
    /// The file of a run with an interval, which grows.
    growing: Option<Growing>,
    begin: SystemTime,
}

#[derive(Debug)]
struct Growing {
    file: fs::File,
    every: Duration,
    next: Instant,
    /// The last that was written, to tell what an interval adds.
    last: MetricsSnapshot,
    /// When that was, since the beginning.
    told: Duration,
    /// Lines of the header that every log begins with and an added interval leaves out.
    header_lines: usize,
}

impl MetricsOut {
    /// Checks the flags. With an interval the file is made now, and what was in it is lost.
    pub(crate) fn new(flags: &Flags, cwd: &Path) -> Result<Option<Self>> {
        let Some(path) = &flags.metrics_out else { return Ok(None) };
        let path = cwd.join(path);
        let format = match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("json") => Format::Json,
            Some("csv") => Format::Csv,
            Some("prom") => Format::Prometheus,
            Some("om") => Format::OpenMetrics,
            Some("hlog") => Format::Hlog,
            _ => {
                let shown = path.display();
                let text =
                    format!("--metrics-out {shown}: its suffix must be .json, .csv, .prom, .om or .hlog");
                return Err(Failure::usage(text));
            }
        };
        let growing = match flags.metrics_interval {
            None => None,
            Some(_) if !matches!(format, Format::Json | Format::Hlog) => {
                let text =
                    "--metrics-interval: a .csv, .prom or .om file holds one moment; use .json or .hlog";
                return Err(Failure::usage(text));
            }
            Some(every) => {
                let file = fs::File::create(&path).map_err(|error| refused(&path, &error))?;
                Some(Growing {
                    file,
                    every,
                    next: Instant::now() + every,
                    last: MetricsSnapshot::default(),
                    told: Duration::ZERO,
                    header_lines: 0,
                })
            }
        };
        Ok(Some(MetricsOut { path, format, growing, begin: SystemTime::now() }))
    }

    /// When the next interval ends; none where there are no intervals.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.growing.as_ref().map(|growing| growing.next)
    }

    /// An interval is over.
    pub(crate) fn tick(&mut self, facts: &RunFacts, snapshot: &MetricsSnapshot) -> Result<()> {
        self.add(facts, snapshot, false)?;
        if let Some(growing) = &mut self.growing {
            // From now on, not from when it was due: a stall is not made up for by a burst of lines, and where
            // writing one takes longer than the interval the load still goes on between two.
            growing.next = Instant::now() + growing.every;
        }
        Ok(())
    }

    /// The run is over.
    pub(crate) fn end(mut self, facts: &RunFacts, snapshot: &MetricsSnapshot) -> Result<()> {
        if self.growing.is_some() {
            return self.add(facts, snapshot, true);
        }
        let begin = self.begin.duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = match self.format {
            Format::Json => line(facts, snapshot, true),
            Format::Csv => snapshot.to_csv(),
            Format::Prometheus => snapshot.to_prometheus(),
            Format::OpenMetrics => snapshot.to_openmetrics(),
            Format::Hlog => hlog::log([(Interval { begin, length: facts.elapsed }, snapshot)]),
        };
        // Never half a file under this name.
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        fs::write(&part, text).and_then(|()| fs::rename(&part, &self.path)).map_err(|error| {
            // Best effort: what went wrong with the file itself is what there is to say.
            let _ = fs::remove_file(&part);
            refused(&self.path, &error)
        })
    }

    fn add(&mut self, facts: &RunFacts, snapshot: &MetricsSnapshot, ended: bool) -> Result<()> {
        let begin = self.begin.duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some(growing) = &mut self.growing else { return Ok(()) };
        let text = match self.format {
            Format::Hlog => {
                let added = snapshot
                    .diff(&growing.last)
                    .map_err(|error| Failure::refused(Kind::Unavailable, error.to_string()))?;
                let length = facts.elapsed.saturating_sub(growing.told);
                let log = hlog::log([(Interval { begin: begin + growing.told, length }, &added)]);
                let lines = log.lines().skip(growing.header_lines);
                growing.header_lines = log.lines().take_while(|line| line.starts_with('#')).count();
                lines.flat_map(|line| [line, "\n"]).collect()
            }
            _ => line(facts, snapshot, ended),
        };
        growing.last = snapshot.clone();
        growing.told = facts.elapsed;
        growing.file.write_all(text.as_bytes()).map_err(|error| refused(&self.path, &error))
    }
}

/// As the summary of `load --json` has them.
fn line(facts: &RunFacts, snapshot: &MetricsSnapshot, ended: bool) -> String {
    format!("{}\n", json!({ "type": "metrics", "ended": ended, "facts": facts, "metrics": snapshot }))
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::PermissionDenied => Kind::Denied,
        _ => Kind::Unavailable,
    };
    Failure::refused(kind, format!("cannot write metrics to {}: {error}", path.display()))
}
