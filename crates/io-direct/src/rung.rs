//! The ladder: how a file is read, best first. A step down is noted, and shown in what was served.

use crate::alignment::Alignment;
use forebay_io::{CacheUse, PageCacheMode};

/// A way to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Past the page cache (`O_DIRECT`).
    Direct(Alignment),
    /// Through it, and what was read does not stay (`RWF_DONTCACHE`).
    DontCache,
    /// Through it, and told to drop the pages afterwards (`POSIX_FADV_DONTNEED`).
    DropBehind,
}

impl Rung {
    pub(crate) fn cache(self) -> CacheUse {
        match self {
            Rung::Direct(_) => CacheUse::Applied(PageCacheMode::DirectIO),
            Rung::DontCache => CacheUse::Uncached,
            Rung::DropBehind => CacheUse::Applied(PageCacheMode::DontNeed),
        }
    }

    pub(crate) fn alignment(self) -> Alignment {
        match self {
            Rung::Direct(alignment) => alignment,
            Rung::DontCache | Rung::DropBehind => Alignment::NONE,
        }
    }
}
