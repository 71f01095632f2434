//! Memory that the ring's kernel knows: pinned and looked up once for a pool's slab instead of for each read.
//!
//! A region is registered once as many bytes were read into it as it has: by then it was pinned as often as
//! registering pins it, so that it never costs much more than it would have, however often it is used. It is
//! forgotten as soon as the pool gives pages of it back. What the kernel refuses (`RLIMIT_MEMLOCK`) is named
//! anew for each read, as before.
//!
//! It makes no system call; see `ring` for those.

use crate::memory::Target;
use forebay_io::{Event, Observe, Region};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Regions that may be registered at once. A pool has as many slabs as batches are under way.
pub(crate) const REGIONS: u32 = 256;

/// The kernel takes no longer one.
const LONGEST: usize = 1 << 30;

/// Of others that are watched at once, to see whether they are worth it.
const WATCHED: usize = 256;

/// What is registered now, and what was refused.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
    observer: Option<Arc<dyn Observe>>,
}

impl Counts {
    /// Whose refusals `observer` hears of.
    pub(crate) fn told_to(observer: Option<Arc<dyn Observe>>) -> Self {
        Counts { observer, ..Counts::default() }
    }

    /// So many bytes are not registered; none: nothing can be.
    pub(crate) fn refuse(&self, bytes: u64) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.noted(Some("direct"), Event::Unregistered { bytes });
        }
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { bytes, refused, observer: _ } = self;
        f.debug_struct("Counts").field("bytes", bytes).field("refused", refused).finish_non_exhaustive()
    }
}

pub(crate) struct Registered {
    /// By their index in the kernel's table.
    known: Vec<Option<Region>>,
    /// Where the last read was found.
    last: usize,
    watched: Vec<Watched>,
}

struct Watched {
    region: Region,
    /// Read into it so far.
    bytes: u64,
    refused: bool,
}

/// How the ring is to name the memory of a read.
#[derive(Debug)]
pub(crate) enum Naming {
    /// By its address alone.
    Plain,
    /// As a part of what is registered there.
    Known(u16),
    /// As a part of this, once it is registered there. The index may be in use: then for less of the same.
    Register(u16, Region),
}

impl Registered {
    /// With room for so many regions.
    pub(crate) fn new(regions: u32) -> Self {
        Registered { known: vec![None; regions as usize], last: 0, watched: Vec::new() }
    }

    /// How memory of `target` is named, by its address and length.
    pub(crate) fn naming(
        &mut self,
        target: &Target,
        (address, len): (usize, usize),
        counts: &Counts,
    ) -> Naming {
        if self.known.is_empty() {
            return Naming::Plain;
        }
        let here = |region: &Region| holds(region, address, len);
        if self.known[self.last].as_ref().is_some_and(here) {
            return Naming::Known(self.last as u16);
        }
        if let Some(index) = self.known.iter().position(|known| known.as_ref().is_some_and(here)) {
            self.last = index;
            return Naming::Known(index as u16);
        }
        let watched = match self.watched.iter().position(|watched| here(&watched.region)) {
            Some(index) => index,
            None => {
                let Some(region) = target.region() else { return Naming::Plain };
                self.watched.retain(|watched| !watched.region.is_gone() && !watched.region.is_same(&region));
                if self.watched.len() == WATCHED {
                    return Naming::Plain;
                }
                self.watched.push(Watched { region, bytes: 0, refused: false });
                self.watched.len() - 1
            }
        };
        let found = &mut self.watched[watched];
        found.bytes += len as u64;
        if found.refused || found.bytes < found.region.len() as u64 {
            return Naming::Plain;
        }
        let same = |known: &Option<Region>| known.as_ref().is_some_and(|known| known.is_same(&found.region));
        let index = self.known.iter().position(same).or_else(|| self.known.iter().position(Option::is_none));
        match index {
            Some(index) if found.region.len() <= LONGEST => {
                let Watched { region, .. } = self.watched.swap_remove(watched);
                Naming::Register(index as u16, region)
            }
            _ => {
                found.refused = true;
                counts.refuse(found.region.len() as u64);
                Naming::Plain
            }
        }
    }

    /// It was registered as [`Naming::Register`] said. Answers whether nothing was in its place before.
    pub(crate) fn registered(&mut self, index: u16, region: Region, counts: &Counts) -> bool {
        let len = region.len() as u64;
        let before = self.known[index as usize].replace(region);
        counts.bytes.fetch_add(len, Ordering::Relaxed);
        counts.bytes.fetch_sub(before.as_ref().map_or(0, |before| before.len() as u64), Ordering::Relaxed);
        before.is_none()
    }

    /// The kernel refused to register it. It is not asked again.
    pub(crate) fn refused(&mut self, region: Region, counts: &Counts) {
        counts.refuse(region.len() as u64);
        self.watched.push(Watched { region, bytes: 0, refused: true });
    }

