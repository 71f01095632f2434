//! `cargo xtask bench s3` and `bench az`: objects of a server in memory into batches, from Python, beside other
//! loaders; the same under faults; and a listing of a million keys beside what the server needs to serve its
//! pages.
//!
//! The server is a process of its own, so that its CPU time is not counted with its client's. Both share the
//! machine: rates are only good for ratios.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use super::contest::{self, Contender, Outcome};
use super::files::bench_script;
use super::reading::{Attempts, Reading, Spread, median};
use super::{Args, Programs, results};
use crate::shell;
use crate::workspace::Workspace;

/// Requests at a time.
const AT_ONCE: usize = 32;

/// An object service, and who else reads from it.
pub(super) struct Service {
    /// The measurement's name, and the scheme of its locations.
    name: &'static str,
    /// What `forebay-testserver` calls the server.
    server: &'static str,
    /// Other loaders, named as in `bench/services.py`.
    peers: &'static [&'static str],
}

pub(super) const S3: Service =
    Service { name: "s3", server: "fast-s3", peers: &["obstore", "s3dlio", "s3torch"] };
pub(super) const AZ: Service = Service { name: "az", server: "fast-az", peers: &["obstore", "adlfs"] };

/// Objects of one size.
pub(super) struct Shape {
    pub(super) name: &'static str,
    size: usize,
    count: usize,
    batch: usize,
    /// The most CPU that a GET may cost, in microseconds; of large objects the most CPU seconds a GiB.
    bar: Bar,
}

enum Bar {
    MicrosPerGet(f64),
    SecondsPerGib(f64),
}

pub(super) const SHAPES: [Shape; 2] = [
    Shape { name: "64k", size: 64 << 10, count: 4096, batch: 32, bar: Bar::MicrosPerGet(40.0) },
    Shape { name: "8m", size: 8 << 20, count: 64, batch: 4, bar: Bar::SecondsPerGib(0.125) },
];

const OURS: &str = "forebay";
/// The bare client (`wire_limit.rs`).
const LIMIT: &str = "bare limit";
/// Receiving, and nothing else (`receive_limit.rs`).
const RECEIVE: &str = "receive limit";

/// What goes wrong in the run under faults, and of how many objects.
const FAULTS: &str = "reset=0.01,503=0.02,truncate=0.01";
const OBJECTS_UNDER_FAULTS: usize = 20_000;
/// How much of the rate without faults has to be left.
const LEFT_UNDER_FAULTS: f64 = 0.85;

const KEYS: usize = 1_000_000;
/// How much longer than the server's own time a listing may take.
const LISTING: f64 = 1.2;

/// The listing for which prefixes side by side are meant: keys in folders, and a service that is far away.
const KEYS_IN_FOLDERS: usize = 200_000;
const FOLDERS: usize = 16;
const PAGE_DELAY: &str = "20ms";

/// What `--only` may name besides [`SHAPES`].
pub(super) const OTHERS: [&str; 3] = ["faults", "listing", "fanout"];

#[derive(Debug, Serialize)]
struct Case {
    name: String,
    outcomes: Vec<Outcome>,
    /// What was found besides.
    said: Vec<String>,
}

/// Runs every case asked for and writes the results.
pub(super) fn run(workspace: &Workspace, args: &Args, service: &Service) -> anyhow::Result<()> {
    let programs = Programs::build(workspace, args.peers)?;
    if args.peers.runs() {
        programs.venv.install_file(&workspace.root().join("xtask/bench/requirements-services.txt"))?;
    }
    let build = ["build", "--quiet", "--release", "-p", "forebay-io-testkit", "--features", "servers"];
    shell::run(&mut shell::cargo(workspace.root(), build))?;
    let bench = Bench { workspace, args, programs: &programs, service };
    let mut cases = Vec::new();
    for shape in SHAPES.iter().filter(|shape| args.wants(shape.name)) {
        cases.push(bench.reading(shape)?);
    }
    type Run<'a> = fn(&Bench<'a>) -> anyhow::Result<Case>;
    let others: [Run<'_>; 3] = [Bench::under_faults, Bench::listing, Bench::fanout];
    for (name, run) in OTHERS.iter().zip(others) {
        if args.wants(name) {
            cases.push(run(&bench)?);
        }
    }
    let machine = super::machine::describe(workspace.root(), &super::data_folder(workspace)?);
    println!("\n{machine}\n{} rounds, interleaved; medians; server on the same machine", args.rounds);
    for case in &cases {
        let reference = case.outcomes.last().map_or(OURS, |last| last.name.as_str());
        println!("\n{}\n{}", case.name, contest::table(&case.outcomes, reference));
        bars(case).iter().chain(&case.said).for_each(|line| println!("{line}"));
    }
    results::write(workspace, service.name, &machine, &cases)
}

