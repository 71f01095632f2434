//! Where the two reads of a hedged pair put their bytes, so that they never share any.
//!
//! Each read is handed a [`Lane`]. The first that asks for memory owns the caller's slot; the other reads
//! into spare memory, or is refused if there is none at once. Which of them asks first says nothing about
//! which wins. When the winner read into spare memory and the loser's buffer is gone, the bytes are copied
//! into the slot: that happens to hedges alone, and only to those that overtake.

use super::stopwatch::{Stopwatch, Timed};
use crate::lock::Mutex;
use crate::{Buf, Error, Kind, Lease, Operation, Place, Pool, Reservation, Result, Want};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Which read of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
}

/// The memory of one hedged pair.
pub(super) struct HedgePlace {
    place: Timed,
    spare: Pool,
    slot: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who owns the caller's slot.
    owner: Option<Which>,
    /// What the other one reads into.
    lease: Option<Arc<Lease>>,
}

/// The place of one read of the pair.
pub(super) struct Lane {
    pair: Arc<HedgePlace>,
    which: Which,
}

impl HedgePlace {
    /// For a read into `slot` of `place`, with spare memory from `spare`.
    pub(super) fn new(place: Arc<dyn Place>, slot: u32, spare: Pool, watch: Arc<Stopwatch>) -> Arc<Self> {
        let place = Timed::new(place, watch);
        Arc::new(HedgePlace { place, spare, slot, state: Mutex::default() })
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
        let lease = {
            let mut state = self.state.lock();
            if state.owner.is_none_or(|owner| owner == winner) {
                return Ok(());
            }
            state.lease.take()
        };
        let Some(lease) = lease else { return Ok(()) };
        let block = lease.finish()?;
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

    /// The spare memory, made when it is first asked for.
    fn lease(&self) -> Arc<Lease> {
        let mut state = self.state.lock();
        let make = || self.spare.lease(self.spare.budget().ticket(), self.slot.saturating_add(1));
        state.lease.get_or_insert_with(make).clone()
    }
}

impl Lane {
    fn owns(&self) -> bool {
        *self.pair.state.lock().owner.get_or_insert(self.which) == self.which
    }
}

/// Neither an answer nor a failure of the service: the read of the pair that is refused simply ends.
fn no_memory() -> Error {
    Error::new(Kind::Cancelled, Operation::Get, "there is no spare memory for a second read")
}

impl Place for Lane {
    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        if self.owns() {
            return self.pair.place.try_reserve(wants);
        }
        // To wait for spare memory would be to wait for other hedges.
        match self.pair.lease().try_reserve(wants) {
            granted @ Reservation::Granted(_) => granted,
            _ => Reservation::Refused(no_memory()),
        }
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move { if self.owns() { self.pair.place.reserve(wants).await } else { Err(no_memory()) } }
            .boxed()
    }
}
