//! CPU time of reads and listings through each client that is built in: `cargo bench -p forebay-io-s3 --bench
//! clients`, with `-- list` or `-- read` for one of the two.
//!
//! The server in memory runs in a process of its own (this program again), so that only the client's time is
//! counted. 32 reads at a time, straight into leased memory, as the loader makes them; clients take turns. The bare
//! reader beside them takes the same bytes from a blocking socket, one object or page after another, and throws them
//! away: what the machine asks of anybody.
#![allow(clippy::disallowed_methods)]

use forebay_io::{Budget, GetRequest, ListOptions, Location, Pool, ReadOptions, Store, Unobserved};
use forebay_io_object::{ObjectBackend, Surroundings};
use forebay_io_s3::{ClientKind, S3Options, open};
use forebay_io_testkit::servers::FastServer;
use futures::TryStreamExt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::runtime::{Builder, Runtime};

const AT_ONCE: u32 = 32;
const ROUNDS: usize = 7;
/// Name, size of an object, how many there are, and how often a round reads all of them.
const SHAPES: [(&str, usize, u32, usize); 2] = [("64 KiB", 64 << 10, 1024, 4), ("8 MiB", 8 << 20, 32, 4)];

/// Of the listing.
const KEYS: u64 = 200_000;

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
    server.fill(server.bucket(), "keys/", KEYS, 0);
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

/// User and system time of this process, which has one thread, and of no child of it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("procfs");
    let nanoseconds: u64 = stat.split(' ').next().and_then(|field| field.parse().ok()).expect("a number");
    nanoseconds as f64 / 1e9
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

/// A GET on a connection that is kept, its body into `into`: how long it was.
fn bare_get(stream: &mut TcpStream, target: &str, into: &mut [u8]) -> usize {
    let request = format!("GET {target} HTTP/1.1\r\nhost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut head = Vec::new();
    let (body, length) = loop {
        let mut piece = [0; 2048];
        let len = stream.read(&mut piece).expect("a head");
        assert!(len > 0, "an answer");
        head.extend_from_slice(&piece[..len]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
            let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|text| text.trim().parse().ok()).expect("a length");
            break (head.split_off(end + 4), length);
        }
    };
    into[..body.len()].copy_from_slice(&body);
    let mut at = body.len();
    while at < length {
        let len = stream.read(&mut into[at..length]).expect("a body");
        assert!(len > 0, "the whole body");
        at += len;
    }
    length
}

/// Lists by reading pages and looking for nothing but the next one.
fn bare_list(endpoint: &str) -> u64 {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).expect("a connection");
    let first = format!("/{}?encoding-type=url&list-type=2&prefix=keys%2F", FastServer::BUCKET);
    let (mut page, mut target, mut pages) = (vec![0; 4 << 20], first.clone(), 0);
    loop {
        let len = bare_get(&mut stream, &target, &mut page);
        pages += 1;
        // The server's tokens are of characters that need no escaping, and stand before its keys.
        let head = String::from_utf8_lossy(&page[..len.min(1024)]);
        match head.split("<NextContinuationToken>").nth(1).and_then(|rest| rest.split('<').next()) {
            Some(token) => target = format!("{first}&continuation-token={token}"),
            None => return pages * 1000,
        }
    }
}

fn store(endpoint: &str, client: ClientKind, root: &Location) -> ObjectBackend {
    let mut options = S3Options {
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some("any".into()),
        secret_access_key: Some("any".into()),
        client,
        ..S3Options::default()
    };
    // One request an object.
    options.http.request_bytes = None;
    let around = Surroundings::new([], SystemTime::now);
    open(root, &options, &around, Arc::new(Unobserved)).expect("a store")
}

type Contender<'c> = (String, Box<dyn FnMut() + 'c>);

