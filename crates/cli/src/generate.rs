//! `forebay gen`: a data set of real files, and a manifest that says what is in them.

use crate::content::Content;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::manifest::{self, Header, Line};
use crate::metered::metered;
use crate::sizes::Sizes;
use crate::tasks;
use bytes::Bytes;
use forebay_io::{Body, Kind, ListOptions, Location, PutMode, PutOptions, Store, parse_size};
use forebay_metrics::units;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

/// More files than any file system holds in a data set; a typo rather than a wish.
const MOST_FILES: u64 = 1_000_000_000;

/// Makes a data set of files with known content, and a manifest of their checksums.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("amount").args(["files", "total"]).required(true))]
#[command(after_help = "\
The same --sizes, --content and --seed make the same bytes under the same names, whatever --jobs is; a larger --files \
or --total only adds files. `forebay verify DIR` reads everything back and compares.

With --json: one line, {\"type\": \"summary\", \"root\", \"manifest\", \"files\", \"bytes\", \"seed\", \"sizes\", \
\"content\", \"elapsed_s\"}.")]
pub(crate) struct Args {
    /// Path or URI of the directory to fill
    dir: OsString,
    /// How many files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_FILES))]
    files: Option<u64>,
    /// As many files as it takes to have at least so many bytes: `500MiB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    total: Option<u64>,
    /// fixed:SIZE | lognormal:MEDIAN,SIGMA (from 1 B to 1 GiB) | list:SIZE,SIZE,… (one after another,
    /// from the start again at the end; name a size twice to have it twice as often)
    #[arg(long, value_name = "RULE", value_parser = Sizes::parse, default_value = "lognormal:128KiB,1.0")]
    sizes: Sizes,
    /// random | compressible | compressible:RATIO (to about 1/RATIO; a half unless given)
    #[arg(long, value_name = "KIND", value_parser = Content::parse, default_value = "random")]
    content: Content,
    /// Which of all such data sets
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// At most so many files in a directory; otherwise all are in one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_FILES))]
    per_dir: Option<u64>,
    /// Path or URI of the manifest, outside DIR [default: DIR.manifest.jsonl beside DIR]
    #[arg(long, value_name = "URI")]
    manifest: Option<OsString>,
    /// Also if DIR is not empty or the manifest is there: files of the same names are replaced, others stay
    #[arg(long)]
    force: bool,
    /// Files at once
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
}

fn size(text: &str) -> Result<u64, String> {
    match parse_size(text).map_err(|e| e.to_string())? {
        0 => Err("a data set needs at least 1 byte".to_owned()),
        size => Ok(size),
    }
}

/// The files of a data set before they are made.
#[derive(Debug)]
struct Plan {
    files: u64,
    bytes: u64,
}

