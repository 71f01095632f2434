//! `cargo xtask demo`: what Forebay does, seen in a minute: a data set, two shuffled epochs, every byte
//! verified; then the same from Python.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::python::{Profile, Torch, Venv};
use crate::shell;
use crate::workspace::Workspace;

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files to make; about 256 KiB each
    #[arg(long, default_value_t = 2000)]
    files: usize,
}

/// The middle of the sizes drawn, and how widely they spread: from a few KiB to a few MiB. The mean of a
/// lognormal is its median times exp(sigma² / 2), here 256 KiB, so 2,000 files are 500 MiB.
const SIZES: &str = "lognormal:155KiB,1.0";

const COMMAND: &str = "forebay-cli";

/// Builds for release, then shows the command line and Python.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    workspace.require(COMMAND)?;
    let root = workspace.root();
    println!("== build");
    shell::run(&mut shell::cargo(root, ["build", "--quiet", "--release", "-p", COMMAND]))?;
    let folder = workspace.target().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let forebay = |args: &[&str]| {
        let mut command = shell::command(&folder, workspace.binary("release", "forebay"), args);
        shell::run(&mut command)
    };

    println!("\n== make a data set");
    let files = args.files.to_string();
    forebay(&["gen", "train", "--files", &files, "--sizes", SIZES, "--seed", "1", "--content", "random"])?;
    println!("\n== load two shuffled epochs");
    forebay(&["load", "train", "--epochs", "2", "--shuffle", "--seed", "1", "--batch-size", "32"])?;
    println!("\n== verify every byte against the manifest");
    forebay(&["verify", "train"])?;

    println!("\n== the same from Python");
    let venv = Venv::open(workspace, Torch::Without)?;
    venv.install_package(Profile::Release)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo.py");
    println!("\n{}", fs::read_to_string(&script)?);
    shell::run(venv.python([script.as_os_str(), "train".as_ref()]).current_dir(&folder))
}
