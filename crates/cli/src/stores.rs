//! The stores of one command: one for each scheme and host, with the options of the command line.
//!
//! An option goes to every store that has a use for it, or only to those of one scheme: `s3.endpoint=…`.
//! One that no store of the command has a use for is refused.

use clap::builder::StyledStr;
use forebay_io::{Error, Location, Observe, Result, Store};
use forebay_io_open::{KEYS, SCHEMES, StoreOptions, Surroundings, Uploads, open};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

type Place = (String, Option<String>);

/// One `KEY=VALUE`, or `SCHEME.KEY=VALUE`.
struct Setting {
    scheme: Option<String>,
    key: String,
    value: String,
}

/// Values may be secrets.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting")
            .field("scheme", &self.scheme)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Opens stores when they are first asked for.
#[derive(Debug)]
pub(crate) struct Stores {
    settings: Vec<Setting>,
    surroundings: Surroundings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Keeps the signatures that stood in locations.
    base: StoreOptions,
    /// Schemes of the locations that the command names.
    schemes: BTreeSet<String>,
    open: HashMap<Place, Arc<dyn Store>>,
}

impl Stores {
    /// No store is open yet. `given` are `KEY=VALUE` and `SCHEME.KEY=VALUE`; `surroundings` are those of the
    /// process.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown key or scheme, one given twice, or a value that makes no sense. No
    /// value is shown that may be a secret.
    pub(crate) fn new(given: &[String], surroundings: Surroundings) -> Result<Self> {
        let settings = given.iter().map(|text| setting(text)).collect::<Result<Vec<_>>>()?;
        let mut seen = BTreeSet::new();
        for Setting { scheme, key, value } in &settings {
            if !seen.insert((scheme, key)) {
                return Err(Error::invalid(format!("option {key} is given twice")));
            }
            StoreOptions::default().add(key, value)?;
            let Some(scheme) = scheme else { continue };
            if KEYS.iter().any(|known| known.name == key && !known.applies_to(scheme)) {
                return Err(Error::invalid(format!("{scheme}.{key}: {scheme}:// has no use for {key}")));
            }
        }
        Ok(Stores { settings, surroundings, state: Mutex::default() })
    }

    /// The same stores, with `operations` seeing what they are asked, and `requests` what their backends then
    /// do. Before any is open.
    pub(crate) fn watched(
        self,
        operations: Option<Arc<dyn Observe>>,
        requests: Option<Arc<dyn Observe>>,
    ) -> Self {
        let mut state = self.state();
        (state.base.caller, state.base.requests) = (operations, requests);
        drop(state);
        self
    }

    /// Uploads in parts to any of them.
    pub(crate) fn uploads(&self) -> Uploads {
        self.state().base.uploads.clone()
    }

    /// Reads a location that was given as text.
    ///
    /// # Errors
    /// As [`StoreOptions::locate`].
    pub(crate) fn locate(&self, text: &str, base: &Path) -> Result<Location> {
        let location = self.state().base.locate(text, base)?;
        self.named(&location);
        Ok(location)
    }

    /// Notes that the command names this location.
    pub(crate) fn named(&self, location: &Location) {
        self.state().schemes.insert(location.scheme().to_owned());
    }