/// Name, CPU and wall seconds of each contender. A round each in turn; the first opens connections and touches memory.
fn hold(mut contenders: Vec<Contender<'_>>) -> Vec<(String, f64, f64)> {
    let mut figures = vec![(Vec::new(), Vec::new()); contenders.len()];
    for round in 0..=ROUNDS {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let (cpu, begin) = (cpu_seconds(), Instant::now());
            contenders[at].1();
            if round > 0 {
                figures[at].0.push(cpu_seconds() - cpu);
                figures[at].1.push(begin.elapsed().as_secs_f64());
            }
        }
    }
    let names = contenders.into_iter().map(|(name, _)| name);
    names.zip(figures).map(|(name, (cpu, wall))| (name, median(cpu), median(wall))).collect()
}

fn list(runtime: &Runtime, endpoint: &str) {
    let root: Location = format!("s3://{}/keys/", FastServer::BUCKET).parse().expect("a location");
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (name, client) in clients() {
        for (name, details) in [(name.to_owned(), false), (format!("{name}, details"), true)] {
            let (store, root) = (store(endpoint, client, &root), root.clone());
            let work = move || {
                let options = ListOptions { details, ..ListOptions::recursive() };
                let pages = store.list(&root, options);
                let keys = pages.try_fold(0, |keys, page| async move { Ok(keys + page.len() as u64) });
                assert_eq!(runtime.block_on(keys).expect("a listing"), KEYS);
            };
            contenders.push((name, Box::new(work)));
        }
    }
    contenders.push(("bare".into(), Box::new(|| assert!(bare_list(endpoint) >= KEYS))));
    println!("listing of {KEYS} keys, medians of {ROUNDS} rounds");
    for (name, cpu, wall) in hold(contenders) {
        let [cpu, wall] = [cpu, wall].map(|seconds| seconds / KEYS as f64 * 1e6);
        println!("  {name:22} {cpu:7.3} us CPU a key {wall:7.3} us a key");
    }
}

fn read(runtime: &Runtime, endpoint: &str) {
    let pool = Pool::new(Budget::new(512 << 20).expect("a budget"));
    for (name, size, count, times) in SHAPES {
        let folder = name.replace(' ', "");
        let root: Location = format!("s3://{}/{folder}", FastServer::BUCKET).parse().expect("a location");
        let locations: Vec<_> = (0..count).map(|i| root.join(format!("{i:08}").as_bytes())).collect();
        let total = times as u64 * u64::from(count) * size as u64;
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        for (name, client) in clients() {
            let (store, locations, pool) = (store(endpoint, client, &root), &locations, &pool);
            let work = move || {
                let mut bytes = 0;
                for _ in 0..times {
                    bytes += runtime.block_on(read_all(&store, locations, pool));
                }
                assert_eq!(bytes, total);
            };
            contenders.push((name.to_owned(), Box::new(work)));
        }
        // As much memory as the others rotate through.
        let mut memory = vec![0; AT_ONCE as usize * size];
        let bare = move || {
            let mut stream =
                TcpStream::connect(endpoint.trim_start_matches("http://")).expect("a connection");
            for number in 0..times * count as usize {
                let target = format!("/{}/{folder}/{:08}", FastServer::BUCKET, number % count as usize);
                let into = number % AT_ONCE as usize * size;
                assert_eq!(bare_get(&mut stream, &target, &mut memory[into..into + size]), size);
            }
        };
        contenders.push(("bare".into(), Box::new(bare)));
        println!("{name} objects, {AT_ONCE} at a time, medians of {ROUNDS} rounds");
        for (name, cpu, wall) in hold(contenders) {
            let gib = total as f64 / f64::from(1 << 30);
            let per_get = cpu / (times as f64 * f64::from(count)) * 1e6;
            let (per_gib, rate) = (cpu / gib, gib / wall);
            println!("  {name:22} {per_get:8.1} us CPU a GET {per_gib:7.3} CPU s a GiB {rate:7.2} GiB/s");
        }
    }
}

fn main() {
    let asked = |what: &str| std::env::args().any(|argument| argument == what);
    if asked("serve") {
        return serve();
    }
    let (mut child, endpoint) = server();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    if !asked("read") {
        list(&runtime, &endpoint);
    }
    if !asked("list") {
        read(&runtime, &endpoint);
    }
    drop(child.stdin.take());
    let _ = child.wait();
}
