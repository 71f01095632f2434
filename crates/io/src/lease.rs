//! One slab, lent slot by slot: memory that samples land in where they will be consumed.
//!
//! A [`Lease`] is the [`Place`] of a batch under assembly. When every slot that was lent has come
//! back it is finished into a [`Block`], which is read-only and can be shared. The budget is charged
//! from before the first byte moves until the block's consumer takes it ([`Block::take`]) or drops
//! it; the slab goes back to the pool when the last owner is gone.

use crate::lock::Mutex;
use crate::place::SLOT_ALIGN;
use crate::slab::Slab;
use crate::{
    Buf, Error, Kind, Operation, Place, Pool, Region, Reservation, Result, Room, Taken, Ticket, Want,
};
use futures::future::BoxFuture;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

/// See the module's words.
pub struct Lease {
    me: Weak<Lease>,
    pool: Pool,
    /// `lent[slot]`: a [`Buf`] of that slot is alive somewhere.
    lent: Box<[AtomicBool]>,
    /// Somebody waits for a slot to come back.
    awaited: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    table: Mutex<Table>,
}

struct Table {
    ticket: Ticket,
    slab: Option<Slab>,
    /// Bytes handed out so far, padding included.
    end: usize,
    spans: Vec<Option<Span>>,
    placed: usize,
    finished: bool,
    kept: bool,
}

#[derive(Clone, Copy)]
struct Span {
    /// What belongs to the slot, from its first spare byte on to the next multiple of [`SLOT_ALIGN`].
    begin: usize,
    end: usize,
    /// Its own bytes.
    start: usize,
    len: usize,
}

impl Span {
    /// Where `want` lies if nothing before `from` is free. None where that is nowhere.
    fn after(from: usize, want: &Want) -> Option<Span> {
        let align = SLOT_ALIGN.max(want.room.align as usize);
        let begin = from.checked_next_multiple_of(align)?;
        let start = begin.checked_add(want.room.before as usize)?;
        let len = usize::try_from(want.len).ok()?;
        let spare = start.checked_add(len)?.checked_add(want.room.after as usize)?;
        Some(Span { begin, end: spare.checked_next_multiple_of(SLOT_ALIGN)?, start, len })
    }

    /// Where `want` lies within this, if it fits.
    fn holds(&self, want: &Want) -> Option<Span> {
        let inside = Span::after(self.begin, want).filter(|span| span.end <= self.end)?;
        Some(Span { begin: self.begin, end: self.end, ..inside })
    }
}

impl Lease {
    pub(crate) fn new(pool: Pool, ticket: Ticket, slots: u32) -> Arc<Self> {
        let slots = slots as usize;
        Arc::new_cyclic(|me| Lease {
            me: me.clone(),
            pool,
            lent: (0..slots).map(|_| AtomicBool::new(false)).collect(),
            awaited: AtomicBool::new(false),
            waiting: Mutex::default(),
            table: Mutex::new(Table {
                ticket,
                slab: None,
                end: 0,
                spans: vec![None; slots],
                placed: 0,
                finished: false,
                kept: false,
            }),
        })
    }

