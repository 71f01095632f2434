//! Goes through the shards of a dataset, several at a time, and writes their index in one pass. Shards that an older
//! index knows as they are now are not read again: their rows are copied.

use super::found::{Find, Finds, Found};
use super::npy::ArrayMeta;
use super::shard_bytes::{LONGEST, ShardBytes};
use super::{Format, jsonl, npy, npz, records, row_groups, tfrecord, webdataset};
use crate::OnError;
use crate::checksum::Check;
use crate::damage;
use crate::fingerprint::Fingerprint;
use crate::index::known::{Known, Place};
use crate::index::{About, Column, Index, IndexWriter, Row, Sink};
use crate::shard::Shard;
use crate::strides::Stride;
use forebay_io::{Budget, Error, Kind, Location, Operation, Pool, Result, Retry, Store, Version};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Shards that are gone through at the same time. Each holds a window and some found samples.
const AT_ONCE: usize = 8;

/// Pieces of found samples that wait for the shards before theirs.
const WAITING: usize = 4;

/// What a format has to say of all samples.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) array: Option<ArrayMeta>,
}

/// Writes the index of `shards` into `sink`.
///
/// # Errors
/// As [`Store::get`]; `Corrupt` naming shard, offset and what was expected there, if there is more damage than
/// `on_damage` tolerates.
pub(crate) async fn build(
    store: &dyn Store,
    shards: &[Shard],
    format: &Format,
    on_damage: OnError,
    source: [u8; 32],
    old: Option<Arc<Index>>,
    sink: Sink,
) -> Result<Sink> {
    let known = Known::of(old.as_deref()).map_err(unreadable)?;
    // A window each, and room for one header of the longest there may be.
    let pool = Pool::new(Budget::new(2 * LONGEST)?);
    let mut writer = IndexWriter::new(sink).await?;
    let mut losses = Losses { on_damage, shards, count: 0 };
    let mut print = Fingerprint::default();
    for shard in shards {
        print.add(&(shard.key().len() as u64).to_le_bytes());
        print.add(shard.key());
        print.add(&shard.size.to_le_bytes());
        let version = shard.version.as_ref().and_then(Version::shared).unwrap_or_default();
        print.add(&(version.len() as u64).to_le_bytes());
        print.add(version.as_bytes());
    }
    let meta = match format {
        Format::Records { .. } | Format::Npy | Format::Npz { .. } => {
            strides(store, &mut losses, format, &pool, &known, &mut writer, &mut print).await?
        }
        _ => {
            samples(store, &mut losses, format, &pool, &known, &mut writer, &mut print).await?;
            Meta::default()
        }
    };
    let meta = serde_json::to_vec(&meta).expect("names and numbers have a JSON form");
    writer.finish(&About { source, fingerprint: print.finish(), meta }).await
}

/// The damage of the shards so far.
struct Losses<'a> {
    on_damage: OnError,
    shards: &'a [Shard],
    count: u64,
}

impl Losses<'_> {
    fn tolerant(&self) -> bool {
        self.on_damage != OnError::Raise
    }

    /// Writes down what is lost in shard `number`.
    async fn add(&mut self, number: usize, place: damage::Place, writer: &mut IndexWriter) -> Result<()> {
        self.count += 1;
        let row = place.to_bytes(number as u32);
        place.of(&self.shards[number].location).tolerate(self.on_damage, self.count)?;
        writer.add(Column::Damage, &row).await
    }
}

/// Shards whose samples have equal sizes: one row each.
async fn strides(
    store: &dyn Store,
    losses: &mut Losses<'_>,
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
    writer: &mut IndexWriter,
    print: &mut Fingerprint,
) -> Result<Meta> {
    let mut array: Option<(&Location, ArrayMeta)> = None;
    let shards = losses.shards;
    let each: Vec<BoxFuture<'_, _>> =
        shards.iter().map(|shard| stride(store, shard, format, pool, known).boxed()).collect();
    let mut found = stream::iter(each).buffered(AT_ONCE).enumerate();
    while let Some((number, result)) = found.next().await {
        let (mut stride, mut meta, mut damage) = match result {
            Ok(found) => found,
            Err((_, Some(place))) if losses.tolerant() => (NO_STRIDE, None, Some(place)),
            Err((error, _)) => return Err(error),
        };
        if let (Some((named, first)), Some(found)) = (&array, &meta)
            && first != found
        {
            let reason = format!(
                "rows of type {} and shape {:?}, where those of {named} are of type {} and shape {:?}: the samples of a \
                 dataset must be alike",
                found.dtype, found.shape, first.dtype, first.shape
            );
            damage = Some(damage::Place { offset: 0, reason });
            (stride, meta) = (NO_STRIDE, None);
        }
        if let Some(place) = damage {
            losses.add(number, place, writer).await?;
        }
        if let (None, Some(found)) = (&array, meta) {
            array = Some((&shards[number].location, found));
        }
        let Stride { offset, bytes, count } = stride;
        let row = [offset, bytes, count].map(u64::to_le_bytes).concat();
        print.add(&row);
        writer.add(Column::Strides, &row).await?;
        writer.shard(shards[number].digest(), 0).await?;
    }
    Ok(Meta { array: array.map(|(_, meta)| meta) })
}

/// Of a shard that is set aside.
const NO_STRIDE: Stride = Stride { offset: 0, bytes: 0, count: 0 };

/// Where the samples of a shard are, what they are if they are rows of an array, and the damage behind them.
type Rows = (Stride, Option<ArrayMeta>, Option<damage::Place>);

