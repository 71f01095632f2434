//! `forebay cp`: objects from any store to any store, streamed.

use crate::chunks::{self, chunks};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::metered::metered;
use crate::metrics_out;
use crate::named_files::NamedFiles;
use crate::tasks;
use bytes::Bytes;
use forebay_io::{
    Access, EntryKind, Kind, ListOptions, Location, Pool, PutMode, PutOptions, ReadOptions, Store,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::pin::pin;
use std::sync::Arc;

/// Copies an object, or with -r everything beneath a location, from any store to any store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
SRC is an object: it becomes DST, or a member of DST if DST is a directory or ends with a slash.
With -r, what is beneath SRC comes to be beneath DST, under the same keys; s3://bucket/ is all of a bucket. Empty
directories are not copied, nor are the empty objects that stand for folders on services (their keys end with a slash)
where DST has real directories. There, too, a key with a part that is '.', '..' or empty is refused: it names no file \
beneath DST.
A reader of DST never sees a part of a file: each appears whole or not at all, also when the command is interrupted.

With --json: one line a file, {\"type\": \"copied\" | \"skipped\" | \"folder_marker\", \"from\", \"to\", \"bytes\"\
[, \"blake3\" with --verify]}, then {\"type\": \"summary\", \"files\", \"bytes\", \"skipped\", \"folder_markers\", \
\"failed\"}.")]
pub(crate) struct Args {
    /// Path or URI to read from
    src: OsString,
    /// Path or URI to write to
    dst: OsString,
    /// Everything beneath SRC
    #[arg(short, long)]
    recursive: bool,
    /// Read each copy back and compare checksums; exit code 4 if one differs
    #[arg(long)]
    verify: bool,
    /// Skip what DST already has
    #[arg(short, long)]
    no_clobber: bool,
    /// Return only when the copies survive a power cut
    #[arg(long)]
    durable: bool,
    /// Files at once
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
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
        named.reads(&self.src);
    }
}

/// What all copies of one command share.
struct Copying {
    src: Arc<dyn Store>,
    dst: Arc<dyn Store>,
    put: PutOptions,
    verify: bool,
    pool: Pool,
    context: Context,
}

/// One file to copy.
struct Pair {
    from: Location,
    to: Location,
    /// What names it beneath DST; empty where DST itself is to be the file.
    key: Vec<u8>,
}

/// What became of one file.
enum Outcome {
    Copied {
        bytes: u64,
        hash: Option<blake3::Hash>,
    },
    /// DST has it.
    Skipped,
    /// It stands for a folder, and folders are not copied.
    FolderMarker,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let (from, to) = (context.locate(&args.src)?, context.locate(&args.dst)?);
    let jobs = usize::from(args.jobs);
    let copying = Arc::new(Copying {
        src: context.store(&from)?,
        dst: context.store(&to)?,
        put: PutOptions {
            mode: if args.no_clobber { PutMode::Create } else { PutMode::Overwrite },
            durable: args.durable,
        },
        verify: args.verify,
        pool: chunks::pool(jobs)?,
        context: context.clone(),
    });
    if is_bucket(&from) && !args.recursive {
        return Err(Failure::usage(format!(
            "{from} is a bucket or container; add -r to copy what is beneath it"
        )));
    }
    // Of a service a listing tells both, the object at a location and those beneath it. Asking for the object
    // first is a request more, and not every service can say of a folder that it is none.
    let listed = args.recursive && !copying.src.capability().real_directories;
    let source_is_object = !listed && copying.src.stat(&from).await?.kind == EntryKind::Object;
    if !source_is_object && !args.recursive {
        return Err(Failure::usage(format!("{from} is a directory; add -r to copy what is beneath it")));
    }
    if !source_is_object && to.key_beneath(&from).is_some() {
        return Err(Failure::usage(format!("{to} is {from} or beneath it; copy to somewhere else")));
    }

