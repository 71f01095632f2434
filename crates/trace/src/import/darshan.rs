//! The text of `darshan-dxt-parser`: a comment block names the file, lines of eight columns tell the segments.

use super::{Wrong, column_of, number, seconds, wrong};
use crate::error::Result;
use crate::reader::Lines;
use crate::{Action, Record};

pub(super) fn open(lines: Lines) -> impl Iterator<Item = Result<Record>> + Send {
    let mut file = None;
    super::records(lines, move |line| read(line, &mut file))
}

fn read(line: &str, file: &mut Option<String>) -> Result<Option<Record>, Wrong> {
    let text = line.trim();
    if let Some(comment) = text.strip_prefix('#') {
        if let Some((_, name)) = comment.split_once("file_name:") {
            *file = Some(super::file_uri(name.trim(), None)?);
        }
        return Ok(None);
    }
    // Newer versions add columns (the thread, extra info) behind the end.
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [module, rank, action, _segment, offset, length, start, end, ..] = words[..] else {
        if words.is_empty() {
            return Ok(None);
        }
        return Err(wrong(1, format!("{} columns where a segment has 8", words.len())));
    };
    let op = match action {
        "read" => Action::Read,
        "write" => Action::Put,
        _ => return Err(wrong(column_of(line, action), format!("{action:?} is neither read nor write"))),
    };
    match module {
        "X_POSIX" => {}
        "X_MPIIO" => return Ok(None),
        _ => {
            return Err(wrong(
                column_of(line, module),
                format!("module {module:?} is not X_POSIX or X_MPIIO"),
            ));
        }
    }
    let uri = file.clone().ok_or_else(|| wrong(1, "a segment stands before any file_name"))?;
    let mut record = Record::asked(op, uri, seconds(line, start, "the start")?);
    let length: u64 = number(line, length, "the length")?;
    record.stream = Some(number(line, rank, "the rank")?);
    (record.offset, record.len, record.bytes) =
        (Some(number(line, offset, "the offset")?), Some(length), Some(length));
    let end = seconds(line, end, "the end")?;
    if end < record.t_submit {
        return Err(wrong(1, "the segment ends before it starts"));
    }
    record.t_done = Some(end);
    Ok(Some(record))
}
