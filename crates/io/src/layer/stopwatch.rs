//! How long a service has been at work for one operation, without the time that it was kept waiting.
//!
//! A read that waits for memory, and a put whose body has no chunk ready, wait for the caller and not for
//! the service: deadlines and hedges must not count that. [`Timed`] is the place that notices.

use crate::claim::Claim;
use crate::lock::Mutex;
use crate::{Buf, Place, Pool, Reservation, Result, Want};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Runs from the moment it is made, and stands still while something waits.
pub(super) struct Stopwatch {
    state: Mutex<State>,
    /// Nothing waits any more, or it began anew.
    changed: Notify,
}

struct State {
    begin: Instant,
    /// Spent waiting, up to `since`.
    waited: Duration,
    waiting: u32,
    since: Instant,
}

/// Something waits as long as this is there.
pub(super) struct Waiting<'a>(&'a Stopwatch);

impl Stopwatch {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State { begin: now, waited: Duration::ZERO, waiting: 0, since: now };
        Stopwatch { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Begins anew.
    pub(super) fn restart(&self) {
        let mut state = self.state.lock();
        let now = Instant::now();
        *state = State { begin: now, waited: Duration::ZERO, since: now, ..*state };
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        let mut state = self.state.lock();
        if state.waiting == 0 {
            state.since = Instant::now();
        }
        state.waiting += 1;
        Waiting(self)
    }

    /// The time so far.
    pub(super) fn elapsed(&self) -> Duration {
        let state = self.state.lock();
        let until = if state.waiting > 0 { state.since } else { Instant::now() };
        until.saturating_duration_since(state.begin).saturating_sub(state.waited)
    }

    /// Comes back when it shows `limit`.
    pub(super) async fn reaches(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            let waiting = self.state.lock().waiting > 0;
            let left = limit.saturating_sub(self.elapsed());
            if waiting {
                changed.await;
            } else if left.is_zero() {
                return;
            } else {
                tokio::time::sleep(left).await;
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting -= 1;
        if state.waiting == 0 {
            let waited = state.since.max(state.begin).elapsed();
            state.waited += waited;
            drop(state);
            self.0.changed.notify_waiters();
        }
    }
}

/// A place that stops the watch while it waits for memory, and remembers what it gave out.
pub(super) struct Timed {
    place: Arc<dyn Place>,
    watch: Arc<Stopwatch>,
    claims: Mutex<Vec<Claim>>,
}

impl Timed {
    pub(super) fn new(place: Arc<dyn Place>, watch: Arc<Stopwatch>) -> Self {
        Timed { place, watch, claims: Mutex::default() }
    }

    /// Waits until every buffer that was given out is gone, so that its slot can be asked for again.
    pub(super) async fn returned(&self) {
        let claims = std::mem::take(&mut *self.claims.lock());
        for claim in claims {
            claim.returned().await;
        }
    }

    fn remember(&self, bufs: &[Buf]) {
        self.claims.lock().extend(bufs.iter().map(Buf::claim));
    }
}

impl Place for Timed {
    fn pool(&self) -> &Pool {
        self.place.pool()
    }

    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        let reservation = self.place.try_reserve(wants);
        if let Reservation::Granted(bufs) = &reservation {
            self.remember(bufs);
        }
        reservation
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move {
            let waiting = self.watch.wait();
            let result = self.place.reserve(wants).await;
            drop(waiting);
            result.inspect(|bufs| self.remember(bufs))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_while_something_waits() {
        let watch = Stopwatch::new();
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        let (one, two) = (watch.wait(), watch.wait());
        tokio::time::advance(5 * second).await;
        drop(one);
        tokio::time::advance(5 * second).await;
        assert_eq!(watch.elapsed(), second);
        drop(two);
        tokio::time::advance(second).await;
        assert_eq!(watch.elapsed(), 2 * second);
        watch.restart();
        assert_eq!(watch.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_reached_by_working_time_alone() {
        let watch = Stopwatch::new();
        let second = Duration::from_secs(1);
        let begin = Instant::now();
        let interrupted = async {
            tokio::time::sleep(second).await;
            let waiting = watch.wait();
            tokio::time::sleep(10 * second).await;
            drop(waiting);
        };
        tokio::join!(watch.reaches(3 * second), interrupted);
        assert_eq!(begin.elapsed().as_secs(), 13);
    }
}
