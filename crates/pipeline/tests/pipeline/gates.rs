//! Work that stands still until a test lets it go, and that is counted while it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_pipeline::{Clock, Concurrency, Pipeline, Sink};
use tokio::sync::oneshot;

pub(crate) fn concurrency(n: usize) -> Concurrency {
    Concurrency::new(n).expect("not 0")
}

pub(crate) fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not 0")
}

/// Spawns on the test's own runtime, with a sink of `capacity`.
pub(crate) fn spawn<T: Send + 'static>(
    pipeline: Pipeline<T, &'static str>,
    capacity: usize,
) -> Sink<T, &'static str> {
    pipeline.sink(count(capacity)).spawn(&tokio::runtime::Handle::current())
}

/// Returns when every other task waits: with paused time, nothing else lets it advance.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

/// A clock that stands still, for tests in which time must not matter.
pub(crate) fn still() -> Clock {
    Clock::manual().0
}

/// A gate for each item. Clones share the gates.
#[derive(Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    closed: BTreeMap<u32, oneshot::Sender<Result<u32, &'static str>>>,
    begun: Vec<u32>,
    live: BTreeSet<u32>,
    most_live: usize,
}

impl Gates {
    /// A stage's function: waits at the item's gate and returns what the gate was opened with.
    pub(crate) fn work(
        &self,
    ) -> impl FnMut(u32) -> std::pin::Pin<Box<dyn Future<Output = Result<u32, &'static str>> + Send>> + Send + use<>
    {
        let gates = self.clone();
        move |item| {
            let (key, gate) = oneshot::channel();
            let mut state = gates.0.lock().unwrap();
            state.closed.insert(item, key);
            state.begun.push(item);
            state.live.insert(item);
            state.most_live = state.most_live.max(state.live.len());
            let guard = Guard(gates.clone(), item);
            Box::pin(async move {
                let _guard = guard;
                gate.await.expect("a gate is opened, or its work dropped")
            })
        }
    }

    pub(crate) fn open(&self, item: u32) {
        self.open_with(item, Ok(item));
    }

    pub(crate) fn open_with(&self, item: u32, result: Result<u32, &'static str>) {
        let key = self.0.lock().unwrap().closed.remove(&item);
        let sent = key.expect("the item was begun").send(result);
        sent.expect("the item is in work");
    }

    /// Items begun so far, in order.
    pub(crate) fn begun(&self) -> Vec<u32> {
        self.0.lock().unwrap().begun.clone()
    }

    /// Futures that exist now.
    pub(crate) fn live(&self) -> usize {
        self.0.lock().unwrap().live.len()
    }

    pub(crate) fn most_live(&self) -> usize {
        self.0.lock().unwrap().most_live
    }
}

struct Guard(Gates, u32);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().live.remove(&self.1);
    }
}
