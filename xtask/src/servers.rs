//! `cargo xtask servers`: S3 and Azure Blob on loopback, for a person who wants to try things and for tests
//! that are not written in Rust.
//!
//! The servers are those of the test kit, in its program `forebay-testserver`; what it must know is passed on
//! to it. `up` leaves it running with its output under the target folder, where `status` and `down` find it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::Deserialize;

use crate::shell;
use crate::workspace::Workspace;

/// The package with the servers, and the program in it.
const PACKAGE: &str = "forebay-io-testkit";
const PROGRAM: &str = "forebay-testserver";

/// The first start installs Azurite, which takes a minute or two; nothing else takes long.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Options of `cargo xtask servers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Start them and leave them running
    Up(Start),
    /// Stop them; their objects are gone
    Down,
    /// Say whether they run, and where
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Start them in the foreground; they end when standard input is closed
    Run(Start),
}

#[derive(Debug, clap::Args)]
struct Start {
    /// Print one line of JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Build the servers with optimisation, as is needed to measure against them
    #[arg(long)]
    release: bool,
    /// Which servers: s3, azurite, fast [default: all]
    servers: Vec<String>,
    /// Objects to begin with in each bucket, beneath `objects/`
    #[arg(long, value_name = "NUMBER")]
    objects: Option<u64>,
    /// Bytes of each of them
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Empty objects of the fast server beneath `keys/`, to be listed
    #[arg(long, value_name = "NUMBER")]
    keys: Option<u64>,
    /// Threads of each dialect of the fast server
    #[arg(long, value_name = "NUMBER")]
    threads: Option<u64>,
    /// Put a fault proxy in front of each, such as `reset=0.01,503=0.02,truncate=0.01`
    #[arg(long, value_name = "FAULT=SHARE,…")]
    faults: Option<String>,
    /// Seed of the objects and of the faults
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl Start {
    /// What the program is told of it.
    fn pass_on(&self) -> Vec<String> {
        let numbers = [
            ("--objects", self.objects),
            ("--size", self.size),
            ("--keys", self.keys),
            ("--threads", self.threads),
            ("--seed", self.seed),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string())));
        let faults = self.faults.iter().map(|faults| ("--faults", faults.clone()));
        let options = numbers.chain(faults).flat_map(|(name, value)| [name.to_owned(), value]);
        self.servers.iter().cloned().chain(options).collect()
    }
}

/// What the program says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    pid: i32,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    uri: String,
    endpoint: String,
    env: std::collections::BTreeMap<String, String>,
}

/// Starts, stops, or tells.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let place = Place::new(workspace);
    match &args.command {
        Action::Up(start) => up(workspace, &place, start),
        Action::Down => down(&place),
        Action::Status { json } => status(&place, *json),
        Action::Run(start) => run_here(workspace, start),
    }
}

/// Where a running program is remembered.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(workspace: &Workspace) -> Self {
        Place { folder: workspace.target().join("servers") }
    }

    fn pid(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn said(&self) -> PathBuf {
        self.folder.join("ready.json")
    }

    fn complaints(&self) -> PathBuf {
        self.folder.join("errors.log")
    }

    /// The process that runs, if it does. A number that another program has got meanwhile does not count.
    fn running(&self) -> Option<Pid> {
        let number = fs::read_to_string(self.pid()).ok()?.trim().parse().ok()?;
        let pid = Pid::from_raw(number)?;
        let name = fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
        let program = name.split('\0').next().unwrap_or_default();
        (Path::new(program).file_name()?.to_str()? == PROGRAM && test_kill_process(pid).is_ok())
            .then_some(pid)
    }
}

fn build(workspace: &Workspace, start: &Start) -> anyhow::Result<PathBuf> {
    program(workspace, start.release)
}

/// Builds the program with the servers, for whoever starts it himself: where it is.
pub(crate) fn program(workspace: &Workspace, release: bool) -> anyhow::Result<PathBuf> {
    workspace.require(PACKAGE)?;
    let mut build =
        shell::cargo(workspace.root(), ["build", "--quiet", "-p", PACKAGE, "--features", "servers"]);
    build.args(["--bin", PROGRAM]);
    if release {
        build.arg("--release");
    }
    // What it prints must be the servers' alone.
    shell::read(&mut build)?;
    Ok(workspace.binary(if release { "release" } else { "debug" }, PROGRAM))
}

