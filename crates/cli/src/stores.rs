//! The stores of one command: one for each scheme and host, with the options of the command line.

use clap::builder::StyledStr;
use forebay_io::{Location, Result, Store};
use forebay_io_open::{KEYS, StoreOptions, open};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

type Place = (String, Option<String>);

/// Opens stores when they are first asked for.
#[derive(Debug)]
pub(crate) struct Stores {
    options: StoreOptions,
    open: Mutex<HashMap<Place, Arc<dyn Store>>>,
}

impl Stores {
    /// No store is open yet. `pairs` are keys and values as they were given.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown key or a value that makes no sense.
    pub(crate) fn new(pairs: &[(String, String)]) -> Result<Self> {
        let options = StoreOptions::parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        Ok(Stores { options, open: Mutex::default() })
    }

    /// The store behind a location.
    ///
    /// # Errors
    /// As [`forebay_io_open::open`].
    pub(crate) fn at(&self, location: &Location) -> Result<Arc<dyn Store>> {
        let place = (location.scheme().to_owned(), location.host().map(str::to_owned));
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&place) {
            return Ok(store.clone());
        }
        let store = open(location, &self.options)?;
        stores.insert(place, store.clone());
        Ok(store)
    }
}

/// `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE, as in limit_bytes_per_second=200MiB"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What the keys mean, for `--help`.
pub(crate) fn help() -> StyledStr {
    let mut text = "An option of the stores that are used; may be given several times:".to_owned();
    for key in KEYS.iter() {
        let _ = write!(text, "\n- {key}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_opened_once() {
        let stores = Stores::new(&[pair("threads=1").unwrap()]).unwrap();
        let at = |text: &str| stores.at(&text.parse().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&at("/a"), &at("file:///b/c")));
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        assert!(pair("threads").unwrap_err().contains("KEY=VALUE"));
        let error = Stores::new(&[pair("thread=1").unwrap()]).unwrap_err().to_string();
        assert!(error.contains("did you mean threads"), "{error}");
    }
}
