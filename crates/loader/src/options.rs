//! How a dataset is read.

use crate::choice::{CachePolicy, Collate, LoadingMode, ReaderMode, Remainder, StartMethod, Wish};
use crate::option_table::OPTIONS;
use crate::{IndexMode, OnError, OptionInfo, Preset};
use forebay_io::{Error, PageCacheMode, Result};
use serde_json::{Map, Value};
use std::num::NonZeroU64;
use std::time::Duration;

/// How large a request is with `reader_mode=range` where nobody says it: large enough that a service's
/// latency is small against its transfer, small enough that a sample of some tens of MiB is several.
const RANGE_BYTES: NonZeroU64 = NonZeroU64::new(4 << 20).expect("is not 0");

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
    /// How far a shuffle carries a sample; none for anywhere.
    pub shuffle_window: Option<NonZeroU64>,
    /// Whether samples are drawn with replacement instead of visited once.
    pub random_index_mode: IndexMode,
    /// What the order is drawn from.
    pub seed: u64,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// Which part of the dataset this process reads.
    pub shard_rank: usize,
    /// How many parts there are.
    pub shard_world_size: usize,
    /// What becomes of the samples that do not divide evenly among the parts.
    pub shard_remainder: Remainder,
    /// In which order batches are delivered, and when the first can be.
    pub loading_mode: LoadingMode,
    /// How the bytes of a sample are asked for.
    pub reader_mode: ReaderMode,
    /// About how large a request to the storage is; none for what the store finds best.
    pub target_request_bytes: Option<NonZeroU64>,
    /// The hard cap on bytes that are arriving or waiting.
    pub max_bytes_in_flight: u64,
    /// What is done to the page cache.
    pub page_cache_mode: PageCacheMode,
    /// What a sample that cannot be had does.
    pub on_error: OnError,
    /// How often a failed read is tried again; none for what the store was opened with.
    pub retries: Option<u32>,
    /// The longest that a batch may take to be read, tries and pauses included.
    pub deadline: Option<Duration>,
    /// The longest that the consumer waits for a batch.
    pub timeout: Option<Duration>,
    /// Whether what an epoch used is kept for the next.
    pub persistent_workers: bool,
    /// How the samples of a batch are handed to an array library.
    pub collate: Collate,
    /// Whether batches are put into page-locked memory.
    pub pin_memory: Wish,
    /// Whether copies to a device are only begun.
    pub non_blocking: Wish,
    /// How worker processes are started, of which there are none.
    pub multiprocessing_context: Option<StartMethod>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 32,
            num_workers: 8,
            prefetch: 4,
            shuffle: false,
            shuffle_window: None,
            random_index_mode: IndexMode::None,
            seed: 0,
            drop_last: false,
            shard_rank: 0,
            shard_world_size: 1,
            shard_remainder: Remainder::Uneven,
            loading_mode: LoadingMode::Ordered,
            reader_mode: ReaderMode::Sequential,
            target_request_bytes: None,
            max_bytes_in_flight: 1 << 30,
            page_cache_mode: PageCacheMode::Default,
            on_error: OnError::Raise,
            retries: None,
            deadline: None,
            timeout: None,
            persistent_workers: true,
            collate: Collate::Auto,
            pin_memory: Wish::No,
            non_blocking: Wish::No,
            multiprocessing_context: None,
        }
    }
}

impl LoaderOptions {
    /// In completion order, at most so many batches may be under way and waiting together: each may be
    /// overtaken, and a state names those that were. This many fit into a kilobyte.
    pub const MOST_OVERTAKEN: usize = 128;

    /// How large requests to the storage are to be, where that is said.
    pub(crate) fn request_bytes(&self) -> Option<NonZeroU64> {
        match self.reader_mode {
            ReaderMode::Range => Some(self.target_request_bytes.unwrap_or(RANGE_BYTES)),
            ReaderMode::Sequential | ReaderMode::Mmap => self.target_request_bytes,
        }
    }

    /// Options from names and values, as a dict or a JSON object has them. What is not named keeps
    /// its default, or what a `preset` among them says.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown name (with the nearest known one), a value that is not valid, or
    /// two that contradict each other.
    pub fn from_json(map: &Map<String, Value>) -> Result<Self> {
        let mut options = match map.get(Preset::KEY) {
            None | Some(Value::Null) => LoaderOptions::default(),
            Some(Value::String(name)) => Preset::find(name)?.options()?,
            Some(other) => Preset::find(&other.to_string())?.options()?,
        };
        let given = map.iter().filter(|(name, _)| *name != Preset::KEY);
        let given = given.map(|(name, value)| Ok((OptionInfo::find(name)?, value.clone())));
        options.set_all(&given.collect::<Result<Vec<_>>>()?)?;
        options.validate()?;
        Ok(options)
    }