    let mut report = Report { exit: Exit::Done, skipped: 0, folder_markers: 0, failed: 0 };
    if source_is_object {
        let pair = target(&copying, &from, &to, &args.dst).await;
        if pair.from == pair.to {
            return Err(pair.same());
        }
        context.tally.draw_on(context.console.bar(None));
        let result = copying.copy(&pair).await;
        report.add(&pair, result, context)?;
    } else {
        context.tally.draw_on(context.console.bar(None));
        let pairs = pairs(&copying, &from, &to, &args.dst);
        let work = |pair: Pair| {
            let copying = copying.clone();
            async move {
                let result = copying.copy(&pair).await;
                (pair, result)
            }
        };
        tasks::for_each(pairs, jobs, work, |(pair, result)| report.add(&pair, result, context)).await?;
        if report.is_empty(context) && !copying.src.capability().real_directories {
            return Err(Failure::refused(Kind::NotFound, format!("nothing is stored beneath {from}")));
        }
    }
    report.end(context)
}

/// Whether a location is all of a bucket or container.
fn is_bucket(location: &Location) -> bool {
    location.host().is_some() && location.path_bytes().is_empty()
}

/// Where a single object goes.
async fn target(copying: &Copying, from: &Location, to: &Location, typed: &OsStr) -> Pair {
    let into = typed.as_encoded_bytes().ends_with(b"/")
        || is_bucket(to)
        || (copying.dst.capability().real_directories
            && matches!(copying.dst.stat(to).await, Ok(meta) if meta.kind == EntryKind::Directory));
    let key = if into { from.name() } else { b"" };
    Pair { from: from.clone(), to: to.join(key), key: key.to_vec() }
}

/// Everything beneath `from`, with its place beneath `to`.
fn pairs<'a>(
    copying: &'a Copying,
    from: &'a Location,
    to: &'a Location,
    typed: &'a OsStr,
) -> impl futures::Stream<Item = Result<Pair>> + 'a {
    copying
        .src
        .list(from, ListOptions::recursive())
        .map_ok(move |page| {
            let keys: Vec<_> = page.iter().map(|entry| Ok(entry.key.to_vec())).collect();
            stream::iter(keys)
        })
        .map_err(Failure::from)
        .try_flatten()
        .and_then(move |key| async move {
            Ok(match key.is_empty() {
                true => target(copying, from, to, typed).await,
                false => Pair { from: from.join(&key), to: to.join(&key), key },
            })
        })
}

/// What became of all files.
struct Report {
    exit: Exit,
    skipped: u64,
    folder_markers: u64,
    failed: u64,
}

impl Report {
    fn is_empty(&self, context: &Context) -> bool {
        self.skipped + self.folder_markers + self.failed + context.tally.things() == 0
    }

    fn add(&mut self, pair: &Pair, result: Result<Outcome>, context: &Context) -> Result<()> {
        let console = &context.console;
        let (from, to) = (pair.from.to_string(), pair.to.to_string());
        match result {
            Ok(Outcome::Copied { bytes, hash }) => {
                context.tally.add_thing();
                if console.json() {
                    let mut line = json!({ "type": "copied", "from": from, "to": to, "bytes": bytes });
                    if let Some(hash) = hash {
                        line["blake3"] = hash.to_hex().as_str().into();
                    }
                    console.record(&line)?;
                    console.flush()?;
                }
            }
            Ok(Outcome::Skipped) => {
                self.skipped += 1;
                if console.json() {
                    console.record(&json!({ "type": "skipped", "from": from, "to": to }))?;
                    console.flush()?;
                }
            }
            Ok(Outcome::FolderMarker) => {
                self.folder_markers += 1;
                if console.json() {
                    console.record(&json!({ "type": "folder_marker", "from": from, "to": to }))?;
                    console.flush()?;
                }
            }
            Err(failure) => {
                console.error(&failure);
                self.failed += 1;
                self.exit = self.exit.join(failure.exit());
            }
        }
        Ok(())
    }

