//! `cargo xtask bench NAME`: measurements whose result is a ratio, against a limit or a peer in the same run.

mod contest;
mod cross_fit;
mod dataset;
mod direct;
mod direct_peers;
mod direct_price;
mod feeding;
mod files;
pub(crate) mod fio;
pub(crate) mod limit;
mod loading;
mod machine;
mod metrics;
mod order;
mod page_cache;
mod program;
mod reading;
pub(crate) mod receive_limit;
mod results;
mod services;
pub(crate) mod shard_limit;
mod shard_set;
mod shards;
mod trace;
pub(crate) mod wire_limit;

use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;

use self::page_cache::Cache;
use crate::python::{Profile, Torch, Venv};
use crate::shell;
use crate::workspace::Workspace;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    name: Name,
    /// Times that each program is run; odd, so that a median was measured. `direct`: times eight, for a tenth of
    /// `--seconds` each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each program repeats its epochs in a cached run
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only these data sets [default: all]
    #[arg(long, value_delimiter = ',', value_parser = shape_names())]
    only: Vec<String>,
    /// Only with the page cache in this state [default: both]
    #[arg(long)]
    cache: Option<Cache>,
    /// Whether other loaders run too; they are installed under target/ on first use
    #[arg(long, value_enum, default_value_t = Peers::Run)]
    peers: Peers,
}

/// The measurements there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    /// Local files of 4 KiB to 64 MiB into batches, from Python; then `startup` and `metrics`
    Files,
    /// Reads past the page cache through the store, against fio
    Direct,
    /// How soon the first batch of a directory of a million files comes
    Startup,
    /// What recording a value costs, how true percentiles are, and what measuring costs a loader
    Metrics,
    /// Orders of a hundred million samples: how soon, how fast, how small; then `shards`; then tensors beside
    /// PyTorch's loader, what a cap costs, and how soon a resumed epoch goes on
    Loader,
    /// Objects of a server in memory into batches, from Python; under faults (`--only faults`); a listing of a million
    /// keys (`listing`); prefixes listed side by side (`fanout`)
    S3,
    /// The same of Azure Blob
    Az,
    /// Random samples out of tar shards, cached
    Shards,
    /// What a trace costs while it is recorded, and how true a replay is
    Trace,
}

/// Whether other loaders take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peers {
    Run,
    LeaveOut,
}

impl Peers {
    fn runs(self) -> bool {
        self == Self::Run
    }
}

impl Args {
    fn wants(&self, shape: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == shape)
    }

    fn has(&self, cache: Cache) -> bool {
        self.cache.is_none_or(|only| only == cache)
    }
}

fn shape_names() -> Vec<&'static str> {
    let ours = files::SHAPES.iter().map(|shape| shape.name).chain(direct::names());
    let mut names: Vec<_> = ours.chain(services::SHAPES.iter().map(|shape| shape.name)).collect();
    names.extend(services::OTHERS);
    names.sort_unstable();
    names.dedup();
    names
}

/// Runs the measurement and prints its tables.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "--rounds {}: at least 1", args.rounds);
    ensure!(args.seconds > 0.0, "--seconds {}: more than 0", args.seconds);
    match args.name {
        Name::Files => {
            files::run(workspace, args)?;
            startup(workspace, args)?;
            metrics::run(workspace, args)
        }
        Name::Direct => direct::run(workspace, args),
        Name::Startup => startup(workspace, args),
        Name::Metrics => metrics::run(workspace, args),
        Name::Loader => {
            order(workspace, args)?;
            shards::run(workspace, args)?;
            feeding::run(workspace, args)
        }
        Name::S3 => services::run(workspace, args, &services::S3),
        Name::Az => services::run(workspace, args, &services::AZ),
        Name::Shards => shards::run(workspace, args),
        Name::Trace => trace(workspace, args),
    }
}

/// Where data sets are made and kept.
fn data_folder(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.target().join("bench/data");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn startup(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let data = data_folder(workspace)?;
    let measured = loading::startup(workspace, &data, args.rounds)?;
    results::write(workspace, "startup", &machine::describe(workspace.root(), &data), &[measured])
}

fn order(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let measured = order::run(workspace, args.rounds)?;
    let data = data_folder(workspace)?;
    results::write(workspace, "loader", &machine::describe(workspace.root(), &data), &[measured])
}

fn trace(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let data = data_folder(workspace)?;
    let mut all = vec![trace::recording(workspace)?];
    for shape in
        files::SHAPES.iter().filter(|shape| matches!(shape.name, "4k" | "64k") && args.wants(shape.name))
    {
        all.push(serde_json::to_value(trace::loading(workspace, &shape.make(&data)?, args.rounds)?)?);
    }
    all.extend(trace::replaying(workspace, &data)?);
    results::write(workspace, "trace", &machine::describe(workspace.root(), &data), &all)
}

/// What is measured, built for release.
struct Programs {
    /// This program, for its limit loop.
    xtask: PathBuf,
    /// Holds our package, and the peers where they take part.
    venv: Venv,
}

impl Programs {
    fn build(workspace: &Workspace, peers: Peers) -> anyhow::Result<Self> {
        shell::run(&mut shell::cargo(workspace.root(), ["build", "--quiet", "--release", "-p", "xtask"]))?;
        let torch = if peers.runs() { Torch::With } else { Torch::Without };
        let venv = Venv::open(workspace, torch)?;
        if peers.runs() {
            venv.install_file(&workspace.root().join("xtask/bench/requirements.txt"))?;
        }
        venv.install_package(Profile::Release)?;
        Ok(Self { xtask: workspace.binary("release", "xtask"), venv })
    }
}
