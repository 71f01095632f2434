//! One cap for several budgets: what all loaders of a process may take together.
//!
//! Each [`Budget`](crate::Budget) under a cap keeps its own line of tickets, and has an *account* here with a
//! guaranteed minimum, for the largest batch that it will need at once. What the minimums leave is the *spare*, lent to
//! whoever asks first, for reading ahead. Two things are counted: bytes *in flight*, and bytes that consumers
//! *hold*, because a batch that a loop still has is memory like any other.
//!
//! * Accounts together never claim more than the cap, where an account claims its minimum, or what it has
//!   taken if that is more. So a minimum is always free for the one that it belongs to, whatever the others have
//!   read ahead and nobody has come for: loaders whose batches are taken in turns, in any order, cannot keep
//!   each other waiting.
//! * One thing goes before the cap: a consumer that holds batches and waits for the next. Where what consumers
//!   hold has eaten up the minimum, a budget that has nothing else in flight still gets its one batch. So bytes in
//!   flight never exceed the cap; with those that consumers hold they do where consumers hold more than the spare
//!   has room for, and never by more than is held.
//! * A budget whose minimum the cap has no room for is refused when it is made, and not found out later.
//!
//! Memory is shared like bytes: slabs that one loader has given back are used by the others.

use crate::lock::Mutex;
use crate::pool::Slabs;
use crate::{Budget, Error, Kind, Operation, Result, Retry};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

/// A hard cap that several budgets share. Clones are the same cap.
#[derive(Clone)]
pub struct MemoryCap(Arc<Inner>);

struct Inner {
    bytes: u64,
    state: Mutex<State>,
    slabs: Arc<Slabs>,
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<u64, Account>,
    next: u64,
    /// What all accounts claim.
    claimed: u64,
    guaranteed: u64,
    in_flight: u64,
    held: u64,
    peak: u64,
    /// Accounts that wait for the spare, in the order in which they came. Of each only the head of its line waits,
    /// but several reads of one batch may.
    waiting: VecDeque<(u64, Vec<Waker>)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    guaranteed: u64,
    in_flight: u64,
    held: u64,
}

impl Account {
    fn claim(&self) -> u64 {
        self.guaranteed.max(self.in_flight.saturating_add(self.held))
    }
}

/// What a cap has given out, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapReading {
    /// The cap.
    pub cap: u64,
    /// Budgets that share it.
    pub budgets: usize,
    /// Their guaranteed minimums together.
    pub guaranteed: u64,
    /// Taken by tickets and not yet by consumers.
    pub in_flight: u64,
    /// Taken by consumers, and still held by them.
    pub held: u64,
    /// The most that in flight and held ever were together. Above the cap only where consumers held on to more
    /// than the spare had room for.
    pub peak: u64,
}

/// What [`Share::take`] answers.
pub(crate) enum Lent {
    Yes,
    Wait,
    /// More than the minimum, and nothing that would come back for certain is waited for.
    Never(Error),
}

/// Who asks for bytes.
pub(crate) enum Asking<'a> {
    /// The head of a line, whose ticket has taken so many already. The waker is for when more are there.
    Head { taken: u64, waker: Option<&'a Waker> },
    /// Somebody beside the line.
    Aside,
}

impl MemoryCap {
    /// A cap of so many bytes.
    ///
    /// # Errors
    /// `InvalidConfig` if that is 0 or above [`Budget::MAX`].
    pub fn new(bytes: u64) -> Result<Self> {
        if bytes == 0 || bytes > Budget::MAX {
            let context = format!("a memory cap must be from 1 to {} bytes, is {bytes}", Budget::MAX);
            return Err(Error::invalid(context));
        }
        Ok(MemoryCap(Arc::new(Inner { bytes, state: Mutex::default(), slabs: Slabs::shared(bytes) })))
    }

    /// The cap in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// What it has given out.
    pub fn reading(&self) -> CapReading {
        let state = self.0.state.lock();
        CapReading {
            cap: self.0.bytes,
            budgets: state.accounts.len(),
            guaranteed: state.guaranteed,
            in_flight: state.in_flight,
            held: state.held,
            peak: state.peak,
        }
    }

    pub(crate) fn slabs(&self) -> &Arc<Slabs> {
        &self.0.slabs
    }

    /// An account with this minimum.
    ///
    /// # Errors
    /// `InvalidConfig` if the minimums would be more than the cap; `Unavailable` if others have been lent at this
    /// moment what it would need.
    pub(crate) fn open(&self, guaranteed: u64) -> Result<Share> {
        let mut state = self.0.state.lock();
        let (cap, others) = (self.0.bytes, state.accounts.len());
        let all = state.guaranteed.saturating_add(guaranteed);
        if all > cap {
            return Err(Error::invalid(format!(
                "the memory cap of {cap} bytes has no room for {guaranteed} bytes, the largest batch of one loader more: \
                 {others} others are guaranteed {} bytes; raise the cap, or lower max_bytes_in_flight or batch_size",
                state.guaranteed
            )));
        }
        if state.claimed + guaranteed > cap {
            let context = format!(
                "of the memory cap of {cap} bytes {} are guaranteed, in flight or held now, which leaves no {guaranteed} \
                 for the largest batch of one loader more: make loaders before epochs of others are under way, or raise \
                 the cap",
                state.claimed
            );
            return Err(Error::new(Kind::Unavailable, Operation::Configure, context).with_retry(Retry::Never));
        }
        let id = state.next;
        state.next += 1;
        state.guaranteed = all;
        state.change(id, |account| account.guaranteed = guaranteed);
        Ok(Share { cap: self.clone(), id, guaranteed })
    }
}

