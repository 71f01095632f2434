//! The `forebay` command: list, copy, generate, verify and load data on any store.
//!
//! A file here is a command, or something that several of them need. This one reads the command line,
//! runs one command, and sees to it that it can be interrupted.
//!
//! What it never does: print a colour or a progress bar where nobody looks at a terminal, leave a file
//! half written, or accept an option that changes nothing.
#![forbid(unsafe_code)]
// The edge of the program is where environment, working directory and exit codes belong.
#![allow(clippy::disallowed_methods)]

mod cat;
mod chunks;
mod console;
mod content;
mod context;
mod cp;
mod cpu;
mod dataset_flags;
mod entry;
mod exit;
mod failure;
mod generate;
mod index;
mod live;
mod load;
mod loader_flags;
mod local_tree;
mod log;
mod ls;
mod manifest;
mod metered;
mod metering;
mod metrics_out;
mod named_files;
mod problems;
mod quarantine;
mod report;
mod rm;
mod shown_words;
mod signals;
mod sizes;
mod stat;
mod stores;
mod surroundings;
mod tally;
mod tasks;
mod timeline;
mod trace;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::Console;
use context::{Context, Stop};
use exit::Exit;
use failure::{Failure, Result};
use forebay_io::{Kind, Observe};
use forebay_metrics::MetricsCollector;
use forebay_trace::RecorderOptions;
use metering::Metering;
use named_files::NamedFiles;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use stores::Stores;
use surroundings::surroundings;
use tally::Tally;
use timeline::{Several, Timeline};
use trace::Recording;

/// How long an interrupted command may take to let go, then uploads to be taken back, and then its threads: three
/// quarters of a second in all. Dropping a task takes microseconds; what can take longer is a write to a pipe that
/// nobody reads, and nothing is lost by leaving that, and a request that takes an upload back.
const GRACE: Duration = Duration::from_millis(250);

/// How long a command that ends by itself may take to report instead, on a machine that is busy with other things.
const REPORT: Duration = Duration::from_millis(700);

/// The heading of options that every command has.
const GENERAL: &str = "General options";

