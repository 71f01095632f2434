//! Operations in flight, counted and kept under a number that may change while they run.
//!
//! First come, first served: a large batch at the head of the line is not passed by single reads, but by what is
//! tried again: it came before, and others that are done wait for it. (Behind a line of batches it would take
//! them all as long again, and their memory with them. A budget bounds how much that can be.) What
//! asks for more than the whole limit is let in when nothing else is in flight, so that a limit that
//! sinks below a batch in the line does not strand it.
//!
//! An *adaptive* limit follows what the service says. When a twentieth of the operations end as `Throttled` it
//! loses the share that was turned away, at most a half, once for all that were in flight at that moment: what
//! is left is about what was served. (Large services answer 503 now and then whatever the load. To halve at each
//! would hold a limit of 64 at about 10 where 2 % are answered so, and a twentieth of few operations is easily
//! one: so at least [`SOME`] of them must have said it, or all that may be in flight, and a share that is less
//! than half an operation takes none away.) A limit's worth of served operations raises it by a quarter of the
//! way back to where it was cut from, as far as that is more than one, and by one beyond that, but only while the
//! limit is what holds operations back: a limit that nothing reaches says nothing about the service. ("Additive
//! increase, multiplicative decrease": D.-M. Chiu, R. Jain, *Analysis of the Increase and Decrease Algorithms for
//! Congestion Avoidance*, 1989; to hurry back to where it was last cut is from *CUBIC*: S. Ha, I. Rhee, L. Xu,
//! 2008.)

use crate::lock::Mutex;
use crate::{Event, Kind, Observe};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// So many throttled operations are no chance: at 2 % of them, 128 that ended have as many once in 80 times.
const SOME: u32 = 7;

/// So many ended operations are looked at, at least.
const WINDOW: u32 = 128;

/// A limit that follows the service; see the module's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveLimit {
    /// Where it begins, and what it never goes above.
    pub most: NonZeroU32,
    /// What it never goes below.
    pub least: NonZeroU32,
}

impl Default for AdaptiveLimit {
    /// From 256 down to 1: object stores serve hundreds of requests at once to one client before they
    /// ask for fewer, and a service in trouble may serve only one.
    fn default() -> Self {
        AdaptiveLimit { most: NonZeroU32::new(256).expect("256 is not 0"), least: NonZeroU32::MIN }
    }
}

/// Where in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Behind all that came before.
    Fresh,
    /// Before all that is fresh.
    Again,
}

/// Lets operations in, one permit each.
pub(super) struct Turnstile {
    state: Mutex<State>,
    adaptive: Option<(AdaptiveLimit, Arc<dyn Observe>)>,
}

struct State {
    limit: u32,
    inside: u32,
    /// What it was cut from the last time: thereabouts is what the service bears.
    peak: u32,
    /// Counts the cuts: what was let in before the last one has nothing new to say.
    cuts: u64,
    /// Operations served since the limit was last raised, while it held others back.
    served: u32,
    /// Operations that ended lately, and how many of them were throttled.
    ended: u32,
    throttled: u32,
    line: VecDeque<Waiting>,
    next: u64,
}

struct Waiting {
    number: u64,
    operations: u32,
    turn: Turn,
    waker: Waker,
}

impl State {
    fn fits(&self, operations: u32) -> bool {
        self.inside == 0 || self.inside.saturating_add(operations) <= self.limit
    }

    /// Whether more would be in flight without the limit. What has just been woken is not inside yet,
    /// so nearly full is full.
    fn is_what_holds_back(&self) -> bool {
        !self.line.is_empty() || self.inside >= self.limit - self.limit / 4
    }

    /// Another operation ended. What was four limits' worth ago counts half, and so on.
    fn lately(&mut self, throttled: bool) {
        self.ended = self.ended.saturating_add(1);
        self.throttled += u32::from(throttled);
        if self.ended >= self.limit.saturating_mul(4).max(WINDOW) {
            self.ended /= 2;
            self.throttled /= 2;
        }
    }

    /// What is left of the limit, now that another one was throttled.
    fn cut(&self, least: u32) -> u32 {
        let enough = (self.limit / 5).max(SOME.min(self.limit));
        if self.throttled < enough || self.throttled.saturating_mul(20) < self.ended {
            return self.limit;
        }
        let served = f64::from(self.ended - self.throttled) / f64::from(self.ended.max(1));
        // At most `limit`, and so a u32.
        let left = (f64::from(self.limit) * served.max(0.5)).round() as u32;
        left.max(least).min(self.limit)
    }

