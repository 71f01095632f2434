//! `cargo xtask test`: every test there is. A suite that could not run counts as failed.

use std::fs;

use anyhow::{Context, bail, ensure};

use crate::bench::fio;
use crate::debian;
use crate::python::{Profile, Torch, Venv};
use crate::report::{Done, Report};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{readme, servers, shell};

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave PyTorch out: its tests are skipped and counted as such. Saves several gigabytes
    #[arg(long)]
    no_torch: bool,
}

/// The Python package is tested from Python: its library only links inside an interpreter.
const NOT_FROM_RUST: &str = "forebay-py";
const COMMAND: &str = "forebay-cli";
/// The features that bring the clients beside the default ones.
pub(crate) const OTHER_CLIENTS: &str = "forebay-io-s3/rusoto,forebay-io-az/azure-storage-blobs";

/// Runs every suite and ends with the sum of what the runners counted.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let mut report = Report::default();
    let mut total = Tally::default();
    let torch = if args.no_torch { Torch::Without } else { Torch::With };

    // fio replays a trace that was exported for it.
    report.step("fio", || fio::require(workspace.root()));
    report.step("Java's HdrHistogram", || {
        // The class must be found, and a source file can be run by a JDK only.
        let probe =
            ["javap", "-cp", "/usr/share/java/hdrhistogram.jar", "org.HdrHistogram.HistogramLogReader"];
        let packages = ["default-jdk-headless", "libhdrhistogram-java"];
        debian::require(workspace.root(), &probe, &packages, "it reads our logs in a test")?;
        shell::read(&mut shell::command(workspace.root(), "javac", ["--version"]))
    });
    suite(&mut report, &mut total, "Rust", 0, || {
        let args = ["test", "--workspace", "--exclude", NOT_FROM_RUST, "--no-fail-fast"];
        rust(workspace, &args)
    });
    suite(&mut report, &mut total, "metrics alone", 0, || {
        rust(workspace, &["test", "-p", "forebay-metrics", "--no-default-features", "--no-fail-fast"])
    });

    // The clients that nobody gets without asking for them, held to the suites of the one that everybody gets.
    // As a part of the workspace, so that no dependency is built a second time with other features.
    suite(&mut report, &mut total, "other clients", 0, || {
        let suites = ["--test", "s3", "--test", "az", "--no-fail-fast"];
        let args =
            [&["test", "--workspace", "--exclude", NOT_FROM_RUST, "--features", OTHER_CLIENTS], &suites[..]];
        rust(workspace, &args.concat())
    });

    let built = report.step("build the command", || build_command(workspace));
    suite(&mut report, &mut total, "examples", 0, || {
        built.as_ref().context("they need the command, which did not build")?;
        examples(workspace)
    });

    let venv =
        report.step("Python environment", || Venv::open(workspace, torch).map(Shown)).map(|shown| shown.0);
    let package = report.step("Python package", || {
        let venv = venv.as_ref().context("there is no Python environment to build it into")?;
        venv.install_package(Profile::Dev)?;
        Ok(Done)
    });
    let python = || {
        package.as_ref().context("it needs the Python package, which did not build")?;
        venv.as_ref().context("it needs the Python environment")
    };
    // Without PyTorch its tests say that they were skipped; nothing else may be.
    let may_skip = if args.no_torch { u64::MAX } else { 0 };
    suite(&mut report, &mut total, "Python", may_skip, || pytest(workspace, python()?));
    suite(&mut report, &mut total, "README", 0, || readme::run(workspace, python()?));

    report.print();
    if total.skipped > 0 {
        println!("\nPyTorch was left out, and with it {} tests of what is handed to it.", total.skipped);
    }
    let failed = report.failed();
    // The last line counts tests; a step that failed without counting any is still a failure.
    total.failed += u64::from(!failed.is_empty() && total.failed == 0);
    println!("\n{total}");
    if !failed.is_empty() {
        // The reasons stand above. Nothing may follow the counts, so no error text is printed for `main`.
        std::process::exit(1);
    }
    Ok(())
}

