//! What there is to load: samples with ids, in bytewise order of their names, then as they lie in them.

mod fingerprint;
mod largest;
mod look;

pub(crate) use fingerprint::with_versions;

use crate::checksum::Check;
use crate::damage::{self, Damage};
use crate::dataset_options::DatasetOptions;
use crate::fingerprint::hex;
use crate::format::build::{self, Meta};
use crate::format::{Format, jsonl, npy::ArrayMeta, row_groups, webdataset};
use crate::index::cache::{Build, Indexed, Keeper, There, unsaved};
use crate::index::known::Known;
use crate::index::{Column, Index};
use crate::key_table::{KeyTable, KeyTableBuilder};
use crate::manifest::{self, Listed, Roots};
use crate::shard::Shard;
use crate::strides::{Stride, Strides};
use crate::{Member, extent::Extent};
use forebay_io::{Error, GetRequest, Kind, ListOptions, Location, Operation, Result, Retry, Store, Version};
use futures::{FutureExt, StreamExt};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A list of samples. Ids are `0..len`, and the same on every machine that sees the same data.
pub struct Dataset {
    root: Location,
    format: Format,
    verify: bool,
    objects: Objects,
    samples: Samples,
    /// Where the samples are, and of a manifest also what they are in.
    index: Option<Index>,
    array: Option<ArrayMeta>,
    indexed: Indexed,
    damage: Vec<Damage>,
    fingerprint: OnceLock<String>,
    largest: OnceLock<Option<u64>>,
}

/// What the samples lie in.
enum Objects {
    /// Files that are samples themselves: names only.
    Listed(KeyTable),
    /// Files that hold many samples.
    Shards(Box<[Shard]>),
    /// Files that a manifest names: keys are in the index, beneath these.
    Named(Box<[Location]>),
}

/// Where the samples are in the objects.
enum Samples {
    /// Sample `id` is the whole of object `id`.
    Whole,
    Strided(Strides),
    /// The index says it for each.
    Indexed,
}

/// Raised when a scanner finds other samples in the same bytes than before, or their fingerprint is another one.
const SCANNERS: u32 = 3;

impl Dataset {
    /// Lists everything beneath `root` that `options` want; one object, one sample. Directories are
    /// gone through if `options.recursive`, and are no samples.
    ///
    /// # Errors
    /// As [`Store::list`]; `NotFound` if there is no sample.
    pub async fn list(store: &dyn Store, root: &Location, options: ListOptions) -> Result<Self> {
        let nothing = nothing_listed(root, &options);
        let mut pages = store.list(root, with_versions(store, options));
        let mut keys = KeyTableBuilder::default();
        while let Some(page) = pages.next().await {
            keys.add(&page?)?;
        }
        let keys = keys.finish();
        if keys.is_empty() {
            return Err(nothing);
        }
        let options = DatasetOptions::default();
        Ok(Self::new(root, options, Objects::Listed(keys), Samples::Whole, None, Indexed::Needless))
    }

    /// The samples inside the objects beneath `root`, or that the manifest at `root` names. The index of
    /// where they are is made once and kept where `options.index` says; it is made anew when an object, or
    /// the manifest, has another name, size, version or time than it had.
    ///
    /// # Errors
    /// As [`Store::list`] and [`Store::get`]; `NotFound` if there is no object or no sample; `Corrupt`
    /// naming the object, the offset and what was expected there, if an object is not of the format and
    /// `options.on_damage` does not tolerate it; as [`Store::put`] if the index cannot be saved.
    pub async fn open(store: &dyn Store, root: &Location, options: DatasetOptions) -> Result<Self> {
        options.validate()?;
        if let Some(kind) = options.manifest {
            let file = Shard::look(store, root, b"").await?;
            let listed = Listed::Manifest { kind, file: &file };
            if options.format != Format::Raw {
                let shards = manifest::shards(store, listed).await?;
                return Self::of_shards(store, root, shards, options).await;
            }
            let spec = format!("{SCANNERS} manifest {kind}");
            let source = source(&spec, std::slice::from_ref(&file));
            let place = &options.index;
            let keeper = Keeper::at(place, store, root, "manifest", &spec, options.index_resident_bytes)?;
            let build: Build<'_> =
                Box::new(move |sink, _| manifest::build(store, listed, source, sink).boxed());
            let (index, indexed) = kept(keeper, &source, build).await?;
            return Self::of_manifest(root, &options, index, indexed);
        }
        if options.format == Format::Raw {
            return Self::list(store, root, options.list).await;
        }
        let nothing = nothing_listed(root, &options.list);
        let shards = Shard::list(store, root, options.list.clone()).await?;
        if shards.is_empty() {
            return Err(nothing);
        }
        Self::of_shards(store, root, shards, options).await
    }

