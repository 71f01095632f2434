//! Files that stay open from one batch to the next: shards, of which each batch reads a few samples.
//!
//! Only for ranges that are pinned to a version: a file that is kept is looked at again before each read,
//! and one that was written to, replaced, renamed or deleted since has another version (its change time
//! is another), so it is opened anew by its name. All are closed when no batch is under way, so that
//! nobody wonders where the space of deleted files is.

use forebay_io::{Location, PageCacheMode};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More would save little: to open a file takes about as long as to read 16 KiB of it.
const MOST: usize = 1024;

/// The files that are kept.
#[derive(Debug)]
pub(crate) struct KeptFiles {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By what was advised, because the kernel remembers it with the open file.
    files: HashMap<PageCacheMode, HashMap<Location, Kept>>,
    count: usize,
    /// Counts uses.
    clock: u64,
    /// Batches under way.
    batches: usize,
}

#[derive(Debug)]
struct Kept {
    fd: Arc<OwnedFd>,
    used: u64,
}

impl KeptFiles {
    /// An eighth of what the process may open, at most.
    pub(crate) fn new() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(limit / 8).unwrap_or(MOST).min(MOST);
        KeptFiles { most, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is under way until the answer is dropped.
    pub(crate) fn begin(&self) -> Batch<'_> {
        self.state().batches += 1;
        Batch(self)
    }

    /// The open file, if it is kept.
    pub(crate) fn find(&self, mode: PageCacheMode, location: &Location) -> Option<Arc<OwnedFd>> {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let kept = state.files.get_mut(&mode)?.get_mut(location)?;
        kept.used = now;
        Some(kept.fd.clone())
    }

    /// Keeps a file, in the place of the one that was not used for longest.
    pub(crate) fn keep(&self, mode: PageCacheMode, location: &Location, fd: &Arc<OwnedFd>) {
        let mut state = self.state();
        if state.batches == 0 || self.most == 0 {
            return;
        }
        let gone = if state.count >= self.most { state.evict() } else { None };
        state.clock += 1;
        let kept = Kept { fd: fd.clone(), used: state.clock };
        let before = state.files.entry(mode).or_default().insert(location.clone(), kept);
        state.count += usize::from(before.is_none());
        drop(state);
        // Closed outside the lock.
        drop((gone, before));
    }

    /// Does not keep it any longer.
    pub(crate) fn forget(&self, mode: PageCacheMode, location: &Location) {
        let mut state = self.state();
        let gone = state.files.get_mut(&mode).and_then(|files| files.remove(location));
        state.count -= usize::from(gone.is_some());
        drop(state);
        drop(gone);
    }
}

impl State {
    fn evict(&mut self) -> Option<Kept> {
        let oldest = self.files.iter().flat_map(|(mode, files)| files.iter().map(move |f| (*mode, f)));
        let (mode, location) =
            oldest.min_by_key(|(_, (_, kept))| kept.used).map(|(mode, (at, _))| (mode, at.clone()))?;
        self.count -= 1;
        self.files.get_mut(&mode)?.remove(&location)
    }
}

/// See [`KeptFiles::begin`].
pub(crate) struct Batch<'a>(&'a KeptFiles);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.batches -= 1;
        if state.batches == 0 && state.count > 0 {
            state.count = 0;
            let gone = std::mem::take(&mut state.files);
            drop(state);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn the_one_unused_for_longest_goes_and_all_go_with_the_last_batch() {
        let kept = KeptFiles { most: 2, state: Mutex::default() };
        let mode = PageCacheMode::Default;
        let at = ["file:///a", "file:///b", "file:///c"].map(|text| text.parse::<Location>().unwrap());
        let there = || at.each_ref().map(|location| kept.find(mode, location).is_some());
        kept.keep(mode, &at[0], &file());
        assert_eq!(there(), [false; 3], "no batch is under way");
        let batches = (kept.begin(), kept.begin());
        kept.keep(mode, &at[0], &file());
        kept.keep(mode, &at[1], &file());
        kept.find(mode, &at[0]);
        kept.keep(mode, &at[2], &file());
        assert_eq!(there(), [true, false, true]);
        assert!(kept.find(PageCacheMode::FadviseRandom, &at[0]).is_none(), "advised otherwise");
        kept.forget(mode, &at[0]);
        assert_eq!(there(), [false, false, true]);
        drop(batches.0);
        assert_eq!(there(), [false, false, true]);
        drop(batches.1);
        assert_eq!(there(), [false; 3]);
        assert_eq!(kept.state().count, 0);
    }
}
