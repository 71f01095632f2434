//! `cargo xtask`: everything people do with this repository, as subcommands of one small program.
//!
//! Each subcommand is a file here. No crate depends on this one, and nothing here ships.
#![forbid(unsafe_code)]
// Its settings come from the command line and the environment of the person who runs it.
#![allow(clippy::disallowed_methods)]

mod bench;
mod check;
mod debian;
mod demo;
mod deny;
mod edges;
mod python;
mod readme;
mod report;
mod servers;
mod shell;
mod tally;
mod test;
mod tidy;
mod versions;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, checks, tests and measures Forebay.
///
/// New here? `cargo xtask demo` shows real files become batches; `cargo xtask test` proves that all of it
/// works. Whatever they need beyond Rust and Python 3.11 is put under `target/`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: make a data set, load it twice, verify every byte; then the same from Python
    Demo(demo::Args),
    /// Run every test: Rust, doc tests, examples, README, Python
    Test(test::Args),
    /// Format, lints, documentation, crate edges, licences: what must hold before a commit
    Check(check::Args),
    /// Measure against a limit and against other loaders, in one run
    Bench(bench::Args),
    /// S3 and Azure Blob on loopback: start, stop, find them
    Servers(servers::Args),
    /// The tight read loop that `bench` holds results against; prints one line of JSON
    #[command(hide = true)]
    BenchLimit(bench::limit::Args),
    /// The same for samples inside shards
    #[command(hide = true)]
    BenchShardLimit(bench::shard_limit::Args),
    /// The same for objects of a service
    #[command(hide = true)]
    BenchWireLimit(bench::wire_limit::Args),
    /// The least that receiving them costs
    #[command(hide = true)]
    BenchReceiveLimit(bench::receive_limit::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Returned from `main` it would be printed with a backtrace wherever `RUST_BACKTRACE` is set.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Option<Command>) -> anyhow::Result<()> {
    match command {
        None => Ok(Cli::command().print_long_help()?),
        // No look at the workspace: this one is timed, and its files are named in its arguments.
        Some(Command::BenchLimit(args)) => bench::limit::run(&args),
        Some(Command::BenchShardLimit(args)) => bench::shard_limit::run(&args),
        Some(Command::BenchWireLimit(args)) => bench::wire_limit::run(&args),
        Some(Command::BenchReceiveLimit(args)) => bench::receive_limit::run(&args),
        Some(Command::Demo(args)) => demo::run(&Workspace::load()?, &args),
        Some(Command::Test(args)) => test::run(&Workspace::load()?, &args),
        Some(Command::Check(args)) => check::run(&Workspace::load()?, &args),
        Some(Command::Servers(args)) => servers::run(&Workspace::load()?, &args),
        Some(Command::Bench(args)) => bench::run(&Workspace::load()?, &args),
    }
}
