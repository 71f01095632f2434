//! The place of a batch in which several members are read as one: it lends their slots as one buffer, in which the
//! bytes of each are put where they belong when it comes back.
//!
//! No memory is taken but that of the slots, and of what lies between their bytes in the object: spare bytes behind
//! the last of them.

use crate::{Buf, Error, Kind, Operation, Place, Pool, Reservation, Result, Room, Want};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;

/// One of those that are read as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) slot: u32,
    /// Where in what is read its bytes begin.
    pub(super) landing: u64,
    pub(super) len: u64,
}

/// See the module's words.
pub(super) struct JoinedPlace {
    place: Arc<dyn Place>,
    /// In the order of what is read, under the slot of the first.
    runs: HashMap<u32, Vec<Member>>,
}

impl JoinedPlace {
    /// A place that stands for `place`, where a want of the first slot of a run is one of all of them.
    pub(super) fn new(place: Arc<dyn Place>, runs: HashMap<u32, Vec<Member>>) -> Self {
        JoinedPlace { place, runs }
    }

    /// What is wanted of each slot.
    fn each(&self, wants: &[Want]) -> Result<Vec<Want>> {
        let mut each = Vec::with_capacity(wants.len());
        for want in wants {
            let Some([first, .., last]) = self.runs.get(&want.slot).map(Vec::as_slice) else {
                each.push(*want);
                continue;
            };
            let members = &self.runs[&want.slot];
            let own: u64 = members.iter().map(|member| member.len).sum();
            let between = want.len.checked_sub(own).filter(|_| last.landing + last.len == want.len);
            let after = between.and_then(|bytes| u32::try_from(bytes + u64::from(want.room.after)).ok());
            let Some(after) = after else {
                let context =
                    format!("{} bytes for {} samples that are read as one", want.len, members.len());
                return Err(Error::new(Kind::InvalidRange, Operation::Get, context));
            };
            each.extend(members.iter().map(|member| {
                let mut room = Room::default();
                if member.slot == first.slot {
                    room = Room { after: 0, ..want.room };
                }
                if member.slot == last.slot {
                    room.after = after;
                }
                Want { slot: member.slot, len: member.len, room }
            }));
        }
        Ok(each)
    }

    /// How many slots a want is of.
    fn slots(&self, want: &Want) -> usize {
        self.runs.get(&want.slot).map_or(1, Vec::len)
    }

    /// The buffers of all slots, those of each want joined.
    fn join(&self, wants: &[Want], bufs: Vec<Buf>) -> Result<Vec<Buf>> {
        let mut bufs = bufs.into_iter();
        let mut next = || bufs.next().expect("as many buffers as wants");
        let mut joined = Vec::with_capacity(wants.len());
        for want in wants {
            let Some(members) = self.runs.get(&want.slot) else {
                joined.push(next());
                continue;
            };
            let parts = members.iter().map(|member| (member.landing as usize, next())).collect();
            let buf = Buf::join(parts, want.len as usize).ok_or_else(|| {
                let context = "the memory of samples that are read as one does not lie together";
                Error::new(Kind::InvalidRange, Operation::Get, context)
            })?;
            joined.push(buf);
        }
        Ok(joined)
    }
}

impl Place for JoinedPlace {
    fn pool(&self) -> &Pool {
        self.place.pool()
    }

    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        let each = match self.each(wants) {
            Ok(each) => each,
            Err(error) => return Reservation::Refused(error),
        };
        match self.place.try_reserve(&each) {
            Reservation::Granted(bufs) => match self.join(wants, bufs) {
                Ok(bufs) => Reservation::Granted(bufs),
                Err(error) => Reservation::Refused(error),
            },
            Reservation::TooLarge { mut index, error } => {
                let of = wants.iter().position(|want| match index.checked_sub(self.slots(want)) {
                    Some(rest) => {
                        index = rest;
                        false
                    }
                    None => true,
                });
                Reservation::TooLarge { index: of.expect("one of the wants"), error }
            }
            other => other,
        }
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move {
            let each = self.each(wants)?;
            let bufs = self.place.reserve(&each).await?;
            self.join(wants, bufs)
        }
        .boxed()
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

