//! Putting files into the page cache or out of it, and making sure that they are where they should be: a
//! result that mixes the two is worth nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{Advice, fadvise};

use crate::shell;

/// Where the files' bytes are when a measurement starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cache {
    /// All in the page cache: the cost of the software.
    Cached,
    /// None in the page cache: the device counts.
    Cold,
}

impl Cache {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Cold => "cold",
        }
    }
}

/// Reads every file once.
pub(crate) fn warm(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// Drops every file's pages. Names and inodes are dropped too where we may (as root), since a cold read has
/// to look them up.
pub(crate) fn evict(files: &[PathBuf]) -> anyhow::Result<()> {
    for path in files {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .with_context(|| format!("cannot drop the pages of {}", path.display()))?;
    }
    if rustix::process::geteuid().is_root() {
        // 2: dentries and inodes; our files' pages are gone, and other programs keep theirs. A container may
        // refuse even root, and then lookups stay cached for every contender alike.
        let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
    }
    Ok(())
}

/// Fails unless the files are where they should be, as far as a sample of them tells: at most one page in a
/// hundred may be elsewhere. Returns the share found in the page cache.
pub(crate) fn verify(cache: Cache, root: &Path, files: &[PathBuf]) -> anyhow::Result<f64> {
    let step = files.len().div_ceil(256);
    let sample: Vec<_> = files.iter().step_by(step).collect();
    let args = ["--bytes", "--raw", "--noheadings", "--output", "RES"];
    let said = shell::read(shell::command(root, "fincore", args).args(&sample))
        .context("cannot tell what is in the page cache; `fincore` is part of util-linux")?;
    let resident: u64 = said.split_whitespace().filter_map(|bytes| bytes.parse::<u64>().ok()).sum();
    let mut whole = 0;
    for path in sample {
        whole += std::fs::metadata(path)?.len();
    }
    let share = resident as f64 / whole as f64;
    let right = match cache {
        Cache::Cached => share >= 0.99,
        Cache::Cold => share <= 0.01,
    };
    ensure!(
        right,
        "{:.1}% of the files' bytes are in the page cache, in a {} run",
        share * 100.0,
        cache.name()
    );
    Ok(share)
}
