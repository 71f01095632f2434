//! What was said about `direct://`: read by the backend's own options, which say what is valid.

use crate::StoreOptions;
use crate::key::{Key, Text};
use forebay_io::{Error, Result};
use forebay_io_direct::{DirectOptions, Engine};
use std::collections::BTreeMap;

/// Options of `direct://` that were set, as text that was found valid. Set through
/// [`StoreOptions`](crate::StoreOptions).
#[derive(Debug, Clone, Default)]
pub struct Direct {
    values: BTreeMap<String, String>,
}

impl Direct {
    fn set(&mut self, text: Text<'_>) -> Result<()> {
        DirectOptions::default().set(text.key, text.value)?;
        self.values.insert(text.key.to_owned(), text.value.to_owned());
        Ok(())
    }

    /// Whether an option was said.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// All of them for the backend.
    pub(crate) fn options(&self, options: &StoreOptions) -> Result<DirectOptions> {
        let mut direct = DirectOptions {
            threads: options.threads,
            observer: options.is_observed().then(|| options.attempts("direct")),
            ..DirectOptions::default()
        };
        for (key, value) in &self.values {
            direct.set(key, value)?;
        }
        for (useless, keys, otherwise) in [
            (!direct.direct_io, &["alignment", "min_io_size"], "direct_io=false, which aligns nothing"),
            (
                direct.engine == Engine::Threads,
                &["queue_depth", "register_buffers"],
                "io_engine=threads, which has no ring",
            ),
        ] {
            if let Some(key) = keys.iter().find(|key| useless && self.has(key)) {
                return Err(Error::invalid(format!(
                    "{key} has no meaning with {otherwise}; leave one of them out"
                )));
            }
        }
        Ok(direct)
    }
}

/// Their rows in the table of options.
pub(crate) fn rows() -> impl Iterator<Item = Key> {
    forebay_io_direct::KEYS.into_iter().map(|(name, about)| Key {
        name,
        about,
        schemes: &["direct"],
        set: |options, text| options.direct.set(text),
        given: |_| false,
    })
}