impl Plan {
    fn new(args: &Args) -> Result<Self> {
        let mut plan = Plan { files: 0, bytes: 0 };
        if args.total.is_some() && args.sizes.all_empty() {
            let text = format!("--total needs sizes above 0, and {} has none", args.sizes);
            return Err(Failure::usage(text));
        }
        for size in args.sizes.draw(args.seed).take(MOST_FILES as usize) {
            if args.files.is_some_and(|n| plan.files == n) || args.total.is_some_and(|n| plan.bytes >= n) {
                break;
            }
            plan.files += 1;
            plan.bytes = plan.bytes.saturating_add(size);
        }
        Ok(plan)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let begin = Instant::now();
    let root = context.locate(&args.dir)?;
    let store = context.store(&root)?;
    let place = match &args.manifest {
        Some(argument) => context.locate(argument)?,
        None => manifest::beside(&root)?,
    };
    if place.key_beneath(&root).is_some() {
        let text =
            format!("manifest {place} would be a file of the data set {root}; name a place outside it");
        return Err(Failure::usage(text));
    }
    let manifest_store = context.store(&place)?;
    if !args.force {
        refuse_what_is_there(&store, &root, &manifest_store, &place).await?;
    }
    let plan = Plan::new(&args)?;
    context.tally.draw_on(context.console.bar(Some(plan.bytes)));

    let header = Header {
        root: Some(root.to_string()),
        files: Some(plan.files),
        bytes: Some(plan.bytes),
        seed: Some(args.seed),
        sizes: Some(args.sizes.to_string()),
        content: Some(args.content.to_string()),
        ..Header::new()
    };
    // The manifest is written while the files are, and becomes visible when all of them are there.
    let (lines, body) = mpsc::unbounded();
    let body = Body::stream(body.boxed(), None);
    let mode = if args.force { PutMode::Overwrite } else { PutMode::Create };
    let put = manifest_store.put(&place, body, PutOptions { mode, ..PutOptions::default() });
    let fill = fill(&args, &plan, &header, Arc::clone(&store), &root, lines, context);
    let put = async { put.await.map_err(Failure::from) };
    futures::try_join!(fill, put)?;

    let (console, tally) = (&context.console, &context.tally);
    console.clear_bar();
    let elapsed = begin.elapsed();
    if console.json() {
        console.record(&json!({
            "type": "summary",
            "root": root.to_string(),
            "manifest": place.to_string(),
            "files": tally.things(),
            "bytes": tally.bytes(),
            "seed": args.seed,
            "sizes": args.sizes.to_string(),
            "content": args.content.to_string(),
            "elapsed_s": elapsed.as_secs_f64(),
        }))?;
        console.flush()?;
    } else {
        let took = units::duration(elapsed.as_nanos() as f64);
        console.print(format_args!("{tally} in {took} to {root}\nmanifest {place}\n"))?;
    }
    Ok(Exit::Done)
}

async fn refuse_what_is_there(
    store: &Arc<dyn Store>,
    root: &Location,
    manifest_store: &Arc<dyn Store>,
    place: &Location,
) -> Result<()> {
    let there = |what: &Location, why: &str| {
        let text = format!("{what} {why}; choose another name, or say --force to write there all the same");
        Err(Failure::refused(Kind::AlreadyExists, text))
    };
    match store.list(root, ListOptions::default()).try_next().await {
        Ok(None) => {}
        Ok(Some(page)) if page.iter().any(|entry| entry.key.is_empty()) => {
            return Err(Failure::usage(format!("{root} is a file; name a directory")));
        }
        Ok(Some(_)) => return there(root, "is not empty"),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    match manifest_store.stat(place).await {
        Ok(_) => there(place, "exists"),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes every file and hands the manifest's lines on in their order.
async fn fill(
    args: &Args,
    plan: &Plan,
    header: &Header,
    store: Arc<dyn Store>,
    root: &Location,
    mut lines: mpsc::UnboundedSender<forebay_io::Result<Bytes>>,
    context: &Context,
) -> Result<()> {
    // A manifest that cannot be written any more ends its put, which says why.
    let _ = lines.send(Ok(manifest::line(header).into())).await;
    let sizes = args.sizes.draw(args.seed).take(plan.files as usize).zip(0..);
    let work = |(size, index): (u64, u64)| {
        let key = key(index, args.per_dir);
        let (content, seed) = (args.content, args.seed);
        let (store, location, tally) = (store.clone(), root.join(key.as_bytes()), context.tally.clone());
        async move {
            let make = move || stream::iter(content.chunks(seed, index, size).map(Ok)).boxed();
            let (body, sent) = metered(make, size, &tally);
            store.put(&location, body, PutOptions::default()).await?;
            Ok((index, Line { key, size, blake3: sent.hash().to_hex().to_string() }))
        }
    };
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    tasks::for_each(stream::iter(sizes.map(Ok)), args.jobs.into(), work, |made: Result<_>| {
        let (index, line) = made?;
        context.tally.add_thing();
        waiting.insert(index, line);
        while let Some(line) = waiting.remove(&next) {
            let _ = lines.unbounded_send(Ok(manifest::line(&line).into()));
            next += 1;
        }
        Ok(())
    })
    .await
}

/// `00000012.bin`, or `000003/00000012.bin` where directories are limited.
fn key(index: u64, per_dir: Option<u64>) -> String {
    match per_dir {
        Some(n) => format!("{:06}/{index:08}.bin", index / n),
        None => format!("{index:08}.bin"),
    }
}
