//! The memory that a [`Buf`](crate::Buf) is a part of, for a reader that makes memory known to a kernel once
//! instead of with each read, and has to hear when it goes.
//!
//! A registration of the kernel's holds on to pages. Once the pool has given them back to the system, what is
//! read through it lands where nobody looks; so a region says so *before* a page of it goes.

use crate::lock::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was committed of a slab when it was asked for. All of it may be read and written by whoever has a
/// [`Buf`](crate::Buf) there, and is lent to others beside it.
///
/// Bytes of a live `Buf` never go. Those around it may, and then the region is [gone](Region::is_gone), once and
/// for all: what is committed afterwards is another one.
#[derive(Clone)]
pub struct Region {
    address: usize,
    len: usize,
    life: Arc<Life>,
}

#[derive(Default)]
pub(crate) struct Life {
    gone: AtomicBool,
    watchers: Mutex<Vec<Watcher>>,
}

type Watcher = Box<dyn FnOnce() + Send>;

impl Region {
    pub(crate) fn new(address: usize, len: usize, life: Arc<Life>) -> Self {
        Region { address, len, life }
    }

    /// Where it begins.
    pub fn address(&self) -> usize {
        self.address
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether pages of it were given back to the system, or are about to be. A reader that sees false, and
    /// has a `Buf` there, may use a registration of that `Buf`'s bytes.
    pub fn is_gone(&self) -> bool {
        self.life.gone.load(Ordering::SeqCst)
    }

    /// Whether both are of the same memory, of which one may have more: a slab grows in place.
    pub fn is_same(&self, other: &Region) -> bool {
        Arc::ptr_eq(&self.life, &other.life)
    }

    /// Has `tell` called once it is [gone](Self::is_gone), on the thread that gives its pages back; at once if
    /// it is gone already. It must be quick, and take no memory from a pool.
    pub fn when_gone(&self, tell: impl FnOnce() + Send + 'static) {
        let mut watchers = self.life.watchers.lock();
        if self.is_gone() {
            drop(watchers);
            tell();
        } else {
            watchers.push(Box::new(tell));
        }
    }
}

impl Life {
    /// Pages are about to go.
    pub(crate) fn end(&self) {
        let watchers = {
            let mut watchers = self.watchers.lock();
            self.gone.store(true, Ordering::SeqCst);
            std::mem::take(&mut *watchers)
        };
        watchers.into_iter().for_each(|tell| tell());
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("len", &self.len)
            .field("gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}