struct Bench<'a> {
    workspace: &'a Workspace,
    args: &'a Args,
    programs: &'a Programs,
    service: &'a Service,
}

impl Bench<'_> {
    fn reading(&self, shape: &Shape) -> anyhow::Result<Case> {
        let server = self.server(shape.count, shape.size, &[])?;
        let peers = if self.args.peers.runs() { self.service.peers } else { &[] };
        let program = |name: &'static str| {
            let server = &server;
            Contender::new(name, move || self.run(name, server, shape.count, shape, self.args.seconds))
        };
        let mut contenders: Vec<_> = [OURS].iter().chain(peers).map(|name| program(name)).collect();
        if matches!(shape.bar, Bar::SecondsPerGib(_)) {
            contenders.push(Contender::new(RECEIVE, || self.limit("bench-receive-limit", &server, shape)));
        }
        contenders.push(Contender::new(LIMIT, || self.limit("bench-wire-limit", &server, shape)));
        let outcomes = contest::hold(self.args.rounds, &mut contenders, || Ok(()))?;
        Ok(Case { name: format!("{} objects", shape.name), outcomes, said: Vec::new() })
    }

    fn under_faults(&self) -> anyhow::Result<Case> {
        let shape = &SHAPES[0];
        // Faults go through a proxy, and so does the run that they are compared with.
        let start = |faults| self.server(OBJECTS_UNDER_FAULTS, shape.size, &["--faults", faults]);
        let (mut faulty, sound) = (start(FAULTS)?, start("reset=0")?);
        // One epoch each: what is drawn for a request the second time is another thing.
        let program = |name: &'static str, server| {
            Contender::new(name, move || self.run(OURS, server, OBJECTS_UNDER_FAULTS, shape, 0.0))
        };
        let mut contenders = [program("under faults", &faulty), program("without", &sound)];
        let outcomes = contest::hold(self.args.rounds, &mut contenders, || Ok(()))?;
        for reading in outcomes.iter().flat_map(|outcome| &outcome.readings) {
            ensure!(
                reading.samples == OBJECTS_UNDER_FAULTS as u64,
                "an epoch of {} objects",
                reading.samples
            );
        }
        drop(contenders);
        // Epochs of their own, since looking at every byte takes time.
        let before = faulty.faults_given()?;
        let digest = |server: &Server| self.run("forebay-digest", server, OBJECTS_UNDER_FAULTS, shape, 0.0);
        let (found, due) = (digest(&faulty)?, digest(&sound)?);
        let given = faulty.faults_given()? - before;
        let failed = found.attempts.map_or(0, |attempts| attempts.failed_requests);
        let verdict = |met: bool| if met { "met" } else { "MISSED" };
        let exact = found.digest.is_some() && found.digest == due.digest && found.bytes == due.bytes;
        let said = vec![
            format!(
                "bytes of an epoch of {} objects under faults, bar those of one without: {}",
                found.samples,
                verdict(exact)
            ),
            format!(
                "failed requests in that epoch's counters: {failed}, bar the {given} faults given: {}",
                verdict(given > 0 && failed == given)
            ),
        ];
        Ok(Case { name: format!("{OBJECTS_UNDER_FAULTS} objects of 64k, {FAULTS}"), outcomes, said })
    }

    fn listing(&self) -> anyhow::Result<Case> {
        let server = self.server(0, 0, &["--keys", &KEYS.to_string()])?;
        let outcomes = self.listings(&server, ["forebay-list", "raw-list"], KEYS)?;
        Ok(Case { name: format!("listing of {KEYS} keys"), outcomes, said: Vec::new() })
    }

    /// Prefixes side by side against one page after the other.
    fn fanout(&self) -> anyhow::Result<Case> {
        let (keys, folders) = (KEYS_IN_FOLDERS.to_string(), FOLDERS.to_string());
        let server =
            self.server(0, 0, &["--keys", &keys, "--key-folders", &folders, "--page-delay", PAGE_DELAY])?;
        let outcomes = self.listings(&server, ["forebay-fanout", "forebay-list"], KEYS_IN_FOLDERS)?;
        let what = format!("{FOLDERS} prefixes side by side: {keys} keys, {PAGE_DELAY} a page");
        Ok(Case { name: what, outcomes, said: Vec::new() })
    }

    fn listings(
        &self,
        server: &Server,
        names: [&'static str; 2],
        keys: usize,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut contenders = names.map(|name| {
            Contender::new(name, move || {
                let reading = self.run(name, server, 0, &SHAPES[0], 0.0)?;
                ensure!(reading.samples == keys as u64, "{name} found {} keys", reading.samples);
                Ok(reading)
            })
        });
        contest::hold(self.args.rounds, &mut contenders, || Ok(()))
    }

    /// A client of this program's.
    fn limit(&self, client: &str, server: &Server, shape: &Shape) -> anyhow::Result<Reading> {
        let (count, size, at_once) = (shape.count.to_string(), shape.size.to_string(), AT_ONCE.to_string());
        let seconds = self.args.seconds.to_string();
        let mut args = vec![client, &server.base, "--objects", &count, "--size", &size];
        args.extend(["--seconds", &seconds]);
        if client == "bench-wire-limit" {
            args.extend(["--at-once", &at_once]);
        }
        let mut program = shell::command(self.workspace.root(), &self.programs.xtask, args);
        Reading::parse(&shell::read(&mut program)?)
    }

    fn server(&self, objects: usize, size: usize, more: &[&str]) -> anyhow::Result<Server> {
        Server::start(self.workspace, self.service.server, objects, size, more)
    }

    fn run(
        &self,
        program: &str,
        server: &Server,
        objects: usize,
        shape: &Shape,
        seconds: f64,
    ) -> anyhow::Result<Reading> {
        let mut python = self.programs.venv.python([bench_script("services.py")]);
        python.args([&server.uri, program, "--objects", &objects.to_string()]);
        python.args(["--batch-size", &shape.batch.to_string(), "--at-once", &AT_ONCE.to_string()]);
        let in_flight = 2 * AT_ONCE.max(8 * shape.batch) * shape.size;
        python.args(["--max-bytes-in-flight", &in_flight.to_string(), "--seconds", &seconds.to_string()]);
        if program == "forebay-fanout" {
            python.args(["--list-fanout", &FOLDERS.to_string()]);
        }
        python.envs(server.env.iter().map(|(name, value)| (name, value)));
        Reading::parse(&shell::read(&mut python)?)
    }
}

