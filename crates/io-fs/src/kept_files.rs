//! Files that stay open from one batch to the next: shards, of which each batch reads a few samples.
//!
//! Only for ranges that are pinned to a version: a file that is kept is looked at again before each read,
//! and one that was written to, replaced, renamed or deleted since has another version (its change time
//! is another), so it is opened anew by its name. All are closed when no batch is under way, so that
//! nobody wonders where the space of deleted files is.

use crate::version::Stamp;
use forebay_io::{GetRequest, Location, PageCacheMode, Version};
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
    file: Arc<KeptFile>,
    used: u64,
    /// In which look for several it was found last, and as which of them.
    found: (u64, usize),
}

/// An open file, and which version of it was opened.
#[derive(Debug)]
pub(crate) struct KeptFile {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) version: Version,
    /// The same in numbers: that a file still is what it was is asked for each batch that reads of it.
    pub(crate) stamp: Stamp,
}

/// What a look for the file of one of several requests came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is not kept, or not of the version that is asked for.
    No,
    First(Arc<KeptFile>),
    /// The same as that of an earlier one of the requests.
    Same(usize),
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

    /// The open files of ranges that are pinned to a version, if they are kept. The lock is taken once for all.
    pub(crate) fn find(&self, mode: PageCacheMode, requests: &[GetRequest]) -> Vec<Found> {
        if !requests.iter().any(is_pinned) {
            return requests.iter().map(|_| Found::No).collect();
        }
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let Some(files) = state.files.get_mut(&mode) else {
            return requests.iter().map(|_| Found::No).collect();
        };
        let mut find = |(index, request): (usize, &GetRequest)| {
            let Some(wanted) = request.if_version.as_ref().filter(|_| is_pinned(request)) else {
                return Found::No;
            };
            match files.get_mut(&request.location) {
                Some(kept) if kept.file.version == *wanted => {
                    kept.used = now;
                    if kept.found.0 == now {
                        return Found::Same(kept.found.1);
                    }
                    kept.found = (now, index);
                    Found::First(kept.file.clone())
                }
                _ => Found::No,
            }
        };
        requests.iter().enumerate().map(&mut find).collect()
    }

    /// Keeps a file, in the place of the one that was not used for longest.
    pub(crate) fn keep(&self, mode: PageCacheMode, location: &Location, file: &Arc<KeptFile>) {
        let mut state = self.state();
        if state.batches == 0 || self.most == 0 {
            return;
        }
        let gone = if state.count >= self.most { state.evict() } else { None };
        state.clock += 1;
        let kept = Kept { file: file.clone(), used: state.clock, found: (0, 0) };
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

/// Whether a request is for a range of one version of a file. Only those are kept open.
pub(crate) fn is_pinned(request: &GetRequest) -> bool {
    request.range.is_some() && request.if_version.is_some()
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

    fn file() -> Arc<KeptFile> {
        let file = std::fs::File::open("/dev/null").unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let (version, stamp) = (crate::version::version_of(&stat), Stamp::of(&stat));
        Arc::new(KeptFile { fd: Arc::new(file.into()), version, stamp })
    }

    fn request(location: &Location) -> GetRequest {
        let if_version = Some(file().version.clone());
        GetRequest { range: Some(0..1), if_version, ..GetRequest::whole(location.clone(), 0) }
    }

    #[test]
    fn the_one_unused_for_longest_goes_and_all_go_with_the_last_batch() {
        let kept = KeptFiles { most: 2, state: Mutex::default() };
        let mode = PageCacheMode::Default;
        let at = ["file:///a", "file:///b", "file:///c"].map(|text| text.parse::<Location>().unwrap());
        let is = |mode, location| matches!(kept.find(mode, &[request(location)])[..], [Found::First(_)]);
        let there = || at.each_ref().map(|location| is(mode, location));
        kept.keep(mode, &at[0], &file());
        assert_eq!(there(), [false; 3], "no batch is under way");
        let batches = (kept.begin(), kept.begin());
        kept.keep(mode, &at[0], &file());
        kept.keep(mode, &at[1], &file());
        is(mode, &at[0]);
        kept.keep(mode, &at[2], &file());
        assert_eq!(there(), [true, false, true]);
        assert!(!is(PageCacheMode::FadviseRandom, &at[0]), "advised otherwise");
        kept.forget(mode, &at[0]);
        assert_eq!(there(), [false, false, true]);
        drop(batches.0);
        assert_eq!(there(), [false, false, true]);
        drop(batches.1);
        assert_eq!(there(), [false; 3]);
        assert_eq!(kept.state().count, 0);
    }

    #[test]
    fn of_several_requests_each_file_is_found_once_and_only_its_version() {
        let kept = KeptFiles { most: 2, state: Mutex::default() };
        let mode = PageCacheMode::Default;
        let _batch = kept.begin();
        let at: Location = "file:///a".parse().unwrap();
        kept.keep(mode, &at, &file());
        let other = GetRequest { if_version: Some(Version::new("other")), ..request(&at) };
        let whole = GetRequest { range: None, ..request(&at) };
        let found = kept.find(mode, &[whole, request(&at), other, request(&at)]);
        assert!(matches!(found[..], [Found::No, Found::First(_), Found::No, Found::Same(1)]), "{found:?}");
        assert!(matches!(kept.find(mode, &[request(&at)])[..], [Found::First(_)]), "each look by itself");
    }
}
