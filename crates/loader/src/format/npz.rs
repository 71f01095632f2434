//! NPZ: a ZIP archive of arrays. Samples are the rows of one of them.
//!
//! Only members that are stored, as `np.savez` writes them: no row of a compressed one
//! (`np.savez_compressed`) can be read alone.

use super::npy::{self, ArrayMeta};
use super::shard_bytes::ShardBytes;
use super::sparse::Sparse;
use crate::strides::Stride;
use forebay_io::{Error, Result};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// A member of an archive.
struct Member {
    name: String,
    begin: u64,
    end: u64,
    stored: bool,
}

/// Where the rows of the array `member` are; of the only one, if none is named.
///
/// # Errors
/// As [`npy::rows`]; `InvalidConfig` naming the arrays there are if it is not one of them.
pub(crate) async fn rows(shard: &mut ShardBytes<'_>, member: Option<&str>) -> Result<(Stride, ArrayMeta)> {
    let members = members(shard).await?;
    let names = || members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match member {
        Some(name) => members.iter().find(|found| found.name == name),
        None => members.first().filter(|_| members.len() == 1),
    };
    let Some(found) = found else {
        let asked = member.map_or("none was named".to_owned(), |name| format!("{name:?} is none of them"));
        let context = format!("member must name one of its arrays ({}); {asked}", names());
        return Err(Error::invalid(context).at(shard.location()));
    };
    if !found.stored {
        let context = format!(
            "its array {:?} is compressed, so no row of it can be read alone; write it with np.savez",
            found.name
        );
        return Err(shard.unsupported(context));
    }
    npy::rows(shard, found.begin, found.end).await
}

async fn members(shard: &mut ShardBytes<'_>) -> Result<Vec<Member>> {
    let mut sparse = Sparse::new(shard.size());
    loop {
        let read = read(&mut sparse);
        if let Some(wanted) = sparse.wanted() {
            sparse.fill(shard, wanted).await?;
            continue;
        }
        return read.map_err(|error| {
            shard.corrupt(0, format!("expected a ZIP archive of arrays (NPZ), found {error}"))
        });
    }
}

fn read(sparse: &mut Sparse) -> Result<Vec<Member>, ZipError> {
    let mut archive = ZipArchive::new(sparse)?;
    let mut members = Vec::new();
    for number in 0..archive.len() {
        let file = archive.by_index_raw(number)?;
        let Some(name) = file.name()?.strip_suffix(".npy").map(str::to_owned) else { continue };
        let stored = file.compression() == CompressionMethod::Stored && !file.encrypted();
        let Some(begin) = file.data_start() else { continue };
        let end = begin.saturating_add(file.compressed_size());
        members.push(Member { name, begin, end, stored });
    }
    Ok(members)
}
