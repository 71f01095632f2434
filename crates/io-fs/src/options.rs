//! How an [`FsStore`](crate::FsStore) is set up.

use forebay_io::{Error, Result};
use std::num::NonZeroU32;

/// Options of an [`FsStore`](crate::FsStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsOptions {
    /// Threads that make system calls, from 1 to [`FsOptions::MAX_THREADS`]. Each can wait for the
    /// device on its own, so more of them than cores only help where reads are slow to come back: as
    /// long as files come out of the page cache, no more than one a core reads.
    pub threads: usize,
    /// Before about one in so many reads, a store with an observer looks for what of it is in the page cache
    /// and tells ([`Event::PageCache`](forebay_io::Event)); 1 is before each. None, or without an observer: never.
    pub page_cache_sampling: Option<NonZeroU32>,
}

impl FsOptions {
    /// To look takes about 1 us a small file, beside 5 us and more that the file itself takes: one in 32 is
    /// less than one percent, and a thousand reads still tell the part in the cache to within a tenth.
    pub const PAGE_CACHE_SAMPLING: NonZeroU32 = NonZeroU32::new(32).expect("is not 0");

    /// More threads than this wait for each other, not for a device.
    pub const MAX_THREADS: usize = 1024;

    pub(crate) fn check(self) -> Result<Self> {
        if self.threads == 0 || self.threads > Self::MAX_THREADS {
            return Err(Error::invalid(format!(
                "threads must be from 1 to {}, is {}",
                Self::MAX_THREADS,
                self.threads
            )));
        }
        Ok(self)
    }
}

impl Default for FsOptions {
    /// As many threads as there are cores, and at least 4: cached, more than one a core gain nothing;
    /// cold, two cores need four to keep a device busy (`docs/decisions/fs-reads.md`).
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        FsOptions {
            threads: cores.clamp(4, Self::MAX_THREADS),
            page_cache_sampling: Some(Self::PAGE_CACHE_SAMPLING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_thread_counts_are_named() {
        for threads in [0, FsOptions::MAX_THREADS + 1] {
            let error = FsOptions { threads, ..FsOptions::default() }.check().unwrap_err().to_string();
            assert!(error.contains("from 1 to 1024") && error.ends_with(&format!("is {threads}")), "{error}");
        }
        assert!(FsOptions::default().check().is_ok());
    }
}