    /// The samples in these objects, which may be anywhere that `store` reaches, in this order. Nothing is
    /// listed, so `options.list` means nothing; an index is kept where `options.index` says, beside the
    /// first of them.
    ///
    /// # Errors
    /// As [`Dataset::open`]; `InvalidConfig` if there is none.
    pub async fn of_uris(store: &dyn Store, uris: &[Location], options: DatasetOptions) -> Result<Self> {
        options.validate()?;
        let Some(root) = uris.first() else {
            return Err(Error::invalid("a list of locations is empty; name at least one"));
        };
        if options.manifest.is_some() {
            let context = "manifest: one manifest at a time, not a list of locations";
            return Err(Error::invalid(context));
        }
        let listed = Listed::Uris(uris);
        if options.format != Format::Raw {
            let shards = manifest::shards(store, listed).await?;
            return Self::of_shards(store, root, shards, options).await;
        }
        let build: Build<'_> = Box::new(move |sink, _| manifest::build(store, listed, [0; 32], sink).boxed());
        let (index, _) = kept(None, &[0; 32], build).await?;
        Self::of_manifest(root, &options, index, Indexed::Needless)
    }

    fn of_manifest(
        root: &Location,
        options: &DatasetOptions,
        index: Index,
        indexed: Indexed,
    ) -> Result<Self> {
        let damaged = |why: String| damaged(root, &why);
        let roots: Roots =
            serde_json::from_slice(&index.about().meta).map_err(|error| damaged(error.to_string()))?;
        let roots = roots.roots.iter().map(|root| root.parse()).collect::<Result<Vec<_>>>()?;
        if index.rows(Column::Samples) == 0 {
            let context = "nothing to load: the manifest has no entry";
            return Err(Error::new(Kind::NotFound, Operation::List, context).at(root));
        }
        if index.rows(Column::Checks) != index.rows(Column::Samples) {
            return Err(damaged("its columns differ in length".to_owned()));
        }
        let (objects, samples) = (Objects::Named(roots.into()), Samples::Indexed);
        Ok(Self::new(root, options.clone(), objects, samples, Some(index), indexed))
    }

    async fn of_shards(
        store: &dyn Store,
        root: &Location,
        shards: Vec<Shard>,
        options: DatasetOptions,
    ) -> Result<Self> {
        let format = &options.format;
        let spec = format!(
            "{SCANNERS} {} {:?} {}",
            format.spec(),
            options.list.glob.as_ref().map(|glob| glob.pattern()),
            options.list.recursive
        );
        let source = source(&spec, &shards);
        let needless = matches!(format, Format::Records { .. });
        let keeper = match needless {
            true => None,
            false => {
                let resident = options.index_resident_bytes;
                Keeper::at(&options.index, store, root, format.name(), &spec, resident)?
            }
        };
        let on_damage = options.on_damage.unwrap_or_default();
        let build: Build<'_> =
            Box::new(|sink, old| build::build(store, &shards, format, on_damage, source, old, sink).boxed());
        let (index, indexed) = kept(keeper, &source, build).await?;
        let indexed = if needless { Indexed::Needless } else { indexed };

        let meta: Meta =
            serde_json::from_slice(&index.about().meta).map_err(|error| damaged(root, &error.to_string()))?;
        let samples = match index.rows(Column::Strides) {
            0 => Samples::Indexed,
            rows if rows == shards.len() as u64 => {
                let stride =
                    |row| index.stride(row).map(|[offset, bytes, count]| Stride { offset, bytes, count });
                let strides = (0..rows).map(stride).collect::<Result<Vec<_>, _>>();
                Samples::Strided(Strides::new(strides.map_err(|why| damaged(root, &why))?))
            }
            rows => return Err(damaged(root, &format!("{rows} rows for {} shards", shards.len()))),
        };
        let damage = found_damage(root, &index, &shards)?;
        for (count, place) in (1..).zip(&damage) {
            place.tolerate(on_damage, count)?;
        }
        let objects = Objects::Shards(shards.into());
        let dataset = Self::new(root, options, objects, samples, Some(index), indexed);
        let dataset = Dataset { array: meta.array, damage, ..dataset };
        if let (true, Some(damage)) = (dataset.is_empty(), dataset.damage.first()) {
            return Err(damage.error().context("nothing to load: no sample is left; first damage"));
        }
        if dataset.is_empty() {
            let context = format!("nothing to load: {} objects hold no sample", dataset.objects());
            return Err(Error::new(Kind::NotFound, Operation::List, context).at(root));
        }
        Ok(dataset)
    }