    /// What was registered there is no more.
    pub(crate) fn forget(&mut self, index: u16, counts: &Counts) {
        if let Some(region) = self.known[index as usize].take() {
            counts.bytes.fetch_sub(region.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Whether all of it lies in pages that are still the region's.
fn holds(region: &Region, address: usize, len: usize) -> bool {
    let inside = address.checked_sub(region.address()).and_then(|at| at.checked_add(len));
    inside.is_some_and(|end| end <= region.len()) && !region.is_gone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::{Budget, Lease, Place, Pool, Reservation, Want};
    use forebay_io_testkit::RecordingObserver;

    const STEP: u64 = 64 << 10;

    fn lease(pool: &Pool, slots: u32) -> Arc<Lease> {
        pool.lease(pool.budget().ticket(), slots)
    }

    fn target(lease: &Arc<Lease>, slot: u32, len: u64) -> Target {
        match lease.try_reserve(&[Want::new(slot, len)]) {
            Reservation::Granted(mut bufs) => Target::new(bufs.remove(0)),
            other => panic!("{other:?}"),
        }
    }

    /// Names all of a target's memory.
    fn name(all: &mut Registered, target: &Target, counts: &Counts) -> Naming {
        all.naming(target, (target.pointer(0).addr(), target.len()), counts)
    }

    #[test]
    fn a_region_is_registered_once_it_was_filled_and_known_from_then_on() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let (mut all, counts) = (Registered::new(2), Counts::default());
        let half = target(&lease(&pool, 1), 0, STEP / 2);
        assert!(matches!(name(&mut all, &half, &counts), Naming::Plain));
        let Naming::Register(0, region) = name(&mut all, &half, &counts) else { panic!("it was filled") };
        assert!(all.registered(0, region, &counts));
        assert!(matches!(name(&mut all, &half, &counts), Naming::Known(0)));
        assert_eq!(counts.bytes.load(Ordering::Relaxed), STEP);
        let other = target(&lease(&pool, 1), 0, STEP);
        assert!(matches!(name(&mut all, &other, &counts), Naming::Register(1, _)), "memory of its own");
    }

    #[test]
    fn what_grew_takes_its_own_place_again() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let (mut all, counts) = (Registered::new(2), Counts::default());
        let lease = lease(&pool, 2);
        let first = target(&lease, 0, STEP);
        let Naming::Register(index, region) = name(&mut all, &first, &counts) else {
            panic!("it was filled")
        };
        assert!(all.registered(index, region, &counts));
        let second = target(&lease, 1, STEP);
        assert!(matches!(name(&mut all, &second, &counts), Naming::Plain));
        let Naming::Register(again, region) = name(&mut all, &second, &counts) else {
            panic!("filled again")
        };
        assert_eq!((again, region.len() as u64), (index, 2 * STEP));
        assert!(!all.registered(again, region, &counts), "it had the place");
        assert!(matches!(name(&mut all, &first, &counts), Naming::Known(_)));
        assert_eq!(counts.bytes.load(Ordering::Relaxed), 2 * STEP);
    }

    #[test]
    fn what_is_gone_is_named_plainly_before_the_ring_forgets_it() {
        let pool = Pool::new(Budget::new(STEP).unwrap());
        let (mut all, counts) = (Registered::new(1), Counts::default());
        let first = target(&lease(&pool, 1), 0, STEP);
        let Naming::Register(index, region) = name(&mut all, &first, &counts) else {
            panic!("it was filled")
        };
        all.registered(index, region.clone(), &counts);
        drop((first, pool));
        assert!(region.is_gone());
        let next = Pool::new(Budget::new(STEP).unwrap());
        let next = target(&lease(&next, 1), 0, STEP);
        assert!(
            matches!(name(&mut all, &next, &counts), Naming::Plain),
            "no place is free, wherever it lies"
        );
        all.forget(index, &counts);
        assert_eq!(counts.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_finds_no_place_is_told_too() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let told = Arc::new(RecordingObserver::new());
        let (mut all, counts) = (Registered::new(1), Counts::told_to(Some(told.clone())));
        let first = target(&lease(&pool, 1), 0, STEP);
        let Naming::Register(index, region) = name(&mut all, &first, &counts) else {
            panic!("it was filled")
        };
        all.registered(index, region, &counts);
        let second = target(&lease(&pool, 1), 0, STEP);
        for _ in 0..3 {
            assert!(matches!(name(&mut all, &second, &counts), Naming::Plain));
        }
        assert_eq!(told.events(), [Event::Unregistered { bytes: STEP }]);
    }

    #[test]
    fn what_was_refused_is_told_once_and_not_asked_for_again() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let told = Arc::new(RecordingObserver::new());
        let (mut all, counts) = (Registered::new(2), Counts::told_to(Some(told.clone())));
        let only = target(&lease(&pool, 1), 0, STEP);
        let Naming::Register(_, region) = name(&mut all, &only, &counts) else { panic!("it was filled") };
        all.refused(region, &counts);
        for _ in 0..9 {
            assert!(matches!(name(&mut all, &only, &counts), Naming::Plain));
        }
        assert_eq!(counts.refused.load(Ordering::Relaxed), 1);
        assert_eq!(told.events(), [Event::Unregistered { bytes: STEP }]);
        let mut none = Registered::new(0);
        assert!(matches!(name(&mut none, &only, &counts), Naming::Plain));
    }
}
