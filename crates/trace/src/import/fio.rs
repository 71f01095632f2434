//! `fio`'s I/O log. Version 2 has `FILE ACTION [OFFSET LENGTH]` and `wait` lines; version 3 begins each line with
//! microseconds since the job began.

use super::{ImportOptions, Wrong, column_of, file_uri, number, wrong};
use crate::error::Result;
use crate::reader::Lines;
use crate::{Action, Record};

pub(super) fn open(
    mut lines: Lines,
    options: &ImportOptions,
) -> Result<impl Iterator<Item = Result<Record>> + Send + use<>> {
    let first = lines.next_line()?.map(|line| String::from_utf8_lossy(line).into_owned());
    let timed = match first.as_deref().map(str::trim) {
        Some("fio version 2 iolog") => false,
        Some("fio version 3 iolog") => true,
        other => {
            let what = format!(
                "the first line is {:?}, not \"fio version 2 iolog\" or \"fio version 3 iolog\"",
                other.unwrap_or_default()
            );
            return Err(lines.wrong(1, what));
        }
    };
    let base = options.base.clone();
    let mut clock = 0u64;
    Ok(super::records(lines, move |line| read(line, timed, base.as_deref(), &mut clock)))
}

fn read(
    line: &str,
    timed: bool,
    base: Option<&std::path::Path>,
    clock: &mut u64,
) -> Result<Option<Record>, Wrong> {
    let mut words: Vec<_> = line.split_ascii_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    if timed {
        let micros: u64 = number(line, words.remove(0), "the time")?;
        *clock = micros.checked_mul(1000).ok_or_else(|| wrong(1, "the time does not fit"))?;
    }
    let (file, action) = match words[..] {
        [file, action, ..] => (file, action),
        _ => return Err(wrong(1, "a file and an action are needed")),
    };
    let op = match action {
        "read" => Action::Read,
        "write" => Action::Put,
        "open" => Action::Open,
        "wait" => {
            let micros: u64 = number(line, words.get(2).copied().unwrap_or_default(), "the wait")?;
            // Version 3 does not write them; its times say it all.
            if !timed {
                *clock = micros
                    .checked_mul(1000)
                    .and_then(|ns| clock.checked_add(ns))
                    .ok_or_else(|| wrong(1, "the wait does not fit"))?;
            }
            return Ok(None);
        }
        "add" | "close" | "sync" | "datasync" | "trim" => return Ok(None),
        _ => {
            let known = "read, write, open, close, add, wait, sync, datasync, trim";
            return Err(wrong(column_of(line, action), format!("action {action:?} is not one of {known}")));
        }
    };
    let mut record = Record::asked(op, file_uri(file, base)?, *clock);
    if matches!(op, Action::Read | Action::Put) {
        let [_, _, offset, len] = words[..] else {
            return Err(wrong(1, format!("{action} needs an offset and a length")));
        };
        record.offset = Some(number(line, offset, "the offset")?);
        record.len = Some(number(line, len, "the length")?);
    }
    Ok(Some(record))
}
