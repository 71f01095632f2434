//! The byte budget behind `max_bytes_in_flight`: a cap that is never exceeded and never deadlocks.
//!
//! Whoever will need memory takes a [`Ticket`], in the order in which results will be delivered.
//! Only the oldest ticket that is still open may take bytes; when it knows that it needs no more it
//! is *sealed*, and the next one's turn comes. So bytes are granted in delivery order: what is
//! waited for never waits behind something that will be delivered later.
//!
//! A budget may stand under a [`MemoryCap`], with others: then bytes must be free in both.
//!
//! Not here: memory itself (see [`Pool`](crate::Pool)).

use crate::lock::Mutex;
use crate::memory_cap::{Asking, Lent, Share};
use crate::{Error, Kind, MemoryCap, Operation, Result, Retry};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// A hard cap on bytes that are arriving or waiting to be consumed. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    cap: u64,
    /// Its account of a cap that it shares with others.
    share: Option<Share>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: u64,
    peak: u64,
    next: u64,
    /// Tickets that may still take, oldest first.
    open: BTreeSet<u64>,
    /// Who waits with which ticket: several may, when the members of one batch are read apart.
    waiting: BTreeMap<u64, Vec<Waker>>,
}

/// What [`Ticket::try_take`] answers.
#[derive(Debug)]
pub enum Taken {
    /// The bytes are the ticket's.
    Yes,
    /// Not now: an older ticket comes first, or the bytes are in use.
    Wait,
    /// Never: more than the cap.
    Never(Error),
}

impl Budget {
    /// The largest cap: what one address space can lend many times over.
    pub const MAX: u64 = 1 << 40;

    /// A budget of `cap` bytes.
    ///
    /// # Errors
    /// `InvalidConfig` if `cap` is 0 or above [`Budget::MAX`].
    pub fn new(cap: u64) -> Result<Self> {
        if cap == 0 || cap > Self::MAX {
            return Err(Error::invalid(format!(
                "max_bytes_in_flight must be from 1 to {} bytes, is {cap}",
                Self::MAX
            )));
        }
        Ok(Budget(Arc::new(Shared { cap, share: None, state: Mutex::default() })))
    }

    /// A budget that has its bytes from `cap`, `most` of them at most, and is sure of `guaranteed`: as many as
    /// one ticket of it ever takes. What goes beyond is taken from what the cap has to spare.
    ///
    /// # Errors
    /// `InvalidConfig` if `most` is 0 or `guaranteed` more than it, or if the minimums of all budgets under the
    /// cap would be more than the cap; `Unavailable` if that much is in use now.
    pub fn under(cap: &MemoryCap, guaranteed: u64, most: u64) -> Result<Self> {
        let Budget(own) = Self::new(most.min(cap.bytes()))?;
        if guaranteed > own.cap {
            let context = format!("{guaranteed} bytes cannot be guaranteed of {} at most", own.cap);
            return Err(Error::invalid(context));
        }
        let share = Some(cap.open(guaranteed)?);
        Ok(Budget(Arc::new(Shared { cap: own.cap, share, state: Mutex::default() })))
    }

    /// The cap that it shares with others, if it does.
    pub fn memory_cap(&self) -> Option<&MemoryCap> {
        self.0.share.as_ref().map(Share::cap)
    }

    /// What it is sure of: all of its cap, where it shares none.
    pub fn guaranteed(&self) -> u64 {
        self.0.share.as_ref().map_or(self.0.cap, Share::guaranteed)
    }

    /// The cap in bytes.
    pub fn cap(&self) -> u64 {
        self.0.cap
    }

    /// Bytes taken now.
    pub fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    /// The most bytes that were ever taken at once.
    pub fn peak(&self) -> u64 {
        self.0.state.lock().peak
    }