/// The rows of one shard; else why not, and the damage if it is that.
async fn stride(
    store: &dyn Store,
    shard: &Shard,
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
) -> Result<Rows, (Error, Option<damage::Place>)> {
    let mut bytes = ShardBytes::new(store, shard, pool);
    match rows(&mut bytes, shard, format, known).await {
        Err(error) if error.kind() == Kind::Corrupt => Err((error, bytes.take_damage())),
        Err(error) => Err((error, None)),
        Ok(rows) => Ok(rows),
    }
}

async fn rows(bytes: &mut ShardBytes<'_>, shard: &Shard, format: &Format, known: &Known<'_>) -> Result<Rows> {
    if let Some((index, place)) = known.find(&shard.digest()) {
        let [offset, bytes, count] = index.stride(place.number).map_err(unreadable)?;
        let meta: Meta =
            serde_json::from_slice(&index.about().meta).map_err(|error| unreadable(error.to_string()))?;
        return Ok((Stride { offset, bytes, count }, meta.array, None));
    }
    let (stride, meta) = match format {
        Format::Records { record_bytes, header_bytes } => {
            let (stride, damage) = records::stride(shard, *record_bytes, *header_bytes);
            return Ok((stride, None, damage));
        }
        Format::Npz { member } => npz::rows(bytes, member.as_deref()).await?,
        _ => {
            let end = bytes.size();
            npy::rows(bytes, 0, end).await?
        }
    };
    Ok((stride, Some(meta), None))
}

/// Shards whose samples are found one by one.
async fn samples(
    store: &dyn Store,
    losses: &mut Losses<'_>,
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
    writer: &mut IndexWriter,
    print: &mut Fingerprint,
) -> Result<()> {
    let shards = losses.shards;
    let mut left = shards.iter();
    let mut scans: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
    let mut line = VecDeque::new();
    let (mut object, mut end) = (0u32, 0u64);
    loop {
        while line.len() < AT_ONCE
            && let Some(shard) = left.next()
        {
            let (sender, receiver) = mpsc::channel(WAITING);
            let finds = Finds::new(sender, losses.tolerant());
            scans.push(match known.find(&shard.digest()) {
                Some((index, place)) => copy(index, place, finds).boxed(),
                None => scan(store, shard, format, pool, finds).boxed(),
            });
            line.push_back(receiver);
        }
        let Some(first) = line.front_mut() else { break };
        let piece = tokio::select! {
            biased;
            piece = first.recv() => piece,
            ended = scans.try_next(), if !scans.is_empty() => {
                ended?;
                continue;
            }
        };
        let Some(piece) = piece else {
            line.pop_front();
            writer.shard(shards[object as usize].digest(), end).await?;
            object += 1;
            continue;
        };
        for find in piece {
            match find {
                Find::Sample(found) => {
                    end += 1;
                    write(writer, print, object, found).await?;
                }
                Find::Damage(place) => losses.add(object as usize, place, writer).await?,
            }
        }
    }
    // Each has sent all it had; one may have failed after its last sample.
    while scans.try_next().await?.is_some() {}
    Ok(())
}

async fn write(writer: &mut IndexWriter, print: &mut Fingerprint, object: u32, found: Found) -> Result<()> {
    let Found { range, check, extra } = found;
    print.add(&object.to_le_bytes());
    print.add(&range.start.to_le_bytes());
    print.add(&range.end.to_le_bytes());
    writer.sample(Row { object, offset: range.start, len: Some(range.end - range.start) }).await?;
    // A format has these for every sample or for none.
    if let Some(check) = check {
        let check = check.to_bytes();
        print.add(&check);
        writer.add(Column::Checks, &check).await?;
    }
    if !extra.is_empty() {
        writer.add(Column::Extras, &extra).await?;
    }
    Ok(())
}

/// Hands on what an older index has of a shard.
async fn copy(index: &Index, place: Place, mut finds: Finds) -> Result<()> {
    let (checks, extras) = (index.rows(Column::Checks), index.rows(Column::Extras));
    for row in place.samples {
        let sample = index.sample(row).map_err(unreadable)?;
        let len = sample.len.ok_or_else(|| unreadable(format!("sample {row} has no length")))?;
        let bytes = |column, rows| if rows > 0 { index.bytes(column, row) } else { Ok(Vec::new()) };
        let check = match checks {
            0 => None,
            _ => {
                let check = Check::from_bytes(&bytes(Column::Checks, checks).map_err(unreadable)?);
                Some(check.ok_or_else(|| unreadable(format!("what sample {row} is checked against")))?)
            }
        };
        let extra = bytes(Column::Extras, extras).map_err(unreadable)?;
        finds.push(Found { range: sample.offset..sample.offset + len, check, extra }).await?;
    }
    finds.flush().await
}

fn unreadable(why: String) -> Error {
    let context = format!("the index that was there cannot be read: {why}; remove it");
    Error::new(Kind::Corrupt, Operation::Get, context).with_retry(Retry::Never)
}

async fn scan(
    store: &dyn Store,
    shard: &Shard,
    format: &Format,
    pool: &Pool,
    mut finds: Finds,
) -> Result<()> {
    let mut bytes = ShardBytes::new(store, shard, pool);
    let scanned = match format {
        Format::WebDataset { member } => webdataset::scan(&mut bytes, member.as_deref(), &mut finds).await,
        Format::TfRecord => tfrecord::scan(&mut bytes, &mut finds).await,
        Format::Parquet => row_groups::scan(&mut bytes, &mut finds).await,
        Format::Jsonl => jsonl::scan(&mut bytes, &mut finds).await,
        Format::Raw | Format::Records { .. } | Format::Npy | Format::Npz { .. } => Ok(()),
    };
    // What was found before it is kept; behind it the way is lost.
    if let Err(error) = scanned {
        finds.lost(&mut bytes, error).await?;
    }
    finds.flush().await
}
