//! A proxy that makes things go wrong between any client and any server that speak plain HTTP/1.1.
//!
//! It works on the bytes of both connections, so it can send what no library would: bodies that break off,
//! lengths that lie, resets. What it does not touch passes as it came. Faults come from a [`FaultPlan`] and a
//! seed, and are counted: a test that injects faults and finds none injected proves nothing.
//!
//! Connections and requests are counted too, so that reuse of connections, and requests that should not
//! have been made, can be tested.

mod exchange;
mod fault;
mod message;
mod plan;
mod tamper;
mod unreachable;

pub use fault::{At, Framing, HttpFault};
pub use plan::{FaultPlan, Rule};
pub use unreachable::{BlackHole, NO_SUCH_HOST, RefusedPort};

use super::serving::Serving;
use message::{Head, Wire};
use parking_lot::Mutex;
use plan::{Asked, Draws};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Requests that are remembered one by one; those behind are only counted.
const REMEMBERED: usize = 1 << 17;

/// A request that came to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which connection it came on: 0 is the first.
    pub connection: u64,
    /// `GET`, say.
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// `Range` or `x-ms-range`.
    pub range: Option<String>,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// The name of the fault that was drawn for it. One that needs a body is not given to an answer without.
    pub drawn: Option<String>,
}

/// Counts of what passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Connections accepted, those reset at once among them.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Most that were open at a time.
    pub most_open: u64,
    /// Requests, whatever became of them.
    pub requests: u64,
}

/// See the module's words. Stops when it is dropped, and closes its connections.
#[derive(Debug)]
pub struct FaultProxy {
    serving: Serving,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    /// Connections to it that nobody asks over now.
    idle: Mutex<Vec<Wire>>,
    seed: u64,
    draws: Mutex<Draws>,
    given: Mutex<BTreeMap<String, u64>>,
    seen: Mutex<Vec<Seen>>,
    accepted: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
    requests: AtomicU64,
    release: watch::Sender<()>,
}

impl FaultProxy {
    /// A proxy on a free port of loopback, in front of `upstream`.
    ///
    /// # Errors
    /// `InvalidInput` for a plan that cannot be, and what the system says.
    pub fn start(upstream: SocketAddr, plan: FaultPlan, seed: u64) -> io::Result<Self> {
        plan.check()?;
        let shared = Arc::new(Shared {
            upstream,
            idle: Mutex::default(),
            seed,
            draws: Mutex::new(Draws::new(plan, seed)),
            given: Mutex::default(),
            seen: Mutex::default(),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            release: watch::Sender::new(()),
        });
        let connections = shared.clone();
        let serving = Serving::start("fault-proxy", 1, move |client| {
            let number = connections.accepted.fetch_add(1, Ordering::Relaxed);
            exchange::connection(connections.clone(), client, number)
        })?;
        Ok(FaultProxy { serving, shared })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.serving.address())
    }

    /// An endpoint of the server behind, path and all, as it is reached through here.
    pub fn in_front_of(&self, endpoint: &str) -> String {
        endpoint.replace(&self.shared.upstream.to_string(), &self.serving.address().to_string())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// Another plan from here on. What its rules count begins at 0; what was given so far stays counted.
    ///
    /// # Errors
    /// `InvalidInput` for a plan that cannot be.
    pub fn set_plan(&self, plan: FaultPlan) -> io::Result<()> {
        plan.check()?;
        *self.shared.draws.lock() = Draws::new(plan, self.shared.seed);
        Ok(())
    }

    /// How often each fault was given, by [`HttpFault::name`].
    pub fn given(&self) -> BTreeMap<String, u64> {
        self.shared.given.lock().clone()
    }

    /// How often this fault was given.
    pub fn given_of(&self, fault: &HttpFault) -> u64 {
        self.shared.given.lock().get(&fault.name()).copied().unwrap_or(0)
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.shared.accepted.load(Ordering::Relaxed),
            open: self.shared.open.load(Ordering::Relaxed),
            most_open: self.shared.most_open.load(Ordering::Relaxed),
            requests: self.shared.requests.load(Ordering::Relaxed),
        }
    }

    /// The requests in the order in which they came, the first 131,072 of them.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// Closes every connection and refuses new ones until [`come_back`](Self::come_back): a server that is
    /// down. It is when this returns.
    pub fn go_away(&self) {
        self.serving.listen(false);
    }

    /// Listens again, on the same port.
    pub fn come_back(&self) {
        self.serving.listen(true);
    }

    /// Ends every stall of the requests that have come, also one that has not begun yet.
    pub fn release(&self) {
        self.shared.release.send_replace(());
    }
}

impl Shared {
    fn draw(&self, asked: &Asked<'_>) -> Option<Drawn> {
        let (fault, noise) = self.draws.lock().draw(asked);
        // Before anybody is told of the fault, so that whoever releases because of it is heard.
        fault.map(|fault| Drawn { fault, noise, released: self.release.subscribe() })
    }

    fn count(&self, fault: &HttpFault) {
        *self.given.lock().entry(fault.name()).or_default() += 1;
    }

    fn note(&self, connection: u64, head: &Head, drawn: Option<&HttpFault>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.seen.lock();
        if seen.len() < REMEMBERED {
            seen.push(Seen {
                connection,
                method: head.method().to_owned(),
                target: head.target().to_owned(),
                range: head.range().map(str::to_owned),
                if_match: head.get("if-match").map(str::to_owned),
                drawn: drawn.map(HttpFault::name),
            });
        }
    }
}

/// A fault that was drawn.
#[derive(Debug)]
struct Drawn {
    fault: HttpFault,
    /// What decides about it that the plan leaves open.
    noise: u64,
    /// Changes when stalls are released.
    released: watch::Receiver<()>,
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_open.fetch_max(open, Ordering::Relaxed);
        Open(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
