//! Goes through the shards of a dataset, several at a time, and writes their index in one pass. Shards that an older
//! index knows as they are now are not read again: their rows are copied.

use super::found::{Finds, Found};
use super::npy::ArrayMeta;
use super::shard_bytes::{LONGEST, ShardBytes};
use super::{Format, jsonl, npy, npz, records, row_groups, tfrecord, webdataset};
use crate::checksum::Check;
use crate::fingerprint::Fingerprint;
use crate::index::known::{Known, Place};
use crate::index::{About, Column, Index, IndexWriter, Row, Sink};
use crate::shard::Shard;
use crate::strides::Stride;
use forebay_io::{Budget, Error, Kind, Operation, Pool, Result, Retry, Store};
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
/// As [`Store::get`]; `Corrupt` naming shard, offset and what was expected there.
pub(crate) async fn build(
    store: &dyn Store,
    shards: &[Shard],
    format: &Format,
    source: [u8; 32],
    old: Option<Arc<Index>>,
    sink: Sink,
) -> Result<Sink> {
    let known = Known::of(old.as_deref()).map_err(unreadable)?;
    // A window each, and room for one header of the longest there may be.
    let pool = Pool::new(Budget::new(2 * LONGEST)?);
    let mut writer = IndexWriter::new(sink).await?;
    let mut print = Fingerprint::default();
    for shard in shards {
        print.add(&(shard.key().len() as u64).to_le_bytes());
        print.add(shard.key());
        print.add(&shard.size.to_le_bytes());
    }
    let meta = match format {
        Format::Records { .. } | Format::Npy | Format::Npz { .. } => {
            strides(store, shards, format, &pool, &known, &mut writer, &mut print).await?
        }
        _ => {
            samples(store, shards, format, &pool, &known, &mut writer, &mut print).await?;
            Meta::default()
        }
    };
    let meta = serde_json::to_vec(&meta).expect("names and numbers have a JSON form");
    writer.finish(&About { source, fingerprint: print.finish(), meta }).await
}

/// Shards whose samples have equal sizes: one row each.
async fn strides(
    store: &dyn Store,
    shards: &[Shard],
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
    writer: &mut IndexWriter,
    print: &mut Fingerprint,
) -> Result<Meta> {
    let mut array: Option<ArrayMeta> = None;
    let each: Vec<BoxFuture<'_, _>> =
        shards.iter().map(|shard| stride(store, shard, format, pool, known).boxed()).collect();
    let mut found = stream::iter(each).buffered(AT_ONCE).enumerate();
    while let Some((number, result)) = found.next().await {
        let (Stride { offset, bytes, count }, meta) = result?;
        let row = [offset, bytes, count].map(u64::to_le_bytes).concat();
        print.add(&row);
        writer.add(Column::Strides, &row).await?;
        writer.shard(shards[number].digest(), 0).await?;
        match (&array, meta) {
            (Some(first), Some(meta)) if *first != meta => {
                let context = format!(
                    "rows of type {} and shape {:?}, where those of {} are of type {} and shape {:?}: the \
                     samples of a dataset must be alike",
                    meta.dtype, meta.shape, shards[0].location, first.dtype, first.shape
                );
                return Err(Error::new(Kind::Corrupt, Operation::Get, context)
                    .at(&shards[number].location)
                    .with_retry(Retry::Never));
            }
            (None, meta) => array = meta,
            _ => {}
        }
    }
    Ok(Meta { array })
}

/// Where the samples of one shard are, and what they are if they are rows of an array.
async fn stride(
    store: &dyn Store,
    shard: &Shard,
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
) -> Result<(Stride, Option<ArrayMeta>)> {
    if let Some((index, place)) = known.find(&shard.digest()) {
        let [offset, bytes, count] = index.stride(place.number).map_err(unreadable)?;
        let meta: Meta =
            serde_json::from_slice(&index.about().meta).map_err(|error| unreadable(error.to_string()))?;
        return Ok((Stride { offset, bytes, count }, meta.array));
    }
    let mut bytes = ShardBytes::new(store, shard, pool);
    let (stride, meta) = match format {
        Format::Records { record_bytes, header_bytes } => {
            return Ok((records::stride(shard, *record_bytes, *header_bytes)?, None));
        }
        Format::Npz { member } => npz::rows(&mut bytes, member.as_deref()).await?,
        _ => {
            let end = bytes.size();
            npy::rows(&mut bytes, 0, end).await?
        }
    };
    Ok((stride, Some(meta)))
}

/// Shards whose samples are found one by one.
async fn samples(
    store: &dyn Store,
    shards: &[Shard],
    format: &Format,
    pool: &Pool,
    known: &Known<'_>,
    writer: &mut IndexWriter,
    print: &mut Fingerprint,
) -> Result<()> {
    let mut left = shards.iter();
    let mut scans: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
    let mut line = VecDeque::new();
    let (mut object, mut end) = (0u32, 0u64);
    loop {
        while line.len() < AT_ONCE
            && let Some(shard) = left.next()
        {
            let (sender, receiver) = mpsc::channel(WAITING);
            let finds = Finds::new(sender);
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
        for found in piece {
            end += 1;
            write(writer, print, object, found).await?;
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
        writer.add(Column::Checks, &check.to_bytes()).await?;
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
    match format {
        Format::WebDataset { member } => webdataset::scan(&mut bytes, member.as_deref(), &mut finds).await?,
        Format::TfRecord => tfrecord::scan(&mut bytes, &mut finds).await?,
        Format::Parquet => row_groups::scan(&mut bytes, &mut finds).await?,
        Format::Jsonl => jsonl::scan(&mut bytes, &mut finds).await?,
        Format::Raw | Format::Records { .. } | Format::Npy | Format::Npz { .. } => {}
    }
    finds.flush().await
}
