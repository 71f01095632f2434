//! What there is to load: samples with ids, in bytewise order of their names, then as they lie in them.

use crate::format::{self, Format};
use crate::key_table::{KeyTable, KeyTableBuilder};
use crate::shard::Shard;
use crate::strides::Strides;
use forebay_io::{Error, GetRequest, Kind, ListOptions, Location, Operation, Result, Store, Version};
use futures::StreamExt;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

/// A list of samples. Ids are `0..len`, and the same on every machine that sees the same data.
pub struct Dataset {
    root: Location,
    format: Format,
    objects: Objects,
    samples: Samples,
    fingerprint: OnceLock<String>,
}

/// What the samples lie in.
enum Objects {
    /// Files that are samples themselves: names only.
    Listed(KeyTable),
    /// Files that hold many samples.
    Shards(Box<[Shard]>),
}

/// Where the samples are in the objects.
enum Samples {
    /// Sample `id` is the whole of object `id`.
    Whole,
    Strided(Strides),
}

/// Where the bytes of a sample are: in which object of the dataset, and which of it. Extents of the same
/// object are neighbours that one request may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The number of the object, from 0, in the order of the dataset.
    pub object: u64,
    /// Which bytes of it; none for the whole, whose size is not known before it is read.
    pub range: Option<Range<u64>>,
}

/// How a dataset is made.
#[derive(Debug, Clone, Default)]
pub struct DatasetOptions {
    /// How samples lie in the objects.
    pub format: Format,
    /// Which objects.
    pub list: ListOptions,
}

impl Dataset {
    /// Lists everything beneath `root` that `options` want; one object, one sample. Directories are
    /// gone through if `options.recursive`, and are no samples.
    ///
    /// # Errors
    /// As [`Store::list`]; `NotFound` if there is no sample.
    pub async fn list(store: &dyn Store, root: &Location, options: ListOptions) -> Result<Self> {
        let nothing = nothing_listed(root, &options);
        let mut pages = store.list(root, options);
        let mut keys = KeyTableBuilder::default();
        while let Some(page) = pages.next().await {
            keys.add(&page?)?;
        }
        let keys = keys.finish();
        if keys.is_empty() {
            return Err(nothing);
        }
        Ok(Self::new(root, Format::Raw, Objects::Listed(keys), Samples::Whole))
    }

    /// The samples inside the objects beneath `root`.
    ///
    /// # Errors
    /// As [`Store::list`] and [`Store::get`]; `NotFound` if there is no object or no sample; `Corrupt`
    /// naming the object, the offset and what was expected there, if an object is not of the format.
    pub async fn open(store: &dyn Store, root: &Location, options: DatasetOptions) -> Result<Self> {
        options.format.validate()?;
        if options.format == Format::Raw {
            return Self::list(store, root, options.list).await;
        }
        let nothing = nothing_listed(root, &options.list);
        let shards = Shard::list(store, root, options.list).await?;
        if shards.is_empty() {
            return Err(nothing);
        }
        let samples = match &options.format {
            Format::Raw => Samples::Whole,
            Format::Records { record_bytes, header_bytes } => {
                Samples::Strided(format::records::strides(&shards, *record_bytes, *header_bytes)?)
            }
        };
        let dataset = Self::new(root, options.format, Objects::Shards(shards.into()), samples);
        if dataset.is_empty() {
            let context = format!("nothing to load: {} hold no sample", count(dataset.objects(), "object"));
            return Err(Error::new(Kind::NotFound, Operation::List, context).at(root));
        }
        Ok(dataset)
    }

    fn new(root: &Location, format: Format, objects: Objects, samples: Samples) -> Self {
        Dataset { root: root.clone(), format, objects, samples, fingerprint: OnceLock::new() }
    }

    /// What was listed.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How samples lie in the objects.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// How many samples.
    pub fn len(&self) -> u64 {
        match &self.samples {
            Samples::Whole => self.objects(),
            Samples::Strided(strides) => strides.len(),
        }
    }

    /// Whether there is none; never so for a dataset that was listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many objects the samples lie in.
    pub fn objects(&self) -> u64 {
        match &self.objects {
            Objects::Listed(keys) => keys.len() as u64,
            Objects::Shards(shards) => shards.len() as u64,
        }
    }

    /// Where the bytes of sample `id` are; none beyond the last.
    pub fn extent(&self, id: u64) -> Option<Extent> {
        match &self.samples {
            Samples::Whole => (id < self.objects()).then_some(Extent { object: id, range: None }),
            Samples::Strided(strides) => {
                strides.get(id).map(|(object, range)| Extent { object, range: Some(range) })
            }
        }
    }

