//! `forebay ls`: what is beneath a location.

use crate::context::Context;
use crate::entry;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use anstyle::{AnsiColor, Style};
use forebay_io::{Entry, EntryKind, Glob, ListOptions, Page};
use futures::TryStreamExt;
use std::ffi::OsString;

/// Lists what is beneath a location, sorted by name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json: one line an entry, {\"type\": \"object\" | \"directory\", \"location\", \"key\"}; where details are known, \
also \"size\", \"modified\", \"version\" (ask for them with -l).")]
pub(crate) struct Args {
    /// A path or a URI
    #[arg(default_value = ".")]
    uri: OsString,
    /// Every object beneath, not one level
    #[arg(short, long)]
    recursive: bool,
    /// Only keys that match, relative to URI: `*.jpg` (one level), `**/*.jpg` (any), `{a,b}/[0-9]*`
    #[arg(long, value_name = "GLOB")]
    glob: Option<String>,
    /// With size in bytes and time of last change
    #[arg(short, long)]
    long: bool,
    /// In the order in which the store answers: at once, and in memory that does not grow
    #[arg(short = 'U', long)]
    unsorted: bool,
}

impl Args {
    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.uri);
    }
}

/// Directories stand out, as people know it.
const DIRECTORY: Style = AnsiColor::Blue.on_default().bold();

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let location = context.locate(&args.uri)?;
    let store = context.store(&location)?;
    let glob = args.glob.as_deref().map(Glob::new).transpose()?;
    let options = ListOptions { recursive: args.recursive, glob, details: args.long };
    let mut pages = store.list(&location, options);
    if args.unsorted {
        while let Some(page) = pages.try_next().await? {
            page.iter().try_for_each(|entry| show(&entry, &args, context))?;
            context.console.flush()?;
        }
        return Ok(Exit::Done);
    }
    let pages: Vec<Page> = pages.try_collect().await?;
    let mut order: Vec<Entry<'_>> = pages.iter().flat_map(Page::iter).collect();
    order.sort_unstable_by(|a, b| a.key.cmp(b.key));
    order.iter().try_for_each(|entry| show(entry, &args, context))?;
    context.console.flush()?;
    Ok(Exit::Done)
}

fn show(entry: &Entry<'_>, args: &Args, context: &Context) -> Result<(), Failure> {
    let console = &context.console;
    context.tally.add_thing();
    let location = entry.location();
    // A location that is an object lists as itself, under its own name.
    let key = if entry.key.is_empty() { location.name() } else { entry.key };
    if console.json() {
        return console.record(&entry::to_json(&location, Some(key), entry.kind, entry.meta));
    }
    let mut line = Vec::new();
    if args.long {
        line.extend(entry::columns(entry.kind, entry.meta).into_bytes());
    }
    let name = entry::shown(key, console.out_is_terminal());
    match entry.kind {
        EntryKind::Object => line.extend(name),
        EntryKind::Directory => {
            let style = if console.out_in_colour() { DIRECTORY } else { Style::new() };
            line.extend(style.render().to_string().into_bytes());
            line.extend(name);
            line.extend(style.render_reset().to_string().into_bytes());
            line.push(b'/');
        }
    }
    line.push(b'\n');
    console.write(&line)
}
