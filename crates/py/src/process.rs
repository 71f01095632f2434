//! What this process shares among all loaders and calls: one runtime, one store for each place, one
//! collector.
//!
//! Made when first needed, never dropped, and made anew in a forked child, which finds the parent's
//! runtime without its threads. (A runtime that lives in a `OnceLock` could not be replaced, which is
//! why no ready-made bridge between tokio and asyncio is used.)

// The edge where environment and clock are read for the stores.
#![allow(clippy::disallowed_methods)]

use crate::born;
use crate::settings::Settings;
use crate::stores::{Place, Stores, Watch};
use crate::tap::Tap;
use crate::{errors, scheduling};
use forebay_io::{Error, Location, MemoryStore, Result, Store};
use forebay_io_open::{FsOptions, FsStore, StoreOptions, Surroundings};
use forebay_metrics::MetricsCollector;
use pyo3::prelude::*;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::runtime::{Builder, Runtime};

/// Tasks only begin reads and hand on what was read; those that block have threads of their own in
/// the stores. A second thread would mostly be woken to find that there is nothing left to do.
const WORKERS: usize = 1;

/// The newest process' state. A child replaces its parent's, which is never freed. Locked for a moment
/// with the interpreter's lock held, so that a fork finds it open.
static CURRENT: Mutex<Option<&'static Process>> = Mutex::new(None);

pub(crate) struct Process {
    generation: u64,
    runtime: Runtime,
    tap: Arc<Tap>,
    /// What is behind `mem://`.
    memory: MemoryStore,
    stores: Arc<Stores>,
    /// Whose threads all stores of files share, also those of single loaders. Made when first needed.
    files: Mutex<Option<FsStore>>,
}
/// What the environment says to a service. Variables that are not text are as if unset.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, _)| Surroundings::reads(key))
        .collect()
}

/// This process' state.
///
/// # Errors
/// `OSError` if threads cannot be started.
pub(crate) fn current() -> PyResult<&'static Process> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    match *current {
        Some(process) if process.generation == born::generation() => Ok(process),
        _ => {
            let fresh = Box::leak(Box::new(Process::start()?));
            *current = Some(fresh);
            Ok(fresh)
        }
    }
}

impl Process {
    fn start() -> PyResult<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("forebay")
            .on_thread_start(scheduling::after_readers)
            .enable_all()
            .build()?;
        Ok(Process {
            generation: born::generation(),
            runtime,
            tap: Arc::default(),
            memory: MemoryStore::new(),
            stores: Arc::new(Stores::new(Watch::Process)),
            files: Mutex::default(),
        })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Counts everything that goes through [`Process::store`].
    pub(crate) fn collector(&self) -> &MetricsCollector {
        self.tap.collector()
    }

    /// What sees everything that goes through [`Process::store`].
    pub(crate) fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// The store that holds `location`, shared by all that name the same place in the same way.
    pub(crate) fn store(
        &self,
        py: Python<'_>,
        location: &Location,
        settings: &Settings,
    ) -> PyResult<Arc<dyn Store>> {
        self.find(location, settings).map_err(|error: Error| errors::raise(py, &error))
    }

    /// As [`Process::store`], where there is no interpreter at hand.
    ///
    /// # Errors
    /// As [`forebay_io_open::open`].
    pub(crate) fn find(&self, location: &Location, settings: &Settings) -> Result<Arc<dyn Store>> {
        self.stores.find(self, location, settings)
    }

    fn files(&self) -> Result<FsStore> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*files {
            Some(store) => store.clone(),
            None => files.insert(FsStore::new(FsOptions::default())?).clone(),
        })
    }

    /// The stores that all share.
    pub(crate) fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// How a store of this place is opened, but for who hears of it.
    pub(crate) fn options(&self, place: &Place) -> Result<StoreOptions> {
        let around = Surroundings::new(place.environment.iter().cloned(), SystemTime::now);
        let mut options = place.settings.parse()?.with_surroundings(around);
        options.memory = Some(self.memory.clone());
        if place.scheme == "file" {
            options.files = Some(self.files()?);
        }
        // A forked child has its parent's keys, and another number.
        options.seed = RandomState::new().hash_one(std::process::id());
        Ok(options)
    }
}

impl Place {
    pub(crate) fn of(location: &Location, settings: &Settings) -> Self {
        let local = matches!(location.scheme(), "file" | "direct" | "mem");
        Place {
            scheme: location.scheme().to_owned(),
            host: location.host().map(str::to_owned),
            settings: settings.clone(),
            environment: if local { Vec::new() } else { environment() },
        }
    }
}