    /// Where object `object` is; none beyond the last. Costs no allocation where objects hold many samples.
    pub fn object(&self, object: u64) -> Option<Location> {
        match &self.objects {
            Objects::Listed(keys) => Some(self.root.join(keys.get(object)?)),
            Objects::Shards(shards) => Some(shards.get(usize::try_from(object).ok()?)?.location.clone()),
        }
    }

    /// The version that reads of object `object` are pinned to: the one that its samples were found in.
    pub fn version(&self, object: u64) -> Option<&Version> {
        match &self.objects {
            Objects::Listed(_) => None,
            Objects::Shards(shards) => shards.get(usize::try_from(object).ok()?)?.version.as_ref(),
        }
    }

    /// The request that reads sample `id` into `slot`.
    ///
    /// # Errors
    /// `InvalidRange` if there is no such sample.
    pub fn request(&self, id: u64, slot: u32) -> Result<GetRequest> {
        let missing = || {
            let context = format!("sample {id} of a dataset of {}", self.len());
            Error::new(Kind::InvalidRange, Operation::Get, context).at(&self.root)
        };
        let Extent { object, range } = self.extent(id).ok_or_else(missing)?;
        Ok(GetRequest {
            location: self.object(object).ok_or_else(missing)?,
            range,
            if_version: self.version(object).cloned(),
            slot,
            sample: Some(id),
        })
    }

    /// The key beneath the root of the object that sample `id` lies in. Empty if the root itself is it.
    pub fn key(&self, id: u64) -> Option<Cow<'_, [u8]>> {
        let object = self.extent(id)?.object;
        match &self.objects {
            Objects::Listed(keys) => keys.get(object).map(Cow::Borrowed),
            Objects::Shards(shards) => Some(Cow::Borrowed(shards.get(usize::try_from(object).ok()?)?.key())),
        }
    }

    /// Where the object is that sample `id` lies in.
    pub fn location(&self, id: u64) -> Option<Location> {
        self.object(self.extent(id)?.object)
    }

    /// A digest of what the ids mean: two datasets with the same fingerprint give the same id to the
    /// same sample. Of listed files the names in their order; of shards also their sizes and where the
    /// samples lie. Contents are not looked at. Computed when first asked for.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let mut digest = Pieces::default();
            match &self.objects {
                Objects::Listed(keys) => {
                    for key in keys.iter() {
                        digest.add(&[&(key.len() as u16).to_le_bytes(), key]);
                    }
                }
                Objects::Shards(shards) => {
                    for shard in shards {
                        let (key, size) = (shard.key(), shard.size.to_le_bytes());
                        digest.add(&[&(key.len() as u64).to_le_bytes(), key, &size]);
                    }
                }
            }
            if let Samples::Strided(strides) = &self.samples {
                for s in strides.iter() {
                    digest
                        .add(&[s.offset, s.bytes, s.count].map(u64::to_le_bytes).each_ref().map(|b| &b[..]));
                }
            }
            digest.finish()
        })
    }

    /// Resident bytes of the list of samples.
    pub fn memory(&self) -> usize {
        let objects = match &self.objects {
            Objects::Listed(keys) => keys.memory(),
            Objects::Shards(shards) => {
                shards.iter().map(|shard| size_of::<Shard>() + shard.location.path_bytes().len()).sum()
            }
        };
        let samples = match &self.samples {
            Samples::Whole => 0,
            Samples::Strided(strides) => strides.memory(),
        };
        objects + samples
    }
}

/// Feeds a digest in larger pieces: a call for each name would cost more than the digest itself.
#[derive(Default)]
struct Pieces {
    digest: blake3::Hasher,
    piece: Vec<u8>,
}

impl Pieces {
    const FULL: usize = 1 << 16;

    fn add(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.piece.extend_from_slice(part));
        if self.piece.len() >= Self::FULL {
            self.digest.update(&self.piece);
            self.piece.clear();
        }
    }

    fn finish(mut self) -> String {
        self.digest.update(&self.piece);
        self.digest.finalize().to_hex()[..32].to_owned()
    }
}

/// `1 object`, `2 objects`.
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn nothing_listed(root: &Location, options: &ListOptions) -> Error {
    let context = match &options.glob {
        Some(glob) => format!("nothing to load: no name beneath it matches the glob {:?}", glob.pattern()),
        None if options.recursive => "nothing to load: it holds no files".to_owned(),
        None => "nothing to load: it holds no files itself (subdirectories were not looked into)".to_owned(),
    };
    Error::new(Kind::NotFound, Operation::List, context).at(root)
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("root", &self.root)
            .field("format", &self.format)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
