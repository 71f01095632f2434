//! A sorted table of keys, packed: the names of a million samples cost their bytes and 8 bytes each; and their
//! sizes, where the listing says them, one byte for each seven bits.
//!
//! It is sorted while the listing still arrives: each page becomes a sorted run, and runs of about
//! the same length are merged, so that after the last page little is left to do. Names in a directory
//! mostly share a beginning, so what is compared first is the eight bytes behind it, as one number.

use forebay_io::{EntryKind, Error, Page, Result};
use std::cmp::Ordering;

/// Keys in bytewise order.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    keys: Vec<u8>,
    places: Vec<Place>,
    versions: Versions,
}

/// A digest of the versions of all objects, in whatever order they come: the sum of the digests of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Versions(u128);

impl Versions {
    fn add(&mut self, key: &[u8], version: &str) {
        let mut digest = blake3::Hasher::new();
        digest.update(&(key.len() as u64).to_le_bytes()).update(key).update(version.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest.finalize().as_bytes()[..16]);
        self.0 = self.0.wrapping_add(u128::from_le_bytes(first));
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

/// Where a key stands in the arena: whether its object's size follows it in the uppermost bit, its offset in the
/// next 47, its length in the lower 16.
#[derive(Debug, Clone, Copy)]
struct Place(u64);

impl Place {
    const LONGEST: usize = u16::MAX as usize;
    const SIZED: u64 = 1 << 63;

    /// Puts a key at the end of the arena.
    fn put(keys: &mut Vec<u8>, key: &[u8], size: Option<u64>) -> Place {
        let place = (keys.len() as u64) << 16 | key.len() as u64;
        keys.extend_from_slice(key);
        let Some(mut left) = size else { return Place(place) };
        while left > 0x7f {
            keys.push(left as u8 | 0x80);
            left >>= 7;
        }
        keys.push(left as u8);
        Place(place | Place::SIZED)
    }

    fn start(self) -> usize {
        ((self.0 & !Place::SIZED) >> 16) as usize
    }

    fn end(self) -> usize {
        self.start() + (self.0 & 0xffff) as usize
    }

    fn of(self, keys: &[u8]) -> &[u8] {
        &keys[self.start()..self.end()]
    }

    fn size(self, keys: &[u8]) -> Option<u64> {
        if self.0 & Place::SIZED == 0 {
            return None;
        }
        let mut size = 0;
        for (index, byte) in keys[self.end()..].iter().enumerate() {
            size |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(size)
    }
}

impl KeyTable {
    /// How many keys.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Key `index`, if there is one.
    pub(crate) fn get(&self, index: u64) -> Option<&[u8]> {
        let place = self.places.get(usize::try_from(index).ok()?)?;
        Some(place.of(&self.keys))
    }

    /// How large the object of key `index` was when it was listed, where the listing said it.
    pub(crate) fn size(&self, index: u64) -> Option<u64> {
        self.places.get(usize::try_from(index).ok()?)?.size(&self.keys)
    }

    /// All keys in order, and the sizes that the listing said.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<u64>)> {
        self.places.iter().map(|place| (place.of(&self.keys), place.size(&self.keys)))
    }

    /// Of the objects, where the listing said versions that are the same for everybody.
    pub(crate) fn versions(&self) -> Versions {
        self.versions
    }

    /// Resident bytes.
    pub(crate) fn memory(&self) -> usize {
        self.keys.capacity() + self.places.capacity() * size_of::<Place>()
    }
}

#[derive(Debug, Clone, Copy)]
struct Item {
    /// The eight bytes of the key behind the common beginning, big-endian, zero-filled.
    head: u64,
    place: Place,
}

/// Collects pages into a table.
#[derive(Debug, Default)]
pub(crate) struct KeyTableBuilder {
    keys: Vec<u8>,
    /// What all keys so far begin with; none before the first key.
    common: Option<Vec<u8>>,
    /// Sorted; each less than half as long as the one before.
    runs: Vec<Vec<Item>>,
    versions: Versions,
}

impl KeyTableBuilder {
    /// Adds the objects of a page.
    pub(crate) fn add(&mut self, page: &Page) -> Result<()> {
        let before = self.common.as_ref().map(Vec::len);
        let mut run = Vec::with_capacity(page.len());
        self.keys.reserve(page.packed().0.len());
        for entry in page.iter() {
            let key = entry.key;
            if key.len() > Place::LONGEST {
                let context =
                    format!("a key of {} bytes; at most {} can be loaded", key.len(), Place::LONGEST);
                return Err(Error::invalid(context).at(page.root()));
            }
            if entry.kind == EntryKind::Object {
                match &mut self.common {
                    Some(common) => common.truncate(shared(key, common)),
                    none => *none = Some(key.to_vec()),
                }
                let version = entry.meta.and_then(|meta| meta.version.as_ref()?.shared());
                if let Some(version) = version {
                    self.versions.add(key, version);
                }
                run.push(Item { head: 0, place: Place::put(&mut self.keys, key, entry.size) });
            }
        }
        let depth = self.common.as_ref().map_or(0, Vec::len);
        if before.is_some_and(|before| before != depth) {
            // Runs stay sorted when less is known to be common: only their heads begin elsewhere.
            self.runs
                .iter_mut()
                .flatten()
                .for_each(|item| item.head = head(item.place.of(&self.keys), depth));
        }
        run.iter_mut().for_each(|item| item.head = head(item.place.of(&self.keys), depth));
        run.sort_unstable_by(|a, b| compare(&self.keys, a, b));
        self.runs.push(run);
        while let [.., long, short] = self.runs.as_slice()
            && long.len() < 2 * short.len()
        {
            self.merge_last();
        }
        Ok(())
    }

    fn merge_last(&mut self) {
        if let (Some(b), Some(a)) = (self.runs.pop(), self.runs.pop()) {
            let mut both = Vec::with_capacity(a.len() + b.len());
            merge(&self.keys, &a, &b, |item| both.push(item));
            self.runs.push(both);
        }
    }

    /// The table.
    pub(crate) fn finish(mut self) -> KeyTable {
        while self.runs.len() > 2 {
            self.merge_last();
        }
        let b = self.runs.pop().unwrap_or_default();
        let a = self.runs.pop().unwrap_or_default();
        let mut places = Vec::with_capacity(a.len() + b.len());
        merge(&self.keys, &a, &b, |item| places.push(item.place));
        self.keys.shrink_to_fit();
        KeyTable { keys: self.keys, places, versions: self.versions }
    }
}

/// How many bytes of `common` the key begins with.
fn shared(key: &[u8], common: &[u8]) -> usize {
    if key.starts_with(common) {
        return common.len();
    }
    key.iter().zip(common).take_while(|(a, b)| a == b).count()
}

fn head(key: &[u8], depth: usize) -> u64 {
    let rest = &key[depth..];
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

fn compare(keys: &[u8], a: &Item, b: &Item) -> Ordering {
    a.head.cmp(&b.head).then_with(|| a.place.of(keys).cmp(b.place.of(keys)))
}

fn merge(keys: &[u8], mut a: &[Item], mut b: &[Item], mut out: impl FnMut(Item)) {
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if compare(keys, x, y).is_le() {
            out(*x);
            a = rest_a;
        } else {
            out(*y);
            b = rest_b;
        }
    }
    a.iter().chain(b).for_each(|item| out(*item));
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::PageBuilder;
    use proptest::prelude::*;

    fn table(pages: &[Vec<Vec<u8>>]) -> KeyTable {
        let mut builder = KeyTableBuilder::default();
        for keys in pages {
            let mut page = PageBuilder::new("mem://h/".parse().unwrap(), usize::MAX);
            keys.iter().for_each(|key| page.push(&[key], EntryKind::Object, None));
            if let Some(page) = page.take() {
                builder.add(&page).unwrap();
            }
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn keys_come_in_bytewise_order(
            pages in proptest::collection::vec(
                proptest::collection::vec("(sample-0)?[0-9]{0,6}(/[a-zä]{1,9})?|[^/]{0,12}", 0..20), 0..12),
        ) {
            let pages: Vec<Vec<Vec<u8>>> =
                pages.into_iter().map(|p| p.into_iter().map(String::into_bytes).collect()).collect();
            let mut expected: Vec<_> = pages.concat();
            expected.sort();
            let table = table(&pages);
            prop_assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), expected.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(table.get(expected.len() as u64), None);
        }
    }

    proptest! {
        #[test]
        fn sizes_stay_with_their_keys(
            sizes in proptest::collection::btree_map("[ab]{0,9}", proptest::option::of(0..u64::MAX), 0..60),
        ) {
            let mut page = PageBuilder::new("mem://h/".parse().unwrap(), usize::MAX);
            for (key, size) in sizes.iter().rev() {
                match size {
                    Some(size) => page.push_sized(&[key.as_bytes()], *size),
                    None => page.push(&[key.as_bytes()], EntryKind::Object, None),
                }
            }
            let mut builder = KeyTableBuilder::default();
            page.take().iter().for_each(|page| builder.add(page).unwrap());
            let table = builder.finish();
            let found: Vec<_> = (0..table.len() as u64).map(|index| table.size(index)).collect();
            prop_assert_eq!(found, sizes.values().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn directories_are_no_samples() {
        let mut page = PageBuilder::new("mem://h/".parse().unwrap(), 9);
        page.push(&[b"zdir"], EntryKind::Directory, None);
        page.push(&[b"ab2"], EntryKind::Object, None);
        page.push(&[b"ab1"], EntryKind::Object, None);
        let mut builder = KeyTableBuilder::default();
        builder.add(&page.take().unwrap()).unwrap();
        assert_eq!(builder.finish().iter().map(|(key, _)| key).collect::<Vec<_>>(), [b"ab1", b"ab2"]);
    }

    #[test]
    fn a_million_names_cost_less_than_a_hundred_bytes_each() {
        let keys: Vec<_> = (0..200_000).map(|i| format!("train/sample-{i:07}.bin").into_bytes()).collect();
        let table = table(&keys.chunks(60_000).map(<[_]>::to_vec).collect::<Vec<_>>());
        assert!(table.memory() <= 100 * table.len(), "{} bytes", table.memory());
    }

    #[test]
    fn versions_that_everybody_sees_count_in_any_order() {
        use forebay_io::{Meta, Version};
        let of = |objects: &[(&str, Version)]| {
            let mut builder = KeyTableBuilder::default();
            let mut page = PageBuilder::new("mem://h/".parse().unwrap(), 100);
            for (key, version) in objects {
                let (kind, version) = (EntryKind::Object, Some(version.clone()));
                let meta = Meta { kind, size: 1, modified: None, version };
                page.push(&[key.as_bytes()], kind, Some(meta));
            }
            builder.add(&page.take().unwrap()).unwrap();
            builder.finish().versions()
        };
        let (one, two) = (Version::new("1"), Version::new("2"));
        let both = of(&[("a", one.clone()), ("b", two.clone())]);
        assert_eq!(of(&[("b", two.clone()), ("a", one.clone())]), both);
        assert_ne!(of(&[("a", two), ("b", one)]), both);
        assert_eq!(of(&[("a", Version::of_a_copy("1"))]), Versions::default());
    }
}