    fn new(
        root: &Location,
        options: DatasetOptions,
        objects: Objects,
        samples: Samples,
        index: Option<Index>,
        indexed: Indexed,
    ) -> Self {
        let fingerprint = match &index {
            Some(index) => OnceLock::from(hex(&index.about().fingerprint)),
            None => OnceLock::new(),
        };
        Dataset {
            root: root.clone(),
            verify: options.verifies(),
            format: options.format,
            objects,
            samples,
            index,
            array: None,
            indexed,
            damage: Vec::new(),
            fingerprint,
            largest: OnceLock::new(),
        }
    }

    /// What was listed: a prefix, a manifest, or the first of a list of locations.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How samples lie in the objects.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// What was done to have an index.
    pub fn indexed(&self) -> &Indexed {
        &self.indexed
    }

    /// What of its objects was set aside because it is damaged: see [`DatasetOptions::on_damage`].
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// How many samples.
    pub fn len(&self) -> u64 {
        match &self.samples {
            Samples::Whole => self.objects(),
            Samples::Strided(strides) => strides.len(),
            Samples::Indexed => self.rows(Column::Samples),
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
            Objects::Named(_) => self.rows(Column::Objects),
        }
    }

    fn rows(&self, column: Column) -> u64 {
        self.index.as_ref().map_or(0, |index| index.rows(column))
    }

    /// Where the bytes of sample `id` are. None beyond the last, and if an index that stays in its file
    /// cannot be read: [`Dataset::request`] says why.
    pub fn extent(&self, id: u64) -> Option<Extent> {
        self.find(id).ok()
    }

    fn find(&self, id: u64) -> Result<Extent> {
        match &self.samples {
            Samples::Whole if id < self.objects() => Ok(Extent { object: id, range: None }),
            Samples::Whole => Err(self.no_sample(id)),
            Samples::Strided(strides) => {
                let found = strides.get(id).map(|(object, range)| Extent { object, range: Some(range) });
                found.ok_or_else(|| self.no_sample(id))
            }
            Samples::Indexed => {
                if id >= self.len() {
                    return Err(self.no_sample(id));
                }
                let index = self.index.as_ref().ok_or_else(|| self.no_sample(id))?;
                let row = index.sample(id).map_err(|why| damaged(&self.root, &why))?;
                let range = row.len.map(|len| row.offset..row.offset + len);
                Ok(Extent { object: row.object.into(), range })
            }
        }
    }

    fn no_sample(&self, id: u64) -> Error {
        let context = format!("sample {id} of a dataset of {}", self.len());
        Error::new(Kind::InvalidRange, Operation::Get, context).at(&self.root)
    }

    /// Where object `object` is; none beyond the last. Costs no allocation where objects hold many samples.
    pub fn object(&self, object: u64) -> Option<Location> {
        match &self.objects {
            Objects::Listed(keys) => Some(self.root.join(keys.get(object)?)),
            Objects::Shards(shards) => Some(shards.get(usize::try_from(object).ok()?)?.location.clone()),
            Objects::Named(_) => self.named(object).ok().map(|(root, key)| root.join(&key)),
        }
    }

    /// The root and the key of an object that a manifest names.
    fn named(&self, object: u64) -> Result<(&Location, Vec<u8>)> {
        let (Objects::Named(roots), Some(index)) = (&self.objects, &self.index) else {
            return Err(damaged(&self.root, "it has no names"));
        };
        let mut row = index.bytes(Column::Objects, object).map_err(|why| damaged(&self.root, &why))?;
        let number = row.first_chunk::<2>().map(|number| usize::from(u16::from_le_bytes(*number)));
        let root = number.and_then(|number| roots.get(number));
        let root = root.ok_or_else(|| damaged(&self.root, "a name without a root"))?;
        row.drain(..2);
        Ok((root, row))
    }

    /// The version that reads of object `object` are pinned to: the one that its samples were found in.
    pub fn version(&self, object: u64) -> Option<&Version> {
        match &self.objects {
            Objects::Listed(_) | Objects::Named(_) => None,
            Objects::Shards(shards) => shards.get(usize::try_from(object).ok()?)?.version.as_ref(),
        }
    }

