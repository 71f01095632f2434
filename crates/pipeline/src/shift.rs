//! Who works on the last task of a pipeline: the runtime, or a consumer's thread that would otherwise
//! sleep until the runtime has worked.
//!
//! A thread that waits for an item is woken once the task has something to do, does it, and finds its
//! item: one switch between threads. Were the runtime's worker woken first, to wake the consumer in
//! turn, it would be two, and on a machine whose cores read, each costs a reader its core. (Files of 64
//! KiB, two cores: see `docs/benchmarks.md`.) While no thread attends, the runtime works ahead as always.
//!
//! # Why no call is lost
//! A call sets `RUNG`, and whoever sets it first passes it on: to the thread that attends, else to the
//! runtime. Who is about to work clears it, then looks at everything. The runtime leaves work to a thread
//! that attends; that thread looks once more if it was rung before it went.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use futures::task::AtomicWaker;
use tokio::runtime::Handle;

use crate::lock::Mutex;
use crate::task::StageTask;

/// There is work that nobody has looked at.
const RUNG: u8 = 1;
/// A thread works on the task when there is something to do.
const ATTENDED: u8 = 2;

/// How often a thread that is about to leave looks at work that comes in meanwhile. Once is what its own
/// taking of an item calls for; work that never ends is the runtime's.
const LOOKS_WHEN_LEAVING: usize = 2;

pub(crate) struct Shift<T, E> {
    /// None once it is done or was dropped.
    task: Mutex<Option<StageTask<T, E>>>,
    post: Arc<Post>,
    /// Of `post`.
    waker: Waker,
    /// Of the thread that attends.
    attendant: Waker,
    runtime: Handle,
}

/// Where calls for work arrive.
struct Post {
    state: AtomicU8,
    runtime: AtomicWaker,
    attendant: Arc<Attendant>,
}

/// The thread that attends, or did last.
#[derive(Default)]
struct Attendant(Mutex<Option<Thread>>);

impl Wake for Post {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self.state.fetch_or(RUNG, Ordering::AcqRel);
        if before & RUNG != 0 {
            return;
        }
        if before & ATTENDED != 0 {
            self.attendant.wake_by_ref();
        } else {
            self.runtime.wake();
        }
    }
}

impl Wake for Attendant {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Cheap where the thread does not sleep.
        if let Some(thread) = &*self.0.lock() {
            thread.unpark();
        }
    }
}

impl<T, E> Shift<T, E> {
    pub(crate) fn new(task: StageTask<T, E>, runtime: &Handle) -> Arc<Self> {
        let attendant = Arc::<Attendant>::default();
        let post = Arc::new(Post {
            // The first look is due.
            state: AtomicU8::new(RUNG),
            runtime: AtomicWaker::new(),
            attendant: attendant.clone(),
        });
        Arc::new(Self {
            task: Mutex::new(Some(task)),
            waker: Waker::from(post.clone()),
            attendant: Waker::from(attendant),
            post,
            runtime: runtime.clone(),
        })
    }

    /// Makes the calling thread the one that works. False if another one is.
    pub(crate) fn attend(&self) -> bool {
        let before = self.post.state.fetch_or(ATTENDED, Ordering::AcqRel);
        if before & ATTENDED != 0 {
            return false;
        }
        *self.post.attendant.0.lock() = Some(thread::current());
        true
    }

    /// Ends the calling thread's duty. What has come in since it looked last it still sees to: most of
    /// all what became possible by the item that it took.
    pub(crate) fn leave(&self) {
        for _ in 0..LOOKS_WHEN_LEAVING {
            if self.post.state.compare_exchange(ATTENDED, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
            self.work();
        }
        if self.post.state.fetch_and(!ATTENDED, Ordering::AcqRel) & RUNG != 0 {
            self.post.runtime.wake();
        }
    }

    /// Whether there is work to look at.
    pub(crate) fn is_rung(&self) -> bool {
        self.post.state.load(Ordering::Acquire) & RUNG != 0
    }

    /// What wakes the thread that attends.
    pub(crate) fn attendant(&self) -> &Waker {
        &self.attendant
    }

    /// Sleeps until there may be something to do or to take. Only for the thread that attends.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        match deadline {
            None => thread::park(),
            Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
        }
    }

    /// Does what can be done now, on the calling thread, which attends.
    pub(crate) fn work(&self) {
        // Futures of the stages may need the runtime's clock and sockets.
        let _inside = self.runtime.enter();
        let mut task = self.task.lock();
        if self.look(&mut task).is_ready() {
            let done = task.take();
            drop(task);
            drop(done);
            // Its own future is to end too.
            self.post.runtime.wake();
        }
    }

    fn look(&self, task: &mut Option<StageTask<T, E>>) -> Poll<()> {
        self.post.state.fetch_and(!RUNG, Ordering::AcqRel);
        match task {
            Some(task) => Pin::new(task).poll(&mut Context::from_waker(&self.waker)),
            None => Poll::Ready(()),
        }
    }
}

/// The runtime's side of it: as long as it lives, so does the task.
pub(crate) struct Worker<T, E>(pub(crate) Arc<Shift<T, E>>);

impl<T, E> Future for Worker<T, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shift = &*self.0;
        shift.post.runtime.register(cx.waker());
        // Held by a thread that attends, which looks again after it was rung.
        let Some(mut task) = shift.task.try_lock() else { return Poll::Pending };
        if task.is_none() {
            return Poll::Ready(());
        }
        // Looked at with the task locked: who attends from here on finds what is put meanwhile.
        if shift.post.state.load(Ordering::Acquire) & (ATTENDED | RUNG) != RUNG {
            return Poll::Pending;
        }
        let looked = shift.look(&mut task);
        let done = if looked.is_ready() { task.take() } else { None };
        drop(task);
        drop(done);
        looked
    }
}

impl<T, E> Drop for Worker<T, E> {
    fn drop(&mut self) {
        // Outside the lock: it drops what is in flight, which may run anything.
        let task = self.0.task.lock().take();
        drop(task);
    }
}
