//! Where the samples of a dataset are, as one file: written once in one pass, read at random.
//!
//! An index has up to seven columns. Each is a list of blocks of [`ROWS`] rows, and lies wherever it was
//! written, so that a dataset of any size is indexed in bounded memory. At the end comes a directory of
//! the blocks, each with its CRC32C, and then a trailer of fixed size that says where the directory is and
//! what the index was made from. All numbers are little-endian.
//!
//! | column | a row is |
//! |---|---|
//! | objects | variable: the root's number (2 bytes) and a key; none for shards, which are listed anew |
//! | samples | 16 bytes: object (4), offset (6), length (6), all ones for the whole object |
//! | strides | 24 bytes a shard: offset, bytes of a sample, count |
//! | checks | variable: what the bytes of a sample are checked against ([`crate::checksum::Check`]) |
//! | extras | variable: what a format needs to decode a sample by itself |
//! | shards | 24 bytes a shard: a digest of what it was (16), how many samples there are up to its end (8) |
//! | damage | variable, a row for each place of damage: shard (4), offset (8), what was expected there |
//!
//! By its shards an index of other shards is still good for those that it has in common with the new ones.
//!
//! Small indexes are kept in memory; large ones stay in their file and are read through the page cache.
//! Whatever a damaged file says, a reader does not panic and takes no more memory than the file is long.

pub(crate) mod cache;
mod column;
mod image;
pub(crate) mod known;
mod reader;
mod writer;

pub(crate) use image::Image;
pub(crate) use reader::Index;
pub(crate) use writer::{IndexWriter, Sink};

/// What an index begins and ends with.
const MAGIC: [u8; 8] = *b"forebayX";

/// Raised when an older reader would misread.
const VERSION: u32 = 3;

/// Rows of a block: of samples 64 KiB, so that a block is one sensible write.
const ROWS: u64 = 4096;

/// Bytes of the trailer.
const TRAILER: usize = 128;

/// The columns, in the order of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Objects,
    Samples,
    Strides,
    Checks,
    Extras,
    Shards,
    Damage,
}

impl Column {
    const ALL: [Column; 7] = [
        Column::Objects,
        Column::Samples,
        Column::Strides,
        Column::Checks,
        Column::Extras,
        Column::Shards,
        Column::Damage,
    ];

    /// Bytes of a row; none where rows differ.
    fn width(self) -> Option<usize> {
        match self {
            Column::Samples => Some(16),
            Column::Strides | Column::Shards => Some(24),
            Column::Objects | Column::Checks | Column::Extras | Column::Damage => None,
        }
    }
}

/// What an index is of, beside its columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct About {
    /// A digest of what it was made from. Another digest: the index is stale.
    pub(crate) source: [u8; 32],
    /// The dataset's fingerprint.
    pub(crate) fingerprint: [u8; 16],
    /// What the format has to say of all samples, as JSON.
    pub(crate) meta: Vec<u8>,
}

/// One row of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) object: u32,
    pub(crate) offset: u64,
    /// None for the whole object.
    pub(crate) len: Option<u64>,
}

impl Row {
    /// Offsets and lengths are below this.
    pub(crate) const LIMIT: u64 = (1 << 48) - 1;

    fn to_bytes(self) -> [u8; 16] {
        let len = self.len.unwrap_or(Self::LIMIT);
        let all = u128::from(self.object) | u128::from(self.offset) << 32 | u128::from(len) << 80;
        all.to_le_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let all = u128::from_le_bytes(bytes);
        let len = (all >> 80) as u64;
        Row {
            object: all as u32,
            offset: (all >> 32) as u64 & Self::LIMIT,
            len: (len != Self::LIMIT).then_some(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use proptest::prelude::*;

    fn row() -> impl Strategy<Value = Row> {
        let below = 0..Row::LIMIT;
        (any::<u32>(), below.clone(), proptest::option::of(below)).prop_map(|(object, offset, len)| Row {
            object,
            offset,
            len,
        })
    }

    fn written(rows: &[Row], names: &[Vec<u8>], about: &About) -> Vec<u8> {
        block_on(async {
            let mut writer = IndexWriter::new(Sink::Memory(Vec::new())).await.unwrap();
            for (row, name) in rows.iter().zip(names) {
                writer.sample(*row).await.unwrap();
                writer.add(Column::Objects, name).await.unwrap();
            }
            match writer.finish(about).await.unwrap() {
                Sink::Memory(bytes) => bytes,
                Sink::Stream(_) => unreachable!(),
            }
        })
    }

    fn open(bytes: Vec<u8>) -> Result<Index, String> {
        Index::open(Image::Memory(bytes.into()))
    }

    #[test]
    fn blocks_of_every_column_are_found_again() {
        let rows: Vec<_> =
            (0..10_000).map(|i| Row { object: i, offset: u64::from(i) * 7, len: Some(3) }).collect();
        let names: Vec<_> = (0..10_000).map(|i| format!("{i:x}").repeat(i % 3).into_bytes()).collect();
        let about = About { source: [7; 32], fingerprint: [9; 16], meta: b"{}".to_vec() };
        let index = open(written(&rows, &names, &about)).unwrap();
        assert_eq!(index.about(), &about);
        assert_eq!(index.rows(Column::Samples), 10_000);
        for i in [0, 1, 4095, 4096, 9_999] {
            assert_eq!(index.sample(i as u64).unwrap(), rows[i]);
            assert_eq!(index.bytes(Column::Objects, i as u64).unwrap(), names[i]);
        }
        assert!(index.sample(10_000).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            rows in proptest::collection::vec((row(), proptest::collection::vec(any::<u8>(), 0..20)), 0..50),
        ) {
            let (rows, names): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let index = open(written(&rows, &names, &About::default())).unwrap();
            prop_assert_eq!(index.rows(Column::Samples), rows.len() as u64);
            for (i, (row, name)) in rows.iter().zip(&names).enumerate() {
                prop_assert_eq!(index.sample(i as u64).unwrap(), *row);
                prop_assert_eq!(&index.bytes(Column::Objects, i as u64).unwrap(), name);
            }
        }

        /// A flipped, lost or added byte anywhere is noticed when the index is opened.
        #[test]
        fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
            let rows: Vec<_> = (0..9).map(|i| Row { object: i, offset: 1, len: None }).collect();
            let names = vec![b"name".to_vec(); 9];
            let mut bytes = written(&rows, &names, &About::default());
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            prop_assert!(open(bytes).is_err());
        }

        /// Also where every checksum is right and only what they protect makes no sense.
        #[test]
        fn nonsense_is_refused_without_panic(
            directory in proptest::collection::vec(any::<u8>(), 0..200),
            numbers in proptest::collection::vec(prop_oneof![0u64..200, any::<u64>()], 6),
        ) {
            if let Ok(index) = open(reader::tests::forged(&directory, &numbers)) {
                for column in Column::ALL {
                    for row in [0, 1, index.rows(column).saturating_sub(1)] {
                        let _ = index.bytes(column, row);
                        let _ = index.sample(row);
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(open(bytes).is_err());
        }
    }
}
