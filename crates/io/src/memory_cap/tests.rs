//! What a shared cap promises: it holds, nobody waits for ever, and minimums are there when they are needed.

use super::*;
use crate::{Place, Pool, Reservation, Taken, Ticket, Want};
use futures::channel::{mpsc, oneshot};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

fn cap(bytes: u64) -> MemoryCap {
    MemoryCap::new(bytes).unwrap()
}

fn takes(ticket: &mut Ticket, bytes: u64) -> bool {
    match ticket.try_take(bytes) {
        Taken::Yes => true,
        Taken::Wait => false,
        Taken::Never(error) => panic!("{error}"),
    }
}

#[test]
fn a_minimum_is_free_whatever_others_have_read_ahead() {
    let cap = cap(100);
    let (a, b) = (Budget::under(&cap, 20, 100).unwrap(), Budget::under(&cap, 30, 100).unwrap());
    let mut ahead: Vec<_> = (0..7).map(|_| a.ticket()).collect();
    for (i, ticket) in ahead.iter_mut().enumerate() {
        // 70 bytes: its 20, and the 50 that are nobody's.
        assert_eq!(takes(ticket, 10), i < 7, "{i}");
        ticket.seal();
    }
    let mut one_more = a.ticket();
    assert!(!takes(&mut one_more, 1), "the rest is the other's");
    let mut own = b.ticket();
    assert!(takes(&mut own, 30));
    assert_eq!(cap.reading().in_flight, 100);
    drop(ahead);
    assert!(takes(&mut one_more, 70));
    drop((own, one_more));
    assert_eq!(
        cap.reading(),
        CapReading { cap: 100, budgets: 2, guaranteed: 50, peak: 100, ..CapReading::default() }
    );
}

#[test]
fn a_budget_that_there_is_no_room_for_is_refused_with_the_numbers() {
    let cap = cap(100);
    let a = Budget::under(&cap, 60, 100).unwrap();
    let error = Budget::under(&cap, 50, 100).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    let text = error.to_string();
    assert!(
        ["100 bytes", "50 bytes", "60 bytes", "raise the cap"].iter().all(|said| text.contains(said)),
        "{text}"
    );
    let mut ahead = a.ticket();
    assert!(takes(&mut ahead, 90));
    let error = Budget::under(&cap, 40, 100).unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("100 bytes 90 are"), "{error}");
    drop(ahead);
    drop(Budget::under(&cap, 40, 100).unwrap());
    drop(a);
    assert!(Budget::under(&cap, 100, 100).is_ok(), "a budget that is gone claims nothing");
}

#[test]
fn what_a_consumer_holds_counts_and_never_stops_the_next_batch() {
    let cap = cap(40);
    let budget = Budget::under(&cap, 20, 40).unwrap();
    let mut held = budget.ticket();
    assert!(takes(&mut held, 20));
    held.deliver();
    let mut next = budget.ticket();
    assert!(takes(&mut next, 20));
    next.seal();
    let mut ahead = budget.ticket();
    assert!(!takes(&mut ahead, 1), "20 are held and 20 in flight");
    next.deliver();
    assert!(takes(&mut ahead, 20), "it has nothing else in flight, and is what the consumer waits for");
    let CapReading { in_flight, held: kept, peak, .. } = cap.reading();
    assert_eq!((in_flight, kept, peak), (20, 40, 60));
    drop((held, next, ahead));
    assert_eq!((cap.reading().in_flight, cap.reading().held), (0, 0));
}

#[test]
fn a_batch_beyond_the_minimum_takes_what_is_spare_or_says_why_not() {
    let cap = cap(100);
    let (a, b) = (Budget::under(&cap, 20, 100).unwrap(), Budget::under(&cap, 20, 100).unwrap());
    let mut large = a.ticket();
    assert!(takes(&mut large, 80));
    drop(large);
    let mut other = b.ticket();
    assert!(takes(&mut other, 50));
    let Taken::Never(error) = a.ticket().try_take(60) else {
        panic!("nobody would give it back for certain")
    };
    let text = error.to_string();
    assert!(
        text.starts_with("60 bytes are needed at once, more than the 20") && text.contains("100"),
        "{text}"
    );
}

#[test]
fn a_slab_that_one_pool_gave_back_is_used_by_another() {
    let cap = cap(1 << 20);
    let [a, b] = [(); 2].map(|()| Pool::new(Budget::under(&cap, 1 << 16, 1 << 20).unwrap()));
    let fill = |pool: &Pool| {
        let lease = pool.lease(pool.budget().ticket(), 1);
        let Reservation::Granted(bufs) = lease.try_reserve(&[Want::new(0, 500_000)]) else { panic!() };
        let at = bufs[0].as_ptr();
        drop(bufs);
        at
    };
    let at = fill(&a);
    assert_eq!(fill(&b), at);
    assert_eq!(a.committed(), b.committed());
    drop(a);
    assert_eq!(b.committed(), 0, "nothing is kept for a pool that is gone");
}