    /// Options from names and texts, as they stand on a command line, over those that are `base`.
    ///
    /// # Errors
    /// As [`LoaderOptions::from_json`].
    pub fn from_texts<'a>(base: Self, given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut options = base;
        let read = |(name, text): (&str, &str)| {
            let option = OptionInfo::find(name)?;
            Ok((option, option.read_text(text)?))
        };
        options.set_all(&given.into_iter().map(read).collect::<Result<Vec<_>>>()?)?;
        options.validate()?;
        Ok(options)
    }

    /// Every option by name. Spellings of the same option are left out.
    pub fn to_json(&self) -> Map<String, Value> {
        let options = OPTIONS.iter().filter(|option| option.spells.is_none());
        options.map(|option| (option.name.to_owned(), option.get(self))).collect()
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

    fn set_all(&mut self, given: &[(&'static OptionInfo, Value)]) -> Result<()> {
        for (option, value) in given {
            option.set(self, value)?;
        }
        // Two spellings of one option: the later one has won by now, if they differ.
        let alone = |option: &OptionInfo, value: &Value, seen: &OptionInfo| {
            let mut options = LoaderOptions::default();
            option.set(&mut options, value).map(|()| seen.get(&options))
        };
        for (option, value) in given {
            let same = given.iter().find(|(other, _)| Some(other.name) == option.spells);
            let Some((spelt, other)) = same.filter(|_| !value.is_null()) else { continue };
            if alone(option, value, spelt)? != alone(spelt, other, spelt)? {
                return Err(Error::invalid(format!(
                    "{}={value} and {}={other} contradict each other: they are two spellings of one option; \
                     give one of them",
                    option.name, spelt.name
                )));
            }
        }
        Ok(())
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
        if let (Some(window), false) = (self.shuffle_window, self.shuffle) {
            return Err(Error::invalid(format!(
                "shuffle_window={window} says how far shuffle=true carries a sample, but shuffle is false"
            )));
        }
        if self.random_index_mode != IndexMode::None && self.shuffle {
            return Err(Error::invalid(format!(
                "random_index_mode={} draws samples at random and has no order that shuffle=true could change; \
                 give one of them",
                self.random_index_mode
            )));
        }
        if let (ReaderMode::Mmap, Some(target)) = (self.reader_mode, self.target_request_bytes) {
            return Err(Error::invalid(format!(
                "reader_mode=mmap has page faults and no requests that target_request_bytes={target} could size; \
                 leave it out, or give reader_mode=range"
            )));
        }
        if self.reader_mode == ReaderMode::Mmap && self.page_cache_mode == PageCacheMode::DirectIO {
            return Err(Error::invalid(
                "reader_mode=mmap reads through the page cache, which page_cache_mode=direct_io goes past; give one \
                 of them",
            ));
        }
        let under_way = self.num_workers.saturating_add(self.prefetch);
        if self.loading_mode == LoadingMode::Completion && under_way > Self::MOST_OVERTAKEN {
            return Err(Error::invalid(format!(
                "loading_mode=completion needs num_workers + prefetch to be {} at most, so that a state can name \
                 the batches that were overtaken; they are {} + {}",
                Self::MOST_OVERTAKEN,
                self.num_workers,
                self.prefetch
            )));
        }
        Ok(())
    }

    /// What `page_cache_mode` is in the frameworks' words, which lack one for `dont_need`.
    pub fn cache_policy(&self) -> Option<CachePolicy> {
        match self.page_cache_mode {
            PageCacheMode::Default => Some(CachePolicy::Default),
            PageCacheMode::FadviseSequential => Some(CachePolicy::Sequential),
            PageCacheMode::FadviseRandom => Some(CachePolicy::Random),
            PageCacheMode::DirectIO => Some(CachePolicy::Direct),
            PageCacheMode::DontNeed => None,
        }
    }
}

impl From<CachePolicy> for PageCacheMode {
    fn from(policy: CachePolicy) -> Self {
        match policy {
            CachePolicy::Default => PageCacheMode::Default,
            CachePolicy::Sequential => PageCacheMode::FadviseSequential,
            CachePolicy::Random => PageCacheMode::FadviseRandom,
            CachePolicy::Direct => PageCacheMode::DirectIO,
        }
    }
}
