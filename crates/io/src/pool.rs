//! Slabs, reused: in steady state a batch costs no allocation and no page fault.
//!
//! The pool also keeps the promise that the budget makes in bytes true in memory: what its slabs
//! have committed, beyond what consumers keep, never exceeds the cap by more than consumers were seen
//! to keep at once, and two batches at most: a loop holds one between two deliveries, and two for the
//! moment in which it takes the next before it lets go of the last. Without that, a cap that binds
//! would give memory back and fault it in again.

use crate::lock::Mutex;
use crate::slab::Slab;
use crate::{Budget, Buf, Crew, Lease, Place, Result, Ticket, Want};
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

/// A source of leases under one budget. Clones share it.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    budget: Budget,
    slabs: Arc<Slabs>,
    crew: OnceLock<Weak<dyn Crew>>,
}

/// The slabs of a pool, or of all pools under one [`MemoryCap`](crate::MemoryCap).
pub(crate) struct Slabs {
    cap: u64,
    /// Whether consumers' slabs count in the cap, as they do in one that is shared.
    shared: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: Vec<Slab>,
    /// Committed bytes of every slab there is: free, leased and kept by consumers.
    committed: u64,
    /// Committed bytes of slabs that consumers keep.
    kept: u64,
    /// The largest slab that a consumer ever kept.
    largest: u64,
    /// The most that consumers kept at once, of two such slabs at most: the allowance.
    most: u64,
}

impl Pool {
    /// A pool that lends within `budget`.
    pub fn new(budget: Budget) -> Self {
        let slabs = match budget.memory_cap() {
            Some(cap) => cap.slabs().clone(),
            None => Arc::new(Slabs { cap: budget.cap(), shared: false, state: Mutex::default() }),
        };
        Pool(Arc::new(Shared { budget, slabs, crew: OnceLock::new() }))
    }

    /// The budget that leases are charged to.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Says whose threads read into this memory. The first who do are kept in mind.
    pub fn served_by(&self, crew: impl FnOnce() -> Weak<dyn Crew>) {
        self.0.crew.get_or_init(crew);
    }

    /// The threads that read into this memory, if some do and said so.
    pub fn crew(&self) -> Option<Arc<dyn Crew>> {
        self.0.crew.get()?.upgrade()
    }

    /// A lease with `slots` slots, charged through `ticket`, whose place in the line decides when
    /// it gets memory. The ticket must be of this pool's budget.
    pub fn lease(&self, ticket: Ticket, slots: u32) -> Arc<Lease> {
        Lease::new(self.clone(), ticket, slots)
    }

    /// A lease whose memory is free now, or not at all: in no line, for reads that need nobody else to end.
    pub(crate) fn aside(&self, slots: u32) -> Arc<Lease> {
        self.lease(self.budget().aside(), slots)
    }

    /// One buffer of `len` bytes, behind everything that was asked for before: it waits for leases of others
    /// that are still being filled. Whoever asks must not hold such a lease of this pool, because it would wait
    /// for itself.
    ///
    /// # Errors
    /// `InvalidRange` if `len` exceeds the cap.
    pub async fn buffer(&self, len: u64) -> Result<Buf> {
        let lease = self.lease(self.budget().ticket(), 1);
        let mut bufs = lease.reserve(&[Want::new(0, len)]).await?;
        Ok(bufs.remove(0))
    }

    /// Bytes of memory that slabs have committed now.
    pub fn committed(&self) -> u64 {
        self.0.slabs.state.lock().committed
    }

    pub(crate) fn slabs(&self) -> &Slabs {
        &self.0.slabs
    }
}

impl Slabs {
    /// Those of a cap of so many bytes that several pools share.
    pub(crate) fn shared(cap: u64) -> Arc<Self> {
        Arc::new(Slabs { cap, shared: true, state: Mutex::default() })
    }

    /// A slab with at least `need` bytes committed.
    pub(crate) fn slab(&self, need: usize) -> Result<Slab> {
        let reused = {
            let mut state = self.state.lock();
            let best = state
                .free
                .iter()
                .enumerate()
                // Of equals the one that came back last: its bytes are most likely still in a cache.
                .rev()
                // The smallest that is large enough, else the largest there is.
                .min_by_key(|(_, s)| {
                    if s.committed() >= need { (0, s.committed()) } else { (1, usize::MAX - s.committed()) }
                })
                .map(|(i, _)| i);
            best.map(|i| state.free.remove(i))
        };
        let mut slab = match reused {
            Some(slab) => slab,
            None => Slab::reserve(self.cap)?,
        };
        let grown = self.grow(&mut slab, need);
        if let Err(error) = grown {
            self.give_back(slab, false);
            return Err(error);
        }
        Ok(slab)
    }

    /// Commits `need` bytes of a leased slab.
    pub(crate) fn grow(&self, slab: &mut Slab, need: usize) -> Result<()> {
        let grown = slab.commit(need)? as u64;
        let mut state = self.state.lock();
        state.committed += grown;
        let mut excess = self.excess(&state);
        let mut dropped = Vec::new();
        while excess > 0
            && let Some(slab) = state.free.pop()
        {
            let bytes = slab.committed() as u64;
            state.committed -= bytes;
            excess = excess.saturating_sub(bytes);
            dropped.push(slab);
        }
        if excess > 0 {
            state.committed -= slab.trim(need) as u64;
        }
        drop(state);
        drop(dropped);
        Ok(())
    }

    /// A consumer took the slab's bytes out of the budget and keeps them for now.
    pub(crate) fn keep(&self, slab: &Slab) {
        let mut state = self.state.lock();
        let bytes = slab.committed() as u64;
        state.kept += bytes;
        state.largest = state.largest.max(bytes);
        state.most = state.most.max(state.kept.min(2 * state.largest));
    }

    /// The slab is free again.
    pub(crate) fn give_back(&self, slab: Slab, kept: bool) {
        let bytes = slab.committed() as u64;
        let mut state = self.state.lock();
        if kept {
            state.kept -= bytes;
        }
        if self.excess(&state) > 0 {
            state.committed -= bytes;
            drop(state);
            drop(slab);
        } else {
            state.free.push(slab);
        }
    }

    /// Committed bytes beyond the cap and what consumers keep (or kept, see the module's words).
    fn excess(&self, state: &State) -> u64 {
        let keep = if self.shared { 0 } else { state.kept.max(state.most) };
        state.committed.saturating_sub(self.cap + keep)
    }
}

impl Drop for Shared {
    /// What others share is not kept for a pool that is gone. (Else the slabs go with the pool.)
    fn drop(&mut self) {
        if self.slabs.shared {
            let free = {
                let mut state = self.slabs.state.lock();
                state.committed -= state.free.iter().map(|slab| slab.committed() as u64).sum::<u64>();
                std::mem::take(&mut state.free)
            };
            drop(free);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.slabs.state.lock();
        f.debug_struct("Pool")
            .field("budget", &self.0.budget)
            .field("committed", &state.committed)
            .field("free", &state.free.len())
            .finish()
    }
}
