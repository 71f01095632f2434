//! The servers of the test kit as a process of their own, for a person at a terminal, for tests that are not
//! written in Rust, and for benchmarks, where a server's CPU time must not be counted with its client's.
//!
//! Prints one line of JSON when all of them are ready, and ends when its standard input is closed, or with
//! `--stay` when it is told to (SIGINT, SIGTERM). Without `--stay` a line `counts` on standard input is
//! answered with a line of what the fault proxies have given and seen.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Write};
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use forebay_io_testkit::data::Tree;
use forebay_io_testkit::servers::{Azurite, FastServer, FaultPlan, FaultProxy, S3Server};
use serde_json::{Value, json};

/// Serves S3 and Azure Blob on loopback until standard input is closed.
#[derive(Debug, Parser)]
struct Args {
    /// Which servers to start [default: all]
    #[arg(value_enum)]
    servers: Vec<Which>,
    /// Stay until told to end by a signal, whatever becomes of standard input
    #[arg(long)]
    stay: bool,
    /// Objects to begin with in each bucket, as `objects/00000000` and so on (fast) or as a tree of
    /// folders beneath `objects/` (s3, azurite)
    #[arg(long, default_value_t = 0)]
    objects: u64,
    /// Bytes of each of them, at most for s3 and azurite
    #[arg(long, default_value_t = 65536)]
    size: usize,
    /// Empty objects beneath `keys/` of the fast server, to be listed
    #[arg(long, default_value_t = 0)]
    keys: u64,
    /// Share those keys among this many folders, `keys/0000/` and so on, instead of none
    #[arg(long)]
    key_folders: Option<NonZeroU64>,
    /// How long each page of a listing of the fast server takes besides what it costs, such as 20ms
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    page_delay: Duration,
    /// Threads of each dialect of the fast server
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Put a fault proxy in front of each: shares by fault, such as `reset=0.01,503=0.02,truncate=0.01`
    #[arg(long)]
    faults: Option<FaultPlan>,
    /// Seed of the objects and of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// s3s-fs: an S3 that checks signatures
    S3,
    /// Azurite: Microsoft's emulator of Azure Blob; checks signatures
    Azurite,
    /// Both protocols from memory, fast; looks at no signature
    Fast,
}

/// What runs, and stops when it is dropped.
#[derive(Default)]
struct Running {
    s3: Option<S3Server>,
    azurite: Option<Azurite>,
    fast: Option<FastServer>,
    proxies: Vec<(&'static str, FaultProxy)>,
    described: Vec<Value>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let mut running = Running::default();
    let all = [Which::S3, Which::Azurite, Which::Fast];
    let wanted = if args.servers.is_empty() { &all[..] } else { &args.servers[..] };
    for which in all.into_iter().filter(|which| wanted.contains(which)) {
        running.start(which, args)?;
    }
    say(&json!({ "pid": std::process::id(), "servers": running.described }))?;
    if args.stay { wait_for_signal() } else { running.answer() }
}

impl Running {
    fn start(&mut self, which: Which, args: &Args) -> io::Result<()> {
        let tree = || Tree::new(args.seed, args.objects as usize, 0..=args.size);
        match which {
            Which::S3 => {
                let server = S3Server::start()?;
                server.seed(server.bucket(), "objects", &tree())?;
                let env = json!({
                    "AWS_ACCESS_KEY_ID": S3Server::ACCESS_KEY,
                    "AWS_SECRET_ACCESS_KEY": S3Server::SECRET_KEY,
                    "AWS_REGION": S3Server::REGION,
                });
                let at = (server.address(), server.endpoint());
                self.describe("s3", "s3", server.bucket(), at, "AWS_ENDPOINT_URL", env, args)?;
                self.s3 = Some(server);
            }
            Which::Azurite => {
                let server = Azurite::start()?;
                server.seed(server.container(), "objects/", &tree())?;
                let at = (server.address(), server.endpoint());
                let env = azure_env();
                self.describe("azurite", "az", server.container(), at, "AZURE_STORAGE_ENDPOINT", env, args)?;
                self.azurite = Some(server);
            }
            Which::Fast => {
                let server = FastServer::start(args.threads)?;
                server.fill(server.bucket(), "objects/", args.objects, args.size);
                match args.key_folders {
                    None => server.fill(server.bucket(), "keys/", args.keys, 0),
                    Some(folders) => server.fill_folders(server.bucket(), "keys/", folders, args.keys),
                }
                server.delay_pages(args.page_delay);
                // Clients want some credentials, whatever they are.
                let env = json!({
                    "AWS_ACCESS_KEY_ID": "any",
                    "AWS_SECRET_ACCESS_KEY": "any",
                    "AWS_REGION": S3Server::REGION,
                });
                let at = (server.s3_address(), server.s3_endpoint());
                self.describe("fast-s3", "s3", server.bucket(), at, "AWS_ENDPOINT_URL", env, args)?;
                let at = (server.azure_address(), server.azure_endpoint());
                let env = azure_env();
                self.describe("fast-az", "az", server.bucket(), at, "AZURE_STORAGE_ENDPOINT", env, args)?;
                self.fast = Some(server);
            }
        }
        Ok(())
    }

    /// Puts a proxy in front where faults are wanted, and says how the server is reached.
    #[allow(clippy::too_many_arguments)]
    fn describe(
        &mut self,
        name: &'static str,
        scheme: &str,
        bucket: &str,
        (address, direct): (std::net::SocketAddr, String),
        endpoint_variable: &str,
        mut env: Value,
        args: &Args,
    ) -> io::Result<()> {
        let mut endpoint = direct.clone();
        if let Some(plan) = &args.faults {
            let proxy = FaultProxy::start(address, plan.clone(), args.seed)?;
            endpoint = proxy.in_front_of(&direct);
            self.proxies.push((name, proxy));
        }
        env[endpoint_variable] = json!(endpoint);
        self.described.push(json!({
            "name": name,
            "uri": format!("{scheme}://{bucket}"),
            "endpoint": endpoint,
            "direct_endpoint": direct,
            "env": env,
        }));
        Ok(())
    }

    /// Answers lines until there are no more.
    fn answer(&self) -> io::Result<()> {
        for line in io::stdin().lock().lines() {
            match line?.trim() {
                "counts" => say(&self.counts())?,
                "" => {}
                other => {
                    say(&json!({ "error": format!("`{other}`: the one thing to ask for is `counts`") }))?
                }
            }
        }
        Ok(())
    }

    fn counts(&self) -> Value {
        let count = |(name, proxy): &(&'static str, FaultProxy)| {
            let traffic = proxy.traffic();
            let counts = json!({
                "given": proxy.given(),
                "connections": traffic.connections,
                "most_open": traffic.most_open,
                "requests": traffic.requests,
            });
            ((*name).to_owned(), counts)
        };
        Value::Object(self.proxies.iter().map(count).collect())
    }
}

fn azure_env() -> Value {
    json!({ "AZURE_STORAGE_ACCOUNT_NAME": Azurite::ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": Azurite::KEY })
}

fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn wait_for_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}
