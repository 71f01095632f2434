//! What each mounted filesystem allows, found out once: asked where the kernel tells, tried where it does
//! not, and proven by a real read in either case.

use crate::alignment::Alignment;
use crate::bounce::Bounce;
use crate::open_file::read_at;
use crate::options::DirectOptions;
use crate::rung::Rung;
use forebay_io::{CacheUse, Error, Event, Kind, Location, Operation, PageCacheMode, Result};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, OFlags, Stat, StatxFlags, fcntl_getfl, fcntl_setfl, statx};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// `STATX_DIOALIGN` (Linux 6.1) and `STATX_DIO_READ_ALIGN` (6.14).
const DIO_ALIGN: u32 = 0x2000;
const DIO_READ_ALIGN: u32 = 0x2_0000;

/// What is tried where nothing is said: sectors, then pages.
const TRIED: [u32; 2] = [512, 4096];

/// The filesystems that were met, by device number.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    known: RwLock<HashMap<u64, Rung>>,
}

/// What a filesystem says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// It cannot be read past the page cache.
    No,
    Aligned(Alignment),
}

impl Mounts {
    /// How a file that was just opened is read, and `O_DIRECT` set or cleared on it accordingly.
    pub(crate) fn rung(
        &self,
        operation: Operation,
        location: &Location,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        direct: bool,
        options: &DirectOptions,
    ) -> Result<Rung> {
        let device = stat.st_dev;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&device).copied();
        let rung = match known {
            Some(rung) => rung,
            None => {
                let (rung, proven) = find(location, fd, direct, options)?;
                // Nothing is proven by a file without a byte.
                if proven && stat.st_size > 0 {
                    self.known.write().unwrap_or_else(PoisonError::into_inner).insert(device, rung);
                }
                rung
            }
        };
        if direct && !matches!(rung, Rung::Direct(_)) {
            buffered(fd).map_err(|errno| forebay_io_fs::posix::os(operation, errno, location))?;
        }
        self.note(operation, location, rung, options)?;
        Ok(rung)
    }

    /// Tells of a rung that is not the one asked for, which is an error where that must not be.
    fn note(
        &self,
        operation: Operation,
        location: &Location,
        rung: Rung,
        options: &DirectOptions,
    ) -> Result<()> {
        let asked =
            if options.direct_io { CacheUse::Applied(PageCacheMode::DirectIO) } else { CacheUse::Uncached };
        if rung.cache() == asked {
            return Ok(());
        }
        if options.strict {
            let wanted = if options.direct_io { "O_DIRECT" } else { "RWF_DONTCACHE" };
            let context = format!(
                "page_cache_mode={} cannot be obeyed: the filesystem refuses {wanted} for it, and strict \
                 allows nothing less; leave strict out, or read it as file://",
                PageCacheMode::DirectIO
            );
            return Err(Error::new(Kind::Unsupported, operation, context).at(location));
        }
        if let Some(observer) = &options.observer {
            observer.noted(Some("direct"), Event::Downgraded { from: asked, to: rung.cache() });
        }
        Ok(())
    }
}

/// The best rung that a file can be read on, and whether a read has shown it.
fn find(
    location: &Location,
    fd: BorrowedFd<'_>,
    direct: bool,
    options: &DirectOptions,
) -> Result<(Rung, bool)> {
    if direct {
        let said = ask(fd);
        let mut candidates = Vec::new();
        match (options.alignment, said) {
            (_, Said::No) => {}
            (Some(fixed), _) => {
                candidates.push(Alignment { memory: fixed.get(), offset: fixed.get() });
            }
            (None, Said::Aligned(alignment)) => candidates.push(alignment),
            (None, Said::Nothing) => {
                candidates.extend(TRIED.map(|bytes| Alignment { memory: bytes, offset: bytes }));
            }
        }
        for alignment in &candidates {
            let rung = Rung::Direct(*alignment);
            if proves(fd, rung, *alignment) {
                return Ok((rung, true));
            }
        }
        if let (Some(fixed), Said::Aligned(needed)) = (options.alignment, said) {
            let context =
                format!("alignment={fixed} is refused by the filesystem; it wants {} bytes", needed.offset);
            return Err(Error::invalid(context).at(location));
        }
        buffered(fd).map_err(|errno| forebay_io_fs::posix::os(Operation::Open, errno, location))?;
    }
    if proves(fd, Rung::DontCache, Alignment::NONE) {
        return Ok((Rung::DontCache, true));
    }
    Ok((Rung::DropBehind, true))
}

/// Reads one block. That a device fails is not the mode's fault, and is seen by the read itself.
fn proves(fd: BorrowedFd<'_>, rung: Rung, alignment: Alignment) -> bool {
    let mut block = Bounce::new(alignment.offset.max(512) as usize, alignment.memory as usize);
    !matches!(read_at(fd, rung, block.as_mut_slice(), 0), Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// What the kernel tells.
pub(crate) fn ask(fd: BorrowedFd<'_>) -> Said {
    let mask = StatxFlags::from_bits_retain(DIO_ALIGN | DIO_READ_ALIGN);
    let Ok(told) = statx(fd, "", AtFlags::EMPTY_PATH, mask) else { return Said::Nothing };
    if told.stx_mask & DIO_ALIGN == 0 {
        return Said::Nothing;
    }
    let offset = if told.stx_mask & DIO_READ_ALIGN != 0 && told.stx_dio_read_offset_align != 0 {
        told.stx_dio_read_offset_align
    } else {
        told.stx_dio_offset_align
    };
    said(told.stx_dio_mem_align, offset)
}

/// As [`ask`], of writes.
pub(crate) fn ask_for_writes(fd: BorrowedFd<'_>) -> Said {
    let mask = StatxFlags::from_bits_retain(DIO_ALIGN);
    match statx(fd, "", AtFlags::EMPTY_PATH, mask) {
        Ok(told) if told.stx_mask & DIO_ALIGN != 0 => said(told.stx_dio_mem_align, told.stx_dio_offset_align),
        _ => Said::Nothing,
    }
}

fn said(memory: u32, offset: u32) -> Said {
    if memory.is_power_of_two() && offset.is_power_of_two() {
        Said::Aligned(Alignment { memory, offset: offset.max(memory) })
    } else {
        Said::No
    }
}

/// Takes `O_DIRECT` off a descriptor.
pub(crate) fn buffered(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    fcntl_setfl(fd, fcntl_getfl(fd)? - OFlags::DIRECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_an_alignment_or_no() {
        let aligned = Alignment { memory: 4, offset: 512 };
        assert_eq!(said(4, 512), Said::Aligned(aligned));
        assert_eq!(said(4096, 512), Said::Aligned(Alignment { memory: 4096, offset: 4096 }));
        assert_eq!(said(0, 0), Said::No);
    }
}