/// Data loading and storage I/O for training jobs: list, copy, generate, verify and load data on any store.
///
/// Locations are plain paths or URIs: file:///data/train, direct:///data/train, s3://bucket/train/,
/// az://container/train/, https://ACCOUNT.blob.core.windows.net/container/train/. What the options of a service
/// leave open is looked for in AWS_* and AZURE_STORAGE_* of the environment.
// The text is a help page first: what the documentation would make a link is read on a terminal.
#[allow(rustdoc::bare_urls)]
#[derive(Debug, Parser)]
#[command(name = "forebay", version, propagate_version = true)]
struct Cli {
    /// Results as JSON, one value a line; errors as JSON on standard error
    #[arg(long, global = true, help_heading = GENERAL)]
    json: bool,
    /// An option of the stores that are used, such as limit_bytes_per_second=200MiB; see --help
    #[arg(long = "store", global = true, help_heading = GENERAL, value_name = "KEY=VALUE")]
    stores: Vec<String>,
    /// Record every operation on a store into FILE (`.zst` compresses); `forebay trace` works with it
    #[arg(long, global = true, help_heading = GENERAL, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Begin another trace file when one has reached this size, 64KiB or more
    #[arg(long, global = true, help_heading = GENERAL, value_name = "SIZE", value_parser = trace_size)]
    trace_rotate: Option<u64>,
    /// Say what happens inside on standard error, such as forebay=debug; see --help [env: FOREBAY_LOG]
    #[arg(long, global = true, help_heading = GENERAL, value_name = "FILTER", long_help = log::HELP)]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

fn trace_size(text: &str) -> Result<u64, String> {
    let least = RecorderOptions::LEAST_ROTATION;
    match forebay_io::parse_size(text).map_err(|e| e.to_string())? {
        bytes if bytes < least => Err(format!("a file of a trace must be allowed {least} bytes or more")),
        bytes => Ok(bytes),
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(ls::Args),
    Stat(stat::Args),
    Cat(cat::Args),
    Cp(cp::Args),
    Rm(rm::Args),
    Gen(generate::Args),
    Verify(verify::Args),
    Load(Box<load::Args>),
    Report(report::Args),
    Trace(trace::Args),
    Index(index::Args),
}

impl Command {
    /// What the command counts.
    fn tally(&self) -> Tally {
        let files = ["file", "files"];
        match self {
            Command::Ls(_) => Tally::new("listed", ["entry", "entries"]),
            Command::Stat(_) => Tally::new("looked at", ["object", "objects"]),
            Command::Cat(_) => Tally::new("wrote out", ["object", "objects"]),
            Command::Cp(_) => Tally::new("copied", files),
            Command::Rm(_) => Tally::new("removed", ["object", "objects"]),
            Command::Gen(_) => Tally::new("wrote", files),
            Command::Verify(_) => Tally::new("verified", files),
            Command::Load(_) => Tally::new("loaded", ["sample", "samples"]),
            Command::Report(_) => Tally::new("read", files),
            Command::Trace(args) => args.tally(),
            Command::Index(_) => Tally::new("found", ["sample", "samples"]),
        }
    }

    /// The files that it names.
    fn name_files(&self, named: &mut NamedFiles<'_>) {
        match self {
            Command::Ls(args) => args.name_files(named),
            Command::Stat(args) => args.name_files(named),
            Command::Cat(args) => args.name_files(named),
            Command::Cp(args) => args.name_files(named),
            Command::Rm(args) => args.name_files(named),
            Command::Gen(_) => {}
            Command::Verify(args) => args.name_files(named),
            Command::Load(args) => args.name_files(named),
            Command::Report(args) => args.name_files(named),
            Command::Trace(args) => args.name_files(named),
            Command::Index(args) => args.name_files(named),
        }
    }

    /// How the run is measured, if it is.
    fn metrics(&self) -> Option<&metrics_out::Flags> {
        match self {
            Command::Cat(args) => Some(args.metrics()),
            Command::Cp(args) => Some(args.metrics()),
            Command::Verify(args) => Some(args.metrics()),
            Command::Load(args) => Some(args.metrics()),
            Command::Trace(args) => args.metrics(),
            _ => None,
        }
    }

    /// Whether it looks at [`Context::stop`] and ends by itself.
    fn ends_by_itself(&self) -> bool {
        match self {
            Command::Load(_) => true,
            Command::Trace(args) => args.ends_by_itself(),
            _ => false,
        }
    }

    async fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Command::Ls(args) => ls::run(args, context).await,
            Command::Stat(args) => stat::run(args, context).await,
            Command::Cat(args) => cat::run(args, context).await,
            Command::Cp(args) => cp::run(args, context).await,
            Command::Rm(args) => rm::run(args, context).await,
            Command::Gen(args) => generate::run(args, context).await,
            Command::Verify(args) => verify::run(args, context).await,
            Command::Load(args) => load::run(*args, context).await,
            Command::Report(args) => report::run(&args, context),
            Command::Trace(args) => trace::run(args, context).await,
            Command::Index(args) => index::run(args, context).await,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let console = Arc::new(Console::new(cli.json));
    let result = log::begin(cli.log.as_deref(), &console).and_then(|()| execute(cli, &arguments, &console));
    console.clear_bar();
    let exit = match result.and_then(|exit| console.flush().map(|()| exit)) {
        Ok(exit) => exit,
        Err(failure) => {
            console.error(&failure);
            failure.exit()
        }
    };
    exit.into()
}

/// The grammar, with the exit codes at the end of every help.
fn grammar() -> clap::Command {
    let cli = Cli::command().mut_arg("stores", |store| store.long_help(stores::help()));
    cli.after_help(exit::HELP).mut_subcommands(|command| {
        let own = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        command.after_help(format!("{own}{}", exit::HELP))
    })
}

fn parse(arguments: &[OsString]) -> Result<Cli, Exit> {
    let parsed = grammar().try_get_matches_from(arguments).and_then(|m| Cli::from_arg_matches(&m));
    let error = match parsed {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    // Help and version are answers, not errors, and go to standard output.
    let is_error = error.use_stderr();
    if is_error && arguments.iter().any(|argument| argument == "--json") {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        Console::new(true).error(&Failure::usage(text));
    } else {
        // Nobody is left to be told if this fails.
        let _ = error.print();
    }
    Err(if is_error { Exit::Usage } else { Exit::Done })
}

/// What the main thread waits for.
enum Event {
    Signal(Exit),
    Ended(Result<Exit>),
}

fn execute(cli: Cli, arguments: &[OsString], console: &Arc<Console>) -> Result<Exit> {
    let Cli { command, stores: options, trace, trace_rotate, .. } = cli;
    let cannot_start = |what: &str, error: std::io::Error| {
        Failure::refused(Kind::Unavailable, format!("cannot {what}: {error}"))
    };
    let cwd = std::env::current_dir().map_err(|e| cannot_start("find the working directory", e))?;
    let (sender, events) = mpsc::channel();
    signals::listen(sender.clone(), Event::Signal).map_err(|e| cannot_start("listen for signals", e))?;
    let mut named = NamedFiles::new(&cwd);
    command.name_files(&mut named);
    command.metrics().into_iter().for_each(|flags| flags.name_files(&mut named));
    trace.iter().for_each(|file| named.writes("--trace", file));
    named.check()?;
    let own = match &command {
        Command::Trace(args) => args.recording(),
        _ => None,
    };
    if trace.is_some() && own.is_some() {
        return Err(Failure::usage("--trace is of no use to `trace record`, which records into OUT"));
    }
    if trace_rotate.is_some() && trace.is_none() && own.is_none() {
        return Err(Failure::usage(
            "--trace-rotate is for a trace that is recorded: give --trace FILE as well",
        ));
    }
    let drawn = match &command {
        Command::Load(args) => args.chrome_trace(),
        Command::Trace(args) => args.chrome_trace(),
        _ => None,
    };
    let words = shown_words::without_secrets(arguments.iter().skip(1));
    let recording = match trace.as_ref().or(own) {
        Some(path) => Some(Recording::begin(&cwd.join(path), &words, trace_rotate)?),
        None => None,
    };
    let timeline = match drawn {
        Some(path) => {
            let (header, origin) = trace::header(&words);
            Some(Timeline::begin(&cwd.join(path), &header, origin)?)
        }
        None => None,
    };
    let measured = command.metrics();
    let collector =
        Arc::new(measured.map_or_else(|| Ok(MetricsCollector::new()), metrics_out::Flags::collector)?);
    let loads = matches!(command, Command::Load(_)) || own.is_some();
    // The loader writes what it measures itself, stages and queues with it.
    let metering = match measured.filter(|_| !loads) {
        Some(flags) => Metering::begin(flags, &cwd)?.map(Arc::new),
        None => None,
    };
    let mut observers: Vec<Arc<dyn Observe>> = Vec::new();
    observers.extend(recording.as_ref().map(Recording::observer));
    observers.extend(timeline.as_ref().map(Timeline::observer));
    observers.extend(metering.as_ref().map(|_| collector.clone() as _));
    let caller: Option<Arc<dyn Observe>> = match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Arc::new(Several(observers))),
    };
    let counts = loads || metering.is_some();
    let context = Context {
        console: console.clone(),
        tally: Arc::new(command.tally()),
        stores: Arc::new(
            Stores::new(&options, surroundings())?.watched(caller, counts.then(|| collector.clone() as _)),
        ),
        collector,
        timeline: timeline.clone(),
        cwd: Arc::new(cwd),
        stop: Stop::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| cannot_start("start threads", e))?;

    let ends_by_itself = command.ends_by_itself();
    let running = runtime.spawn({
        let (context, metering) = (context.clone(), metering.clone());
        async move {
            let Some(metering) = metering else { return command.run(&context).await };
            tokio::select! {
                result = command.run(&context) => result,
                Err(failure) = metering.keep_telling(&context) => Err(failure),
            }
        }
    });
    let abort = running.abort_handle();
    runtime.spawn(async move {
        let result = match running.await {
            Ok(result) => result,
            Err(lost) => {
                let text = format!("the command died: {lost}; this is a defect of forebay");
                Err(Failure::refused(Kind::Unavailable, text))
            }
        };
        // The other end is only gone when the process ends anyway.
        let _ = sender.send(Event::Ended(result));
    });

    let result = match events.recv() {
        Ok(Event::Ended(result)) => result,
        Ok(Event::Signal(exit)) => {
            context.stop.ask(exit);
            if !ends_by_itself {
                abort.abort();
            }
            interrupted(exit, &events, if ends_by_itself { REPORT } else { GRACE }, &context)
        }
        Err(_) => {
            Err(Failure::refused(Kind::Unavailable, "the command vanished; this is a defect of forebay"))
        }
    };
    // What was broken off is taken back by a request. Where the service does not answer, it keeps the parts.
    let uploads = context.stores.uploads();
    runtime.block_on(async { drop(tokio::time::timeout(GRACE, uploads.none_open()).await) });
    // Drops every task, and so whatever they were in the middle of writing.
    runtime.shutdown_timeout(GRACE);
    let result = match metering.map(|metering| metering.end(&context)) {
        // What went wrong first is what is told.
        Some(Err(failure)) if result.is_ok() => Err(failure),
        _ => result,
    };
    if let Some(recording) = recording {
        recording.end(console);
    }
    if let Some(timeline) = timeline {
        timeline.end(console);
    }
    result
}

/// Waits for the command to let go, and says what it had done.
fn interrupted(exit: Exit, events: &Receiver<Event>, within: Duration, context: &Context) -> Result<Exit> {
    let outcome = events.recv_timeout(within);
    let console = &context.console;
    console.clear_bar();
    match outcome {
        // It had come to its end, with this or another outcome.
        Ok(Event::Ended(Ok(own))) if own != exit => return Ok(own),
        // A second signal: at once.
        Ok(Event::Ended(_) | Event::Signal(_))
        | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
    let by = if exit == Exit::Terminated { "terminated" } else { "interrupted" };
    if console.json() {
        console.err_record(&json!({
            "error": { "kind": by, "message": format!("{by}: {}", context.tally), "exit_code": exit.code() },
            "done": context.tally.to_json(),
        }));
    } else {
        console.note(by, &*context.tally);
    }
    Ok(exit)
}
