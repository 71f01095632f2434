//! What fio makes of files past the page cache, each way that may be the best: the peer of `bench direct`.
//!
//! Memory decides as much as the ring: a read into 16 KiB of scattered small pages is four pieces to a device,
//! and one where the page is huge. Our slabs are made of huge pages, so fio is given them, too.

use std::path::Path;
use std::process::Command;

use super::dataset::{Dataset, Shape};
use super::fio;
use super::reading::Reading;
use crate::shell;

/// A way to have fio read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) name: &'static str,
    huge_pages: bool,
    /// Buffers and file are registered with the ring.
    registered: bool,
    /// Sixteen submitted together, as our tasks do; else each by itself.
    batched: bool,
}

/// All of them run, and the fastest is the peer.
pub(super) const WAYS: &[Way] = &[
    Way { name: "fio", huge_pages: false, registered: false, batched: false },
    Way { name: "fio huge", huge_pages: true, registered: false, batched: false },
    Way { name: "fio registered", huge_pages: true, registered: true, batched: false },
    Way { name: "fio batched", huge_pages: true, registered: true, batched: true },
];

/// What is read, and with how many requests in the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) block: usize,
    pub(super) depth: usize,
}

/// Large enough that what fio allocates for a whole ring of them is huge pages.
const STRIDE: usize = 1 << 20;

impl Way {
    fn command(&self, root: &Path, load: Load) -> Command {
        let mut fio =
            shell::command(root, "fio", ["--output-format=json", "--ioengine=io_uring", "--direct=1"]);
        let Load { block, depth } = load;
        fio.args([format!("--iodepth={depth}"), "--name=reads".into()]);
        if self.huge_pages {
            // glibc asks for huge pages behind large allocations. fio lays its buffers out by the size of
            // writes, too, of which it makes none.
            fio.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
            fio.arg(format!("--bs={block},{}", block.max(STRIDE)));
        } else {
            fio.arg(format!("--bs={block}"));
        }
        if self.registered {
            fio.args(["--fixedbufs", "--registerfiles"]);
        }
        if self.batched {
            let batch = depth.min(16);
            fio.arg(format!("--iodepth_batch_submit={batch}"));
            fio.args([
                "--iodepth_batch_complete_min=1".into(),
                format!("--iodepth_batch_complete_max={depth}"),
            ]);
        }
        fio
    }

    /// Random blocks of a data set's first file.
    pub(super) fn random(
        &self,
        root: &Path,
        data: &Dataset,
        load: Load,
        seconds: f64,
    ) -> anyhow::Result<Reading> {
        let mut fio = self.command(root, load);
        fio.args(["--rw=randread", "--norandommap", "--time_based"]);
        fio.arg(format!("--runtime={}ms", (seconds * 1e3) as u64));
        fio.arg(format!("--filename={}", data.files[0].display()));
        fio::parse(&shell::read(&mut fio)?, &Shape { name: "block", size: load.block, count: 1 })
    }

    /// Every file whole, one after another.
    pub(super) fn whole(
        &self,
        root: &Path,
        data: &Dataset,
        shape: &Shape,
        load: Load,
    ) -> anyhow::Result<Reading> {
        let mut fio = self.command(root, load);
        fio.args(["--rw=read", "--file_service_type=sequential"]);
        let files: Vec<_> = data.files.iter().map(|file| file.display().to_string()).collect();
        fio.arg(format!("--filename={}", files.join(":")));
        fio::read_all(&mut fio, self.name, shape)
    }
}

/// Reads all of it once past the page cache, so that whoever is measured first finds the memory of a virtual
/// disk's host as warm as the others do.
pub(super) fn warm(root: &Path, data: &Dataset, shape: &Shape) -> anyhow::Result<()> {
    let plain = Way { name: "fio, to warm up", huge_pages: true, registered: false, batched: false };
    plain.whole(root, data, shape, Load { block: 1 << 20, depth: 16 }).map(drop)
}

/// Those of [`WAYS`] that fio can go here, and says so on the way.
pub(super) fn possible(run: impl Fn(&Way) -> anyhow::Result<Reading>) -> anyhow::Result<Vec<Way>> {
    let mut possible = Vec::new();
    for way in WAYS {
        match run(way) {
            Ok(_) => possible.push(*way),
            // Memory that may be locked is little on some machines.
            Err(error) if way.registered => eprintln!("left out: {}: {error:#}", way.name),
            Err(error) => return Err(error),
        }
    }
    Ok(possible)
}
