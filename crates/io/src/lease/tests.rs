//! What a lease promises: slots apart, memory under the cap, nothing lent twice.

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
fn a_consumer_that_takes_the_next_before_it_lets_go_costs_no_memory_anew() {
    let size = 256 << 10;
    let pool = pool(4 * size);
    let block = || {
        let lease = pool.lease(pool.budget().ticket(), 1);
        drop(granted(&*lease, &[Want::new(0, size)]));
        lease.finish().unwrap()
    };
    let mut ready: std::collections::VecDeque<_> = (0..4).map(|_| block()).collect();
    let mut last = None;
    let mut step = || {
        let next = ready.pop_front().unwrap();
        next.take();
        ready.push_back(block());
        last = Some(next);
        pool.committed()
    };
    step();
    let steady = step();
    assert_eq!(steady, 6 * size, "the cap and two");
    assert!((0..10).all(|_| step() == steady), "nothing is given back and made anew");
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

    let pool = self::pool(1500);
    let lease = pool.lease(pool.budget().ticket(), 1);
    let Reservation::TooLarge { error, .. } = lease.try_reserve(&[Want::new(0, 1480)]) else {
        panic!("fits")
    };
    let text = "1480 bytes, which take 1536 where they lie, are more than max_bytes_in_flight=1500 allows";
    assert!(error.to_string().contains(text), "{error}");
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

    /// Batches of any sizes under any cap: bytes stay under the cap, memory under the cap and as many
    /// batches as the consumer holds at once (one, or two while it takes the next), and nothing hangs.
    #[test]
    fn memory_stays_under_the_cap_and_what_the_consumer_holds(
        lets_go_first: bool,
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
            if lets_go_first {
                drop(kept.take());
            }
            let block: Block = waiting.pop_front().unwrap();
            block.take();
            kept = Some(block);
            prop_assert!(pool.budget().used() <= cap);
            let largest = 3 * 60_032u64.next_multiple_of(64 << 10);
            // Each slab commits whole steps.
            let rounding = (waiting.len() as u64 + 2) * (64 << 10);
            let held = if lets_go_first { largest } else { 2 * largest };
            prop_assert!(pool.committed() <= cap + held + rounding, "{:?}", pool);
        }
        drop(kept);
        prop_assert_eq!(pool.budget().used(), 0);
    }
}

/// Whole reads take leases and reads of chunks take buffers, of one pool and at the same time.
#[test]
fn a_buffer_waits_for_the_leases_of_others() {
    let pool = pool(1 << 20);
    let lease = pool.lease(pool.budget().ticket(), 2);
    let first = granted(&*lease, &[Want::new(0, 100)]);
    let mut buffer = Box::pin(pool.buffer(100));
    assert!(futures::FutureExt::now_or_never(buffer.as_mut()).is_none(), "the lease may still take");
    // Once it has taken all that it will, nobody waits behind it.
    let second = granted(&*lease, &[Want::new(1, 100)]);
    let one = futures::executor::block_on(buffer).unwrap();
    let mut large = Box::pin(pool.buffer(1 << 20));
    assert!(futures::FutureExt::now_or_never(large.as_mut()).is_none());
    drop((first, second, lease, one));
    assert_eq!(futures::executor::block_on(large).unwrap().len(), 1 << 20);
}
