//! How a dataset is read.

use crate::option_table::{OPTIONS, OptionInfo};
use forebay_io::{Error, PageCacheMode, Result};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// In which order batches reach the consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeliveryOrder {
    /// In the order of the sampler, though reads complete out of order: reproducible.
    #[default]
    Ordered,
    /// As batches complete. What a batch holds is the same; which comes first is not.
    Completion,
}

impl DeliveryOrder {
    /// The spelling in options.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryOrder::Ordered => "ordered",
            DeliveryOrder::Completion => "completion",
        }
    }
}

impl FromStr for DeliveryOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ordered" => Ok(DeliveryOrder::Ordered),
            "completion" => Ok(DeliveryOrder::Completion),
            _ => Err(Error::invalid(format!("order {text:?} is not one of ordered, completion"))),
        }
    }
}

impl fmt::Display for DeliveryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The options of a loader. What each means, its unit, range and default is in [`OPTIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Samples in a batch.
    pub batch_size: usize,
    /// Batches that are read at the same time.
    pub num_workers: usize,
    /// Finished batches that may wait for the consumer.
    pub prefetch: usize,
    /// Whether each epoch has a random order of its own.
    pub shuffle: bool,
    /// What the order is drawn from.
    pub seed: u64,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// Which part of the dataset this process reads.
    pub shard_rank: usize,
    /// How many parts there are.
    pub shard_world_size: usize,
    /// The hard cap on bytes that are arriving or waiting.
    pub max_bytes_in_flight: u64,
    /// What is done to the page cache.
    pub page_cache_mode: PageCacheMode,
    /// In which order batches are delivered.
    pub order: DeliveryOrder,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 32,
            num_workers: 8,
            prefetch: 4,
            shuffle: false,
            seed: 0,
            drop_last: false,
            shard_rank: 0,
            shard_world_size: 1,
            max_bytes_in_flight: 1 << 30,
            page_cache_mode: PageCacheMode::Default,
            order: DeliveryOrder::Ordered,
        }
    }
}

impl LoaderOptions {
    /// Options from names and values, as a dict or a JSON object has them. What is not named keeps
    /// its default.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown name (with the nearest known one) or a value that is not valid.
    pub fn from_json(map: &Map<String, Value>) -> Result<Self> {
        let mut options = LoaderOptions::default();
        for (name, value) in map {
            options.set(name, value)?;
        }
        options.validate()?;
        Ok(options)
    }

    /// Every option by name.
    pub fn to_json(&self) -> Map<String, Value> {
        OPTIONS.iter().map(|option| (option.name.to_owned(), option.get(self))).collect()
    }

    /// Sets one option by name. Sizes may be numbers of bytes or texts such as `"64MiB"`.
    ///
    /// # Errors
    /// As [`LoaderOptions::from_json`]. Options that only together make no sense are found by
    /// [`LoaderOptions::validate`].
    pub fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        OptionInfo::find(name)?.set(self, value)
    }

    /// Sets one option by name, from text as it stands on a command line.
    ///
    /// # Errors
    /// As [`LoaderOptions::set`].
    pub fn set_text(&mut self, name: &str, text: &str) -> Result<()> {
        let option = OptionInfo::find(name)?;
        let value = option.read_text(text)?;
        option.set(self, &value)
    }

    /// Checks every value, also those that were set by field, and what only makes sense together.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option, its value and what would be valid.
    pub fn validate(&self) -> Result<()> {
        for option in OPTIONS {
            option.check(&option.get(self))?;
        }
        if self.shard_rank >= self.shard_world_size {
            return Err(Error::invalid(format!(
                "shard_rank must be from 0 to {}, because shard_world_size is {}, is {}",
                self.shard_world_size.saturating_sub(1),
                self.shard_world_size,
                self.shard_rank
            )));
        }
        Ok(())
    }
}