/// Runs one suite and adds up its counts. No test run, a failed one, or more skipped than may be: failed.
fn suite(
    report: &mut Report,
    total: &mut Tally,
    name: &str,
    may_skip: u64,
    run: impl FnOnce() -> anyhow::Result<Tally>,
) {
    report.step(name, || {
        let tally = run().inspect_err(|_| total.failed += 1)?;
        *total += tally;
        ensure!(tally.failed == 0, "{tally}");
        ensure!(tally.passed > 0, "no test ran");
        ensure!(tally.skipped <= may_skip, "{tally}: a skipped test proves nothing");
        Ok(tally)
    });
}

/// `cargo test` with these arguments. A build that fails has no counts, so it is an error of its own.
fn rust(workspace: &Workspace, args: &[&str]) -> anyhow::Result<Tally> {
    let seen = shell::watch(&mut shell::cargo(workspace.root(), args))?;
    let tally = Tally::from_cargo_test(&seen.stdout);
    // A test binary that died printed no result; its tests are not among those counted.
    ensure!(seen.success || tally.failed > 0, "cargo test failed without a failing test; see above");
    Ok(tally)
}

fn build_command(workspace: &Workspace) -> anyhow::Result<Done> {
    workspace.require(COMMAND)?;
    shell::run(&mut shell::cargo(workspace.root(), ["build", "--quiet", "-p", COMMAND]))?;
    Ok(Done)
}

/// Runs every example over a small data set, as `cargo run -p NAME -- train` in a folder that has `train/`.
fn examples(workspace: &Workspace) -> anyhow::Result<Tally> {
    let folder = tempfile::Builder::new().prefix("examples-").tempdir_in(workspace.target())?;
    let forebay = workspace.binary("debug", "forebay");
    let generate = ["gen", "train", "--files", "200", "--sizes", "lognormal:16KiB,1.0", "--seed", "1"];
    shell::run(&mut shell::command(folder.path(), forebay, generate))?;

    let mut tally = Tally::default();
    for (package, place) in workspace.packages().filter(|(_, place)| place.starts_with("examples/")) {
        println!("{place}");
        let manifest = package.manifest_path.as_str();
        let run = ["run", "--quiet", "--manifest-path", manifest, "--", "train"];
        let outcome =
            readme_of(workspace, &place).and_then(|()| shell::run(&mut shell::cargo(folder.path(), run)));
        if let Err(error) = &outcome {
            println!("FAILED {place}: {error:#}");
        }
        tally += Tally::one(outcome.is_ok());
    }
    ensure!(tally != Tally::default(), "the workspace has no member under examples/");
    Ok(tally)
}

/// An example without a word on what it shows is of no use.
fn readme_of(workspace: &Workspace, place: &str) -> anyhow::Result<()> {
    let path = workspace.root().join(place).join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.trim().is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(())
}

fn pytest(workspace: &Workspace, venv: &Venv) -> anyhow::Result<Tally> {
    let servers = servers::program(workspace, false).context("the tests of S3 and Azure need the servers")?;
    // A hanging loader is a bug these tests look for: each has a deadline and shows where it hung.
    let args =
        ["-m", "pytest", "crates/py/tests", "-ra", "--timeout=120", "--color=no", "-p", "no:cacheprovider"];
    let mut command = venv.python(args);
    command.env("FOREBAY_TEST_SERVERS", servers);
    if venv.torch() == Torch::Without {
        // Without this word the tests of PyTorch fail rather than skip.
        command.env("FOREBAY_NO_TORCH", "1");
    }
    let seen = shell::watch(&mut command)?;
    let tally = Tally::from_pytest(&seen.stdout);
    ensure!(seen.success || tally.failed > 0, "pytest failed without a failing test; see above");
    Ok(tally)
}

/// An environment as a step's note.
struct Shown(Venv);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let torch = if self.0.torch() == Torch::With { "with" } else { "without" };
        write!(f, "{torch} PyTorch")
    }
}
