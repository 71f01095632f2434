//! `forebay verify`: a data set against its manifest, every byte of it.

use crate::chunks::{CHUNK, chunks};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::manifest::{self, Manifest, Promise};
use crate::metrics_out;
use crate::named_files::NamedFiles;
use crate::problems::{Problem, Report, compare};
use crate::tasks;
use forebay_io::{
    Budget, GetRequest, Kind, ListOptions, Location, Pool, ReadOptions, SLOT_ALIGN, Store, parse_size,
};
use forebay_metrics::units;
use futures::{TryStreamExt, stream};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::ffi::OsString;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// Files read with one submission: enough that its cost vanishes, few enough that all threads get some.
const BATCH: usize = 32;

/// Reads a data set back and compares it with its manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 4 if a file is missing, or is there but not in the manifest, or has another size or other bytes, or \
cannot be read.

With --json: one line a problem, {\"type\": \"missing\" | \"extra\" | \"wrong_size\" | \"wrong_checksum\" | \
\"unreadable\", \"key\", \"location\", …}, then {\"type\": \"summary\", \"root\", \"manifest\", \"files\", \"bytes\", \
\"missing\", \"extra\", \"wrong_size\", \"wrong_checksum\", \"unreadable\", \"elapsed_s\"}.")]
pub(crate) struct Args {
    /// Path or URI of the data set
    dir: OsString,
    /// Path or URI of the manifest [default: DIR.manifest.jsonl beside DIR]
    #[arg(long, value_name = "URI")]
    manifest: Option<OsString>,
    /// Hard cap on the bytes that are being read or checked
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = cap)]
    max_bytes_in_flight: Budget,
    /// Batches of files at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
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
        named.reads_with_manifest(&self.dir, self.manifest.as_deref());
    }
}

fn cap(text: &str) -> Result<Budget, String> {
    parse_size(text).and_then(Budget::new).map_err(|e| e.to_string())
}

type Key = Box<[u8]>;
type Checked = Vec<(Key, Option<Problem>)>;

/// What all tasks share.
struct Verifying {
    store: Arc<dyn Store>,
    root: Location,
    pool: Pool,
    context: Context,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let begin = Instant::now();
    let root = context.locate(&args.dir)?;
    let place = match &args.manifest {
        Some(argument) => context.locate(argument)?,
        None => manifest::beside(&root)?,
    };
    let manifest = Manifest::read(&context.store(&place)?, &place).await?;
    context.tally.draw_on(context.console.bar(Some(manifest.bytes())));
    let verifying = Arc::new(Verifying {
        store: context.store(&root)?,
        root: root.clone(),
        pool: Pool::new(args.max_bytes_in_flight),
        context: context.clone(),
    });
    let mut report = Report::default();
    extras(&verifying, &manifest, &place, &mut report).await?;

    let jobs = usize::from(args.jobs);
    // A share for each task and one for what waits to be freed.
    let share = verifying.pool.budget().cap() / (jobs as u64 + 1);
    let batches = batches(manifest, share);
    let work = |batch: Vec<(Key, Promise)>| {
        let verifying = verifying.clone();
        async move { verifying.check(batch, share).await }
    };
    tasks::for_each(stream::iter(batches.map(Ok)), jobs, work, |checked: Checked| {
        checked.into_iter().try_for_each(|(key, problem)| {
            context.tally.add_thing();
            problem.map_or(Ok(()), |problem| report.add(&key, problem, &root, context))
        })
    })
    .await?;

    let (console, tally) = (&context.console, &context.tally);
    console.clear_bar();
    let elapsed = begin.elapsed();
    if console.json() {
        let mut summary: Map<String, Value> = report.to_json();
        let mut set = |name: &str, value: Value| drop(summary.insert(name.to_owned(), value));
        set("type", "summary".into());
        set("root", root.to_string().into());
        set("manifest", place.to_string().into());
        set("files", tally.things().into());
        set("bytes", tally.bytes().into());
        set("elapsed_s", elapsed.as_secs_f64().into());
        console.record(&summary)?;
        console.flush()?;
    } else {
        let took = units::duration(elapsed.as_nanos() as f64);
        console.print(format_args!("{}{tally} in {took}: {}\n", report.list(), report.verdict()))?;
    }
    Ok(report.exit())
}

/// Files that the manifest does not know.
async fn extras(
    verifying: &Verifying,
    manifest: &Manifest,
    place: &Location,
    report: &mut Report,
) -> Result<()> {
    let mut pages = verifying.store.list(&verifying.root, ListOptions::recursive());
    while let Some(page) = pages.try_next().await? {
        for entry in page.iter().filter(|entry| !manifest.files.contains_key(entry.key)) {
            if entry.location() != *place {
                report.add(entry.key, Problem::Extra, &verifying.root, &verifying.context)?;
            }
        }
    }
    Ok(())
}

