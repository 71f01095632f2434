//! Files that stay open from one batch to the next: shards, of which each batch reads a few samples.
//!
//! Only for ranges that are pinned to a version: a file that is kept is looked at again before it is read
//! (see [`KeptFiles::is_fresh`]), and one that was written to, replaced, renamed or deleted since has another version (its change time
//! is another), so it is opened anew by its name. All are closed when no batch is under way, so that
//! nobody wonders where the space of deleted files is.

use crate::version::Stamp;
use foldhash::fast::RandomState;
use forebay_io::{GetRequest, Location, PageCacheMode, Version};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More would save little: to open a file takes about as long as to read 16 KiB of it.
const MOST: usize = 1024;

/// How long a look at a file speaks for those that asked before it. What is written in that time goes unseen until
/// the next look, as what is written between a look and the read behind it always does.
const FRESH: Duration = Duration::from_millis(1);

/// The files that are kept.
#[derive(Debug)]
pub(crate) struct KeptFiles {
    most: usize,
    state: Mutex<State>,
    /// Counts batches that were asked for.
    asked: AtomicU64,
    /// From when looks are timed.
    born: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// By what was advised, because the kernel remembers it with the open file. Each sample is looked up, and the
    /// standard library's hasher would take a hundredth of the time that reading 16 KiB does.
    files: HashMap<PageCacheMode, HashMap<Location, Kept, RandomState>, RandomState>,
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
    /// At which moment it was last looked at, and how many nanoseconds after the first of all. The two are written
    /// one after the other: of two looks at once, either's time goes with either's moment.
    looked: [AtomicU64; 2],
}

/// Between two batches that are asked for; see [`KeptFiles::ask`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl KeptFile {
    /// Not looked at since it was opened.
    pub(crate) fn new(fd: OwnedFd, version: Version, stamp: Stamp) -> Self {
        KeptFile { fd: Arc::new(fd), version, stamp, looked: Default::default() }
    }
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
        KeptFiles::of(most)
    }

    fn of(most: usize) -> Self {
        KeptFiles { most, state: Mutex::default(), asked: AtomicU64::new(0), born: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is asked for: looks of moments from this one on come after.
    pub(crate) fn ask(&self) -> Moment {
        Moment(self.asked.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// This moment: it comes after all batches that were asked for so far.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.asked.load(Ordering::SeqCst))
    }

    /// A file was looked at after this moment and instant, and is what it was.
    pub(crate) fn looked(&self, file: &KeptFile, moment: Moment, at: Instant) {
        file.looked[0].store(moment.0, Ordering::Relaxed);
        file.looked[1].store(self.nanos(at), Ordering::Relaxed);
    }

    /// Whether a batch that was asked for at a moment need not look at a file again: it was looked at since then,
    /// and just now. So what is written before a batch is asked for is always seen, and what is written later
    /// unless it comes after the last look, which is at most [`FRESH`] before the batch begins to read.
    pub(crate) fn is_fresh(&self, file: &KeptFile, asked: Moment, now: Instant) -> bool {
        let [moment, at] = file.looked.each_ref().map(|value| value.load(Ordering::Relaxed));
        moment >= asked.0 && self.nanos(now).saturating_sub(at) <= FRESH.as_nanos() as u64
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
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
        Arc::new(KeptFile::new(file.into(), version, stamp))
    }

    fn request(location: &Location) -> GetRequest {
        let if_version = Some(file().version.clone());
        GetRequest { range: Some(0..1), if_version, ..GetRequest::whole(location.clone(), 0) }
    }

    #[test]
    fn the_one_unused_for_longest_goes_and_all_go_with_the_last_batch() {
        let kept = KeptFiles::of(2);
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
        let kept = KeptFiles::of(2);
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

    #[test]
    fn a_look_speaks_for_those_who_asked_before_it_and_not_for_long() {
        let (kept, file) = (KeptFiles::of(2), file());
        let (before, now) = (kept.ask(), Instant::now());
        assert!(!kept.is_fresh(&file, before, now), "nobody looked");
        kept.looked(&file, kept.moment(), now);
        assert!(kept.is_fresh(&file, before, now) && kept.is_fresh(&file, before, now + FRESH));
        assert!(!kept.is_fresh(&file, before, now + FRESH + Duration::from_nanos(1)));
        let after = kept.ask();
        assert!(!kept.is_fresh(&file, after, now), "asked after the look");
        kept.looked(&file, kept.moment(), now);
        assert!(kept.is_fresh(&file, after, now) && kept.is_fresh(&file, before, now));
    }
}