#[test]
fn memory_of_all_pools_stays_under_the_cap() {
    let cap = cap(4 << 20);
    let pools: Vec<_> = (0..4).map(|_| Pool::new(Budget::under(&cap, 1 << 16, 4 << 20).unwrap())).collect();
    for round in 0..40u64 {
        for pool in &pools {
            let leases: Vec<_> = (0..3).map(|_| pool.lease(pool.budget().ticket(), 1)).collect();
            for (i, lease) in leases.iter().enumerate() {
                let len = 50_000 + (round * 7919 + i as u64 * 104_729) % 900_000;
                let Reservation::Granted(bufs) = lease.try_reserve(&[Want::new(0, len)]) else { panic!() };
                drop(bufs);
            }
            // Slabs are committed in steps.
            assert!(pool.committed() <= (4 << 20) + 3 * (64 << 10), "{}", pool.committed());
        }
    }
}

/// One budget's batches and how they are taken.
#[derive(Debug, Clone)]
struct Plan {
    /// The pieces in which each batch takes its bytes.
    batches: Vec<Vec<u64>>,
    /// Batches that are under way side by side.
    ahead: usize,
    /// Batches that the consumer still has when it asks for the next.
    holds: usize,
}

impl Plan {
    fn largest(&self) -> u64 {
        self.batches.iter().map(|pieces| pieces.iter().sum::<u64>()).max().unwrap_or(1)
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    let batch = prop::collection::vec(1u64..40, 1..4);
    (prop::collection::vec(batch, 1..12), 1usize..6, 0usize..4).prop_map(|(batches, ahead, holds)| Plan {
        batches,
        ahead,
        holds,
    })
}

/// Runs loaders with these plans to their end, whose batches are taken in the order that `turns` says.
///
/// # Panics
/// If they wait for each other.
fn run(cap: &MemoryCap, plans: &[Plan], turns: Vec<usize>) {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let mut lines = Vec::new();
    for plan in plans {
        let budget = Budget::under(cap, plan.largest(), cap.bytes()).unwrap();
        let (mut out, line) = mpsc::channel::<oneshot::Receiver<Ticket>>(0);
        let (plan, spawn) = (plan.clone(), spawner.clone());
        let feed = async move {
            let under_way = Rc::new(Cell::new(0));
            let (woken, mut wakes) = mpsc::unbounded::<()>();
            for pieces in plan.batches {
                while under_way.get() >= plan.ahead {
                    wakes.next().await;
                }
                under_way.set(under_way.get() + 1);
                let mut ticket = budget.ticket();
                let (done, batch) = oneshot::channel();
                let (under_way, woken) = (under_way.clone(), woken.clone());
                let read = async move {
                    for bytes in pieces {
                        ticket.take(bytes).await.unwrap();
                    }
                    ticket.seal();
                    let _ = done.send(ticket);
                    under_way.set(under_way.get() - 1);
                    let _ = woken.unbounded_send(());
                };
                spawn.spawn_local(read).unwrap();
                out.send(batch).await.unwrap();
            }
        };
        spawner.spawn_local(feed).unwrap();
        lines.push((line, VecDeque::new()));
    }
    let finished = Rc::new(Cell::new(false));
    let (ended, cap, holds) =
        (finished.clone(), cap.clone(), plans.iter().map(|p| p.holds).collect::<Vec<_>>());
    let consumer = async move {
        let mut left: Vec<_> = (0..lines.len()).collect();
        for turn in turns.into_iter().cycle() {
            if left.is_empty() {
                break;
            }
            let at = turn % left.len();
            let (line, held) = &mut lines[left[at]];
            match line.next().await {
                None => drop(left.remove(at)),
                Some(batch) => {
                    let mut ticket = batch.await.unwrap();
                    ticket.deliver();
                    held.push_back(ticket);
                    assert!(cap.reading().in_flight <= cap.bytes());
                    while held.len() > holds[left[at]] {
                        held.pop_front();
                    }
                }
            }
        }
        drop(lines);
        ended.set(true);
    };
    spawner.spawn_local(consumer).unwrap();
    pool.run_until_stalled();
    assert!(finished.get(), "they wait for each other");
}

proptest! {
    /// In turns and in any other order, with any cap that the minimums fit in, whatever the consumer holds.
    #[test]
    fn loaders_under_one_cap_never_hang_and_never_exceed_it(
        plans in prop::collection::vec(plan(), 1..5),
        more in 0u64..100,
        turns in prop::collection::vec(0usize..12, 1..40),
    ) {
        let bytes = plans.iter().map(Plan::largest).sum::<u64>() + more;
        let shared = cap(bytes);
        run(&shared, &plans, turns);
        let CapReading { budgets, guaranteed, in_flight, held, peak, .. } = shared.reading();
        prop_assert_eq!((guaranteed, in_flight, held, budgets), (0, 0, 0, 0));
        if plans.iter().all(|plan| plan.holds == 0) {
            prop_assert!(peak <= bytes, "{} of {}", peak, bytes);
        }
    }
}