    pub(crate) fn returned(&self, slot: u32) {
        // What was written through the `Buf` is seen by whoever sees it returned. Sequentially
        // consistent, as is `returning`: either this sees that somebody waits, or they see it returned.
        self.lent[slot as usize].store(false, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) {
            let wakers = {
                let mut waiting = self.waiting.lock();
                self.awaited.store(false, Ordering::SeqCst);
                std::mem::take(&mut *waiting)
            };
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Waits until no [`Buf`] of this slot is alive.
    pub(crate) async fn returning(&self, slot: u32) {
        let Some(lent) = self.lent.get(slot as usize) else { return };
        poll_fn(|cx| {
            if lent.load(Ordering::SeqCst) {
                let mut waiting = self.waiting.lock();
                waiting.push(cx.waker().clone());
                self.awaited.store(true, Ordering::SeqCst);
                drop(waiting);
                if lent.load(Ordering::SeqCst) {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The memory that its slots lie in; none as long as they are empty.
    pub(crate) fn region(&self) -> Option<Region> {
        self.table.lock().slab.as_mut().map(|slab| slab.region())
    }

    /// Lends a slot again that has its memory and is not lent.
    pub(crate) fn lend_again(&self, want: &Want) -> Result<Buf> {
        match self.attempt(std::slice::from_ref(want), None) {
            Reservation::Granted(mut bufs) => Ok(bufs.remove(0)),
            Reservation::Refused(error) | Reservation::TooLarge { error, .. } => Err(error),
            Reservation::Wait => {
                let context = format!("slot {} has no memory to be lent again", want.slot);
                Err(Error::new(Kind::InvalidRange, Operation::Get, context))
            }
        }
    }

    /// Forgets what was placed in a slot, because reading it failed for good: the block will have
    /// nothing there but zeros. A slot that is lent keeps what it has.
    pub fn discard(&self, slot: u32) {
        let mut table = self.table.lock();
        let table = &mut *table;
        let lent = self.lent.get(slot as usize).is_none_or(|lent| lent.load(Ordering::Acquire));
        if lent || table.finished {
            return;
        }
        if let (Some(slab), Some(span)) = (&table.slab, table.spans[slot as usize].take()) {
            // SAFETY: `begin..end` was committed for this slot alone, and nobody holds a `Buf` of it:
            // lending one needs the lock that we hold.
            unsafe { slab.base().add(span.begin).write_bytes(0, span.end - span.begin) };
        }
    }

    /// Ends the writing. The ticket is sealed; slots that were never reserved stay empty.
    ///
    /// # Errors
    /// `Unavailable` if a slot is still lent: something may still be writing into it.
    pub fn finish(self: &Arc<Self>) -> Result<Block> {
        let mut table = self.table.lock();
        if let Some(slot) = self.lent.iter().position(|l| l.load(Ordering::Acquire)) {
            let context = format!("slot {slot} of a batch is still being written");
            return Err(
                Error::new(Kind::Unavailable, Operation::Get, context).with_retry(crate::Retry::Never)
            );
        }
        table.finished = true;
        table.ticket.seal();
        let spans = table.spans.iter().map(|s| s.map(|s| s.start..s.start + s.len)).collect();
        let base = table.slab.as_ref().map_or(NonNull::<Aligned>::dangling().cast(), Slab::base);
        Ok(Block { base, len: table.end, spans, lease: self.clone() })
    }

    fn attempt(&self, wants: &[Want], waker: Option<&Waker>) -> Reservation {
        let mut table = self.table.lock();
        let table = &mut *table;
        let mut end = table.end;
        // Slots are marked as they are checked, so that one that is named twice is found out: two
        // buffers over the same bytes must never be.
        for (index, want) in wants.iter().enumerate() {
            match self
                .check(table, want)
                .and_then(|fresh| if fresh { lay(end, want).map(|span| span.end) } else { Ok(end) })
            {
                Ok(next) => {
                    end = next;
                    self.lent[want.slot as usize].store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    self.unmark(&wants[..index]);
                    return Reservation::Refused(error);
                }
            }
        }
        let reservation = self.grant(table, wants, end, waker);
        if !matches!(reservation, Reservation::Granted(_)) {
            self.unmark(wants);
        }
        reservation
    }

    fn unmark(&self, wants: &[Want]) {
        wants.iter().for_each(|want| self.lent[want.slot as usize].store(false, Ordering::Release));
    }

    /// Takes what is needed to reach `end` and lends the wants, whose slots are checked and marked.
    fn grant(&self, table: &mut Table, wants: &[Want], end: usize, waker: Option<&Waker>) -> Reservation {
        if end > table.end {
            match table.take((end - table.end) as u64, waker) {
                Taken::Yes => {}
                Taken::Wait => return Reservation::Wait,
                Taken::Never(error) => return self.never(wants, error),
            }
            let ready = match &mut table.slab {
                Some(slab) => self.pool.slabs().grow(slab, end),
                none => self.pool.slabs().slab(end).map(|slab| *none = Some(slab)),
            };
            if let Err(error) = ready {
                return Reservation::Refused(error);
            }
        }
        let bufs = self.lend(table, wants);
        // Every slot has its size now, so this batch needs no more and the next one's turn comes.
        if table.placed == table.spans.len() {
            table.ticket.seal();
        }
        Reservation::Granted(bufs)
    }

    /// Names the want that can never fit, where it is one.
    fn never(&self, wants: &[Want], error: Error) -> Reservation {
        let cap = self.pool.budget().cap();
        let alone = |want: &Want| Span::after(0, want).is_none_or(|span| span.end as u64 > cap);
        match wants.iter().position(alone) {
            Some(index) => {
                let len = wants[index].len;
                let placed = Span::after(0, &wants[index]).map(|span| span.end).filter(|_| len <= cap);
                let placed =
                    placed.map_or(String::new(), |end| format!(", which take {end} where they lie,"));
                let context =
                    format!("{len} bytes{placed} are more than max_bytes_in_flight={cap} allows; raise it");
                let error = Error::new(Kind::InvalidRange, Operation::Get, context);
                Reservation::TooLarge { index, error }
            }
            None => Reservation::Refused(error),
        }
    }

    /// Whether this want needs new bytes: it does not if its slot has room from an earlier attempt.
    fn check(&self, table: &Table, want: &Want) -> Result<bool> {
        let slot = want.slot as usize;
        let refuse = |why: String| Err(Error::new(Kind::InvalidRange, Operation::Get, why));
        if table.finished {
            return refuse("the batch is finished and lends no more".into());
        }
        let Some(span) = table.spans.get(slot) else {
            return refuse(format!("slot {slot} of a place with {} slots", table.spans.len()));
        };
        if self.lent[slot].load(Ordering::Acquire) {
            return refuse(format!("slot {slot} is asked for twice, or still lent to an earlier attempt"));
        }
        let Room { align, before, .. } = want.room;
        if align > Room::MAX_ALIGN || !(align == 0 || align.is_power_of_two()) {
            return refuse(format!(
                "an alignment of {align} bytes was asked for; a power of two up to {} is possible",
                Room::MAX_ALIGN
            ));
        }
        if !(before as usize).is_multiple_of(SLOT_ALIGN) {
            return refuse(format!("{before} bytes before a slot; a multiple of {SLOT_ALIGN} is possible"));
        }
        match span {
            Some(span) if span.holds(want).is_some() => Ok(false),
            // A sealed ticket cannot take more without waiting behind younger ones: that is a
            // deadlock. The object changed between two attempts, which its reader must hear.
            None if table.ticket.is_sealed() => refuse(format!("slot {slot} was discarded")),
            Some(span) if table.ticket.is_sealed() => Err(Error::new(
                Kind::Precondition,
                Operation::Get,
                format!(
                    "the object grew from {} to {} bytes between two attempts to read it",
                    span.len, want.len
                ),
            )),
            _ => Ok(true),
        }
    }

    fn lend(&self, table: &mut Table, wants: &[Want]) -> Vec<Buf> {
        let me = self.me.upgrade().expect("called through an Arc");
        let base = table.slab.as_ref().map_or(NonNull::<Aligned>::dangling().cast(), Slab::base);
        let mut bufs = Vec::with_capacity(wants.len());
        for want in wants {
            let slot = want.slot as usize;
            let earlier = table.spans[slot].and_then(|earlier| earlier.holds(want));
            let span = earlier.unwrap_or_else(|| {
                // The same arithmetic found out that it fits.
                let span = lay(table.end, want).expect("laid out before");
                table.placed += usize::from(table.spans[slot].is_none());
                if span.begin > table.end {
                    // SAFETY: committed, and of no slot: what lies between two slots is lent to nobody.
                    unsafe { base.add(table.end).write_bytes(0, span.begin - table.end) };
                }
                table.end = span.end;
                span
            });
            table.spans[slot] = Some(span);
            // SAFETY: `begin..end` is committed (the caller grew the slab), and spans do not overlap:
            // each begins where all before it end. The caller checked that no other `Buf` of this slot
            // is alive and marked it as lent.
            unsafe {
                let spare = (span.start - span.begin, span.end - span.start - span.len);
                bufs.push(Buf::new(base.add(span.start), span.len, spare, want.slot, me.clone()));
            }
        }
        bufs
    }
}

/// Gives an empty block an address with the alignment that blocks promise.
#[repr(align(64))]
struct Aligned;

/// Where `want` lies behind `end`.
fn lay(end: usize, want: &Want) -> Result<Span> {
    Span::after(end, want).ok_or_else(|| too_large(want.len))
}

fn too_large(len: u64) -> Error {
    Error::new(
        Kind::InvalidRange,
        Operation::Get,
        format!("{len} bytes are more than an address space holds"),
    )
}

impl Table {
    fn take(&mut self, bytes: u64, waker: Option<&Waker>) -> Taken {
        match waker {
            Some(waker) => self.ticket.poll_take(bytes, waker),
            None => self.ticket.try_take(bytes),
        }
    }
}

impl Place for Lease {
    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        self.attempt(wants, None)
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        Box::pin(poll_fn(move |cx| match self.attempt(wants, Some(cx.waker())) {
            Reservation::Granted(bufs) => Poll::Ready(Ok(bufs)),
            Reservation::Refused(error) | Reservation::TooLarge { error, .. } => Poll::Ready(Err(error)),
            Reservation::Wait => Poll::Pending,
        }))
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let table = self.table.get_mut();
        // Memory first, then the budget: whoever is woken by the bytes finds the slab.
        if let Some(slab) = table.slab.take() {
            self.pool.slabs().give_back(slab, table.kept);
        }
        table.ticket.release();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.lock();
        f.debug_struct("Lease").field("slots", &table.spans.len()).field("bytes", &table.end).finish()
    }
}

/// Finished memory: one contiguous buffer, aligned to 64 bytes at least, with a span for each slot.
///
/// Between slots there may be padding, which is zero: up to the next multiple of 64, and more where a
/// store asked for [`Room`].
pub struct Block {
    base: NonNull<u8>,
    len: usize,
    spans: Box<[Option<Range<usize>>]>,
    lease: Arc<Lease>,
}

// SAFETY: nothing writes any more (`finish` checked), so all access is shared and reads.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// The whole buffer, padding included.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: committed, initialised, and no `Buf` is alive.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Where the buffer begins: for handing it on as memory that its owner may also write to. Whoever
    /// writes must see to it that nobody reads through [`Block::as_slice`] meanwhile.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.base
    }

    /// How many slots.
    pub fn slots(&self) -> usize {
        self.spans.len()
    }

    /// Where a slot's bytes are in the buffer; none if nothing was placed there.
    pub fn span(&self, slot: usize) -> Option<Range<usize>> {
        self.spans.get(slot)?.clone()
    }

    /// A slot's bytes; none if nothing was placed there.
    pub fn slot(&self, slot: usize) -> Option<&[u8]> {
        self.as_slice().get(self.span(slot)?)
    }

    /// The consumer takes the block: its bytes no longer count as in flight, though its memory
    /// stays until the block is dropped, and counts as held in a cap that is shared.
    pub fn take(&self) {
        let mut table = self.lease.table.lock();
        if !table.kept
            && let Some(slab) = &table.slab
        {
            self.lease.pool.slabs().keep(slab);
            table.kept = true;
        }
        table.ticket.deliver();
    }

    /// Bytes charged to the budget for this block now.
    pub fn in_flight(&self) -> u64 {
        self.lease.table.lock().ticket.held()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("slots", &self.spans.len()).field("bytes", &self.len).finish()
    }
}

#[cfg(test)]
mod tests;