fn up(workspace: &Workspace, place: &Place, start: &Start) -> anyhow::Result<()> {
    if place.running().is_some() {
        bail!("servers run already; `cargo xtask servers status` says where, `… down` stops them");
    }
    let program = build(workspace, start)?;
    fs::create_dir_all(&place.folder)?;
    let mut command = Command::new(&program);
    command.arg("--stay").args(start.pass_on()).current_dir(workspace.root()).stdin(Stdio::null());
    command.stdout(File::create(place.said())?).stderr(File::create(place.complaints())?);
    // A group of its own: Ctrl-C at this terminal is not for it.
    let mut child =
        command.process_group(0).spawn().with_context(|| format!("cannot start {}", program.display()))?;
    fs::write(place.pid(), child.id().to_string())?;
    let line = match ready(place, &mut child) {
        Ok(line) => line,
        Err(error) => {
            let _ = child.kill();
            let _ = fs::remove_file(place.pid());
            return Err(error);
        }
    };
    print(&line, start.json)
}

/// Its line, as soon as all of it is there.
fn ready(place: &Place, child: &mut Child) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let said = fs::read_to_string(place.said())?;
        if said.ends_with('\n') {
            return Ok(said);
        }
        if let Some(status) = child.try_wait()? {
            let complaints = fs::read_to_string(place.complaints())?;
            bail!("the servers ended with {status}: {}", complaints.trim());
        }
        ensure!(begun.elapsed() < PATIENCE, "the servers are not ready after {} s", PATIENCE.as_secs());
        sleep(LOOK_AGAIN);
    }
}

fn down(place: &Place) -> anyhow::Result<()> {
    let Some(pid) = place.running() else {
        println!("no servers run");
        return Ok(());
    };
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop process {pid:?}"))?;
    let begun = Instant::now();
    while place.running().is_some() {
        ensure!(begun.elapsed() < PATIENCE, "process {pid:?} does not end");
        sleep(LOOK_AGAIN);
    }
    fs::remove_dir_all(&place.folder)?;
    println!("stopped");
    Ok(())
}

fn status(place: &Place, json: bool) -> anyhow::Result<()> {
    match place.running() {
        Some(_) => print(&fs::read_to_string(place.said())?, json),
        None if json => {
            println!("{{\"pid\":null,\"servers\":[]}}");
            Ok(())
        }
        None => {
            println!("no servers run; `cargo xtask servers up` starts them");
            Ok(())
        }
    }
}

/// For a person: each server with what to set so that clients find it.
fn print(line: &str, json: bool) -> anyhow::Result<()> {
    if json {
        print!("{line}");
        return Ok(());
    }
    let ready: Ready =
        serde_json::from_str(line).context("the servers said something else than where they are")?;
    print!("{}", shown(&ready));
    Ok(())
}

fn shown(ready: &Ready) -> String {
    let mut text = format!("process {}\n", ready.pid);
    for Server { name, uri, endpoint, env } in &ready.servers {
        text.push_str(&format!("\n{name}: {uri} at {endpoint}\n"));
        for (variable, value) in env {
            text.push_str(&format!("  export {variable}='{value}'\n"));
        }
    }
    text
}

fn run_here(workspace: &Workspace, start: &Start) -> anyhow::Result<()> {
    let program = build(workspace, start)?;
    let mut command = Command::new(&program);
    command.args(start.pass_on()).current_dir(workspace.root());
    if start.json {
        // Nothing of us stays between the caller and the servers.
        return Err(command.exec()).with_context(|| format!("cannot start {}", program.display()));
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut out = std::io::BufReader::new(child.stdout.take().context("its output is piped")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    if !line.is_empty() {
        print(&line, false)?;
        println!("\nThey end when the input does: press Ctrl-D.");
    }
    // What it answers on its input.
    std::io::copy(&mut out, &mut std::io::stdout())?;
    succeeded(child.wait()?)
}

fn succeeded(status: ExitStatus) -> anyhow::Result<()> {
    ensure!(status.success(), "the servers ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_pasted_into_a_shell() {
        let line = r#"{"pid":7,"servers":[{"name":"s3","uri":"s3://b","endpoint":"http://127.0.0.1:1",
            "direct_endpoint":"http://127.0.0.1:1","env":{"AWS_REGION":"us-east-1"}}]}"#;
        let text = shown(&serde_json::from_str(line).unwrap());
        assert_eq!(text, "process 7\n\ns3: s3://b at http://127.0.0.1:1\n  export AWS_REGION='us-east-1'\n");
    }

    #[test]
    fn options_are_passed_on_wherever_they_stand() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            start: Start,
        }
        let line = ["up", "fast", "--json", "--objects", "3", "s3", "--faults", "503=0.1"];
        let start = <Line as clap::Parser>::try_parse_from(line).unwrap().start;
        assert!(start.json && !start.release);
        assert_eq!(start.pass_on(), ["fast", "s3", "--objects", "3", "--faults", "503=0.1"]);
    }

    #[test]
    fn a_process_that_is_another_program_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder: folder.path().to_owned() };
        assert!(place.running().is_none());
        fs::write(place.pid(), std::process::id().to_string()).unwrap();
        assert!(place.running().is_none());
    }
}
