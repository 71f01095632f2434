//! A batch under way: on a thread of the pool, on several, or waiting for room in its place without a thread, and
//! always without its caller.
//!
//! The thread that opened its files is told by the place to wait, and leaves the batch here. Who gives
//! memory back puts it in line for a thread again, before all reads that have not begun: it is older than
//! they are. Its caller sleeps until all is done. Went it through the caller, a cap that binds would cost
//! two switches between threads more for every batch.

use crate::open_file::OpenFile;
use crate::pool::{Pool, Seat, Turn};
use crate::read_batch::{ReadBatch, Stop};
use crate::split_read::{self, Region};
use forebay_io::{Buf, Result, Served};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use tokio::runtime::Handle;

/// The room that a batch waits for, and the batch.
type Room = BoxFuture<'static, (Box<ReadBatch>, Result<Vec<Buf>>)>;
type Answer = oneshot::Sender<Vec<Result<Served>>>;

/// The place of one batch where it waits, now or later.
struct Waiting {
    pool: Arc<Pool>,
    state: Mutex<State>,
    /// The caller's runtime, if it has one: a place that paces may sleep by its clock.
    runtime: Option<Handle>,
}

enum State {
    /// It does not wait.
    Idle,
    /// A thread asks for the room; whether it was told meanwhile to ask again.
    Asking {
        again: bool,
    },
    Asleep(Room, Answer),
    /// The caller went away.
    Unwanted,
}

/// Works on `batch` on threads of the pool until it is done. None if a thread was lost.
pub(crate) async fn run(pool: &Arc<Pool>, batch: Box<ReadBatch>) -> Option<Vec<Result<Served>>> {
    let (answer, receive) = oneshot::channel();
    let waiting = Arc::new(Waiting::new(pool));
    let _wanted = Wanted(waiting.clone());
    pool.read(false, move |seat| waiting.go_on(batch, None, answer, Some(seat)));
    receive.await.ok()
}

/// Held by the caller: when it is dropped, what waits goes too, with its place in the line for memory.
struct Wanted(Arc<Waiting>);

impl Drop for Wanted {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.0.state(), State::Unwanted);
        drop(state);
    }
}

impl Waiting {
    fn new(pool: &Arc<Pool>) -> Self {
        let runtime = Handle::try_current().ok();
        Waiting { pool: pool.clone(), state: Mutex::new(State::Idle), runtime }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_on(
        self: Arc<Self>,
        batch: Box<ReadBatch>,
        room: Option<Result<Vec<Buf>>>,
        answer: Answer,
        seat: Option<&Seat<'_>>,
    ) {
        if answer.is_canceled() {
            return;
        }
        let gave_up = || answer.is_canceled();
        let meets_device = || seat.into_iter().for_each(Seat::leave);
        let goes_back = || seat.is_some_and(Seat::goes_back);
        let met_device = seat.is_some_and(Seat::met_device);
        match batch.run(room, Turn::new(&gave_up, &meets_device, &goes_back, met_device)) {
            Stop::Wait(batch) => self.wait(batch, answer, seat),
            Stop::Split(batch, reads) => self.split(batch, reads, answer),
            Stop::Back(batch, room) => {
                let pool = self.pool.clone();
                pool.read(true, move |seat| self.go_on(batch, room.map(Ok), answer, Some(seat)));
            }
            // Where the caller went away meanwhile, they are dropped here.
            Stop::Done(results) => drop(answer.send(results)),
        }
    }

    /// Has all threads read these, begun from here: the next batch shall not begin before all of this one has.
    fn split(self: Arc<Self>, mut batch: Box<ReadBatch>, reads: Vec<(OpenFile, Region)>, answer: Answer) {
        let (files, regions): (Vec<_>, Vec<_>) = reads.into_iter().unzip();
        let (pool, target, mappings) = (self.pool.clone(), batch.target(), batch.mappings());
        split_read::read_split(&pool, regions, target, mappings, answer, move |regions, answer| {
            batch.settle(files, regions);
            self.go_on(batch, None, answer, None);
        });
    }

    fn wait(self: Arc<Self>, batch: Box<ReadBatch>, answer: Answer, seat: Option<&Seat<'_>>) {
        let room = async move {
            let room = batch.place().reserve(batch.wants()).await;
            (batch, room)
        };
        self.ask(room.boxed(), answer, seat);
    }

    /// Asks for the room, and goes on if it is there.
    fn ask(self: Arc<Self>, mut room: Room, answer: Answer, seat: Option<&Seat<'_>>) {
        match &mut *self.state() {
            State::Unwanted => return,
            state => *state = State::Asking { again: false },
        }
        let waker = Waker::from(self.clone());
        loop {
            let asked = {
                let _runtime = self.runtime.as_ref().map(Handle::enter);
                room.poll_unpin(&mut Context::from_waker(&waker))
            };
            if let Poll::Ready((batch, room)) = asked {
                return self.go_on(batch, Some(room), answer, seat);
            }
            match &mut *self.state() {
                State::Asking { again: again @ true } => *again = false,
                State::Unwanted => return,
                state => {
                    *state = State::Asleep(room, answer);
                    return;
                }
            }
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        match &mut *state {
            State::Asking { again } => *again = true,
            State::Asleep(..) => {
                let asleep = std::mem::replace(&mut *state, State::Asking { again: false });
                drop(state);
                let State::Asleep(room, answer) = asleep else { unreachable!("seen under the lock") };
                let pool = self.pool.clone();
                pool.read(true, move |seat| self.ask(room, answer, Some(seat)));
            }
            State::Idle | State::Unwanted => {}
        }
    }
}
