//! The longest that a batch may take to be read. Waiting for memory does not count: that is the
//! consumer's time, and a slow consumer is no slow storage.

use forebay_io::{Buf, Error, Kind, Operation, Place, Pool, Reservation, Result, Retry, Want};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A place that knows how long it was waited for.
struct Waited {
    place: Arc<dyn Place>,
    wait: Mutex<Wait>,
}

#[derive(Default)]
struct Wait {
    /// Of waits that are over.
    sum: Duration,
    /// Waits that go on, and since when there is at least one.
    waiting: usize,
    since: Option<Instant>,
}

impl Waited {
    fn wait(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn so_far(&self) -> Duration {
        let wait = self.wait();
        wait.sum + wait.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// One wait that goes on.
struct Waiting<'a>(&'a Waited);

impl<'a> Waiting<'a> {
    fn begin(on: &'a Waited) -> Self {
        let mut wait = on.wait();
        wait.waiting += 1;
        wait.since.get_or_insert_with(Instant::now);
        Waiting(on)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut wait = self.0.wait();
        wait.waiting -= 1;
        if wait.waiting == 0
            && let Some(since) = wait.since.take()
        {
            wait.sum += since.elapsed();
        }
    }
}

impl Place for Waited {
    fn pool(&self) -> &Pool {
        self.place.pool()
    }

    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        self.place.try_reserve(wants)
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move {
            let _waiting = Waiting::begin(self);
            self.place.reserve(wants).await
        }
        .boxed()
    }
}

/// Runs `read` with a place that stands for `place`, for `limit` at most, waits for memory not counted.
/// Needs a runtime with time.
///
/// # Errors
/// `TimedOut` when the limit has passed; what it read until then is given up.
pub(crate) async fn within<T, F: Future<Output = Result<T>>>(
    limit: Duration,
    place: Arc<dyn Place>,
    read: impl FnOnce(Arc<dyn Place>) -> F,
) -> Result<T> {
    let begin = Instant::now();
    let waited = Arc::new(Waited { place, wait: Mutex::default() });
    let mut read = pin!(read(waited.clone()));
    loop {
        let spent = begin.elapsed().saturating_sub(waited.so_far());
        let Some(left) = limit.checked_sub(spent).filter(|left| !left.is_zero()) else {
            let context = format!("deadline={} s passed before the batch was read", limit.as_secs_f64());
            return Err(Error::new(Kind::TimedOut, Operation::Get, context).with_retry(Retry::Never));
        };
        // Where time went into a wait for memory meanwhile, there is more left then.
        match select(read, pin!(tokio::time::sleep(left))).await {
            Either::Left((done, _)) => return done,
            Either::Right(((), again)) => read = again,
        }
    }
}
