//! How a reader means to use a file, and what the page cache is told about it.

use std::fmt;
use std::str::FromStr;

/// A hint: a store may ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Access {
    /// Front to back.
    #[default]
    Sequential,
    /// Ranges in no order.
    Random,
    /// Read once and not again soon.
    Once,
}

/// Page-cache policy: obeyed or refused, never silently dropped. What was used is reported in
/// [`Served::cache`](crate::Served).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PageCacheMode {
    /// Whatever the kernel does by itself.
    #[default]
    Default,
    /// `posix_fadvise(SEQUENTIAL)` on each file before it is read: larger read-ahead.
    FadviseSequential,
    /// `posix_fadvise(RANDOM)` on each file before it is read: no read-ahead.
    FadviseRandom,
    /// `posix_fadvise(DONTNEED)` on each file after it is read: its clean pages leave the cache.
    DontNeed,
    /// Past the page cache (`O_DIRECT`).
    DirectIO,
}

impl PageCacheMode {
    /// Every mode, in a fixed order.
    pub const ALL: [PageCacheMode; 5] = [
        PageCacheMode::Default,
        PageCacheMode::FadviseSequential,
        PageCacheMode::FadviseRandom,
        PageCacheMode::DontNeed,
        PageCacheMode::DirectIO,
    ];

    /// The spelling in options, reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            PageCacheMode::Default => "default",
            PageCacheMode::FadviseSequential => "fadvise_sequential",
            PageCacheMode::FadviseRandom => "fadvise_random",
            PageCacheMode::DontNeed => "dont_need",
            PageCacheMode::DirectIO => "direct_io",
        }
    }
}

impl fmt::Display for PageCacheMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PageCacheMode {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        PageCacheMode::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| {
            let names: Vec<_> = PageCacheMode::ALL.iter().map(|m| m.name()).collect();
            crate::Error::invalid(format!("page_cache_mode {text:?} is not one of {}", names.join(", ")))
        })
    }
}

/// By which way the bytes of a file come out of the page cache: obeyed or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Through {
    /// System calls that read.
    #[default]
    Calls,
    /// A mapping of the file: each page is faulted in as it is touched, and `page_cache` is told to the kernel by
    /// `madvise` too. A file that shrinks meanwhile is the error that it is with calls.
    Mapping,
}

/// What was really done to the page cache for one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CacheUse {
    /// The store has no page cache of ours (memory, network).
    #[default]
    NotApplicable,
    /// This mode was applied: the call was made for this file and the kernel took it.
    Applied(PageCacheMode),
    /// Read through the page cache, which kept nothing of it (`RWF_DONTCACHE`): what comes closest to
    /// going past it where that is not possible.
    Uncached,
}
