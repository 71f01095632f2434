//! The stores that a replay asks, and the objects that it has open.

use crate::error::Result;
use forebay_io::{Location, Object, Store};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Opens the store of a location. Asked once for each scheme and host.
pub type Stores = dyn Fn(&Location) -> forebay_io::Result<Arc<dyn Store>> + Send + Sync;

/// Objects that stay open; each is a descriptor for files.
const OPEN: usize = 512;

pub(super) struct Targets<'a> {
    stores: &'a Stores,
    known: HashMap<(String, Option<String>), Arc<dyn Store>>,
    pub(super) objects: Arc<Objects>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(stores: &'a Stores) -> Targets<'a> {
        Targets { stores, known: HashMap::new(), objects: Arc::default() }
    }

    pub(super) fn store(&mut self, location: &Location) -> Result<Arc<dyn Store>> {
        let key = (location.scheme().to_owned(), location.host().map(str::to_owned));
        if let Some(store) = self.known.get(&key) {
            return Ok(store.clone());
        }
        let store = (self.stores)(location)?;
        self.known.insert(key, store.clone());
        Ok(store)
    }
}

/// Opened objects, those that were opened first given up first.
#[derive(Default)]
pub(super) struct Objects(Mutex<Opened>);

#[derive(Default)]
struct Opened {
    by_location: HashMap<Location, Arc<dyn Object>>,
    order: VecDeque<Location>,
}

impl Objects {
    pub(super) fn get(&self, location: &Location) -> Option<Arc<dyn Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_location.get(location).cloned()
    }

    pub(super) fn insert(&self, location: Location, object: Arc<dyn Object>) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.by_location.insert(location.clone(), object).is_none() {
            opened.order.push_back(location);
        }
        if opened.order.len() > OPEN
            && let Some(first) = opened.order.pop_front()
        {
            opened.by_location.remove(&first);
        }
    }
}