impl State {
    /// Changes an account, which is made if it is not there, and what all claim.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(id).or_default();
        let before = account.claim();
        change(account);
        self.claimed = self.claimed - before + account.claim();
    }

    fn granted(&mut self, id: u64, bytes: u64) {
        self.change(id, |account| account.in_flight += bytes);
        self.in_flight += bytes;
        self.peak = self.peak.max(self.in_flight + self.held);
    }

    /// Whether `id` may ask for the spare: it waits first, or nobody does.
    fn is_first(&self, id: u64) -> bool {
        self.waiting.front().is_none_or(|(first, _)| *first == id)
    }

    /// Who waits first.
    fn first_waiting(&self) -> Vec<Waker> {
        self.waiting.front().map(|(_, wakers)| wakers.clone()).unwrap_or_default()
    }

    /// `id` waits no more. Those that come first then, if they did not before.
    fn forget(&mut self, id: u64) -> Vec<Waker> {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else { return Vec::new() };
        self.waiting.remove(at);
        if at == 0 { self.first_waiting() } else { Vec::new() }
    }
}

/// One budget's account. Closed when it is dropped.
pub(crate) struct Share {
    cap: MemoryCap,
    id: u64,
    guaranteed: u64,
}

impl Share {
    pub(crate) fn cap(&self) -> &MemoryCap {
        &self.cap
    }

    pub(crate) fn guaranteed(&self) -> u64 {
        self.guaranteed
    }

    /// Takes bytes, if they may be taken. Wakers are to be woken when no lock is held.
    pub(crate) fn take(&self, bytes: u64, asking: Asking<'_>) -> (Lent, Vec<Waker>) {
        let mut state = self.cap.0.state.lock();
        let account = state.accounts.get(&self.id).copied().unwrap_or_default();
        let after = Account { in_flight: account.in_flight.saturating_add(bytes), ..account }.claim();
        let more = after - account.claim();
        let room = state.claimed + more <= self.cap.0.bytes;
        let fits = more == 0 || (room && state.is_first(self.id));
        let (taken, waker) = match asking {
            Asking::Aside if fits => {
                state.granted(self.id, bytes);
                return (Lent::Yes, Vec::new());
            }
            Asking::Aside => return (Lent::Wait, Vec::new()),
            Asking::Head { taken, waker } => (taken, waker),
        };
        let alone = account.in_flight == taken;
        if fits || (alone && (room || taken + bytes <= self.guaranteed)) {
            state.granted(self.id, bytes);
            return (Lent::Yes, state.forget(self.id));
        }
        if alone {
            let error = format!(
                "{} bytes are needed at once, more than the {} that a loader is guaranteed, and of the memory cap of {} \
                 bytes {} are guaranteed to others, in flight or held: raise the cap, or read less at once",
                taken + bytes,
                self.guaranteed,
                self.cap.0.bytes,
                state.claimed - account.claim() + account.held,
            );
            let error = Error::new(Kind::InvalidRange, Operation::Configure, error);
            return (Lent::Never(error), state.forget(self.id));
        }
        if let Some(waker) = waker {
            match state.waiting.iter_mut().find(|(id, _)| *id == self.id) {
                Some((_, wakers)) if wakers.iter().any(|other| other.will_wake(waker)) => {}
                Some((_, wakers)) => wakers.push(waker.clone()),
                None => state.waiting.push_back((self.id, vec![waker.clone()])),
            }
        }
        (Lent::Wait, Vec::new())
    }

    /// Bytes in flight and bytes that a consumer held go back.
    pub(crate) fn give_back(&self, in_flight: u64, held: u64) -> Vec<Waker> {
        let mut state = self.cap.0.state.lock();
        state.change(self.id, |account| {
            account.in_flight -= in_flight;
            account.held -= held;
        });
        state.in_flight -= in_flight;
        state.held -= held;
        state.first_waiting()
    }

    /// A consumer takes bytes that were in flight.
    pub(crate) fn deliver(&self, bytes: u64) {
        let mut state = self.cap.0.state.lock();
        state.change(self.id, |account| {
            account.in_flight -= bytes;
            account.held += bytes;
        });
        state.in_flight -= bytes;
        state.held += bytes;
    }

    /// The head of the line has its place no more.
    pub(crate) fn passes(&self) -> Vec<Waker> {
        self.cap.0.state.lock().forget(self.id)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.cap.0.state.lock();
        if let Some(account) = state.accounts.remove(&self.id) {
            state.claimed -= account.claim();
            state.guaranteed -= account.guaranteed;
        }
        let mut wakers = state.forget(self.id);
        wakers.extend(state.first_waiting());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for MemoryCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CapReading { cap, budgets, in_flight, held, .. } = self.reading();
        write!(f, "MemoryCap({in_flight} of {cap} bytes in flight, {held} held, {budgets} budgets)")
    }
}

#[cfg(test)]
mod tests;
