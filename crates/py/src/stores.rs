//! Stores that were opened alike, one for each place: those of the process, or those of one loader, which hear
//! for it what the backends do.

use crate::process::Process;
use crate::settings::Settings;
use crate::tap::{Shared, Tap, Unmetered};
use forebay_io::layer::Observed;
use forebay_io::{Location, Observe, Result, Store};
use forebay_io_open::StoreOptions;
use forebay_metrics::MetricsCollector;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who hears of what the stores do.
pub(crate) enum Watch {
    /// The process.
    Process,
    /// The process, and this loader of requests and what the layers do: it sees operations itself.
    Loader(Arc<MetricsCollector>),
    /// Nobody counts. Operations are recorded while there is a recorder.
    Nobody,
}

/// See the module's words.
pub(crate) struct Stores {
    watch: Watch,
    /// Locked for a look-up only, with the interpreter's lock held.
    opened: Mutex<HashMap<Place, Arc<dyn Store>>>,
}

/// What decides which store serves a location.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) scheme: String,
    pub(crate) host: Option<String>,
    pub(crate) settings: Settings,
    /// Of a service, what the environment says: a program may change it between two calls.
    pub(crate) environment: Vec<(String, String)>,
}

impl Stores {
    pub(crate) fn new(watch: Watch) -> Self {
        Stores { watch, opened: Mutex::default() }
    }

    /// The store that holds `location`, opened now if it is not.
    ///
    /// # Errors
    /// As [`forebay_io_open::open`].
    pub(crate) fn find(
        &self,
        process: &Process,
        location: &Location,
        settings: &Settings,
    ) -> Result<Arc<dyn Store>> {
        let place = Place::of(location, settings);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&place) {
            return Ok(store.clone());
        }
        let options = process.options(&place)?;
        let store = self.watch.open(location, options, process.tap())?;
        opened.insert(place, store.clone());
        Ok(store)
    }
}

impl Watch {
    fn open(&self, location: &Location, mut options: StoreOptions, tap: &Arc<Tap>) -> Result<Arc<dyn Store>> {
        match self {
            Watch::Process => options.caller = Some(tap.clone()),
            Watch::Loader(collector) => {
                options.caller = Some(tap.clone());
                options.requests = Some(Arc::new(Shared::new(tap.clone(), collector.clone())));
            }
            Watch::Nobody => {
                // Outside the store, whose backend then tells nobody and reads no clocks for it.
                let store = forebay_io_open::open(location, &options)?;
                let recorder: Arc<dyn Observe> = Arc::new(Unmetered::new(tap.clone()));
                return Ok(Arc::new(Observed::new(store, recorder)));
            }
        }
        forebay_io_open::open(location, &options)
    }
}
