//! Parquet: a sample is a row group, the span of the file that holds all its column chunks.
//!
//! Reading it needs what the footer of its file says. So each sample keeps a footer of its own in the index,
//! in which it is the only row group of a file: [`file`] puts magic, bytes and footer together, and any
//! reader of Parquet can open that.

use super::found::{Finds, Found};
use super::shard_bytes::ShardBytes;
use forebay_io::Result;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use std::ops::Range;

const MAGIC: &[u8; 4] = b"PAR1";

/// Bytes at the end: the footer's length and the magic.
const TAIL: u64 = 8;

/// Finds every row group that has rows: what writers put into a file of none is no sample.
pub(crate) async fn scan(shard: &mut ShardBytes<'_>, finds: &mut Finds) -> Result<()> {
    let (metadata, body) = metadata(shard).await?;
    let groups = metadata.row_groups().iter().enumerate();
    for (number, group) in groups.filter(|(_, group)| group.num_rows() > 0) {
        let range = span(group, &body)
            .map_err(|why| shard.corrupt(body.end, format!("row group {number}: {why}")))?;
        let extra = footer(&metadata, group, range.start)
            .map_err(|error| shard.corrupt(body.end, format!("row group {number}: {error}")))?;
        finds.push(Found { range, extra, ..Found::default() }).await?;
    }
    Ok(())
}

/// What the footer says, and where what it speaks of may lie.
pub(crate) async fn metadata(shard: &mut ShardBytes<'_>) -> Result<(ParquetMetaData, Range<u64>)> {
    let begin = MAGIC.len() as u64;
    let tail_at = shard.size().saturating_sub(TAIL).max(begin);
    let tail = shard.bytes(tail_at, TAIL, "the end of a Parquet file").await?;
    let len = u64::from(u32::from_le_bytes(tail[..4].try_into().expect("4 bytes")));
    match &tail[4..] {
        b"PAR1" => {}
        b"PARE" => return Err(shard.unsupported("its footer is encrypted, which cannot be read")),
        other => {
            let found = String::from_utf8_lossy(other).into_owned();
            return Err(shard.corrupt(tail_at + 4, format!("expected PAR1, found {found:?}")));
        }
    }
    let at = tail_at.checked_sub(len).filter(|&at| at >= begin);
    let at = at.ok_or_else(|| {
        shard.corrupt(tail_at, format!("expected a footer inside the file, found one of {len} bytes"))
    })?;
    let footer = ParquetMetaDataReader::decode_metadata(shard.bytes(at, len, "the footer").await?);
    let footer = footer.map_err(|error| shard.corrupt(at, format!("expected the footer: {error}")))?;
    Ok((footer, begin..at))
}

/// Where all column chunks of a row group are.
pub(crate) fn span(group: &RowGroupMetaData, body: &Range<u64>) -> Result<Range<u64>, String> {
    let mut span: Option<Range<u64>> = None;
    for column in group.columns() {
        if column.file_path().is_some() {
            return Err("a column in another file, which cannot be read".to_owned());
        }
        // The crate's own way to ask panics where these make no sense.
        let pages = [column.dictionary_page_offset(), Some(column.data_page_offset())];
        let first = pages.into_iter().flatten().filter(|&at| is_there(at)).min();
        if first.is_none() && column.compressed_size() == 0 {
            continue;
        }
        let first = first.and_then(|first| u64::try_from(first).ok());
        let range = first.zip(u64::try_from(column.compressed_size()).ok());
        let range = range.and_then(|(first, len)| Some(first..first.checked_add(len)?));
        let range = range.filter(|range| range.start >= body.start && range.end <= body.end);
        let range = range.ok_or("expected its columns between the beginning and the footer of the file")?;
        span = Some(match span {
            None => range,
            Some(all) => all.start.min(range.start)..all.end.max(range.end),
        });
    }
    span.ok_or_else(|| "expected a column".to_owned())
}

/// Whether a page is at this offset: 0 is where the magic is, and how writers say that there is none.
fn is_there(at: i64) -> bool {
    at > 0
}

/// A footer for a file in which the row group alone follows the magic.
pub(crate) fn footer(
    metadata: &ParquetMetaData,
    group: &RowGroupMetaData,
    begin: u64,
) -> Result<Vec<u8>, ParquetError> {
    let shift = begin as i64 - MAGIC.len() as i64;
    let shifted = |at: i64| if is_there(at) { at - shift } else { at };
    let columns = group.columns().iter().map(|column| {
        let moved = column
            .clone()
            .into_builder()
            .set_data_page_offset(shifted(column.data_page_offset()))
            .set_dictionary_page_offset(column.dictionary_page_offset().map(shifted))
            .set_index_page_offset(column.index_page_offset().map(shifted))
            // These lie elsewhere in the file and are not needed to read all of a row group.
            .set_bloom_filter_offset(None)
            .set_bloom_filter_length(None)
            .set_offset_index_offset(None)
            .set_offset_index_length(None)
            .set_column_index_offset(None)
            .set_column_index_length(None);
        moved.build()
    });
    let columns = columns.collect::<Result<_, _>>()?;
    let group = group.clone().into_builder().set_column_metadata(columns).set_ordinal(0);
    let group = group.set_file_offset(MAGIC.len() as i64).build()?;
    let file = metadata.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        group.num_rows(),
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let mut out = Vec::new();
    ParquetMetaDataWriter::new(&mut out, &ParquetMetaData::new(file, vec![group])).finish()?;
    Ok(out)
}

/// A whole Parquet file of one row group, from its bytes and its footer.
pub(crate) fn file(sample: &[u8], footer: &[u8]) -> Vec<u8> {
    [MAGIC, sample, footer].concat()
}
