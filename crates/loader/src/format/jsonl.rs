//! JSON lines: a sample is a line, without its end (`\n` or `\r\n`). Empty lines are no samples.
//!
//! Only ends of lines are looked for while a shard is indexed; whether a line is JSON is checked when it is
//! read, if that is asked for. Compressed files are refused: no line of them can be read alone.

use super::found::{Finds, Found};
use super::shard_bytes::ShardBytes;
use forebay_io::Result;
use serde::de::IgnoredAny;

/// Finds every line.
pub(crate) async fn scan(shard: &mut ShardBytes<'_>, finds: &mut Finds) -> Result<()> {
    shard.refuse_compressed("line").await?;
    let mut at = 0;
    while at < shard.size() {
        let line_end = shard.find(b'\n', at).await?;
        let mut end = line_end.unwrap_or(shard.size());
        let next = line_end.map_or(end, |end| end + 1);
        if end > at && shard.bytes(end - 1, 1, "a line").await? == b"\r" {
            end -= 1;
        }
        if end > at {
            finds.push(Found { range: at..end, ..Found::default() }).await?;
        }
        at = next;
    }
    Ok(())
}

/// Whether a line is one value of JSON; else where and why not.
pub(crate) fn verify(line: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<IgnoredAny>(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("expected a line of JSON, found {error}")),
    }
}
