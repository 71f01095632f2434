//! What a caller may say about a store beside its location, and how that is written as text.

use crate::nearest::did_you_mean;
use forebay_io::layer::Limits;
use forebay_io::{Error, MemoryStore, Observe, Result, parse_size};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::sync::Arc;

/// The options that can be given as text, each with what it means.
pub const KEYS: [(&str, &str); 4] = [
    ("threads", "threads that make system calls (file:// only)"),
    ("retries", "how often a failed operation is tried again; 0 for never"),
    ("limit_concurrency", "the most operations in flight"),
    ("limit_bytes_per_second", "the most bytes moved in a second, as 500MB or 1GiB"),
];

/// Options of [`open`](crate::open). The default asks for the bare backend.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// Threads that make system calls. Of `file://` only; where nothing is said, its own default.
    pub threads: Option<usize>,
    /// How often a failed operation is tried again. Where nothing is said, the scheme's default
    /// ([`Scheme::retries`](crate::Scheme)).
    pub retries: Option<u32>,
    /// Limits of concurrency and bytes per second.
    pub limits: Limits,
    /// Sees what the backend is asked, each attempt apart.
    pub device: Option<Arc<dyn Observe>>,
    /// Sees what the caller asks, retries and waits for limits included, and hears of each retry.
    pub caller: Option<Arc<dyn Observe>>,
    /// The store behind `mem://`.
    pub memory: Option<MemoryStore>,
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

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "threads" => self.threads = Some(number(key, value, "1 or more", |&n: &usize| n > 0)?),
            "retries" => self.retries = Some(number(key, value, "0 or more", |_: &u32| true)?),
            "limit_concurrency" => {
                self.limits.concurrency = Some(number(key, value, "1 or more", |_: &NonZeroU32| true)?);
            }
            "limit_bytes_per_second" => {
                let bytes = parse_size(value).map_err(|e| e.context(key))?;
                let bytes = NonZeroU64::new(bytes).ok_or_else(|| {
                    Error::invalid(format!("{key} must be 1 or more, is 0; leave it out for no limit"))
                })?;
                self.limits.bytes_per_second = Some(bytes);
            }
            _ => {
                let names = KEYS.map(|(name, _)| name);
                let mean = did_you_mean(key, names);
                return Err(Error::invalid(format!(
                    "option {key:?} is not known; {mean}valid: {}",
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }
}

fn number<T: FromStr>(key: &str, value: &str, valid: &str, check: impl Fn(&T) -> bool) -> Result<T> {
    let parsed = value.parse().ok().filter(check);
    parsed.ok_or_else(|| Error::invalid(format!("{key} must be a whole number, {valid}; it is {value:?}")))
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("threads", &self.threads)
            .field("retries", &self.retries)
            .field("limits", &self.limits)
            .field("device", &self.device.is_some())
            .field("caller", &self.caller.is_some())
            .field("memory", &self.memory)
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
        for (key, _) in KEYS {
            assert!(StoreOptions::parse([(key, "7")]).is_ok(), "{key}");
        }
    }

    #[test]
    fn bad_keys_and_values_are_refused_by_name() {
        for (key, value, needle) in [
            ("thread", "3", "did you mean threads?"),
            ("colour", "red", "valid: threads, retries, limit_concurrency, limit_bytes_per_second"),
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