    /// A limit's worth of operations was served.
    fn raised(&self, most: u32) -> u32 {
        let step = (self.peak.saturating_sub(self.limit) / 4).max(1);
        self.limit.saturating_add(step).min(most)
    }

    /// Where in the line this turn's next one stands.
    fn place_of(&self, turn: Turn) -> usize {
        match turn {
            Turn::Fresh => self.line.len(),
            Turn::Again => self.line.iter().take_while(|waiting| waiting.turn == Turn::Again).count(),
        }
    }

    /// The head of the line, if it may go in now.
    fn call(&self) -> Option<Waker> {
        self.line.front().filter(|first| self.fits(first.operations)).map(|first| first.waker.clone())
    }
}

/// Operations that are inside. Dropped, they are out.
pub(super) struct Permit {
    turnstile: Arc<Turnstile>,
    operations: u32,
    cuts: u64,
}

impl Turnstile {
    pub(super) fn fixed(limit: NonZeroU32) -> Arc<Self> {
        Arc::new(Turnstile { state: Mutex::new(State::new(limit)), adaptive: None })
    }

    pub(super) fn adaptive(adaptive: AdaptiveLimit, observer: Arc<dyn Observe>) -> Arc<Self> {
        let limit = adaptive.most.max(adaptive.least);
        observer.noted(None, Event::ConcurrencyLimit { from: 0, to: limit.get() });
        Arc::new(Turnstile { state: Mutex::new(State::new(limit)), adaptive: Some((adaptive, observer)) })
    }

    pub(super) fn is_adaptive(&self) -> bool {
        self.adaptive.is_some()
    }

    /// How many may be in flight now.
    pub(super) fn limit(&self) -> u32 {
        self.state.lock().limit
    }

