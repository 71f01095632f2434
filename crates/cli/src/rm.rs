//! `forebay rm`: removes objects, and with -r everything beneath a location.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::local_tree;
use crate::named_files::NamedFiles;
use crate::tasks;
use forebay_io::{EntryKind, Kind, ListOptions, Location, Store};
use futures::{TryStreamExt, stream};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Requests at once to a store, each of as many objects as it removes by one.
const AT_ONCE: usize = 32;

/// Removes objects.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A symbolic link is removed, not what it leads to. The root of a file system, a whole bucket, and a directory that \
the working directory is in are refused.

With --json: one line an object, {\"type\": \"removed\", \"location\"}, then {\"type\": \"summary\", \"objects\", \
\"failed\"}.")]
pub(crate) struct Args {
    /// Paths or URIs
    #[arg(required = true, value_name = "URI")]
    uris: Vec<OsString>,
    /// Everything beneath, directories too
    #[arg(short, long)]
    recursive: bool,
}

impl Args {
    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        self.uris.iter().for_each(|uri| named.reads(uri));
    }
}

/// Whether a location is a path of this machine, where directories and links are real.
fn is_local(location: &Location) -> bool {
    matches!(location.scheme(), "file" | "direct")
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let (mut exit, mut failed) = (Exit::Done, 0);
    // All are looked at before the first is touched.
    let mut locations = Vec::new();
    for uri in &args.uris {
        locations.push(check(uri, args.recursive, context)?);
    }
    for location in locations {
        let removed = match (args.recursive, is_local(&location)) {
            (true, true) => local(location.clone(), context).await,
            (true, false) => beneath(&location, context).await,
            (false, _) => one(&*context.store(&location)?, &location, context).await,
        };
        match removed {
            Ok(()) => {}
            Err(Failure::PipeClosed) => return Err(Failure::PipeClosed),
            Err(failure) => {
                context.console.error(&failure);
                exit = exit.join(failure.exit());
                failed += 1;
            }
        }
    }
    match context.console.json() {
        true => {
            context.console.record(&json!({
                "type": "summary", "objects": context.tally.things(), "failed": failed,
            }))?;
            context.console.flush()?;
        }
        false => context.console.print(format_args!("{}\n", context.tally))?,
    }
    Ok(exit)
}

/// Refuses what nobody means.
fn check(uri: &OsStr, recursive: bool, context: &Context) -> Result<Location> {
    let location = context.locate(uri)?;
    if location.path_bytes().iter().all(|&b| b == b'/') {
        return Err(Failure::usage(format!("{location} is everything there is; it is not removed")));
    }
    if !is_local(&location) {
        return Ok(location);
    }
    if location.name() == b".." {
        return Err(Failure::usage(format!("{location} ends in '..'; name the directory itself")));
    }
    // Links on the way are followed, the last name is not: that is what is removed.
    let path = location.as_path();
    let real: Option<PathBuf> = path
        .parent()
        .zip(path.file_name())
        .and_then(|(parent, name)| Some(fs::canonicalize(parent).ok()?.join(name)));
    let real = real.as_deref().unwrap_or(path);
    let here: &Path = &context.cwd;
    if fs::canonicalize(here).is_ok_and(|here| here.starts_with(real)) {
        return Err(Failure::usage(format!("{location} holds the working directory; it is not removed")));
    }
    if !recursive && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(Failure::usage(format!(
            "{location} is a directory; add -r to remove it and what is in it"
        )));
    }
    Ok(location)
}

async fn one(store: &dyn Store, location: &Location, context: &Context) -> Result<()> {
    store.delete(location).await?;
    removed(location, context)
}

fn removed(location: &Location, context: &Context) -> Result<()> {
    context.tally.add_thing();
    if context.console.json() {
        context.console.record(&json!({ "type": "removed", "location": location.to_string() }))?;
    }
    Ok(())
}

/// A tree of this machine. Not by way of a store: stores follow links and know no empty directories.
async fn local(location: Location, context: &Context) -> Result<()> {
    let (root, told) = (location.clone(), context.clone());
    let tree =
        local_tree::remove(location.as_path().to_owned(), move |beneath| removed(&root.join(beneath), &told));
    tree.await.map_err(|failure| match failure {
        local_tree::Failed::Told(failure) => failure,
        local_tree::Failed::Os(path, error) => match Location::from_path(&path) {
            Ok(location) => {
                forebay_io::Error::from_os(forebay_io::Operation::Delete, error).at(&location).into()
            }
            Err(unnameable) => unnameable.into(),
        },
    })
}

/// Everything with this prefix.
async fn beneath(location: &Location, context: &Context) -> Result<()> {
    let store = context.store(location)?;
    let batch = store.capability().delete_batch.max(1) as usize;
    let mut found = 0;
    let objects = store
        .list(location, ListOptions::recursive())
        .map_ok(|page| {
            let objects = page.iter().filter(|entry| entry.kind == EntryKind::Object);
            let objects: Vec<Location> = objects.map(|entry| entry.location()).collect();
            found += objects.len();
            stream::iter(objects.chunks(batch).map(|some| Ok(some.to_vec())).collect::<Vec<_>>())
        })
        .map_err(Failure::from)
        .try_flatten();
    let work = |locations: Vec<Location>| {
        let store: Arc<dyn Store> = store.clone();
        async move {
            let results = store.delete_many(&locations).await;
            (locations, results)
        }
    };
    let mut first = None;
    tasks::for_each(objects, AT_ONCE, work, |(locations, results)| {
        for (location, result) in locations.iter().zip(results) {
            match result {
                Ok(()) => removed(location, context)?,
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Ok(())
    })
    .await?;
    match (first, found) {
        (Some(error), _) => Err(error.into()),
        (None, 0) => Err(Failure::refused(Kind::NotFound, format!("nothing is stored beneath {location}"))),
        (None, _) => Ok(()),
    }
}
