//! The operation log of s3dlio and of MinIO warp: tab-separated columns under a line of names, times of
//! day with nanoseconds (RFC 3339), lines that begin with `#` for people.

use super::{Import, ImportOptions, Wrong, column_of, number, wrong};
use crate::error::Result;
use crate::reader::Lines;
use crate::{Action, Header, Record, Status};
use forebay_io::Location;
use std::collections::HashMap;

const NEEDED: [&str; 4] = ["op", "bytes", "file", "start"];

/// Whether a line is the line of names.
pub(super) fn is_title(line: &str) -> bool {
    let names: Vec<_> = line.split('\t').map(str::trim).collect();
    NEEDED.iter().all(|needed| names.contains(needed))
}

struct Columns {
    op: usize,
    bytes: usize,
    file: usize,
    start: usize,
    thread: Option<usize>,
    endpoint: Option<usize>,
    error: Option<usize>,
    first_byte: Option<usize>,
    end: Option<usize>,
    count: usize,
}

pub(super) fn open(mut lines: Lines, options: &ImportOptions, mut header: Header) -> Result<Import> {
    let columns = loop {
        let Some(line) = lines.next_line()? else {
            return Err(lines.wrong(1, "the file ends without a line of column names"));
        };
        if !line.is_empty() && !line.starts_with(b"#") {
            break columns(&lines)?;
        }
    };
    let mut streams = Streams::default();
    let mut origin = None;
    let bucket = options.bucket.clone();
    let mut records = super::records(lines, move |line| {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        read(line, &columns, bucket.as_deref(), &mut streams, &mut origin).map(Some)
    })
    .peekable();
    // The origin is the first record's start; its realtime stands in t_intended until it is taken out.
    if let Some(Ok(first)) = records.peek_mut() {
        header.clock.realtime_ns = first.t_intended.take().unwrap_or(0);
    }
    Ok(Import::other(header, records))
}

fn columns(lines: &Lines) -> Result<Columns> {
    let text = lines.text()?;
    let names: Vec<_> = text.split('\t').map(str::trim).collect();
    let find = |name: &str| names.iter().position(|have| *have == name);
    let need = |name: &str| {
        find(name).ok_or_else(|| {
            lines.wrong(1, format!("there is no column {name:?}; needed: {}", NEEDED.join(", ")))
        })
    };
    Ok(Columns {
        op: need("op")?,
        bytes: need("bytes")?,
        file: need("file")?,
        start: need("start")?,
        thread: find("thread"),
        endpoint: find("endpoint"),
        error: find("error"),
        first_byte: find("first_byte"),
        end: find("end"),
        count: names.len(),
    })
}

/// Threads by small numbers: their own are of 64 bits and mean nothing.
#[derive(Default)]
struct Streams(HashMap<String, u64>);

impl Streams {
    fn number(&mut self, thread: &str) -> u64 {
        if let Some(number) = self.0.get(thread) {
            return *number;
        }
        let number = self.0.len() as u64;
        self.0.insert(thread.to_owned(), number);
        number
    }
}

fn read(
    line: &str,
    columns: &Columns,
    bucket: Option<&str>,
    streams: &mut Streams,
    origin: &mut Option<u64>,
) -> Result<Record, Wrong> {
    let words: Vec<_> = line.split('\t').map(str::trim).collect();
    if words.len() != columns.count {
        return Err(wrong(
            1,
            format!("{} columns where the line of names has {}", words.len(), columns.count),
        ));
    }
    let at = |column: Option<usize>| column.map(|i| words[i]).filter(|word| !word.is_empty());
    let op = match words[columns.op].to_ascii_uppercase().as_str() {
        "GET" => Action::Get,
        "PUT" | "POST" => Action::Put,
        "STAT" | "HEAD" => Action::Stat,
        "LIST" => Action::List,
        "DELETE" | "DEL" => Action::Delete,
        _ => {
            let what = format!("op {:?} is not GET, PUT, STAT, HEAD, LIST or DELETE", words[columns.op]);
            return Err(wrong(column_of(line, words[columns.op]), what));
        }
    };
    let start = instant(line, words[columns.start], "start")?;
    let first_record = origin.is_none();
    let origin = *origin.get_or_insert(start);
    // Logs are sorted by end at best: what began before the first line counts from it all the same.
    let since = |ns: u64| ns.saturating_sub(origin);
    let uri = uri(line, words[columns.file], at(columns.endpoint), bucket)?;
    uri.parse::<Location>().map_err(|e| wrong(column_of(line, words[columns.file]), e.to_string()))?;
    let mut record = Record::asked(op, uri, since(start));
    record.bytes = Some(number(line, words[columns.bytes], "bytes")?);
    record.t_first =
        at(columns.first_byte).map(|word| instant(line, word, "first_byte")).transpose()?.map(since);
    record.t_done = at(columns.end).map(|word| instant(line, word, "end")).transpose()?.map(since);
    record.stream = at(columns.thread).map(|thread| streams.number(thread));
    if at(columns.error).is_some() {
        (record.status, record.bytes) = (Status::Error, None);
    }
    if let Some(done) = record.t_done
        && done < record.t_submit
    {
        return Err(wrong(1, "it ends before it starts"));
    }
    record.t_intended = first_record.then_some(origin);
    Ok(record)
}

fn instant(line: &str, word: &str, what: &str) -> Result<u64, Wrong> {
    let bad = || {
        wrong(column_of(line, word), format!("{what} is {word:?}, not a time as 2025-10-01T12:34:56.789Z"))
    };
    let time: jiff::Timestamp = word.parse().map_err(|_| bad())?;
    u64::try_from(time.as_nanosecond()).map_err(|_| bad())
}

/// s3dlio's endpoint is a scheme (`s3://`) and its file all the rest; warp's is an HTTP address and its file
/// a key.
fn uri(line: &str, file: &str, endpoint: Option<&str>, bucket: Option<&str>) -> Result<String, Wrong> {
    if file.contains("://") {
        return Ok(file.to_owned());
    }
    match endpoint {
        Some(scheme) if scheme.ends_with("://") && !scheme.starts_with("http") => match scheme {
            "file://" | "direct://" => Ok(format!("{scheme}/{}", file.trim_start_matches('/'))),
            _ => Ok(format!("{scheme}{file}")),
        },
        _ => match bucket {
            Some(bucket) => Ok(format!("s3://{bucket}/{file}")),
            None => Err(wrong(
                column_of(line, file),
                "the log names a key and no bucket; say which bucket it is in",
            )),
        },
    }
}