    /// Lets so many in together. Dropped before that, it leaves the line.
    pub(super) async fn enter(self: &Arc<Self>, operations: u32, turn: Turn) -> Permit {
        let mut place = Place { turnstile: self, number: None };
        poll_fn(|cx| {
            let mut state = self.state.lock();
            let position = place.number.and_then(|n| state.line.iter().position(|w| w.number == n));
            let first = match position {
                Some(position) => position == 0,
                None => state.place_of(turn) == 0,
            };
            if first && state.fits(operations) {
                state.inside += operations;
                if position.is_some() {
                    state.line.pop_front();
                }
                place.number = None;
                let (cuts, next) = (state.cuts, state.call());
                drop(state);
                next.inspect(Waker::wake_by_ref);
                return Poll::Ready(Permit { turnstile: self.clone(), operations, cuts });
            }
            match position {
                Some(position) => state.line[position].waker.clone_from(cx.waker()),
                None => {
                    let number = state.next;
                    state.next += 1;
                    let (index, waker) = (state.place_of(turn), cx.waker().clone());
                    state.line.insert(index, Waiting { number, operations, turn, waker });
                    place.number = Some(number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl State {
    fn new(limit: NonZeroU32) -> Self {
        State {
            limit: limit.get(),
            inside: 0,
            peak: limit.get(),
            cuts: 0,
            served: 0,
            ended: 0,
            throttled: 0,
            line: VecDeque::new(),
            next: 0,
        }
    }
}

/// A place in the line, given up when its future is dropped.
struct Place<'a> {
    turnstile: &'a Turnstile,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.turnstile.state.lock();
        state.line.retain(|waiting| waiting.number != number);
        let next = state.call();
        drop(state);
        next.inspect(Waker::wake_by_ref);
    }
}

impl Permit {
    /// Tells how one of the operations ended, which may move an adaptive limit.
    pub(super) fn ended(&self, failed: Option<Kind>) {
        let Some((AdaptiveLimit { most, least }, observer)) = &self.turnstile.adaptive else { return };
        if failed == Some(Kind::Cancelled) {
            return;
        }
        let mut state = self.turnstile.state.lock();
        let from = state.limit;
        if self.cuts == state.cuts {
            state.lately(failed == Some(Kind::Throttled));
        }
        match failed {
            Some(Kind::Throttled) if self.cuts == state.cuts => {
                state.limit = state.cut(least.get());
                if state.limit < from {
                    state.peak = from;
                    state.cuts += 1;
                    (state.served, state.ended, state.throttled) = (0, 0, 0);
                }
            }
            None if state.is_what_holds_back() && from < most.get() => {
                state.served += 1;
                if state.served >= from {
                    state.limit = state.raised(most.get());
                    state.served = 0;
                }
            }
            _ => {}
        }
        let to = state.limit;
        let next = if to > from { state.call() } else { None };
        drop(state);
        next.inspect(Waker::wake_by_ref);
        if to != from {
            observer.noted(None, Event::ConcurrencyLimit { from, to });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.turnstile.state.lock();
        state.inside -= self.operations;
        let next = state.call();
        drop(state);
        next.inspect(Waker::wake_by_ref);
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        if let Some((_, observer)) = &self.adaptive {
            observer.noted(None, Event::ConcurrencyLimit { from: self.state.get_mut().limit, to: 0 });
        }
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        match &self.adaptive {
            Some((AdaptiveLimit { most, least }, _)) => {
                write!(f, "{} of {least}..={most}", state.limit)
            }
            None => write!(f, "{}", state.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unobserved;
    use futures::FutureExt;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    fn adaptive(most: u32, least: u32) -> Arc<Turnstile> {
        let limit = AdaptiveLimit { most: number(most), least: number(least) };
        Turnstile::adaptive(limit, Arc::new(Unobserved))
    }

    fn now(turnstile: &Arc<Turnstile>, operations: u32) -> Option<Permit> {
        turnstile.enter(operations, Turn::Fresh).now_or_never()
    }

    fn throttle_all(turnstile: &Arc<Turnstile>) {
        let permits: Vec<_> = (0..turnstile.limit()).map(|_| now(turnstile, 1).unwrap()).collect();
        permits.iter().for_each(|permit| permit.ended(Some(Kind::Throttled)));
    }

    #[test]
    fn now_and_then_a_throttled_answer_is_not_a_reason() {
        let turnstile = adaptive(64, 1);
        for i in 0..10_000 {
            now(&turnstile, 1).unwrap().ended((i % 50 == 7).then_some(Kind::Throttled));
        }
        assert_eq!(turnstile.limit(), 64, "2 % is the service's own noise");
        for i in 0..1000 {
            now(&turnstile, 1).unwrap().ended((i % 8 == 7).then_some(Kind::Throttled));
        }
        assert!(turnstile.limit() < 48, "12 % is not: {}", turnstile.limit());
    }

    /// Rounds of as many as may be in flight, some of which the service turns away.
    fn rounds(turnstile: &Arc<Turnstile>, rounds: usize, mut throttled: impl FnMut(u32) -> bool) -> Vec<u32> {
        let round = |_| {
            let limit = turnstile.limit();
            let permits: Vec<_> = (0..limit).map(|_| now(turnstile, 1).unwrap()).collect();
            let ended = |(i, permit): (u32, &Permit)| permit.ended(throttled(i).then_some(Kind::Throttled));
            (0..).zip(&permits).for_each(ended);
            limit
        };
        (0..rounds).map(round).collect()
    }

    #[test]
    fn noise_takes_little_and_it_is_made_good_soon() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for most in [2, 8, 32, 256] {
            let turnstile = adaptive(most, 1);
            let limits = rounds(&turnstile, 200_000 / most as usize, |_| rng.random_bool(0.02));
            let mean = limits.iter().map(|&limit| f64::from(limit)).sum::<f64>() / limits.len() as f64;
            assert!(mean >= 0.95 * f64::from(most), "{mean} of {most}");
        }
    }

    #[test]
    fn it_finds_what_a_service_bears_and_returns_when_it_bears_more() {
        let turnstile = adaptive(256, 1);
        for bears in [40, 3, 100] {
            let limits = rounds(&turnstile, 400, |i| i >= bears);
            let late = &limits[300..];
            let mean = late.iter().sum::<u32>() as f64 / late.len() as f64;
            let (low, high) = (f64::from(bears) * 0.7, f64::from(bears) * 1.5 + 2.0);
            assert!((low..=high).contains(&mean), "{mean} where {bears} are served");
        }
        rounds(&turnstile, 200, |_| false);
        assert_eq!(turnstile.limit(), 256);
    }

    #[tokio::test]
    async fn who_came_first_goes_first() {
        let turnstile = Turnstile::fixed(number(4));
        let held = now(&turnstile, 3).unwrap();
        let batch = turnstile.enter(3, Turn::Fresh);
        tokio::pin!(batch);
        assert!(futures::poll!(&mut batch).is_pending());
        assert!(now(&turnstile, 1).is_none(), "the batch is in the line");
        drop(held);
        let batch = batch.await;
        assert!(now(&turnstile, 1).is_some());
        drop(batch);
    }

    #[tokio::test]
    async fn what_is_tried_again_goes_before_what_is_fresh_and_in_its_own_order() {
        let turnstile = Turnstile::fixed(number(2));
        let mut held = vec![now(&turnstile, 1).unwrap(), now(&turnstile, 1).unwrap()];
        let order = Mutex::new(Vec::new());
        let enter = async |name, turn| {
            let _permit = turnstile.enter(1, turn).await;
            order.lock().push(name);
        };
        let mut line: Vec<_> =
            [("a", Turn::Fresh), ("b", Turn::Again), ("c", Turn::Fresh), ("d", Turn::Again)]
                .map(|(name, turn)| Box::pin(enter(name, turn)))
                .into();
        for waiting in &mut line {
            assert!(futures::poll!(waiting).is_pending());
        }
        held.clear();
        futures::future::join_all(line).await;
        assert_eq!(*order.lock(), ["b", "d", "a", "c"]);
        let batch = turnstile.enter(2, Turn::Fresh);
        let one = now(&turnstile, 1).unwrap();
        tokio::pin!(batch);
        assert!(futures::poll!(&mut batch).is_pending());
        assert!(turnstile.enter(1, Turn::Again).now_or_never().is_some(), "there is room beside one");
        drop(one);
        batch.await;
    }

    #[tokio::test]
    async fn who_leaves_the_line_lets_the_next_one_in() {
        let turnstile = Turnstile::fixed(number(4));
        let _held = now(&turnstile, 3).unwrap();
        let mut batch = Box::pin(turnstile.enter(3, Turn::Fresh));
        assert!(futures::poll!(&mut batch).is_pending());
        let single = turnstile.enter(1, Turn::Fresh);
        tokio::pin!(single);
        assert!(futures::poll!(&mut single).is_pending());
        drop(batch);
        single.await;
    }

    #[test]
    fn more_than_the_limit_goes_alone() {
        let turnstile = Turnstile::fixed(number(2));
        let large = now(&turnstile, 5).unwrap();
        assert!(now(&turnstile, 1).is_none());
        drop(large);
        let _one = now(&turnstile, 1).unwrap();
        assert!(now(&turnstile, 5).is_none());
    }

    #[test]
    fn throttling_halves_once_for_all_that_were_in_flight() {
        let turnstile = adaptive(64, 3);
        let permits: Vec<_> = (0..64).map(|_| now(&turnstile, 1).unwrap()).collect();
        permits.iter().for_each(|permit| permit.ended(Some(Kind::Throttled)));
        assert_eq!(turnstile.limit(), 32);
        drop(permits);
        for expected in [16, 8, 4, 3, 3] {
            throttle_all(&turnstile);
            assert_eq!(turnstile.limit(), expected);
        }
    }

    #[test]
    fn a_limits_worth_of_served_operations_raises_it_by_one() {
        let turnstile = adaptive(8, 1);
        throttle_all(&turnstile);
        assert_eq!(turnstile.limit(), 4);
        for _ in 0..100 {
            now(&turnstile, 1).unwrap().ended(None);
        }
        assert_eq!(turnstile.limit(), 4, "nothing was held back");
        for expected in [5, 6, 7, 8, 8] {
            let permits: Vec<_> = (0..turnstile.limit()).map(|_| now(&turnstile, 1).unwrap()).collect();
            permits.iter().for_each(|permit| permit.ended(None));
            assert_eq!(turnstile.limit(), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever happens, the limit stays in its bounds, nobody inside is forgotten, and whoever fits
        /// is let in.
        #[test]
        fn the_count_holds(
            most in 1u32..40,
            least in 1u32..8,
            steps in proptest::collection::vec((0u8..4, 1u32..12), 1..200),
        ) {
            let turnstile = adaptive(most, least);
            let mut inside: Vec<Permit> = Vec::new();
            for (step, operations) in steps {
                let before: u32 = inside.iter().map(|p| p.operations).sum();
                match step {
                    0 | 1 => {
                        let permit = now(&turnstile, operations);
                        let fits = before == 0 || before + operations <= turnstile.limit();
                        prop_assert_eq!(permit.is_some(), fits);
                        inside.extend(permit);
                    }
                    2 => drop(inside.pop()),
                    _ => inside.iter().for_each(|p| p.ended((operations > 9).then_some(Kind::Throttled))),
                }
                let limit = turnstile.limit();
                prop_assert!(limit >= least && limit <= most.max(least), "{limit}");
                let sum: u32 = inside.iter().map(|p| p.operations).sum();
                prop_assert_eq!(turnstile.state.lock().inside, sum);
            }
        }
    }
}
