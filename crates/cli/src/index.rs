//! `forebay index`: finds the samples of a dataset ahead of time, and keeps where they are.

use crate::context::Context;
use crate::dataset_flags::{DatasetFlags, Opened};
use crate::exit::Exit;
use crate::failure::Result;
use crate::named_files::NamedFiles;
use crate::quarantine;
use forebay_loader::{Damage, Indexed};
use forebay_metrics::units;
use serde_json::json;
use std::ffi::OsString;

/// Finds the samples in files, or in a manifest, and keeps where they are for the next time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`forebay load` does the same when there is no index yet, or when the data have changed since; this does it \
ahead of time, once for all ranks.

With --json: one line, {\"type\": \"index\", \"root\", \"format\", \"samples\", \"objects\", \"fingerprint\", \
\"memory\" (bytes), \"damage\" [{\"location\", \"offset\", \"reason\"}], \"index\": {\"state\": \"needless\" | \"reused\" | \"built\" | \"rebuilt\", \"location\", \
\"why\"}}.")]
pub(crate) struct Args {
    /// A path or a URI: a folder, a file, or with --manifest a manifest
    uri: OsString,
    #[command(flatten)]
    dataset: DatasetFlags,
}

impl Args {
    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.uri);
        self.dataset.name_files(named);
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let Opened { dataset, root, .. } = args.dataset.open(&args.uri, None, context).await?;
    context.tally.add_things(dataset.len());
    let console = &context.console;
    console.clear_bar();
    if console.json() {
        let (state, location, why) = match dataset.indexed() {
            Indexed::Needless => ("needless", None, None),
            Indexed::Reused(location) => ("reused", Some(location), None),
            Indexed::Built(location) => ("built", location.as_ref(), None),
            Indexed::Rebuilt { location, why } => ("rebuilt", Some(location), Some(why)),
        };
        console.record(&json!({
            "type": "index",
            "root": root.to_string(),
            "format": dataset.format().name(),
            "samples": dataset.len(),
            "objects": dataset.objects(),
            "fingerprint": dataset.fingerprint(),
            "memory": dataset.memory(),
            "damage": dataset.damage().iter().map(Damage::to_json).collect::<Vec<_>>(),
            "index": { "state": state, "location": location.map(ToString::to_string), "why": why },
        }))?;
    } else {
        console.print(format_args!(
            "{root}\n  samples      {}\n  objects      {}\n  fingerprint  {}\n  memory       {}\n  index        {}\n",
            units::count(dataset.len()),
            units::count(dataset.objects()),
            dataset.fingerprint(),
            units::bytes(dataset.memory() as u64),
            dataset.indexed(),
        ))?;
        console.print(quarantine::SetAside(dataset.damage()))?;
    }
    console.flush()?;
    Ok(Exit::Done)
}
