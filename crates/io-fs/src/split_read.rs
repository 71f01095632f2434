//! Reads that are worth several threads: a few large files, cut into pieces that the threads of the
//! pool take one after another, so that one file of 64 MiB uses every core and keeps the device's
//! queue filled.
//!
//! This module has unsafe code: the pieces of one [`Buf`] are written by
//! several threads at once, and the borrow of a slice cannot be split over threads that outlive the
//! caller.

use crate::announce::announce;
use crate::file::{self, Beyond, Filled};
use crate::mapping::Mappings;
use crate::parts::Part;
use crate::pool::{Occupied, Pool};
use forebay_io::Buf;
use futures::channel::oneshot;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// From how many bytes reads are split. Below, waking other threads costs more than they save; above,
/// two threads give a batch that is alone in flight nearly twice the speed (cached: 0.6 to 1.1 of what
/// the machine reads, at 1 MiB and 64 MiB a file), and change nothing where six are.
pub(crate) const SPLIT_FROM: u64 = 8 << 20;

/// What a thread takes at once: long enough for the kernel's read-ahead to get going, short enough
/// that threads finish together.
const PIECE: usize = 2 << 20;

/// So many pieces are announced before they are read. 4, 8 and 16 files of 1 MiB were equal on a virtual disk, with four threads.
const AHEAD: usize = 8;

/// Bytes of one file on their way into a buffer.
pub(crate) struct Region {
    fd: Arc<OwnedFd>,
    offset: u64,
    buf: Buf,
    /// Whether it is a file that is announced before it is read.
    ahead: bool,
    /// The least position in the buffer at which the file was found to end.
    short: AtomicU64,
    errno: OnceLock<Errno>,
    /// Nanoseconds since the split began, of the first piece's begin and the last one's end.
    begun: AtomicU64,
    ended: AtomicU64,
    /// What was read of it, piece by piece.
    parts: Mutex<Vec<Part>>,
}

impl Region {
    /// `buf` is to be filled from `offset` on; `whole` if that is all of a file, which may be fetched ahead.
    pub(crate) fn new(fd: Arc<OwnedFd>, offset: u64, buf: Buf, whole: bool) -> Self {
        // Several threads on one file look like none that goes on.
        let ahead = whole && buf.len() <= PIECE;
        Region {
            fd,
            offset,
            buf,
            ahead,
            short: AtomicU64::new(u64::MAX),
            errno: OnceLock::new(),
            begun: AtomicU64::new(u64::MAX),
            ended: AtomicU64::new(0),
            parts: Mutex::default(),
        }
    }

    /// The pieces that were read, as those of file `index` of a batch.
    pub(crate) fn parts(&mut self, index: usize) -> impl Iterator<Item = Part> + use<> {
        let parts = std::mem::take(self.parts.get_mut().unwrap_or_else(PoisonError::into_inner));
        parts.into_iter().map(move |part| Part { index, ..part })
    }

    pub(crate) fn fd(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }

    pub(crate) fn len(&self) -> u64 {
        self.buf.len() as u64
    }

    /// How it ended. Valid once the split is over.
    pub(crate) fn filled(&self) -> Result<Filled, Errno> {
        match (self.errno.get(), self.short.load(Ordering::Relaxed)) {
            (Some(errno), _) => Err(*errno),
            (None, u64::MAX) => Ok(Filled::Whole),
            (None, short) => Ok(Filled::Short(short as usize)),
        }
    }

