//! Which requests of a batch lie so close together in one object that they are better read as one.

use crate::GetRequest;
use std::num::NonZeroU64;
use std::ops::Range;

/// Bytes between two neighbours are read for nothing, so there are at most a request's size divided by
/// this: to fetch an eighth of a request more costs less than a request more, on every storage that this
/// was made for.
const GAP_SHARE: u64 = 8;

/// Groups of two and more `requests`, each to be read as one request of at most `target` bytes: ranges of
/// the same object that are pinned to the same version, do not overlap, and follow each other; where `gaps` are
/// allowed, with gaps of at most an eighth of `target` each, and no more bytes between them than in them. The
/// members of a group are indices into `requests`, in the order of their offsets; what is in no group is to be read
/// alone.
pub fn neighbours<'a>(
    requests: impl IntoIterator<Item = &'a GetRequest>,
    target: NonZeroU64,
    gaps: bool,
) -> Vec<Vec<usize>> {
    let pinned = |(index, request): (usize, &'a GetRequest)| {
        let range = request.range.as_ref().filter(|range| !range.is_empty())?;
        let version = request.if_version.as_ref()?;
        Some((&request.location, version.as_str(), range, index))
    };
    let mut members: Vec<_> = requests.into_iter().enumerate().filter_map(pinned).collect();
    members.sort_unstable_by_key(|&(location, version, range, index)| {
        (location, version, range.start, range.end, index)
    });
    let gap = if gaps { target.get() / GAP_SHARE } else { 0 };
    let follows = |first: &Range<u64>, wanted: u64, last: &Range<u64>, next: &Range<u64>| {
        let together = next.end.saturating_sub(first.start);
        next.start >= last.end
            && next.start - last.end <= gap
            && together <= target.get()
            && together.div_ceil(2) <= wanted + (next.end - next.start)
    };
    let mut groups = Vec::new();
    let mut members = members.into_iter();
    let Some(mut first) = members.next() else { return groups };
    let (mut last, mut wanted) = (first.2, 0);
    let mut group = vec![first.3];
    for member in members {
        let (location, version, range, index) = member;
        wanted += last.end - last.start;
        if (location, version) == (first.0, first.1) && follows(first.2, wanted, last, range) {
            group.push(index);
        } else {
            groups.push(std::mem::replace(&mut group, vec![index]));
            (first, wanted) = (member, 0);
        }
        last = range;
    }
    groups.push(group);
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, Version};
    use proptest::prelude::*;

    fn request(object: u8, version: Option<u8>, range: Option<Range<u64>>) -> GetRequest {
        let location: Location = format!("mem://set/{object}").parse().unwrap();
        let if_version = version.map(|version| Version::new(version.to_string()));
        GetRequest { range, if_version, ..GetRequest::whole(location, 0) }
    }

    #[test]
    fn neighbours_are_found_whatever_their_order() {
        let at = |from: u64| request(1, Some(1), Some(from..from + 100));
        let requests = [at(1000), at(0), at(210), at(100), at(1150), request(2, Some(1), Some(200..210))];
        let target = NonZeroU64::new(400).unwrap();
        // 310 to 1000 is too far; from 1100 to 1150 is not.
        assert_eq!(neighbours(&requests, target, true), [vec![1, 3, 2], vec![0, 4]]);
        assert_eq!(neighbours(&requests, target, false), [vec![1, 3]]);
    }

    #[test]
    fn what_is_whole_or_of_no_version_stays_alone() {
        let target = NonZeroU64::new(1000).unwrap();
        let two = |version, range: Option<Range<u64>>| [0, 1].map(|_| request(1, version, range.clone()));
        assert!(neighbours(&two(Some(1), None), target, true).is_empty());
        assert!(neighbours(&two(None, Some(0..5)), target, true).is_empty());
        assert!(neighbours(&two(Some(1), Some(5..5)), target, true).is_empty());
        assert!(neighbours(&two(Some(1), Some(0..5)), target, true).is_empty(), "the same bytes twice");
    }

    proptest! {
        #[test]
        fn groups_keep_their_bounds(
            ranges in proptest::collection::vec((0u8..3, 0u8..2, 0u64..3000, 0u64..400), 0..40),
            target in 1u64..2000,
            gaps: bool,
        ) {
            let requests: Vec<_> = ranges
                .iter()
                .map(|&(object, version, start, len)| request(object, Some(version), Some(start..start + len)))
                .collect();
            let mut seen = std::collections::BTreeSet::new();
            for group in neighbours(&requests, NonZeroU64::new(target).unwrap(), gaps) {
                prop_assert!(group.len() > 1 && group.iter().all(|&index| seen.insert(index)));
                let range = |index: usize| requests[index].range.clone().unwrap();
                let (first, last) = (range(group[0]), range(group[group.len() - 1]));
                prop_assert!(last.end - first.start <= target);
                let wanted: u64 = group.iter().map(|&index| range(index)).map(|range| range.end - range.start).sum();
                prop_assert!((last.end - first.start).div_ceil(2) <= wanted);
                for pair in group.windows(2) {
                    let (a, b) = (&requests[pair[0]], &requests[pair[1]]);
                    prop_assert!(a.location == b.location && a.if_version == b.if_version);
                    let (a, b) = (range(pair[0]), range(pair[1]));
                    let most = if gaps { target / GAP_SHARE } else { 0 };
                    prop_assert!(b.start >= a.end && b.start - a.end <= most);
                }
            }
        }
    }
}
