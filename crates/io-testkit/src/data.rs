//! Objects whose bytes are a pure function of a seed, so that any reader can check them.

use bytes::Bytes;
use forebay_io::{Error, Kind, Location, Operation, PutOptions, Result, Store};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// `len` random bytes: the same for the same seed, and a prefix of any longer answer.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A set of small objects: keys relative to a root, and their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    objects: BTreeMap<Vec<u8>, Bytes>,
}

impl Tree {
    /// `count` objects with sizes drawn from `sizes`, spread over a few directories of up to three
    /// levels (`0000.bin`, `d1/0001.bin`, `d2/e0/0002.bin`, …). The number in the name is the position
    /// in the order of creation.
    pub fn new(seed: u64, count: usize, sizes: RangeInclusive<usize>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let objects = (0..count).map(|i| {
            let directory = match i % 3 {
                0 => String::new(),
                1 => format!("d{}/", rng.random_range(0..4)),
                _ => format!("d{}/e{}/", rng.random_range(0..4), rng.random_range(0..3)),
            };
            let len = rng.random_range(sizes.clone());
            let content = bytes(rng.random(), len);
            (format!("{directory}{i:04}.bin").into_bytes(), Bytes::from(content))
        });
        Tree { objects: objects.collect() }
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Keys and bytes, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.objects.iter().map(|(key, bytes)| (&**key, bytes))
    }

    /// Where the objects are beneath `root`, in the order of the keys.
    pub fn locations(&self, root: &Location) -> Vec<Location> {
        self.objects.keys().map(|key| root.join(key)).collect()
    }

    /// The bytes of one object.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.objects.get(key)
    }

    /// Stores every object beneath `root`.
    ///
    /// # Errors
    /// The first error of the store.
    pub async fn put(&self, store: &dyn Store, root: &Location) -> Result<()> {
        for (key, bytes) in &self.objects {
            store.put(&root.join(key), bytes.clone().into(), PutOptions::default()).await?;
        }
        Ok(())
    }

    /// Writes every object as a file beneath `directory`, without any store.
    ///
    /// # Errors
    /// The first error of the system.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for (key, bytes) in &self.objects {
            let path = directory.join(std::ffi::OsStr::from_bytes(key));
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }

    /// Whether `found` are the bytes of the object at `location` beneath `root`.
    ///
    /// # Errors
    /// `NotFound` if the tree has no such object; `Corrupt` naming the first byte that differs.
    pub fn verify(&self, root: &Location, location: &Location, found: &[u8]) -> Result<()> {
        let error = |kind, context: String| Error::new(kind, Operation::Get, context).at(location);
        let expected = location
            .key_beneath(root)
            .and_then(|key| self.get(key))
            .ok_or_else(|| error(Kind::NotFound, format!("not one of the {} objects", self.len())))?;
        if found.len() != expected.len() {
            let context = format!("{} bytes, not {}", found.len(), expected.len());
            return Err(error(Kind::Corrupt, context));
        }
        match found.iter().zip(expected).position(|(a, b)| a != b) {
            Some(at) => Err(error(Kind::Corrupt, format!("byte {at} differs"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_tree() {
        let tree = Tree::new(7, 30, 0..=1000);
        assert_eq!(tree, Tree::new(7, 30, 0..=1000));
        assert_ne!(tree, Tree::new(8, 30, 0..=1000));
        assert_eq!(tree.len(), 30);
        assert_eq!(bytes(1, 10), bytes(1, 20)[..10]);
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let root: Location = "mem://t/r".parse().unwrap();
        let tree = Tree::new(7, 5, 10..=20);
        for (location, (_, content)) in tree.locations(&root).iter().zip(tree.iter()) {
            tree.verify(&root, location, content).unwrap();
            let mut wrong = content.to_vec();
            wrong[9] ^= 1;
            let error = tree.verify(&root, location, &wrong).unwrap_err();
            assert!(error.to_string().contains("byte 9"), "{error}");
            assert_eq!(tree.verify(&root, location, &wrong[1..]).unwrap_err().kind(), Kind::Corrupt);
        }
    }
}