    /// The store behind a location.
    ///
    /// # Errors
    /// As [`forebay_io_open::open`]; `InvalidConfig` for an option that no store of the command has a use for.
    pub(crate) fn at(&self, location: &Location) -> Result<Arc<dyn Store>> {
        let place = (location.scheme().to_owned(), location.host().map(str::to_owned));
        let mut state = self.state();
        if let Some(store) = state.open.get(&place) {
            return Ok(store.clone());
        }
        state.schemes.insert(location.scheme().to_owned());
        let mut options = state.base.clone().with_surroundings(self.surroundings.clone());
        options.seed = rand::random();
        // Later ones win, and those for one scheme come after those for all.
        for scoped in [false, true] {
            for setting in self.settings.iter().filter(|setting| setting.scheme.is_some() == scoped) {
                if setting.is_for(location.scheme()) {
                    options.add(&setting.key, &setting.value)?;
                } else if !state.schemes.iter().any(|scheme| setting.is_for(scheme)) {
                    return Err(setting.useless().at(location));
                }
            }
        }
        let store = open(location, &options)?;
        state.open.insert(place, store.clone());
        Ok(store)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Setting {
    fn is_for(&self, scheme: &str) -> bool {
        self.scheme.as_deref().is_none_or(|own| own == scheme)
            && KEYS.iter().any(|key| key.name == self.key && key.applies_to(scheme))
    }

    fn useless(&self) -> Error {
        let key = KEYS.iter().find(|key| key.name == self.key);
        let schemes = match (&self.scheme, key) {
            (Some(scheme), _) => format!("{scheme}://"),
            (None, key) => key.map(forebay_io_open::Key::schemes_text).unwrap_or_default(),
        };
        Error::invalid(format!("{} is for {schemes}, and no location of the command is one", self.key))
    }
}

/// Reads one `KEY=VALUE` or `SCHEME.KEY=VALUE`.
fn setting(text: &str) -> Result<Setting> {
    // The text may hold a secret, so it is not shown.
    let wrong = |what: String| Error::invalid(format!("--store: {what}"));
    let (name, value) = text.split_once('=').ok_or_else(|| {
        wrong("it is not KEY=VALUE, as in retries=3 or s3.endpoint=http://127.0.0.1:9000".to_owned())
    })?;
    let (scheme, key) = match name.split_once('.') {
        Some((scheme, key)) => (Some(scheme), key),
        None => (None, name),
    };
    if let Some(scheme) = scheme
        && SCHEMES.iter().all(|known| known.name != scheme)
    {
        let schemes = SCHEMES.map(|scheme| scheme.name).join(", ");
        return Err(wrong(format!("scheme {scheme:?} in front of {key} is not known; valid: {schemes}")));
    }
    Ok(Setting { scheme: scheme.map(str::to_owned), key: key.to_owned(), value: value.to_owned() })
}

/// What the keys mean, for `--help`.
pub(crate) fn help() -> StyledStr {
    let mut text =
        "An option of the stores that are used; may be given several times. SCHEME.KEY=VALUE is for \
                    the stores of one scheme alone:"
            .to_owned();
    for key in KEYS.iter() {
        let _ = write!(text, "\n- {key}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn stores(settings: &[&str]) -> Result<Stores> {
        let settings: Vec<_> = settings.iter().map(|text| (*text).to_owned()).collect();
        Stores::new(&settings, Surroundings::new([], || SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn a_store_is_opened_once() {
        let stores = stores(&["threads=1"]).unwrap();
        let at = |text: &str| stores.at(&text.parse().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&at("/a"), &at("file:///b/c")));
    }

    #[test]
    fn an_option_goes_to_the_stores_that_have_a_use_for_it() {
        let base = Path::new("/");
        let stores = stores(&["threads=1", "anonymous=true", "az.account_name=acme", "retries=2"]).unwrap();
        let (file, az) = (stores.locate("/a", base).unwrap(), stores.locate("az://box/b", base).unwrap());
        stores.at(&file).unwrap();
        let shown = format!("{:?}", stores.at(&az).unwrap());
        assert!(shown.contains("acme") && shown.contains("Retrying"), "{shown}");
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for (given, needle) in [
            (&["threads"][..], "KEY=VALUE"),
            (&["gs.account_key=hush"], "\"gs\""),
            (&["thread=1"], "did you mean threads"),
            (&["retries=1", "retries=2"], "given twice"),
            (&["file.account_key=hush"], "no use for account_key"),
        ] {
            let error = stores(given).unwrap_err().to_string();
            assert!(error.contains(needle) && !error.contains("hush"), "{error}");
        }
        let stores = stores(&["account_key=aHVzaA=="]).unwrap();
        let error = stores.at(&"file:///a".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("az://, https://") && !error.contains("aHVz"), "{error}");
    }
}
