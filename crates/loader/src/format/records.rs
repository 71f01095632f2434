//! Fixed-length records: a header, then samples of equal size to the end of the object.

use crate::shard::Shard;
use crate::strides::Stride;
use forebay_io::{Error, Kind, Operation, Result, Retry};

/// Where the records of a shard are: its size says it all.
///
/// # Errors
/// `Corrupt` if it ends in the middle of its header or of a record.
pub(crate) fn stride(shard: &Shard, record_bytes: u64, header_bytes: u64) -> Result<Stride> {
    let wrong = |context: String| {
        Err(Error::new(Kind::Corrupt, Operation::List, context).at(&shard.location).with_retry(Retry::Never))
    };
    let Some(body) = shard.size.checked_sub(header_bytes) else {
        return wrong(format!("{} bytes are less than header_bytes={header_bytes}", shard.size));
    };
    let rest = body % record_bytes;
    if rest != 0 {
        return wrong(format!(
            "at offset {}: {rest} bytes are left where a record of record_bytes={record_bytes} was \
             expected ({} bytes in all, header_bytes={header_bytes})",
            shard.size - rest,
            shard.size
        ));
    }
    Ok(Stride { offset: header_bytes, bytes: record_bytes, count: body / record_bytes })
}