    fn end(self, context: &Context) -> Result<Exit> {
        let (console, tally) = (&context.console, &context.tally);
        console.clear_bar();
        if console.json() {
            let mut summary = tally.to_json();
            summary["type"] = "summary".into();
            summary["skipped"] = self.skipped.into();
            summary["folder_markers"] = self.folder_markers.into();
            summary["failed"] = self.failed.into();
            console.record(&summary)?;
            console.flush()?;
        } else {
            let mut text = tally.to_string();
            if self.skipped > 0 {
                text += &format!("; skipped {} that were there", self.skipped);
            }
            if self.folder_markers > 0 {
                text += &format!("; passed over {} that stand for folders", self.folder_markers);
            }
            if self.failed > 0 {
                text += &format!("; {} failed", self.failed);
            }
            console.print(text + "\n")?;
        }
        Ok(self.exit)
    }
}

impl Pair {
    /// The failure of a copy of an object onto itself.
    fn same(&self) -> Failure {
        Failure::usage(format!("{} and {} are the same object", self.from, self.to))
    }
}

/// Whether a key names a file beneath a directory, and says so by itself: joined to a path, `..` would leave it,
/// and `.` and nothing would vanish.
fn names_a_file(key: &[u8]) -> bool {
    key.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

impl Copying {
    async fn copy(&self, pair: &Pair) -> Result<Outcome> {
        if pair.from == pair.to {
            return Err(pair.same());
        }
        let folder = pair.key.strip_suffix(b"/");
        let into_files = self.dst.capability().real_directories;
        if into_files && !pair.key.is_empty() && !names_a_file(folder.unwrap_or(&pair.key)) {
            let text = format!(
                "{} is not copied: its key has a part that is '.', '..' or empty, which names no file beneath DST",
                pair.from
            );
            return Err(Failure::refused(Kind::Unsupported, text));
        }
        if into_files && folder.is_some() {
            return self.pass_over(pair).await;
        }
        // What is there is not moved first. Whoever may write only is told by the put itself.
        if self.put.mode == PutMode::Create
            && matches!(self.dst.stat(&pair.to).await, Ok(meta) if meta.kind == EntryKind::Object)
        {
            return Ok(Outcome::Skipped);
        }
        let options = ReadOptions { access: Access::Sequential, stage: "cp", ..ReadOptions::default() };
        let object = self.src.open(&pair.from, options).await?;
        let size = object.meta().size;
        let pool = self.pool.clone();
        let make = move || {
            chunks(object.clone(), 0..size, &pool)
                // Copied, so that the lease ends here: a destination may gather as many chunks as it
                // likes before it writes, and must not starve other files of memory by it.
                .map_ok(|chunk| Bytes::copy_from_slice(&chunk))
                .boxed()
        };
        let (body, sent) = metered(make, size, &self.context.tally);
        match self.dst.put(&pair.to, body, self.put).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::AlreadyExists && self.put.mode == PutMode::Create => {
                return Ok(Outcome::Skipped);
            }
            Err(error) => return Err(error.into()),
        }
        let hash = self.verify.then(|| sent.hash());
        if let Some(hash) = hash {
            self.compare(pair, size, hash).await?;
        }
        Ok(Outcome::Copied { bytes: size, hash })
    }

    /// What has a folder's name and is to become a file.
    async fn pass_over(&self, pair: &Pair) -> Result<Outcome> {
        match self.src.stat(&pair.from).await?.size {
            0 => Ok(Outcome::FolderMarker),
            bytes => {
                let text =
                    format!("{} has {bytes} bytes and a folder's name, which no file can have", pair.from);
                Err(Failure::refused(Kind::Unsupported, text))
            }
        }
    }

    /// Reads the copy back.
    async fn compare(&self, pair: &Pair, size: u64, hash: blake3::Hash) -> Result<()> {
        let object = self.dst.open(&pair.to, ReadOptions::default()).await?;
        let found = object.meta().size;
        if found != size {
            let text = format!("{} has {found} bytes, {} has {size}", pair.to, pair.from);
            return Err(Failure::refused(Kind::Corrupt, text));
        }
        let mut hasher = blake3::Hasher::new();
        let mut chunks = pin!(chunks(object, 0..size, &self.pool));
        while let Some(chunk) = chunks.try_next().await? {
            hasher.update(&chunk);
        }
        if hasher.finalize() != hash {
            let text = format!("the bytes of {} are not those of {}", pair.to, pair.from);
            return Err(Failure::refused(Kind::Corrupt, text));
        }
        Ok(())
    }
}
