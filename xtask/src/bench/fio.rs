//! What `fio` reads from the same files: the measure for cold reads, where the device decides.
//!
//! Every file is read whole, once. fio goes through a job's files in the order of their folders, which no
//! shuffled reader can; nothing is taken off its result for that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::dataset::{Dataset, Shape};
use super::reading::Reading;
use crate::{debian, shell};

/// A way to have fio read the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    engine: &'static str,
    depth: usize,
    /// Jobs side by side: 1, 4 or 16, as the data sets are spread over folders.
    jobs: usize,
    /// Largest request; smaller files are one request each.
    block: usize,
}

/// Which of them is best depends on file size and device, so all run, and the best of them counts.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "fio psync x4", engine: "psync", depth: 1, jobs: 4, block: 1 << 20 },
    Variant { name: "fio psync x16", engine: "psync", depth: 1, jobs: 16, block: 1 << 20 },
    Variant { name: "fio io_uring x1", engine: "io_uring", depth: 32, jobs: 1, block: 256 << 10 },
    Variant { name: "fio io_uring x4", engine: "io_uring", depth: 16, jobs: 4, block: 256 << 10 },
];

/// Finds fio, or installs it where we may.
pub(crate) fn require(root: &Path) -> anyhow::Result<String> {
    debian::require(root, &["fio", "--version"], &["fio"], "reads are measured against it")
}

impl Variant {
    /// Reads the whole data set once.
    pub(crate) fn run(&self, root: &Path, shape: &Shape, dataset: &Dataset) -> anyhow::Result<Reading> {
        let mut fio = shell::command(root, "fio", ["--output-format=json", "--rw=read", "--group_reporting"]);
        fio.arg(format!("--ioengine={}", self.engine));
        fio.arg(format!("--iodepth={}", self.depth));
        fio.arg(format!("--bs={}", self.block.min(shape.size)));
        // The files were taken out of the page cache already, outside the measured time.
        fio.args(["--invalidate=0", "--direct=0", "--file_service_type=sequential", "--openfiles=64"]);
        for folder in self.folders(&dataset.folder)? {
            fio.arg(format!("--name={}", folder.display())).arg(format!("--opendir={}", folder.display()));
        }
        read_all(&mut fio, self.name, shape)
    }

    /// A folder a job, together the whole data set.
    fn folders(&self, root: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut folders = vec![root.to_owned()];
        while folders.len() < self.jobs {
            let mut deeper = Vec::new();
            for folder in &folders {
                for entry in std::fs::read_dir(folder)? {
                    deeper.push(entry?.path());
                }
            }
            folders = deeper;
        }
        folders.sort();
        Ok(folders)
    }
}

/// fio's own account of a run, the few fields of it that are used.
#[derive(Debug, Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    read: ReadFigures,
    /// Percent of the jobs' summed run time.
    usr_cpu: f64,
    sys_cpu: f64,
    /// Milliseconds, summed over jobs.
    job_runtime: f64,
}

#[derive(Debug, Deserialize)]
struct ReadFigures {
    io_bytes: u64,
    /// Milliseconds from the first job's start to the last one's end.
    runtime: f64,
    /// Bytes per second, over the unrounded time.
    bw_bytes: f64,
}

/// Runs fio as `name` over a whole data set, all of which it must have read.
pub(super) fn read_all(fio: &mut Command, name: &str, shape: &Shape) -> anyhow::Result<Reading> {
    let reading = parse(&shell::read(fio)?, shape)?;
    ensure!(reading.bytes == shape.bytes(), "{name} read {} of {} bytes", reading.bytes, shape.bytes());
    Ok(reading)
}

/// What fio says it did, in samples of the shape's size.
pub(super) fn parse(output: &str, shape: &Shape) -> anyhow::Result<Reading> {
    // Warnings may stand ahead of the JSON.
    let json = output.find('{').map(|at| &output[at..]).context("fio printed no JSON")?;
    let output: Output = serde_json::from_str(json).context("fio's output is not what is expected of it")?;
    let [job] = &output.jobs[..] else {
        anyhow::bail!("{} groups in fio's output; one was asked for", output.jobs.len());
    };
    let seconds = match job.read.bw_bytes {
        rate if rate > 0.0 => job.read.io_bytes as f64 / rate,
        _ => job.read.runtime / 1e3,
    };
    let cpu_seconds = (job.usr_cpu + job.sys_cpu) / 100.0 * job.job_runtime / 1e3;
    Ok(Reading {
        samples: job.read.io_bytes / shape.size as u64,
        bytes: job.read.io_bytes,
        seconds,
        cpu_seconds,
        ..Reading::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fios_account_becomes_a_reading() {
        let output = r#"fio: a warning
            {"jobs": [{"read": {"io_bytes": 4194304, "runtime": 21, "bw_bytes": 209715200},
              "usr_cpu": 10.0, "sys_cpu": 40.0, "job_runtime": 40}]}"#;
        let reading = parse(output, &Shape { name: "1m", size: 1 << 20, count: 4 }).unwrap();
        assert_eq!((reading.samples, reading.bytes), (4, 4 << 20));
        assert!((reading.seconds - 0.020).abs() < 1e-9, "{reading:?}");
        assert!((reading.cpu_seconds - 0.020).abs() < 1e-9, "{reading:?}");
    }

    #[test]
    fn jobs_share_the_data_set_by_folder() {
        let parent = tempfile::tempdir().unwrap();
        let dataset = Shape { name: "tiny", size: 1, count: 32 }.make(parent.path()).unwrap();
        for variant in VARIANTS {
            assert_eq!(variant.folders(&dataset.folder).unwrap().len(), variant.jobs, "{variant:?}");
        }
    }
}
