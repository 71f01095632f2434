//! One slab, lent slot by slot: memory that samples land in where they will be consumed.
//!
//! A [`Lease`] is the [`Place`] of a batch under assembly. When every slot that was lent has come
//! back it is finished into a [`Block`], which is read-only and can be shared. The budget is charged
//! from before the first byte moves until the block's consumer takes it ([`Block::take`]) or drops
//! it; the slab goes back to the pool when the last owner is gone.

use crate::lock::Mutex;
use crate::place::SLOT_ALIGN;
use crate::slab::Slab;
use crate::{Buf, Error, Kind, Operation, Place, Pool, Reservation, Result, Room, Taken, Ticket, Want};
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
                Some(slab) => self.pool.grow(slab, end),
                none => self.pool.slab(end).map(|slab| *none = Some(slab)),
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
                let context = format!("{len} bytes are more than max_bytes_in_flight={cap} allows; raise it");
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
                // SAFETY: committed, and of no slot: what lies between two slots is lent to nobody.
                unsafe { base.add(table.end).write_bytes(0, span.begin - table.end) };
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        let table = self.table.get_mut();
        // Memory first, then the budget: whoever is woken by the bytes finds the slab.
        if let Some(slab) = table.slab.take() {
            self.pool.give_back(slab, table.kept);
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
    /// stays until the block is dropped.
    pub fn take(&self) {
        let mut table = self.lease.table.lock();
        if !table.kept
            && let Some(slab) = &table.slab
        {
            self.lease.pool.keep(slab);
            table.kept = true;
        }
        table.ticket.release();
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
mod tests {
    use super::*;
    use crate::Budget;
    use proptest::prelude::*;

    fn pool(cap: u64) -> Pool {
        Pool::new(Budget::new(cap).unwrap())
    }

    fn granted(place: &dyn Place, wants: &[Want]) -> Vec<Buf> {
        match place.try_reserve(wants) {
            Reservation::Granted(bufs) => bufs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slots_are_aligned_disjoint_and_zero_padded() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 3);
        let wants = [Want::new(2, 100), Want::new(0, 0), Want::new(1, 64)];
        for mut buf in granted(&*lease, &wants) {
            let slot = buf.slot() as u8 + 1;
            buf.fill(slot);
        }
        let block = lease.finish().unwrap();
        assert_eq!(block.slot(2), Some(&[3u8; 100][..]));
        assert_eq!(block.slot(0), Some(&[][..]));
        assert_eq!(block.slot(1), Some(&[2u8; 64][..]));
        assert!(block.as_slice()[100..128].iter().all(|&b| b == 0));
        assert_eq!(block.as_slice().as_ptr().align_offset(64), 0);
        assert_eq!(pool.budget().used(), 192);
        block.take();
        assert_eq!((pool.budget().used(), block.in_flight()), (0, 0));
        assert_eq!(block.slot(1), Some(&[2u8; 64][..]), "taking does not take the bytes away");
    }

    #[test]
    fn a_block_is_not_finished_while_a_slot_is_lent() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 1);
        let bufs = granted(&*lease, &[Want::new(0, 8)]);
        assert!(lease.finish().is_err());
        assert!(matches!(lease.try_reserve(&[Want::new(0, 8)]), Reservation::Refused(_)));
        drop(bufs);
        assert!(lease.finish().is_ok());
    }

    #[test]
    fn a_failed_slot_is_lent_again_at_the_same_place() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 1);
        let first = granted(&*lease, &[Want::new(0, 100)])[0].as_ptr();
        assert_eq!(granted(&*lease, &[Want::new(0, 90)])[0].as_ptr(), first);
        let Reservation::Refused(error) = lease.try_reserve(&[Want::new(0, 500)]) else { panic!() };
        assert_eq!(error.kind(), Kind::Precondition);
        assert_eq!(lease.finish().unwrap().slot(0).unwrap().len(), 90);
    }

    #[test]
    fn a_slot_named_twice_in_one_request_is_refused() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 2);
        let twice = [Want::new(1, 8), Want::new(1, 8)];
        assert!(matches!(lease.try_reserve(&twice), Reservation::Refused(_)));
        assert_eq!(pool.budget().used(), 0, "and nothing was taken");
        granted(&*lease, &twice[..1]);
    }

    #[test]
    fn every_waiter_of_one_batch_is_woken() {
        use futures::FutureExt;
        use futures::task::noop_waker_ref;
        use std::sync::atomic::AtomicUsize;
        use std::task::{Context, Wake};
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pool = pool(256);
        let older = pool.lease(pool.budget().ticket(), 1);
        let held = granted(&*older, &[Want::new(0, 200)]);
        let lease = pool.lease(pool.budget().ticket(), 2);
        let wants = [0, 1].map(|slot| [Want::new(slot, 100)]);
        let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
        let mut waits: Vec<_> = wants.iter().map(|wants| lease.reserve(wants)).collect();
        for (wait, count) in waits.iter_mut().zip(&counts) {
            let waker = count.clone().into();
            assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        drop((held, older));
        assert_eq!(counts.map(|c| c.0.load(Ordering::Relaxed)), [1, 1]);
        for wait in &mut waits {
            assert!(wait.poll_unpin(&mut Context::from_waker(noop_waker_ref())).is_ready());
        }
    }

    #[test]
    fn memory_and_budget_come_back_whoever_drops_last() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 1);
        let bufs = granted(&*lease, &[Want::new(0, 1000)]);
        drop(lease);
        assert_eq!(pool.budget().used(), 1024, "the buffer still counts");
        drop(bufs);
        assert_eq!(pool.budget().used(), 0);
        assert_eq!(pool.committed(), 64 << 10, "and its slab is free for the next");
        let _again = pool.lease(pool.budget().ticket(), 1).try_reserve(&[Want::new(0, 1000)]);
        assert_eq!(pool.committed(), 64 << 10);
    }

    #[test]
    fn room_that_cannot_be_is_refused() {
        let pool = pool(1 << 20);
        let lease = pool.lease(pool.budget().ticket(), 1);
        let align = |align| Room { align, ..Room::default() };
        for room in [align(3), align(8192), Room { before: 100, ..Room::default() }] {
            let want = Want { room, ..Want::new(0, 10) };
            let Reservation::Refused(error) = lease.try_reserve(&[want]) else { panic!("{room:?}") };
            assert!(error.to_string().contains("is possible"), "{error}");
        }
        let all = Want { room: Room { after: 1, ..Room::default() }, ..Want::new(0, 1 << 20) };
        assert!(matches!(lease.try_reserve(&[all]), Reservation::TooLarge { index: 0, .. }));
        assert_eq!(granted(&*lease, &[Want::new(0, 1 << 20)]).len(), 1, "and then without spare bytes");
    }

    proptest! {
        /// Whatever is asked for around slots: they are where they should be, apart, and nothing but
        /// their own bytes can be read.
        #[test]
        fn spare_bytes_are_there_and_are_lost(
            wants in proptest::collection::vec((0u64..5000, 0u32..8, 0u32..5, 0u32..5000), 1..20),
        ) {
            let pool = pool(1 << 20);
            let lease = pool.lease(pool.budget().ticket(), wants.len() as u32);
            let wants: Vec<_> = (0..).zip(&wants).map(|(slot, &(len, align, before, after))| {
                let align = if align == 0 { 0 } else { 32 << align };
                Want { slot, len, room: Room { align, before: before * 64, after } }
            }).collect();
            for _ in 0..2 {
                for (mut buf, want) in granted(&*lease, &wants).into_iter().zip(&wants) {
                    prop_assert_eq!((buf.len() as u64, buf.before()), (want.len, want.room.before as usize));
                    prop_assert!(buf.after() >= want.room.after as usize);
                    let room = buf.room_mut();
                    room.fill(0xee);
                    prop_assert_eq!(room.as_ptr().align_offset((want.room.align as usize).max(64)), 0);
                    buf.fill(want.slot as u8 + 1);
                }
            }
            let (held, end) = { let table = lease.table.lock(); (table.ticket.held(), table.end as u64) };
            prop_assert_eq!(held, end);
            let block = lease.finish().unwrap();
            let mut expected = vec![0; block.as_slice().len()];
            for want in &wants {
                let span = block.span(want.slot as usize).unwrap();
                prop_assert_eq!(span.start % 64, 0);
                expected[span].fill(want.slot as u8 + 1);
            }
            prop_assert!(block.as_slice() == expected);
        }

        /// Batches of any sizes under any cap: bytes stay under the cap, memory under the cap and
        /// one batch, and nothing hangs.
        #[test]
        fn memory_stays_under_the_cap_and_one_batch(
            cap in 200_000u64..2_000_000,
            sizes in proptest::collection::vec(proptest::collection::vec(0u64..60_000, 1..4), 1..40),
        ) {
            let pool = pool(cap);
            let mut kept: Option<Block> = None;
            let mut waiting = std::collections::VecDeque::new();
            let mut batches = sizes.into_iter();
            let mut next = batches.next();
            while next.is_some() || !waiting.is_empty() {
                if let Some(sizes) = &next {
                    let lease = pool.lease(pool.budget().ticket(), sizes.len() as u32);
                    let wants: Vec<_> = sizes.iter().enumerate().map(|(i, &len)| Want::new(i as u32, len)).collect();
                    match lease.try_reserve(&wants) {
                        Reservation::Granted(bufs) => {
                            drop(bufs);
                            waiting.push_back(lease.finish().unwrap());
                            next = batches.next();
                            continue;
                        }
                        Reservation::Wait => prop_assert!(!waiting.is_empty(), "a wait that nothing can end"),
                        Reservation::Refused(error) | Reservation::TooLarge { error, .. } => return Err(TestCaseError::fail(error.to_string())),
                    }
                }
                let block: Block = waiting.pop_front().unwrap();
                block.take();
                kept = Some(block);
                prop_assert!(pool.budget().used() <= cap);
                let largest = 3 * 60_032u64.next_multiple_of(64 << 10);
                // Each slab commits whole steps.
                let rounding = (waiting.len() as u64 + 2) * (64 << 10);
                prop_assert!(pool.committed() <= cap + largest + rounding, "{:?}", pool);
            }
            drop(kept);
            prop_assert_eq!(pool.budget().used(), 0);
        }
    }
}