    /// From the first piece's begin to the last one's end.
    pub(crate) fn elapsed(&self) -> Duration {
        let (begun, ended) = (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
        Duration::from_nanos(ended.saturating_sub(begun))
    }

    pub(crate) fn into_buf(self) -> Buf {
        self.buf
    }
}

/// A stretch of a region. No two pieces overlap.
struct Piece {
    region: usize,
    start: usize,
    len: usize,
    at: *mut u8,
}

/// What the last thread does: it is given the regions, and whom to answer.
type Finish<T> = Box<dyn FnOnce(Vec<Region>, oneshot::Sender<T>) + Send + Sync>;

/// The shared state of the threads that work on one split.
struct Split<T> {
    regions: Vec<Region>,
    pieces: Vec<Piece>,
    next: AtomicUsize,
    done: AtomicUsize,
    begin: Instant,
    mappings: Option<Arc<Mappings>>,
    /// Until the last piece was drawn.
    occupied: Mutex<Option<Occupied>>,
    finish: Finish<T>,
    answer: oneshot::Sender<T>,
}

// SAFETY: all but `pieces` is `Send`. Their pointers lead into the buffers of `regions`, which are
// `Send` and live as long as the pieces do.
unsafe impl<T: Send> Send for Split<T> {}
// SAFETY: all but `pieces` is `Sync`. A piece is written through by the one thread that drew its index
// from `next`, and nobody touches a buffer otherwise until the last thread has taken the split apart.
unsafe impl<T: Send> Sync for Split<T> {}

/// Fills every region on all threads of the pool, in pieces of `piece` bytes if that many are asked for at
/// once, and through `mappings` if there are such. `finish` runs on the last of them, and answers; if one panicked
/// or nobody waits for the answer, `answer` is dropped instead.
///
/// Whole files of one piece are announced to the kernel some time before they are read.
pub(crate) fn read_split<T, F>(
    pool: &Pool,
    mut regions: Vec<Region>,
    piece: Option<NonZeroU64>,
    mappings: Option<Arc<Mappings>>,
    answer: oneshot::Sender<T>,
    finish: F,
) where
    T: Send + 'static,
    F: FnOnce(Vec<Region>, oneshot::Sender<T>) + Send + Sync + 'static,
{
    let pieces = cut(&mut regions, piece);
    let threads = pool.threads().min(pieces.len()).max(1);
    let split = Arc::new(Split {
        regions,
        pieces,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        begin: Instant::now(),
        mappings,
        occupied: Mutex::new(Some(pool.occupy())),
        finish: Box::new(finish),
        answer,
    });
    for _ in 1..threads {
        let split = split.clone();
        pool.submit(move || split.work());
    }
    pool.submit(move || split.work());
}

fn cut(regions: &mut [Region], piece: Option<NonZeroU64>) -> Vec<Piece> {
    let size = piece.map_or(PIECE, |piece| usize::try_from(piece.get()).unwrap_or(usize::MAX));
    let mut pieces = Vec::new();
    for (region, of) in regions.iter_mut().enumerate() {
        pieces.extend(of.buf.chunks_mut(size).enumerate().map(|(i, bytes)| Piece {
            region,
            start: i * size,
            len: bytes.len(),
            at: bytes.as_mut_ptr(),
        }));
    }
    pieces
}

impl<T> Split<T> {
    /// What each thread does: draw pieces until there are none, and let the last one finish.
    fn work(self: Arc<Self>) {
        while !self.answer.is_canceled()
            && let index = self.next.fetch_add(1, Ordering::Relaxed)
            && let Some(piece) = self.pieces.get(index)
        {
            // The first finds nothing announced, not even its own.
            let first = if index == 0 { 0 } else { index + AHEAD };
            self.pieces.iter().take(index + AHEAD + 1).skip(first).for_each(|piece| self.announce(piece));
            self.read(piece);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        drop(self.occupied.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Exactly one thread gets it: the last. What the others wrote is visible to it.
        let Some(split) = Arc::into_inner(self) else { return };
        // Fewer where a thread panicked or the caller went away; to drop `answer` says so.
        if split.done.into_inner() == split.pieces.len() {
            (split.finish)(split.regions, split.answer);
        }
    }

    fn announce(&self, piece: &Piece) {
        let region = &self.regions[piece.region];
        if region.ahead && piece.start == 0 {
            announce(region.fd.as_fd(), &(0..region.len()), true);
        }
    }

    fn read(&self, piece: &Piece) {
        let region = &self.regions[piece.region];
        let begin = self.now();
        region.begun.fetch_min(begin, Ordering::Relaxed);
        // SAFETY: `at..at + len` lies in the buffer of `region`, which lives as long as `self`; it was
        // cut off by `chunks_mut`, so no other piece overlaps it; and this thread alone drew this
        // piece's index from `next`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(piece.at, piece.len) };
        let offset = region.offset + piece.start as u64;
        let filled = match &self.mappings {
            Some(mappings) => mappings.fill(region.fd.as_fd(), bytes, offset, Beyond::Ignored),
            None => file::fill(region.fd.as_fd(), bytes, offset, 0, Beyond::Ignored),
        };
        let end = self.now();
        let elapsed = Duration::from_nanos(end.saturating_sub(begin));
        let part = Part::new(0, offset..offset + piece.len as u64, &filled, elapsed);
        region.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        match filled {
            Ok(Filled::Short(read)) => {
                region.short.fetch_min((piece.start + read) as u64, Ordering::Relaxed);
            }
            Ok(Filled::Whole | Filled::Beyond) => {}
            // Which of several errors is reported makes no difference.
            Err(errno) => drop(region.errno.set(errno)),
        }
        region.ended.fetch_max(end, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }
}
