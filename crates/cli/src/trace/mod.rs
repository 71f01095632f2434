//! `forebay trace`: traces of I/O recorded, described, converted, compared, replayed and made up.

mod convert;
mod diff;
mod info;
mod input;
mod recording;
mod replay;
mod replay_report;
mod synth;

pub(crate) use recording::{Recording, header};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::metrics_out;
use crate::named_files::NamedFiles;
use crate::tally::Tally;
use clap::Subcommand;
use forebay_io::Kind;
use forebay_trace::Error;
use std::path::PathBuf;

/// Records, describes, converts, compares, replays and makes up traces of I/O.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Trace,
}

#[derive(Debug, Subcommand)]
enum Trace {
    Record(Box<recording::Args>),
    Info(info::Args),
    Convert(convert::Args),
    Diff(diff::Args),
    Replay(Box<replay::Args>),
    Synth(synth::Args),
}

impl Args {
    /// How the run is measured, if it is.
    pub(crate) fn metrics(&self) -> Option<&metrics_out::Flags> {
        match &self.command {
            Trace::Record(args) => Some(args.metrics()),
            Trace::Replay(args) => Some(args.metrics()),
            _ => None,
        }
    }

    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        match &self.command {
            Trace::Record(args) => args.name_files(named),
            Trace::Info(args) => args.name_files(named),
            Trace::Convert(args) => args.name_files(named),
            Trace::Diff(args) => args.name_files(named),
            Trace::Replay(args) => args.name_files(named),
            Trace::Synth(args) => args.name_files(named),
        }
    }

    /// The file that a recording goes to.
    pub(crate) fn recording(&self) -> Option<&PathBuf> {
        match &self.command {
            Trace::Record(args) => Some(args.out()),
            _ => None,
        }
    }

    /// The file that a timeline goes to.
    pub(crate) fn chrome_trace(&self) -> Option<&PathBuf> {
        match &self.command {
            Trace::Record(args) => args.chrome_trace(),
            _ => None,
        }
    }

    /// What the command counts.
    pub(crate) fn tally(&self) -> Tally {
        let operations = ["operation", "operations"];
        match self.command {
            Trace::Record(_) => Tally::new("loaded", ["sample", "samples"]),
            Trace::Info(_) | Trace::Diff(_) => Tally::new("read", operations),
            Trace::Convert(_) => Tally::new("converted", operations),
            Trace::Replay(_) => Tally::new("replayed", operations),
            Trace::Synth(_) => Tally::new("wrote", operations),
        }
    }

    /// Whether it looks at [`Context::stop`] and ends by itself.
    pub(crate) fn ends_by_itself(&self) -> bool {
        matches!(self.command, Trace::Record(_) | Trace::Replay(_))
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.command {
        Trace::Record(args) => recording::run(*args, context).await,
        Trace::Replay(args) => replay::run(*args, context).await,
        // The others work on files alone, and for as long as it takes.
        Trace::Info(args) => blocking(context, move |context| info::run(&args, &context)).await,
        Trace::Convert(args) => blocking(context, move |context| convert::run(&args, &context)).await,
        Trace::Diff(args) => blocking(context, move |context| diff::run(&args, &context)).await,
        Trace::Synth(args) => blocking(context, move |context| synth::run(&args, &context)).await,
    }
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(Context) -> Result<T> + Send + 'static,
) -> Result<T> {
    let context = context.clone();
    tokio::task::spawn_blocking(move || work(context)).await.unwrap_or_else(|lost| {
        let text = format!("the command died: {lost}; this is a defect of forebay");
        Err(Failure::refused(Kind::Unavailable, text))
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Invalid(text) => Failure::usage(text),
            Error::File { ref source, .. } => {
                let kind = match source.kind() {
                    std::io::ErrorKind::NotFound => Kind::NotFound,
                    std::io::ErrorKind::PermissionDenied => Kind::Denied,
                    _ => Kind::Unavailable,
                };
                Failure::refused(kind, error.to_string())
            }
            other => Failure::refused(Kind::Corrupt, other.to_string()),
        }
    }
}
