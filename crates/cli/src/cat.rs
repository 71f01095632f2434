//! `forebay cat`: the bytes of an object, or a range of them, on standard output.

use crate::chunks::{self, chunks};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::metrics_out;
use crate::named_files::NamedFiles;
use forebay_io::{Access, Error, Kind, Operation, ReadOptions};
use futures::TryStreamExt;
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;

/// Writes an object's bytes to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json: standard output stays the object's bytes; at the end one line on standard error, \
{\"type\": \"summary\", \"location\", \"size\", \"range\": [A, B], \"bytes\"}.")]
pub(crate) struct Args {
    /// A path or a URI
    uri: OsString,
    /// Only bytes from A up to, not including, B: `0..4KiB`, `1MiB..` (to the end), `..100`
    #[arg(long, value_name = "A..B", value_parser = Span::parse)]
    range: Option<Span>,
    #[command(flatten)]
    metrics: metrics_out::Flags,
}

impl Args {
    /// How the run is measured.
    pub(crate) fn metrics(&self) -> &metrics_out::Flags {
        &self.metrics
    }

    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.uri);
    }
}

/// A range as it is typed, open ends and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u64,
    end: Option<u64>,
}

impl Span {
    fn parse(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once("..").ok_or_else(|| {
            format!("{text:?} is not a range; write A..B, A.. or ..B with sizes such as 100 or 4KiB")
        })?;
        let size = |text: &str| forebay_io::parse_size(text).map_err(|e| e.to_string());
        let start = if start.is_empty() { 0 } else { size(start)? };
        let end = if end.is_empty() { None } else { Some(size(end)?) };
        match end {
            Some(end) if end < start => Err(format!("range {text:?} ends before it begins")),
            _ => Ok(Span { start, end }),
        }
    }

    /// The range within an object of this size.
    fn within(self, size: u64) -> Result<Range<u64>, String> {
        let range = self.start..self.end.unwrap_or(size);
        match range.start <= range.end && range.end <= size {
            true => Ok(range),
            false => Err(format!(
                "range {}..{} is not inside the {size} bytes there are",
                self.start,
                self.end.map_or(String::new(), |end| end.to_string())
            )),
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let location = context.locate(&args.uri)?;
    let store = context.store(&location)?;
    let options = ReadOptions { access: Access::Sequential, stage: "cat", ..ReadOptions::default() };
    let object = store.open(&location, options).await?;
    let size = object.meta().size;
    let range = match args.range {
        Some(span) => span
            .within(size)
            .map_err(|why| Error::new(Kind::InvalidRange, Operation::Read, why).at(&location))?,
        None => 0..size,
    };
    let pool = chunks::pool(1)?;
    let mut chunks = pin!(chunks(object, range.clone(), &pool));
    // Straight to the descriptor: the standard handle would look for newlines in every chunk.
    let out = Arc::new(File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Failure::output)?));
    while let Some(chunk) = chunks.try_next().await.map_err(|e| e.at(&location))? {
        let (bytes, out) = (chunk.len() as u64, out.clone());
        // On a thread of its own: whoever reads our output may stop reading for as long as it likes.
        tokio::task::spawn_blocking(move || (&*out).write_all(&chunk))
            .await
            .map_err(|lost| Failure::output(io::Error::other(lost)))?
            .map_err(Failure::output)?;
        context.tally.add_bytes(bytes);
    }
    context.tally.add_thing();
    if context.console.json() {
        context.console.err_record(&json!({
            "type": "summary",
            "location": location.to_string(),
            "size": size,
            "range": [range.start, range.end],
            "bytes": context.tally.bytes(),
        }));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_people_write_them() {
        for (text, size, range) in [
            ("0..4KiB", 5000, 0..4096),
            ("10..", 100, 10..100),
            ("..7", 100, 0..7),
            ("..", 100, 0..100),
            ("5..5", 100, 5..5),
        ] {
            assert_eq!(Span::parse(text).unwrap().within(size).unwrap(), range, "{text}");
        }
    }

    #[test]
    fn other_ranges_are_refused() {
        for (text, why) in
            [("5", "A..B"), ("9..3", "before it begins"), ("-1..3", "not a size"), ("a..b", "not a size")]
        {
            assert!(Span::parse(text).unwrap_err().contains(why), "{text}");
        }
        assert!(Span::parse("0..101").unwrap().within(100).unwrap_err().contains("100 bytes"));
        assert!(Span::parse("101..").unwrap().within(100).unwrap_err().contains("101.."));
    }
}
