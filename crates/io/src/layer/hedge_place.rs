//! Where the two reads of a hedged pair put their bytes, so that they never share any.
//!
//! Each read is handed a [`Lane`]. The first that asks for memory owns the caller's slot; the other reads
//! into spare memory of the caller's pool, under the caller's cap, or is refused if there is none at once. Spare memory
//! is only given while the slot has its own: a pair never holds some while it waits for more, so that nobody can be
//! kept waiting by it for longer than it reads. Which of them asks first says nothing about
//! which wins. When the winner read into spare memory and the loser's buffer is gone, the bytes are copied
//! into the slot: that happens to hedges alone, and only to those that overtake.

use super::stopwatch::{Stopwatch, Timed};
use crate::lock::Mutex;
use crate::{
    Budget, Buf, Error, Event, Kind, Lease, Observe, Operation, Place, Pool, Reservation, Result, Taken,
    Ticket, Want,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Which read of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
}

/// What all second reads together may take of their callers' memory, and who hears where one got none.
pub(super) struct HedgeMemory {
    most: Budget,
    observer: Arc<dyn Observe>,
}

/// Memory beside a caller's slot.
pub(super) struct Spare {
    lease: Arc<Lease>,
    /// Its bytes of `most`.
    ticket: Ticket,
}

impl HedgeMemory {
    pub(super) fn new(most: Budget, observer: Arc<dyn Observe>) -> Self {
        HedgeMemory { most, observer }
    }

    /// Space for `wants` in `spare`, which is made from `pool` where there is none yet; nothing, and it is counted, if
    /// that is not there now.
    pub(super) fn take(&self, spare: &mut Option<Spare>, pool: &Pool, wants: &[Want]) -> Option<Vec<Buf>> {
        let slots = wants.iter().map(|want| want.slot.saturating_add(1)).max().unwrap_or(0);
        let make = || Spare { lease: pool.aside(slots), ticket: self.most.aside() };
        let Spare { lease, ticket } = spare.get_or_insert_with(make);
        let bytes = wants.iter().fold(0, |sum: u64, want| sum.saturating_add(want.len));
        let more = bytes.saturating_sub(ticket.held());
        if matches!(ticket.try_take(more), Taken::Yes)
            && let Reservation::Granted(bufs) = lease.try_reserve(wants)
        {
            return Some(bufs);
        }
        self.denied();
        None
    }

    /// No second read for want of memory.
    pub(super) fn denied(&self) {
        self.observer.noted(None, Event::HedgeDenied);
    }
}

/// The memory of one hedged pair.
pub(super) struct HedgePlace {
    place: Timed,
    memory: Arc<HedgeMemory>,
    slot: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who owns the caller's slot.
    owner: Option<Which>,
    /// What was wanted there, once it is there.
    granted: Option<Want>,
    /// What the other one reads into.
    spare: Option<Spare>,
}

/// The place of one read of the pair.
pub(super) struct Lane {
    pair: Arc<HedgePlace>,
    which: Which,
}

impl HedgePlace {
    /// For a read into `slot` of `place`.
    pub(super) fn new(
        place: Arc<dyn Place>,
        slot: u32,
        memory: Arc<HedgeMemory>,
        watch: Arc<Stopwatch>,
    ) -> Arc<Self> {
        let place = Timed::new(place, watch);
        Arc::new(HedgePlace { place, memory, slot, state: Mutex::default() })
    }

    /// Whether there is memory for a second read, as far as is known before it says how much it needs.
    pub(super) fn has_spare(&self) -> bool {
        let mut state = self.state.lock();
        let State { owner, granted, spare } = &mut *state;
        match (granted, owner) {
            (Some(want), _) => self.memory.take(spare, self.place.pool(), &[*want]).is_some(),
            (None, None) => true,
            (None, Some(_)) => {
                self.memory.denied();
                false
            }
        }
    }

    pub(super) fn lane(self: &Arc<Self>, which: Which) -> Arc<Lane> {
        Arc::new(Lane { pair: self.clone(), which })
    }

    /// Waits until no read of the pair has memory any more. Both must be over or dropped.
    pub(super) async fn returned(&self) {
        self.place.returned().await;
    }

    /// Sees to it that what `winner` read is in the caller's slot. Both must be over or dropped.
    ///
    /// # Errors
    /// Those of the caller's place.
    pub(super) async fn settle(&self, winner: Which) -> Result<()> {
        self.returned().await;
        let spare = {
            let mut state = self.state.lock();
            if state.owner.is_none_or(|owner| owner == winner) {
                return Ok(());
            }
            state.spare.take()
        };
        let Some(spare) = spare else { return Ok(()) };
        let block = spare.lease.finish()?;
        let Some(bytes) = block.slot(self.slot as usize) else { return Ok(()) };
        let wants = [Want::new(self.slot, bytes.len() as u64)];
        let mut bufs = match self.place.try_reserve(&wants) {
            Reservation::Granted(bufs) => bufs,
            Reservation::Wait => self.place.reserve(&wants).await?,
            Reservation::TooLarge { error, .. } | Reservation::Refused(error) => return Err(error),
        };
        bufs[0].copy_from_slice(bytes);
        Ok(())
    }
}

impl Lane {
    fn owns(&self) -> bool {
        *self.pair.state.lock().owner.get_or_insert(self.which) == self.which
    }

    fn granted(&self, wants: &[Want]) {
        self.pair.state.lock().granted = wants.first().copied();
    }
}

/// Neither an answer nor a failure of the service: the read of the pair that is refused simply ends.
fn no_memory() -> Error {
    Error::new(Kind::Cancelled, Operation::Get, "there is no spare memory for a second read")
}

impl Place for Lane {
    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        if self.owns() {
            let reservation = self.pair.place.try_reserve(wants);
            if matches!(reservation, Reservation::Granted(_)) {
                self.granted(wants);
            }
            return reservation;
        }
        let HedgePlace { place, memory, state, .. } = &*self.pair;
        let State { granted, spare, .. } = &mut *state.lock();
        // To wait for spare memory would be to wait for other hedges.
        let bufs = match granted {
            Some(_) => memory.take(spare, place.pool(), wants),
            None => {
                memory.denied();
                None
            }
        };
        bufs.map_or_else(|| Reservation::Refused(no_memory()), Reservation::Granted)
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move {
            if !self.owns() {
                return Err(no_memory());
            }
            let bufs = self.pair.place.reserve(wants).await?;
            self.granted(wants);
            Ok(bufs)
        }
        .boxed()
    }

    fn pool(&self) -> &Pool {
        self.pair.place.pool()
    }
}