    /// The request that reads sample `id` into `slot`.
    ///
    /// # Errors
    /// `InvalidRange` if there is no such sample; `Corrupt` or as the file system says if an index that stays
    /// in its file cannot be read.
    pub fn request(&self, id: u64, slot: u32) -> Result<GetRequest> {
        let Extent { object, range } = self.find(id)?;
        let location = match &self.objects {
            Objects::Named(_) => self.named(object).map(|(root, key)| root.join(&key))?,
            _ => self.object(object).ok_or_else(|| damaged(&self.root, "a sample without an object"))?,
        };
        let size = match &self.objects {
            Objects::Listed(keys) => keys.size(object),
            Objects::Shards(_) | Objects::Named(_) => None,
        };
        let if_version = self.version(object).cloned();
        Ok(GetRequest { location, range, size, if_version, slot, sample: Some(id) })
    }

    /// The key beneath the root of the object that sample `id` lies in; empty if the root itself is it.
    /// Where a manifest or a list names objects, the whole path.
    pub fn key(&self, id: u64) -> Option<Cow<'_, [u8]>> {
        let object = self.extent(id)?.object;
        match &self.objects {
            Objects::Listed(keys) => keys.get(object).map(Cow::Borrowed),
            Objects::Shards(shards) => Some(Cow::Borrowed(shards.get(usize::try_from(object).ok()?)?.key())),
            Objects::Named(_) => self.named(object).ok().map(|(_, key)| Cow::Owned(key)),
        }
    }

    /// Where the object is that sample `id` lies in.
    pub fn location(&self, id: u64) -> Option<Location> {
        self.object(self.extent(id)?.object)
    }

    /// Whether [`Dataset::check`] ever looks at anything, so that a reader need not call it where not.
    pub fn checks(&self) -> bool {
        self.verify || (matches!(self.objects, Objects::Named(_)) && self.rows(Column::Checks) > 0)
    }

    /// Whether `bytes`, which were read as sample `id`, are what they should be. The length that a manifest
    /// promises is always looked at; checksums and structure if it [verifies](DatasetOptions::verifies).
    ///
    /// # Errors
    /// `Corrupt` naming the object, the offset and what was expected.
    pub fn check(&self, id: u64, bytes: &[u8]) -> Result<()> {
        let wrong = |why: String| Err(self.corrupt(id, &why));
        if self.rows(Column::Checks) > 0
            && let Some(index) = &self.index
        {
            let row = index.bytes(Column::Checks, id).map_err(|why| damaged(&self.root, &why))?;
            let check =
                Check::from_bytes(&row).ok_or_else(|| damaged(&self.root, "a checksum that is none"))?;
            check.compare(bytes, self.verify).or_else(wrong)?;
        }
        match &self.format {
            Format::Jsonl if self.verify => jsonl::verify(bytes).or_else(wrong),
            Format::WebDataset { member: None } if self.verify => {
                webdataset::members(bytes).map(drop).or_else(wrong)
            }
            _ => Ok(()),
        }
    }

    fn corrupt(&self, id: u64, why: &str) -> Error {
        let offset = self.extent(id).and_then(|extent| extent.range).map_or(0, |range| range.start);
        let context = format!("at offset {offset}, sample {id}: {why}");
        let error = Error::new(Kind::Corrupt, Operation::Get, context).with_retry(Retry::Never);
        match self.location(id) {
            Some(location) => error.at(&location),
            None => error.at(&self.root),
        }
    }

    /// The files that sample `id` of a WebDataset is made of, found in its bytes.
    ///
    /// # Errors
    /// `Corrupt` naming the object, the offset and what was expected; `Unsupported` if the dataset is not a
    /// WebDataset, or its samples are single members already.
    pub fn members(&self, id: u64, bytes: &[u8]) -> Result<Vec<Member>> {
        match &self.format {
            Format::WebDataset { member: None } => {
                webdataset::members(bytes).map_err(|why| self.corrupt(id, &why))
            }
            other => Err(self.has_no("members", other, "format=webdataset without member")),
        }
    }

    /// Sample `id` of a Parquet dataset, a row group, as a whole Parquet file of its own. Copies the bytes.
    ///
    /// # Errors
    /// `Unsupported` if the dataset is not one of Parquet row groups; `Corrupt` if its index is damaged.
    pub fn row_group_file(&self, id: u64, bytes: &[u8]) -> Result<Vec<u8>> {
        match (&self.format, &self.index) {
            (Format::Parquet, Some(index)) => {
                let footer = index.bytes(Column::Extras, id).map_err(|why| damaged(&self.root, &why))?;
                Ok(row_groups::file(bytes, &footer))
            }
            (other, _) => Err(self.has_no("row groups", other, "format=parquet")),
        }
    }

    /// The type and shape of the samples, where they are rows of arrays.
    pub fn array(&self) -> Option<&ArrayMeta> {
        self.array.as_ref()
    }

    fn has_no(&self, what: &str, format: &Format, which: &str) -> Error {
        let context = format!("samples of format={} have no {what}; those of {which} have", format.name());
        Error::new(Kind::Unsupported, Operation::Configure, context).at(&self.root)
    }

    /// Resident bytes of the list of samples. What of an index stays in its file is not counted.
    pub fn memory(&self) -> usize {
        let objects = match &self.objects {
            Objects::Listed(keys) => keys.memory(),
            Objects::Shards(shards) => {
                shards.iter().map(|shard| size_of::<Shard>() + shard.location.path_bytes().len()).sum()
            }
            Objects::Named(roots) => roots.len() * size_of::<Location>(),
        };
        let samples = match &self.samples {
            Samples::Strided(strides) => strides.memory(),
            Samples::Whole | Samples::Indexed => 0,
        };
        objects + samples + self.index.as_ref().map_or(0, Index::memory)
    }
}

