//! From entries to an index, or to shards.

use super::entry::Entry;
use super::{Entries, ManifestKind};
use crate::fingerprint::Fingerprint;
use crate::format::shard_bytes::{LONGEST, ShardBytes};
use crate::index::{About, Column, IndexWriter, Row, Sink};
use crate::shard::Shard;
use forebay_io::{Budget, Error, Kind, Location, Operation, Pool, Result, Retry, Store};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

/// What the keys of an index are beneath: one for each scheme and host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Roots {
    pub(crate) roots: Vec<String>,
}

/// Where the entries come from.
pub(crate) enum Listed<'a> {
    /// A file.
    Manifest { kind: ManifestKind, file: &'a Shard },
    /// The caller's own list.
    Uris(&'a [Location]),
}

/// The most roots: a manifest over more buckets than this is a mistake.
const MOST_ROOTS: usize = 1 << 16;

/// How many shards are asked for their size at the same time.
const STATS_AT_ONCE: usize = 32;

/// The entries, piece by piece.
enum Pieces<'a> {
    File(Box<Entries<'a>>),
    Uris(std::slice::Chunks<'a, Location>),
}

/// Locations of a piece.
const PIECE: usize = 4096;

impl<'a> Pieces<'a> {
    fn of(store: &'a dyn Store, listed: Listed<'a>, pool: &'a Pool) -> Self {
        match listed {
            Listed::Uris(uris) => Pieces::Uris(uris.chunks(PIECE)),
            Listed::Manifest { kind, file } => {
                Pieces::File(Box::new(Entries::new(kind, ShardBytes::new(store, file, pool))))
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        match self {
            Pieces::File(entries) => entries.next().await,
            Pieces::Uris(chunks) => {
                Ok(chunks.next().map(|uris| uris.iter().cloned().map(Entry::whole).collect()))
            }
        }
    }
}

/// Writes the index of the entries into `sink`.
///
/// # Errors
/// As [`Store::get`]; `Corrupt` naming the offset of the entry and what was expected.
pub(crate) async fn build(
    store: &dyn Store,
    listed: Listed<'_>,
    source: [u8; 32],
    sink: Sink,
) -> Result<Sink> {
    let mut writer = IndexWriter::new(sink).await?;
    let mut print = Fingerprint::default();
    let mut roots: Vec<Location> = Vec::new();
    let mut last: Option<(Location, u32)> = None;
    let pool = Pool::new(Budget::new(2 * LONGEST)?);
    let mut pieces = Pieces::of(store, listed, &pool);
    while let Some(piece) = pieces.next().await? {
        for Entry { location, offset, len, check } in piece {
            let object = match &last {
                // Parts of one object are neighbours that one request may serve.
                Some((before, object)) if *before == location => *object,
                _ => {
                    let object = last.as_ref().map_or(Some(0), |(_, object)| object.checked_add(1));
                    let object = object.ok_or_else(|| {
                        Error::new(Kind::Unsupported, Operation::List, "more than 2³² objects in a manifest")
                    })?;
                    let row = row(&mut roots, &location)?;
                    print.add(&(row.len() as u64).to_le_bytes());
                    print.add(&row);
                    writer.add(Column::Objects, &row).await?;
                    last = Some((location, object));
                    object
                }
            };
            let len = len.filter(|_| offset.is_some());
            let offset = offset.unwrap_or(0);
            print.add(&object.to_le_bytes());
            print.add(&offset.to_le_bytes());
            print.add(&len.unwrap_or(u64::MAX).to_le_bytes());
            let check = check.to_bytes();
            print.add(&(check.len() as u64).to_le_bytes());
            print.add(&check);
            writer.sample(Row { object, offset, len }).await?;
            writer.add(Column::Checks, &check).await?;
        }
    }
    let roots = roots.iter().map(Location::to_string).collect();
    let meta = serde_json::to_vec(&Roots { roots }).expect("texts have a JSON form");
    writer.finish(&About { source, fingerprint: print.finish(), meta }).await
}

/// The number of the root of a location, and the key beneath it.
fn row(roots: &mut Vec<Location>, location: &Location) -> Result<Vec<u8>> {
    let beneath = |roots: &[Location]| {
        let mut found = roots.iter().enumerate().rev();
        found.find_map(|(i, root)| Some((i, location.key_beneath(root)?.to_vec())))
    };
    let (number, key) = match beneath(roots) {
        Some(found) => found,
        None if roots.len() == MOST_ROOTS => {
            let context = format!("a manifest over more than {MOST_ROOTS} buckets");
            return Err(Error::new(Kind::Unsupported, Operation::List, context).at(location));
        }
        None => {
            let root = format!("{}://{}/", location.scheme(), location.host().unwrap_or_default());
            roots.push(root.parse()?);
            beneath(roots).ok_or_else(|| Error::invalid("a location that has no root").at(location))?
        }
    };
    let mut row = (number as u16).to_le_bytes().to_vec();
    row.extend_from_slice(&key);
    Ok(row)
}

/// The shards that the entries name, with their sizes and versions as they are now.
///
/// # Errors
/// As [`build`] and [`Store::stat`]; `Unsupported` for entries that are not whole objects.
pub(crate) async fn shards(store: &dyn Store, listed: Listed<'_>) -> Result<Vec<Shard>> {
    let pool = Pool::new(Budget::new(2 * LONGEST)?);
    let mut pieces = Pieces::of(store, listed, &pool);
    let mut looks: Vec<BoxFuture<'_, _>> = Vec::new();
    while let Some(piece) = pieces.next().await? {
        for Entry { location, offset, len, check } in piece {
            if offset.is_some() || check.sum.is_some() {
                let context =
                    "an offset or a checksum of an object that is read in samples: only with format=raw";
                return Err(Error::new(Kind::Unsupported, Operation::List, context).at(&location));
            }
            looks.push(look(store, location, len).boxed());
        }
    }
    stream::iter(looks).buffered(STATS_AT_ONCE).try_collect().await
}

/// The shard at a location, which must have the length that was promised.
async fn look(store: &dyn Store, location: Location, len: Option<u64>) -> Result<Shard> {
    let shard = Shard::look(store, &location, b"").await?;
    match len {
        Some(len) if len != shard.size => {
            let context = format!("expected {len} bytes, as the manifest says, found {}", shard.size);
            let error = Error::new(Kind::Corrupt, Operation::Stat, context).at(&location);
            Err(error.with_retry(Retry::Never))
        }
        _ => Ok(shard.named_by_itself()),
    }
}
