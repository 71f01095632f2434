//! How many file descriptors batches may hold while no thread works on them: those that wait for
//! memory, and those whose reads are split. Without a bound, a loader that waits for its consumer could
//! use up what the process may open (1024 by default), and fail where it should wait.

use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process's descriptors, as far as a store uses them.
#[derive(Debug)]
pub struct Descriptors {
    /// How many files a thread may have open at once.
    group: usize,
    /// How many batches without a thread may hold.
    most: usize,
    held: AtomicUsize,
}

impl Descriptors {
    /// Divides what the process may open now: half of it for the threads, a quarter for batches without
    /// one, and the rest for everybody else. A thread uses `group` at most.
    pub fn new(threads: usize, group: usize) -> Arc<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let group = (limit / 2 / threads).clamp(1, group);
        Arc::new(Descriptors { group, most: limit / 4, held: AtomicUsize::new(0) })
    }

    /// How many files a thread may have open at once.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Counts `files` as held until the answer is dropped; none if they are too many.
    pub fn hold(self: &Arc<Self>, files: usize) -> Option<Held> {
        let held = Held { files, all: self.clone() };
        (self.held.fetch_add(files, Ordering::Relaxed) + files <= self.most).then_some(held)
    }
}

/// Descriptors that are counted.
pub struct Held {
    files: usize,
    all: Arc<Descriptors>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.held.fetch_sub(self.files, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let all = Arc::new(Descriptors { group: 1, most: 10, held: AtomicUsize::new(0) });
        let six = all.hold(6).unwrap();
        assert!(all.hold(5).is_none());
        let four = all.hold(4).unwrap();
        drop(six);
        assert!(all.hold(6).is_some());
        drop(four);
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn many_threads_have_fewer_files_each() {
        assert!(Descriptors::new(1, 64).group() <= 64);
        assert_eq!(Descriptors::new(usize::MAX, 64).group(), 1);
    }
}