    /// A place in the line, behind every ticket made before.
    pub fn ticket(&self) -> Ticket {
        let mut state = self.0.state.lock();
        let id = state.next;
        state.next += 1;
        state.open.insert(id);
        Ticket { budget: self.clone(), id, held: 0, kept: 0, place: Standing::Line, sealed: false }
    }

    /// A ticket beside the line, for bytes that come back without anybody else's doing: it takes what is free
    /// now, and never waits.
    pub(crate) fn aside(&self) -> Ticket {
        Ticket { budget: self.clone(), id: u64::MAX, held: 0, kept: 0, place: Standing::Aside, sealed: false }
    }
}

impl State {
    /// Who to wake: those whose turn it is. Called whenever bytes came back or a turn passed.
    fn wake_head(&mut self) -> Vec<Waker> {
        self.open.first().and_then(|head| self.waiting.remove(head)).unwrap_or_default()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        write!(f, "Budget({} of {} bytes used, {} tickets open)", state.used, self.0.cap, state.open.len())
    }
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Line,
    /// In no line.
    Aside,
}

/// A place in the line, and the bytes taken from it. Dropping it gives both back.
pub struct Ticket {
    budget: Budget,
    id: u64,
    held: u64,
    /// Bytes that a consumer has taken, where those count.
    kept: u64,
    place: Standing,
    sealed: bool,
}

impl Ticket {
    /// Takes `bytes` more, now or not at all.
    pub fn try_take(&mut self, bytes: u64) -> Taken {
        self.attempt(bytes, None)
    }

