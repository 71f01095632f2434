//! The options of a dataset as flags: made from the loader's own table, as those of the loader are.

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use clap::{Arg, ArgMatches, Command};
use forebay_io::layer::Routed;
use forebay_io::{Location, Store};
use forebay_loader::{DATASET_OPTIONS, Dataset, DatasetOptions, Listing, OnError};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::sync::Arc;

/// What was given of them, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct DatasetFlags(Map<String, Value>);

/// A dataset and the store that reaches all of it.
pub(crate) struct Opened {
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) root: Location,
}

/// Where a dataset is and what it is, before it is looked at.
struct Named {
    root: Location,
    store: Arc<dyn Store>,
    options: DatasetOptions,
}

impl DatasetFlags {
    /// The files that they name.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        if let Some(Value::String(manifest)) = self.0.get("manifest") {
            named.reads(manifest);
        }
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The dataset at `uri`. What a loader's `on_error` says goes for damage too, where nothing else was said of it.
    pub(crate) async fn open(
        &self,
        uri: &OsString,
        on_error: Option<OnError>,
        context: &Context,
    ) -> Result<Opened> {
        let Named { root, store, mut options } = self.named(uri, context)?;
        options.on_damage = options.on_damage.or(on_error);
        let dataset = Arc::new(Dataset::open(&*store, &root, options).await?);
        Ok(Opened { dataset, store, root })
    }

    /// What `uri` has, as it will be listed while it is loaded.
    pub(crate) fn streamed(&self, uri: &OsString, context: &Context) -> Result<(Listing, Arc<dyn Store>)> {
        let Named { root, store, options } = self.named(uri, context)?;
        Ok((Listing::new(&root, options)?, store))
    }

    fn named(&self, uri: &OsString, context: &Context) -> Result<Named> {
        let root = context.locate(uri)?;
        let folder = |text: &str| -> forebay_io::Result<(Arc<dyn Store>, Location)> {
            let folder = context.stores.locate(text, &context.cwd)?;
            Ok((context.stores.at(&folder)?, folder))
        };
        let options = DatasetOptions::from_json(&self.0, folder).map_err(Failure::from)?;
        let mut store = context.store(&root)?;
        if options.manifest.is_some() {
            // It may name objects anywhere.
            let stores = context.stores.clone();
            store = Arc::new(Routed::new(store, move |location: &Location| stores.at(location)));
        }
        Ok(Named { root, store, options })
    }
}

impl clap::Args for DatasetFlags {
    fn augment_args(command: Command) -> Command {
        command.args(DATASET_OPTIONS.iter().map(|option| {
            let arg = Arg::new(option.name)
                .long(option.name.replace('_', "-"))
                .value_name(option.takes)
                .help(option.help)
                .help_heading("Dataset options");
            match option.takes {
                "true|false" => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                _ => arg,
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for DatasetFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = DATASET_OPTIONS.iter().filter_map(|option| {
            let text = matches.get_one::<String>(option.name)?;
            Some((option.name.to_owned(), Value::from(text.as_str())))
        });
        Ok(DatasetFlags(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