/// The index in its place, if it fits; else a new one, saved there if there is a place.
async fn kept(keeper: Option<Keeper<'_>>, source: &[u8; 32], build: Build<'_>) -> Result<(Index, Indexed)> {
    let Some(keeper) = keeper else {
        return Ok((unsaved(build).await?, Indexed::Built(None)));
    };
    let location = keeper.location.clone();
    match keeper.look(source).await? {
        There::Fits(index) => Ok((index, Indexed::Reused(location))),
        There::Nothing => Ok((keeper.save(build, None).await?, Indexed::Built(Some(location)))),
        There::Damaged(damage) => {
            let why = format!("it is damaged: {damage}");
            Ok((keeper.save(build, None).await?, Indexed::Rebuilt { location, why }))
        }
        There::Stale(old) => {
            let old = Arc::new(old);
            let index = keeper.save(build, Some(old.clone())).await?;
            let of = index.rows(Column::Shards);
            let why = match of {
                0 => "what it was made from has changed since".to_owned(),
                _ => {
                    let known = Known::of(Some(&old)).map_err(|why| damaged(&location, &why))?;
                    let again =
                        (0..of).filter(|&row| index.shard(row).is_ok_and(|(shard, _)| !known.has(&shard)));
                    format!(
                        "what it was made from has changed since; {} of {of} shards were read",
                        again.count()
                    )
                }
            };
            Ok((index, Indexed::Rebuilt { location, why }))
        }
    }
}

/// What an index says was set aside.
fn found_damage(root: &Location, index: &Index, shards: &[Shard]) -> Result<Vec<Damage>> {
    let place = |row| {
        let bytes = index.bytes(Column::Damage, row).map_err(|why| damaged(root, &why))?;
        let found = damage::Place::from_bytes(&bytes)
            .and_then(|(shard, place)| Some(place.of(&shards.get(shard as usize)?.location)));
        found.ok_or_else(|| damaged(root, "a row of damage that is none"))
    };
    (0..index.rows(Column::Damage)).map(place).collect()
}

/// A digest of what an index is made from.
fn source(spec: &str, shards: &[Shard]) -> [u8; 32] {
    let mut digest = blake3::Hasher::new();
    digest.update(spec.as_bytes());
    for shard in shards {
        digest.update(shard.identity().as_bytes());
    }
    *digest.finalize().as_bytes()
}

fn damaged(root: &Location, why: &str) -> Error {
    let context = format!("the index of the samples is damaged: {why}; remove it and open the dataset again");
    Error::new(Kind::Corrupt, Operation::Get, context).at(root).with_retry(Retry::Never)
}

pub(crate) fn nothing_listed(root: &Location, options: &ListOptions) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs open datasets in tasks of any runtime.
    #[test]
    fn opening_may_move_between_threads() {
        fn send<T: Send>(_: T) {}
        fn check(store: &dyn Store, root: &Location) {
            send(Dataset::open(store, root, DatasetOptions::default()));
            send(Dataset::of_uris(store, std::slice::from_ref(root), DatasetOptions::default()));
        }
        check(&forebay_io::MemoryStore::new(), &"mem://h/x".parse().unwrap());
    }
}
