//! What a caller may say about a store beside its location, and how that is written as text.

use crate::direct::Direct;
use crate::key::Text;
use crate::nearest::did_you_mean;
use crate::services::Services;
use crate::{Choice, KEYS, LayerOptions};
use forebay_io::layer::Limits;
use forebay_io::{Error, Location, MemoryStore, Observe, OfScheme, Result, Unobserved};
use forebay_io_az::TokenSource;
use forebay_io_fs::FsStore;
use forebay_io_object::{Surroundings, Uploads};
use forebay_io_s3::CredentialProvider;
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

/// Options of [`open`](crate::open). The default asks for the bare backend.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// Threads that make system calls. Of `file://` and `direct://` only; where nothing is said, its own default.
    pub threads: Option<usize>,
    /// Before about one in so many reads of `file://`, what of it is in the page cache is looked for.
    pub page_cache_sampling: Option<Choice<NonZeroU32>>,
    /// How often a failed operation is tried again. Where nothing is said, the scheme's default
    /// ([`Scheme::retries`](crate::Scheme)).
    pub retries: Option<u32>,
    /// Limits of concurrency and bytes per second.
    pub limits: Limits,
    /// Sees what the backend is asked, each attempt apart.
    pub device: Option<Arc<dyn Observe>>,
    /// Sees what the caller asks, retries and waits for limits included, and hears of each retry.
    pub caller: Option<Arc<dyn Observe>>,
    /// Hears of each request that the backend makes, and of retries and what else the layers do about trouble,
    /// in place of the two above; of operations it hears nothing. For who counts those elsewhere.
    pub requests: Option<Arc<dyn Observe>>,
    /// A store of files whose threads this one shares, unless `threads` asks for some of its own. Of `file://`.
    pub files: Option<FsStore>,
    /// The store behind `mem://`.
    pub memory: Option<MemoryStore>,
    /// What was said about `direct://`.
    pub direct: Direct,
    /// What was said about layers: retries' budget, deadlines, breakers, hedges, endpoints.
    pub layers: LayerOptions,
    /// Where chance comes from (the spread of pauses, the choice of endpoints). Each process should have a
    /// seed of its own, or many that fail at one moment try again at one moment.
    pub seed: u64,
    /// Counts uploads in parts while they are open, for a program that is about to end.
    pub uploads: Uploads,
    /// What was said about services over HTTP.
    pub services: Services,
}

impl StoreOptions {
    /// Options from keys and values, as they stand in a command line, a URI or a dictionary.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown key (naming the nearest and all), a key that is given twice, and
    /// a bad value (naming it and what would be valid).
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut options = StoreOptions::default();
        let mut seen = BTreeSet::new();
        for (key, value) in pairs {
            if !seen.insert(key) {
                return Err(Error::invalid(format!("option {key} is given twice")));
            }
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            let mean = did_you_mean(name, names.iter().copied());
            let all = names.join(", ");
            return Err(Error::invalid(format!("option {name:?} is not known; {mean}valid: {all}")));
        };
        (key.set)(self, Text { key: name, value })
    }

    /// Sets one option, as [`StoreOptions::parse`] does for all.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown key and a bad value.
    pub fn add(&mut self, key: &str, value: &str) -> Result<()> {
        self.set(key, value)
    }

    /// Environment and clock of the process, where services look for what the options leave open
    /// (`AWS_*`, `AZURE_*`). Without them nothing is looked for.
    #[must_use]
    pub fn with_surroundings(mut self, surroundings: Surroundings) -> Self {
        self.services.surroundings = Some(surroundings);
        self
    }

    /// Where tokens for Azure come from, if the program has a way of its own.
    #[must_use]
    pub fn with_az_tokens(mut self, tokens: Arc<dyn TokenSource>) -> Self {
        self.services.az_tokens = Some(tokens);
        self
    }

    /// Where credentials for S3 come from, if the program has a way of its own.
    #[must_use]
    pub fn with_s3_credentials(mut self, credentials: Arc<dyn CredentialProvider>) -> Self {
        self.services.s3_credentials = Some(credentials);
        self
    }

    /// Reads a location that a person gave: as [`Location::parse`], and a signature that stands in the query
    /// of an `https://` URL is taken out of it and kept for the store of that container.
    ///
    /// # Errors
    /// `InvalidConfig`, never showing a query.
    pub fn locate(&mut self, text: &str, base: &Path) -> Result<Location> {
        self.services.locate(text, base)
    }

    /// Refuses what the scheme has no use for.
    pub(crate) fn check(&self, scheme: &str) -> Result<()> {
        match KEYS.iter().find(|key| key.is_given(self) && !key.applies_to(scheme)) {
            Some(key) => {
                let (name, schemes) = (key.name, key.schemes_text());
                Err(Error::invalid(format!(
                    "{name} is an option of {schemes}; {scheme}:// has no use for it"
                )))
            }
            None => Ok(()),
        }
    }

    /// Who hears of each request that a backend makes: who asked for just that, else whoever watches the
    /// device, else the caller's observer; told that they are of this scheme. For the construction of backends.
    pub fn attempts(&self, scheme: &str) -> Arc<dyn Observe> {
        first(scheme, [&self.requests, &self.device, &self.caller])
    }

    /// Whether somebody hears of them.
    pub(crate) fn is_observed(&self) -> bool {
        self.requests.is_some() || self.device.is_some() || self.caller.is_some()
    }

    /// Who hears of retries and what else the layers do about trouble.
    pub(crate) fn events(&self, scheme: &str) -> Arc<dyn Observe> {
        first(scheme, [&self.requests, &self.caller, &self.device])
    }
}

