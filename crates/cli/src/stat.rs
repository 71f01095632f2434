//! `forebay stat`: size, time and version of objects, without reading them.

use crate::context::Context;
use crate::entry;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use forebay_io::{EntryKind, Location, Meta};
use forebay_metrics::units;
use std::ffi::OsString;

/// Shows size, time of last change and version of objects.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json: one line an object, {\"type\": \"object\" | \"directory\", \"location\", \"size\", \"modified\", \"version\"}; \
what the store does not know is left out.")]
pub(crate) struct Args {
    /// Paths or URIs
    #[arg(required = true, value_name = "URI")]
    uris: Vec<OsString>,
}

impl Args {
    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        self.uris.iter().for_each(|uri| named.reads(uri));
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut exit = Exit::Done;
    // All are read first: an option may be for the second of them.
    let locations: Vec<_> = args.uris.iter().map(|uri| context.locate(uri)).collect();
    for location in locations {
        match one(location, context).await {
            Ok(()) => context.tally.add_thing(),
            Err(Failure::PipeClosed) => return Err(Failure::PipeClosed),
            Err(failure) => {
                context.console.error(&failure);
                exit = exit.join(failure.exit());
            }
        }
    }
    Ok(exit)
}

async fn one(location: Result<Location>, context: &Context) -> Result<()> {
    let location = location?;
    let meta = context.store(&location)?.stat(&location).await?;
    match context.console.json() {
        true => {
            context.console.record(&entry::to_json(&location, None, meta.kind, Some(&meta)))?;
            context.console.flush()
        }
        false => context.console.print(text(&location, &meta)),
    }
}

fn text(location: &Location, meta: &Meta) -> String {
    let mut text = format!("{location}\n  kind      {}\n", entry::kind_name(meta.kind));
    if meta.kind == EntryKind::Object {
        text += &format!("  size      {} ({})\n", units::count(meta.size), units::bytes(meta.size));
    }
    if let Some(modified) = meta.modified.and_then(entry::rfc3339) {
        text += &format!("  modified  {modified}\n");
    }
    if let Some(version) = &meta.version {
        text += &format!("  version   {}\n", version.as_str());
    }
    text
}
