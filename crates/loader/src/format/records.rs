//! Fixed-length records: a header, then samples of equal size to the end of the object.

use crate::damage::Place;
use crate::shard::Shard;
use crate::strides::Stride;

/// Where the records of a shard are: its size says it all. And the damage if it ends in the middle of its header or of
/// a record: those before are whole.
pub(crate) fn stride(shard: &Shard, record_bytes: u64, header_bytes: u64) -> (Stride, Option<Place>) {
    let whole = |body: u64| Stride { offset: header_bytes, bytes: record_bytes, count: body / record_bytes };
    let Some(body) = shard.size.checked_sub(header_bytes) else {
        let reason = format!("{} bytes are less than header_bytes={header_bytes}", shard.size);
        return (whole(0), Some(Place { offset: shard.size, reason }));
    };
    let rest = body % record_bytes;
    if rest != 0 {
        let reason = format!(
            "{rest} bytes are left where a record of record_bytes={record_bytes} was expected ({} bytes in all, \
             header_bytes={header_bytes})",
            shard.size
        );
        return (whole(body), Some(Place { offset: shard.size - rest, reason }));
    }
    (whole(body), None)
}