/// The server in memory, which ends with its standard input.
struct Server {
    /// What `forebay-testserver` calls it.
    name: String,
    child: Child,
    output: BufReader<ChildStdout>,
    /// Of its bucket or container, without a `/` at its end.
    uri: String,
    /// The same as a URL.
    base: String,
    env: Vec<(String, String)>,
}

impl Server {
    fn start(
        workspace: &Workspace,
        name: &str,
        objects: usize,
        size: usize,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let program: PathBuf = workspace.binary("release", "forebay-testserver");
        let mut command = Command::new(program);
        command.args(["fast", "--objects", &objects.to_string(), "--size", &size.to_string()]);
        command.args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).with_context(|| format!("the server said `{line}`"))?;
        let servers = said["servers"].as_array().context("no servers")?;
        let server = servers.iter().find(|server| server["name"] == name);
        let server = server.with_context(|| format!("the server said nothing of {name}"))?;
        let uri = server["uri"].as_str().context("no location")?.to_owned();
        let endpoint = server["endpoint"].as_str().context("no endpoint")?;
        let bucket = uri.rsplit('/').next().unwrap_or_default();
        let base = format!("{endpoint}/{bucket}");
        let env = server["env"].as_object().context("no environment")?;
        let text =
            |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or_default().into());
        let env = env.iter().map(text).collect();
        Ok(Self { name: name.to_owned(), child, output, uri, base, env })
    }

    /// Faults that the proxy in front of it has given so far.
    fn faults_given(&mut self) -> anyhow::Result<u64> {
        writeln!(self.child.stdin.as_mut().context("its input")?, "counts")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let counts: Value =
            serde_json::from_str(&line).with_context(|| format!("the server said `{line}`"))?;
        let given = counts[&self.name]["given"].as_object().context("no counts of faults")?;
        Ok(given.values().filter_map(Value::as_u64).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What went wrong in a round of a contender, and what was done about it.
fn attempts(outcome: &Outcome) -> Option<String> {
    let all: Vec<Attempts> = outcome.readings.iter().filter_map(|reading| reading.attempts).collect();
    let middle = |figure: fn(&Attempts) -> u64| {
        let figures: Vec<f64> = all.iter().map(|attempts| figure(attempts) as f64).collect();
        (!figures.is_empty()).then(|| median(figures))
    };
    Some(format!(
        "{}, a round: {} failed requests ({} throttled), {} tried again, {} withheld, {} cuts of the limit",
        outcome.name,
        middle(|attempts| attempts.failed_requests)?,
        middle(|attempts| attempts.throttles)?,
        middle(|attempts| attempts.retries)?,
        middle(|attempts| attempts.retries_withheld)?,
        middle(|attempts| attempts.concurrency_cuts)?,
    ))
}

fn cpu_seconds_per_gib(outcome: &Outcome) -> f64 {
    let figure = |reading: &Reading| reading.cpu_seconds / (reading.bytes as f64 / (1u64 << 30) as f64);
    Spread::of(&outcome.readings, figure).median
}

/// What is demanded of a case, and whether it is met.
fn bars(case: &Case) -> Vec<String> {
    let said = |what: &str, found: f64, bar: f64, met: bool| {
        format!("{what}: {found:.3}, bar {bar:.3}: {}", if met { "met" } else { "MISSED" })
    };
    let rate = |outcome: &Outcome| outcome.samples_per_second().median;
    let (Some(first), Some(last)) = (case.outcomes.first(), case.outcomes.last()) else { return Vec::new() };
    let ratio = rate(first) / rate(last);
    if last.name == "forebay-list" {
        return vec![format!("rate of one page after the other: {ratio:.2} times; no bar")];
    }
    if case.name.starts_with("listing") {
        return vec![said("time of the server's own", 1.0 / ratio, LISTING, 1.0 / ratio <= LISTING)];
    }
    let Some(shape) = SHAPES.iter().find(|shape| case.name == format!("{} objects", shape.name)) else {
        let mut lines =
            vec![said("rate without faults", ratio, LEFT_UNDER_FAULTS, ratio >= LEFT_UNDER_FAULTS)];
        lines.extend(case.outcomes.iter().filter_map(attempts));
        return lines;
    };
    let per_get = first.cpu_micros_per_sample().median;
    let mut bars = vec![match shape.bar {
        Bar::MicrosPerGet(bar) => said("CPU us a GET", per_get, bar, per_get <= bar),
        Bar::SecondsPerGib(bar) => {
            let per_gib = cpu_seconds_per_gib(first);
            said("CPU s a GiB", per_gib, bar, per_gib <= bar)
        }
    }];
    bars.extend(case.outcomes.iter().skip(1).map(|peer| {
        if peer.name == LIMIT || peer.name == RECEIVE {
            let (ours, bare) = (cpu_seconds_per_gib(first), cpu_seconds_per_gib(peer));
            let (name, ratio) = (&peer.name, ours / bare);
            let beyond = match shape.bar {
                Bar::SecondsPerGib(bar) if bare > bar => ", which itself is above the bar",
                _ => "",
            };
            return format!("CPU s a GiB of the {name}'s: {ratio:.2} ({ours:.3} of {bare:.3}{beyond})");
        }
        let ratio = rate(first) / rate(peer);
        said(&format!("rate of {}'s", peer.name), ratio, 1.0, ratio >= 1.0)
    }));
    bars
}
