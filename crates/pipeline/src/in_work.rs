//! The futures a stage has in work, polled by its one task as they call for it.
//!
//! Beside `FuturesUnordered` it allocates nothing once every slot was used, and it never wakes its
//! own task: that set yields whenever it has polled all it holds, which for a stage that works on
//! one item at a time is each time, and costs another worker thread a wake-up.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::lock::Mutex;
use futures::task::AtomicWaker;

/// Futures in work, each with its place in line and the time it began.
pub(crate) struct InWork<Fut> {
    slots: Vec<Slot<Fut>>,
    vacant: Vec<usize>,
    /// Slots to poll in this turn.
    due: VecDeque<usize>,
    calls: Arc<Calls>,
}

struct Slot<Fut> {
    future: Pin<Box<Option<Fut>>>,
    place: Option<u64>,
    began: u64,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What a future is woken by. It rings for the slot, so a future that was dropped may ring for the
/// one that took its slot; that one is then polled once for nothing.
struct Bell {
    slot: usize,
    /// The slot is in `Calls::slots` or due.
    rung: AtomicBool,
    calls: Arc<Calls>,
}

struct Calls {
    slots: Mutex<Vec<usize>>,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.calls.slots.lock().push(self.slot);
            self.calls.task.wake();
        }
    }
}

/// A future that ended.
pub(crate) struct Done<O> {
    pub(crate) place: Option<u64>,
    pub(crate) began: u64,
    /// Its output, or what it panicked with.
    pub(crate) outcome: Result<O, Box<dyn Any + Send>>,
}

impl<Fut: Future> InWork<Fut> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            due: VecDeque::new(),
            calls: Arc::new(Calls { slots: Mutex::default(), task: AtomicWaker::new() }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Takes a future in; it is polled at the next [`InWork::poll_done`].
    pub(crate) fn push(&mut self, place: Option<u64>, began: u64, future: Fut) {
        let index = self.vacant.pop().unwrap_or_else(|| self.add_slot());
        let slot = &mut self.slots[index];
        slot.future.as_mut().set(Some(future));
        slot.place = place;
        slot.began = began;
        if !slot.bell.rung.swap(true, Ordering::AcqRel) {
            self.due.push_back(index);
        }
    }

    fn add_slot(&mut self) -> usize {
        let bell = Arc::new(Bell {
            slot: self.slots.len(),
            rung: AtomicBool::new(false),
            calls: self.calls.clone(),
        });
        self.slots.push(Slot {
            future: Box::pin(None),
            place: None,
            began: 0,
            waker: Waker::from(bell.clone()),
            bell,
        });
        self.slots.len() - 1
    }

    /// Polls the futures that called, up to the first that ends. Pending when those that called
    /// before this turn are through, or when there are none; the task is woken when one calls.
    pub(crate) fn poll_done(&mut self, cx: &Context<'_>) -> Poll<Done<Fut::Output>> {
        let mut collected = false;
        loop {
            let Some(index) = self.due.pop_front() else {
                // One that calls again while it is polled waits for the next turn, so that it
                // cannot keep the task to itself.
                if collected {
                    return Poll::Pending;
                }
                collected = true;
                // In this order: who calls after the look finds the waker.
                self.calls.task.register(cx.waker());
                self.due.extend(self.calls.slots.lock().drain(..));
                continue;
            };
            let slot = &mut self.slots[index];
            if let Poll::Ready(outcome) = slot.poll() {
                // A destructor that panics must not take the other futures with it.
                let dropped = catch_unwind(AssertUnwindSafe(|| slot.future.as_mut().set(None)));
                self.vacant.push(index);
                let outcome = match dropped {
                    Ok(()) => outcome,
                    Err(payload) => Err(payload),
                };
                return Poll::Ready(Done { place: slot.place, began: slot.began, outcome });
            }
        }
    }
}

impl<Fut: Future> Slot<Fut> {
    fn poll(&mut self) -> Poll<Result<Fut::Output, Box<dyn Any + Send>>> {
        // Before the poll: a call during it is for another one.
        self.bell.rung.store(false, Ordering::Release);
        let Some(future) = self.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let mut cx = Context::from_waker(&self.waker);
        match catch_unwind(AssertUnwindSafe(|| future.poll(&mut cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}
