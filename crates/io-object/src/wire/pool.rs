//! Connections that wait for their next request. The one that was used last is used next: it is the most
//! likely to be alive, and those that are not needed grow old and go.

use super::connection::Connection;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Id};

pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    most: usize,
    longest: Duration,
    made: AtomicU64,
}

struct Idle {
    connection: Connection,
    since: Instant,
    /// A socket is known to the runtime that made it, and of no use in another (also of a forked child).
    runtime: Id,
}

impl Pool {
    pub(super) fn new(most: usize, longest: Duration) -> Self {
        Pool { idle: Mutex::new(VecDeque::new()), most, longest, made: AtomicU64::new(0) }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is alive as far as can be told without asking.
    pub(super) fn take(&self) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let Idle { mut connection, since, runtime: own } = self.idle().pop_back()?;
            if own == runtime && since.elapsed() <= self.longest && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Takes back a connection whose answer was read to its end.
    pub(super) fn give(&self, connection: Connection) {
        let Ok(runtime) = Handle::try_current() else { return };
        let now = Instant::now();
        let mut idle = self.idle();
        while idle.front().is_some_and(|oldest| now.duration_since(oldest.since) > self.longest) {
            idle.pop_front();
        }
        if idle.len() < self.most {
            idle.push_back(Idle { connection, since: now, runtime: runtime.id() });
        }
    }

    /// One more was made.
    pub(super) fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}