/// The files of the manifest in groups that fit into `share` bytes; a file that does not is alone.
/// In the order of their keys, because that is how most stores keep them.
fn batches(manifest: Manifest, share: u64) -> impl Iterator<Item = Vec<(Key, Promise)>> {
    let mut files: Vec<_> = manifest.files.into_iter().collect();
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut files = files.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![files.next()?];
        let mut bytes = room(batch[0].1.size);
        while batch.len() < BATCH
            && let Some(next) = files.next_if(|next| bytes.saturating_add(room(next.1.size)) <= share)
        {
            bytes += room(next.1.size);
            batch.push(next);
        }
        Some(batch)
    })
}

/// What a file takes in a batch.
fn room(size: u64) -> u64 {
    size.checked_next_multiple_of(SLOT_ALIGN as u64).unwrap_or(u64::MAX)
}

impl Verifying {
    async fn check(&self, batch: Vec<(Key, Promise)>, share: u64) -> Checked {
        let mut batch = batch;
        if let [(key, promise)] = &*batch
            && room(promise.size) > share.min(4 * CHUNK)
        {
            let problem = self.stream(key, promise).await;
            let (key, _) = batch.remove(0);
            return vec![(key, problem)];
        }
        let requests: Arc<[GetRequest]> =
            (0..).zip(&batch).map(|(slot, (key, _))| GetRequest::whole(self.root.join(key), slot)).collect();
        let lease = self.pool.lease(self.pool.budget().ticket(), batch.len() as u32);
        let options = ReadOptions { stage: "verify", ..ReadOptions::default() };
        let results = self.store.get_many(requests, options, lease.clone()).await;
        let block = lease.finish();
        let mut checked = Vec::with_capacity(batch.len());
        let mut again = HashSet::new();
        for (slot, ((_, promise), result)) in batch.iter().zip(results).enumerate() {
            let bytes = block.as_ref().ok().and_then(|block| block.slot(slot));
            checked.push(match (result, bytes) {
                (Ok(_), Some(bytes)) => {
                    self.context.tally.add_bytes(promise.size);
                    compare(bytes, promise)
                }
                (Err(error), _) if error.kind() == Kind::NotFound => {
                    self.context.tally.add_bytes(promise.size);
                    Some(Problem::Missing)
                }
                // It may be larger than was promised and not have fitted: read it by itself.
                _ => {
                    again.insert(slot);
                    None
                }
            });
        }
        drop((block, lease));
        for slot in again {
            let (key, promise) = &batch[slot];
            checked[slot] = self.stream(key, promise).await;
        }
        batch.into_iter().zip(checked).map(|((key, _), problem)| (key, problem)).collect()
    }

    /// Reads one file of any size in pieces.
    async fn stream(&self, key: &[u8], promise: &Promise) -> Option<Problem> {
        let mut left = promise.size;
        let problem = self.try_stream(key, promise, &mut left).await.unwrap_or_else(|error| {
            Some(match error.kind() {
                Kind::NotFound => Problem::Missing,
                _ => Problem::Unreadable(error),
            })
        });
        // What was not read is no longer awaited.
        self.context.tally.add_bytes(left);
        problem
    }

    async fn try_stream(
        &self,
        key: &[u8],
        promise: &Promise,
        left: &mut u64,
    ) -> forebay_io::Result<Option<Problem>> {
        let location = self.root.join(key);
        let object =
            self.store.open(&location, ReadOptions { stage: "verify", ..Default::default() }).await?;
        let found = object.meta().size;
        if found != promise.size {
            return Ok(Some(Problem::WrongSize { promised: promise.size, found }));
        }
        let mut hasher = blake3::Hasher::new();
        let mut chunks = pin!(chunks(object, 0..found, &self.pool));
        while let Some(chunk) = chunks.try_next().await.map_err(|e| e.at(&location))? {
            hasher.update(&chunk);
            self.context.tally.add_bytes(chunk.len() as u64);
            *left -= chunk.len() as u64;
        }
        let found = hasher.finalize();
        Ok((found != promise.hash).then_some(Problem::WrongChecksum { promised: promise.hash, found }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_file_once_and_fit() {
        let hash = blake3::hash(b"");
        let mut manifest = Manifest::default();
        let sizes = [0u64, 1, 64, 65, 1000, 5000, 1 << 40, 10, 10, 10];
        for (i, size) in (0u8..).zip(sizes) {
            manifest.files.insert([i].into(), Promise { size, hash });
        }
        let batches: Vec<_> = batches(manifest, 4096).collect();
        for batch in &batches {
            let bytes: u64 = batch.iter().map(|(_, promise)| room(promise.size)).sum();
            assert!(batch.len() == 1 || bytes <= 4096, "{batch:?}");
        }
        let keys: Vec<_> = batches.iter().flatten().map(|(key, _)| key[0]).collect();
        assert_eq!(keys, (0..10).collect::<Vec<u8>>());
    }
}
