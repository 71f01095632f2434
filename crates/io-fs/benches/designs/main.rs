//! Which way of reading whole files in batches is the fastest: system calls in a small pool of threads, in one
//! or two phases a batch, chains on `io_uring`, or a mix of the two; cached and cold, by file size.
//!
//! It is self-contained on purpose: it measures designs, not this crate, so none of the crate's own code runs.
//! Every design reads the same shuffled files into the same slabs, and the designs take turns within a round, so
//! that a ratio compares neighbours in time. `design.rs` lists them, and each has a module. What it found is in
//! `docs/decisions/fs-reads.md`.
//!
//! ```text
//! cargo bench -p forebay-io-fs --bench designs -- cached 4k 64k 1m 64m
//! cargo bench -p forebay-io-fs --bench designs -- cold 64k 1m --fio        # needs root (drop_caches)
//! ```
#![allow(missing_docs)]

mod chunks;
mod compare;
mod design;
mod fio;
mod limit;
mod measure;
mod pool;
mod ring;
mod run;
mod samples;
mod slab;

use std::path::PathBuf;

use crate::compare::one_size;
use crate::slab::MAX_THREADS;

const USAGE: &str = "\
usage: designs cached|cold SIZE... [options]
  SIZE             4k, 64k, 1m, 64m
  --dir DIR        where the files are made and removed again (default bench-data in cargo's target/tmp)
  --repeats N      rounds (default 7)
  --only TEXT      only the designs whose name contains TEXT (may be repeated; the limit always runs)
  --keep           leave the files for the next call
  --pages-only     cold: drop the pages of the files, keep directory entries and inodes
  --bytes N        cold: read at most N MiB a run (default 1024)
  --fio            cold: let fio read the same files too";

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let (mut mode, mut sizes, mut only) = (None, Vec::new(), Vec::new());
    let mut root = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target")).join("bench-data");
    let (mut repeats, mut keep, mut pages_only, mut bytes, mut with_fio) =
        (7, false, false, 1024usize << 20, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "cached" => mode = Some(false),
            "cold" => mode = Some(true),
            "4k" => sizes.push(("4k", 4096)),
            "64k" => sizes.push(("64k", 64 << 10)),
            "1m" => sizes.push(("1m", 1 << 20)),
            "64m" => sizes.push(("64m", 64 << 20)),
            "--dir" => root = value().into(),
            "--repeats" => repeats = value().parse().expect("a number of rounds"),
            "--bytes" => bytes = value().parse::<usize>().expect("a number of MiB") << 20,
            "--only" => only.push(value()),
            "--keep" => keep = true,
            "--pages-only" => pages_only = true,
            "--fio" => with_fio = true,
            _ => panic!("unknown argument {arg}\n{USAGE}"),
        }
    }
    let Some(cold) = mode else {
        // Test runners start every target without arguments: that is no wish to measure.
        eprintln!("{USAGE}");
        return;
    };
    for (label, size) in sizes {
        one_size(&root, label, size, cold, repeats, &only, pages_only, bytes, with_fio);
        if !keep {
            std::fs::remove_dir_all(root.join(label)).expect("remove the samples");
        }
        for jobs in 1..=MAX_THREADS {
            let _ = std::fs::remove_dir_all(root.join(format!("{label}.fio{jobs}")));
        }
    }
}