/// The first of them that is there, who is told of whose stores it hears.
fn first(scheme: &str, observers: [&Option<Arc<dyn Observe>>; 3]) -> Arc<dyn Observe> {
    match observers.into_iter().flatten().next() {
        Some(observer) => Arc::new(OfScheme::new(scheme, observer.clone())),
        None => Arc::new(Unobserved),
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("threads", &self.threads)
            .field("page_cache_sampling", &self.page_cache_sampling)
            .field("retries", &self.retries)
            .field("limits", &self.limits)
            .field("device", &self.device.is_some())
            .field("caller", &self.caller.is_some())
            .field("requests", &self.requests.is_some())
            .field("files", &self.files)
            .field("memory", &self.memory)
            .field("direct", &self.direct)
            .field("layers", &self.layers)
            .field("uploads", &self.uploads)
            .field("services", &self.services)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood() {
        let options = StoreOptions::parse([
            ("threads", "3"),
            ("retries", "0"),
            ("limit_concurrency", "16"),
            ("limit_bytes_per_second", "1KiB"),
        ])
        .unwrap();
        assert_eq!((options.threads, options.retries), (Some(3), Some(0)));
        assert_eq!(options.limits.concurrency.map(u32::from), Some(16));
        assert_eq!(options.limits.bytes_per_second.map(u64::from), Some(1024));
        let mut said = StoreOptions::default();
        for key in KEYS.iter() {
            assert!(!key.is_given(&said), "{key:?}");
            // One of these is good for each.
            let values = ["7", "7s", "true", "all", "object-store", "4096", "auto", "0.5"];
            assert!(values.iter().any(|value| said.add(key.name, value).is_ok()), "{key:?}");
            assert!(key.is_given(&said), "{key:?}");
        }
    }

    #[test]
    fn bad_keys_and_values_are_refused_by_name() {
        for (key, value, needle) in [
            ("thread", "3", "did you mean threads?"),
            ("colour", "red", "valid: threads, page_cache_sampling, retries, "),
            ("threads", "0", "1 or more; it is \"0\""),
            ("threads", "-1", "\"-1\""),
            ("threads", "many", "\"many\""),
            ("retries", "4294967296", "\"4294967296\""),
            ("limit_concurrency", "0", "1 or more"),
            ("limit_bytes_per_second", "0", "leave it out"),
            ("limit_bytes_per_second", "fast", "limit_bytes_per_second"),
        ] {
            let error = StoreOptions::parse([(key, value)]).unwrap_err();
            assert!(error.to_string().contains(needle), "{key}={value}: {error}");
        }
        let twice = StoreOptions::parse([("retries", "1"), ("retries", "2")]).unwrap_err();
        assert!(twice.to_string().contains("retries is given twice"), "{twice}");
    }
}
