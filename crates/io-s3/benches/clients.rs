//! CPU time of reads through each client that is built in: `cargo bench -p forebay-io-s3 --bench clients`.
//!
//! The server in memory runs in a process of its own (this program again), so that only the client's time is
//! counted. 32 reads at a time, straight into leased memory, as the loader makes them; clients take turns.
#![allow(clippy::disallowed_methods)]

use forebay_io::{Budget, GetRequest, Location, Pool, ReadOptions, Store, Unobserved};
use forebay_io_object::Surroundings;
use forebay_io_s3::{ClientKind, S3Options, open};
use forebay_io_testkit::servers::FastServer;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

const AT_ONCE: u32 = 32;
const ROUNDS: usize = 7;
/// Name, size of an object, how many there are, and how often a round reads all of them.
const SHAPES: [(&str, usize, u32, usize); 2] = [("64 KiB", 64 << 10, 1024, 4), ("8 MiB", 8 << 20, 32, 4)];

fn clients() -> Vec<(&'static str, ClientKind)> {
    let mut clients = vec![("forebay", ClientKind::Forebay)];
    if cfg!(feature = "object-store") {
        clients.push(("object-store", ClientKind::ObjectStore));
    }
    if cfg!(feature = "rusoto") {
        clients.push(("rusoto", ClientKind::Rusoto));
    }
    clients
}

/// Serves until standard input is closed.
fn serve() {
    let server = FastServer::start(1).expect("a server");
    for (name, size, count, _) in SHAPES {
        let folder = format!("{}/", name.replace(' ', ""));
        server.fill(server.bucket(), &folder, u64::from(count), size);
    }
    println!("{}", server.s3_endpoint());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn server() -> (Child, String) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut endpoint = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    lines.read_line(&mut endpoint).expect("an endpoint");
    (child, endpoint.trim().to_owned())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ, which is 100 on every architecture that this runs on.
    ticks as f64 / 100.0
}

async fn read_all(store: &dyn Store, locations: &[Location], pool: &Pool) -> u64 {
    let mut bytes = 0;
    for batch in locations.chunks(AT_ONCE as usize) {
        let lease = pool.lease(pool.budget().ticket(), AT_ONCE);
        let requests: Vec<_> =
            batch.iter().zip(0..).map(|(location, slot)| GetRequest::whole(location.clone(), slot)).collect();
        for served in store.get_many(requests.into(), ReadOptions::default(), lease).await {
            bytes += served.expect("a read").bytes;
        }
    }
    bytes
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    if std::env::args().any(|argument| argument == "serve") {
        return serve();
    }
    let (mut child, endpoint) = server();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = Pool::new(Budget::new(512 << 20).expect("a budget"));
    for (name, size, count, times) in SHAPES {
        let folder = name.replace(' ', "");
        let root: Location = format!("s3://{}/{folder}", FastServer::BUCKET).parse().expect("a location");
        let locations: Vec<_> = (0..count).map(|i| root.join(format!("{i:08}").as_bytes())).collect();
        let stores: Vec<_> = clients()
            .into_iter()
            .map(|(name, client)| {
                let mut options = S3Options {
                    endpoint: Some(endpoint.clone()),
                    access_key_id: Some("any".into()),
                    secret_access_key: Some("any".into()),
                    client,
                    ..S3Options::default()
                };
                // One request an object.
                options.http.request_bytes = None;
                let around = Surroundings::new([], SystemTime::now);
                let store = open(&root, &options, &around, Arc::new(Unobserved)).expect("a store");
                (name, store, Vec::new(), Vec::new())
            })
            .collect();
        let mut stores = stores;
        for round in 0..=ROUNDS {
            let order = round % stores.len();
            for turn in 0..stores.len() {
                let at = (order + turn) % stores.len();
                let (_, store, cpu, wall) = &mut stores[at];
                let (cpu_before, begin) = (cpu_seconds(), Instant::now());
                let bytes = runtime.block_on(async {
                    let mut bytes = 0;
                    for _ in 0..times {
                        bytes += read_all(store, &locations, &pool).await;
                    }
                    bytes
                });
                assert_eq!(bytes, times as u64 * u64::from(count) * size as u64);
                // The first round opens connections and touches memory.
                if round > 0 {
                    cpu.push((cpu_seconds() - cpu_before) / (times as f64 * f64::from(count)));
                    wall.push(bytes as f64 / begin.elapsed().as_secs_f64() / f64::from(1 << 30));
                }
            }
        }
        println!("{name} objects, {AT_ONCE} at a time, medians of {ROUNDS} rounds");
        for (client, _, cpu, wall) in stores {
            let per_get = median(cpu);
            let per_gib = per_get * f64::from(1 << 30) / size as f64;
            println!(
                "  {client:13} {:8.1} us CPU a GET {per_gib:7.3} CPU s a GiB {:7.2} GiB/s",
                per_get * 1e6,
                median(wall)
            );
        }
    }
    drop(child.stdin.take());
    let _ = child.wait();
}