    /// Takes `bytes` more when it is this ticket's turn and they are free. Cancel-safe.
    ///
    /// # Errors
    /// `InvalidRange` if the ticket would then hold more than the cap; or, under a shared one, more than is guaranteed
    /// when there is no more to spare and nothing older of this budget that would come back.
    pub async fn take(&mut self, bytes: u64) -> Result<()> {
        poll_fn(|cx| match self.poll_take(bytes, cx.waker()) {
            Taken::Yes => Poll::Ready(Ok(())),
            Taken::Wait => Poll::Pending,
            Taken::Never(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// [`Ticket::try_take`] that has `waker` woken when trying again makes sense.
    pub(crate) fn poll_take(&mut self, bytes: u64, waker: &Waker) -> Taken {
        self.attempt(bytes, Some(waker))
    }

    fn attempt(&mut self, bytes: u64, waker: Option<&Waker>) -> Taken {
        let shared = &*self.budget.0;
        let total = self.held.saturating_add(bytes);
        if total > shared.cap {
            return Taken::Never(Error::new(
                Kind::InvalidRange,
                Operation::Configure,
                format!(
                    "{total} bytes are needed at once, more than max_bytes_in_flight={} allows; \
                     raise it or read less at once",
                    shared.cap
                ),
            ));
        }
        debug_assert!(!self.sealed, "a sealed ticket takes no more");
        let aside = self.place == Standing::Aside;
        let mut state = shared.state.lock();
        let turn = aside || state.open.first() == Some(&self.id) || bytes == 0;
        let (lent, wakers) = match &shared.share {
            _ if !turn || state.used + bytes > shared.cap => (Lent::Wait, Vec::new()),
            None => (Lent::Yes, Vec::new()),
            Some(share) if aside => share.take(bytes, Asking::Aside),
            Some(share) => share.take(bytes, Asking::Head { taken: self.held, waker }),
        };
        let taken = match lent {
            Lent::Yes => {
                state.used += bytes;
                state.peak = state.peak.max(state.used);
                self.held = total;
                Taken::Yes
            }
            Lent::Never(error) => Taken::Never(error),
            Lent::Wait if aside => {
                let context = format!("no {bytes} bytes of max_bytes_in_flight={} are free now", shared.cap);
                Taken::Never(Error::new(Kind::Unavailable, Operation::Get, context).with_retry(Retry::Never))
            }
            Lent::Wait => {
                if let Some(waker) = waker {
                    let waiting = state.waiting.entry(self.id).or_default();
                    if !waiting.iter().any(|w| w.will_wake(waker)) {
                        waiting.push(waker.clone());
                    }
                }
                Taken::Wait
            }
        };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        taken
    }

    /// Says that this ticket takes no more: the next one's turn comes.
    pub fn seal(&mut self) {
        if !std::mem::replace(&mut self.sealed, true) {
            self.pass(0);
        }
    }

    /// Whether it is sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Bytes this ticket holds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Gives back all its bytes and its place in the line.
    pub fn release(&mut self) {
        self.sealed = true;
        let (held, kept) = (std::mem::take(&mut self.held), std::mem::take(&mut self.kept));
        let others = match &self.budget.0.share {
            Some(share) => share.give_back(held, kept),
            None => Vec::new(),
        };
        self.pass(held);
        others.into_iter().for_each(Waker::wake);
    }

    /// A consumer takes what it holds: it is no longer in flight, and counts on only in a cap that is shared,
    /// until the ticket is released.
    pub(crate) fn deliver(&mut self) {
        self.sealed = true;
        let held = std::mem::take(&mut self.held);
        if let Some(share) = &self.budget.0.share {
            share.deliver(held);
            self.kept += held;
        }
        self.pass(held);
    }

    /// The turn is the next one's, in a line of which so many bytes are taken no more.
    fn pass(&self, bytes: u64) {
        let shared = &*self.budget.0;
        let (own, head, others) = {
            let mut state = shared.state.lock();
            state.used -= bytes;
            let first = state.open.first() == Some(&self.id);
            state.open.remove(&self.id);
            // Whoever still waits with this ticket must hear that it takes no more.
            let own = state.waiting.remove(&self.id).unwrap_or_default();
            // So must those of other lines who wait behind it.
            let share = shared.share.as_ref().filter(|_| first);
            (own, state.wake_head(), share.map(Share::passes).unwrap_or_default())
        };
        // Outside the lock: a waker may run anything.
        own.into_iter().chain(head).chain(others).for_each(Waker::wake);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.held > 0 || self.kept > 0 || !self.sealed {
            self.release();
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.id)
            .field("held", &self.held)
            .field("sealed", &self.sealed)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_oldest_open_ticket_comes_first() {
        let budget = Budget::new(10).unwrap();
        let (mut a, mut b) = (budget.ticket(), budget.ticket());
        assert!(matches!(b.try_take(1), Taken::Wait), "a is still open");
        assert!(matches!(a.try_take(10), Taken::Yes));
        a.seal();
        assert!(matches!(b.try_take(1), Taken::Wait), "no bytes are left");
        a.release();
        assert!(matches!(b.try_take(1), Taken::Yes));
        drop((a, b));
        assert_eq!((budget.used(), budget.peak()), (0, 10));
    }

    #[test]
    fn more_than_the_cap_is_refused_at_once() {
        let budget = Budget::new(10).unwrap();
        let mut ticket = budget.ticket();
        ticket.take(4).now_or_never().unwrap().unwrap();
        let error = ticket.take(7).now_or_never().unwrap().unwrap_err();
        assert!(
            error.to_string().starts_with("11 bytes are needed") && error.to_string().contains("=10 allows"),
            "{error}"
        );
    }

    #[test]
    fn a_dropped_ticket_passes_its_turn_and_wakes_the_next() {
        let budget = Budget::new(10).unwrap();
        let (a, mut b) = (budget.ticket(), budget.ticket());
        let waker = futures::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        let mut take = Box::pin(b.take(10));
        assert!(take.poll_unpin(&mut cx).is_pending());
        drop(a);
        assert!(take.poll_unpin(&mut cx).is_ready());
    }

    #[test]
    fn zero_and_huge_caps_are_refused() {
        for cap in [0, u64::MAX] {
            assert!(Budget::new(cap).unwrap_err().to_string().contains(&cap.to_string()));
        }
    }
}