    fn place(lease: &Arc<crate::Lease>, run: &[(u32, u64, u64)]) -> JoinedPlace {
        let run: Vec<_> = run.iter().map(|&(slot, landing, len)| Member { slot, landing, len }).collect();
        JoinedPlace::new(lease.clone(), HashMap::from([(run[0].slot, run)]))
    }

    #[test]
    fn what_is_too_large_is_named_by_the_want_it_is_of() {
        let pool = pool(1 << 10);
        let lease = pool.lease(pool.budget().ticket(), 4);
        let place = place(&lease, &[(1, 0, 100), (2, 100, 2000)]);
        let wants = [Want::new(0, 10), Want::new(1, 2100), Want::new(3, 10)];
        let answer = place.try_reserve(&wants);
        assert!(matches!(answer, Reservation::TooLarge { index: 1, .. }), "{answer:?}");
        assert_eq!(pool.budget().used(), 0);
    }

    #[test]
    fn slots_that_are_apart_are_refused_and_not_lost() {
        let pool = pool(1 << 10);
        let lease = pool.lease(pool.budget().ticket(), 3);
        for slot in [0, 2, 1] {
            assert!(matches!(lease.try_reserve(&[Want::new(slot, 64)]), Reservation::Granted(_)));
        }
        let place = place(&lease, &[(0, 0, 64), (1, 64, 64)]);
        assert!(matches!(place.try_reserve(&[Want::new(0, 128)]), Reservation::Refused(_)));
        assert!(matches!(lease.try_reserve(&[Want::new(0, 64)]), Reservation::Granted(_)));
    }

    proptest! {
        /// Whatever lies between them, and whatever room a store wants around: each slot gets its bytes and all else
        /// is zero, at once or on another try; and only what lies between takes more memory.
        #[test]
        fn each_slot_gets_its_bytes(
            members in proptest::collection::vec((0u64..200, 1u64..300), 2..12),
            before in 0u32..3, after in 0u32..600, tries in 1usize..3,
        ) {
            let mut at = 0;
            let slots = members.len() as u32;
            // The slots are not in the order of the bytes.
            let run: Vec<_> = (0..).zip(&members).map(|(index, &(gap, len))| {
                let landing = if index == 0 { 0 } else { at + gap };
                at = landing + len;
                (slots - index, landing, len)
            }).collect();
            let pool = pool(1 << 20);
            let lease = pool.lease(pool.budget().ticket(), slots + 1);
            let place = place(&lease, &run);
            let room = Room { align: 512, before: before * 64, after };
            let byte = |i: u64| (i % 251) as u8 + 1;
            for _ in 0..tries {
                let Reservation::Granted(mut bufs) = place.try_reserve(&[Want { slot: slots, len: at, room }])
                else { panic!("there is room") };
                prop_assert!(bufs[0].len() as u64 == at && bufs[0].before() == before as usize * 64);
                prop_assert!(bufs[0].after() >= after as usize);
                prop_assert!(matches!(lease.try_reserve(&[Want::new(1, 1)]), Reservation::Refused(_)), "it is lent");
                bufs[0].room_mut().fill(0xff);
                (0..).zip(bufs[0].iter_mut()).for_each(|(i, to)| *to = byte(i));
            }
            let padded: u64 = run.iter().map(|&(_, _, len)| len.next_multiple_of(64)).sum();
            let own: u64 = run.iter().map(|&(_, _, len)| len).sum();
            let most = u64::from(before) * 64 + padded + (at - own + u64::from(after)).next_multiple_of(64);
            prop_assert!(pool.budget().used() <= most);
            let block = lease.finish().unwrap();
            let mut left = block.as_slice().to_vec();
            for (slot, landing, len) in run {
                let span = block.span(slot as usize).unwrap();
                prop_assert!(span.start.is_multiple_of(64));
                let wanted: Vec<_> = (landing..landing + len).map(byte).collect();
                prop_assert_eq!(block.slot(slot as usize).unwrap(), &wanted[..]);
                left[span].fill(0);
            }
            prop_assert!(left.iter().all(|&byte| byte == 0), "padding is zero");
        }
    }
}
