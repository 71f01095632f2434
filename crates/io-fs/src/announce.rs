//! Has the kernel begin to fetch what is read next, in large pieces of memory where it can.
//!
//! `POSIX_FADV_WILLNEED` and the first read of a file, however long, fetch into single pages. A device is told of
//! each of them, a virtual one pays for each, and so does every later copy out of the page cache. Only read-ahead that goes on
//! takes larger folios: four times larger with each window that a reader is seen to reach. So a whole file is
//! announced by two reads of a byte that do not wait (`RWF_NOWAIT`): the first has a window of a few pages fetched, whose
//! second page is marked; the second reaches that mark, and has the next, larger window fetched in larger
//! folios. Whoever then reads the file reaches the marks of all further windows ahead of the data. Measured:
//! `docs/decisions/fs-reads.md`.

use rustix::fd::BorrowedFd;
use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;

/// Has `span` of a file fetched. `whole` says that the file ends with it. A hint: what goes wrong will be seen by
/// the read. Of a file that is in the page cache already it takes about as long as one system call.
pub(crate) fn announce(fd: BorrowedFd<'_>, span: &Range<u64>, whole: bool) {
    let page = rustix::param::page_size() as u64;
    let Some(len) = NonZeroU64::new(span.end - span.start) else { return };
    // In the middle of a file the kernel sees no reader who goes on; and one page is one request in any case.
    if !whole || span.start != 0 || len.get() <= page {
        let _ = fadvise(fd, span.start, Some(len), Advice::WillNeed);
    } else if !touch(fd, 0) {
        touch(fd, page);
    }
}

/// Reads the byte at `offset` if it is in the page cache, and reaches it in the kernel's eyes if it is not.
/// Whether it was there.
fn touch(fd: BorrowedFd<'_>, offset: u64) -> bool {
    let mut byte = [0];
    let read = preadv2(fd, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
    matches!(read, Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use rustix::io::pread;
    use std::io::Write;

    /// On whatever the temporary folder lies, which may have no `RWF_NOWAIT` and no page cache of its own.
    #[test]
    fn what_is_announced_reads_as_before_whether_it_was_cached_or_not() {
        let page = rustix::param::page_size();
        for len in [0, 1, page - 1, page, page + 1, 4 * page, 64 * page + 7] {
            let content: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            file.sync_all().unwrap();
            for (span, whole, cached) in
                [(0..len, true, true), (0..len, true, false), (len / 3..len / 2, false, false)]
            {
                if !cached {
                    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                }
                announce(file.as_fd(), &(span.start as u64..span.end as u64), whole);
                let mut read = vec![0; span.len()];
                let got = pread(&file, &mut read, span.start as u64).unwrap();
                assert_eq!((got, &read[..]), (span.len(), &content[span]), "{len} bytes");
            }
        }
    }
}
