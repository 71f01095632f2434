//! The same files read by fio, as a second opinion on what the storage gives.

use std::process::Command;

use crate::samples::Files;

/// What fio reads from the files, in bytes a second. The files are linked under the names that fio can count.
pub(crate) fn fio(files: &Files, order: &[u32], jobs: usize, engine: &str, depth: usize) -> f64 {
    let each = order.len() / jobs;
    let dir = files.dir.with_extension(format!("fio{jobs}"));
    if !dir.exists() {
        std::fs::create_dir(&dir).expect("create the directory for fio");
        for (i, &file) in order.iter().take(each * jobs).enumerate() {
            let from = files.dir.join(files.names[file as usize].to_str().expect("ASCII"));
            std::fs::hard_link(from, dir.join(format!("{}.{}", i / each, i % each))).expect("link a sample");
        }
    }
    let block = files.size.min(1 << 20);
    let out = Command::new("fio")
        .args(["--name=files", "--rw=read", "--output-format=json", "--group_reporting", "--thread"])
        .arg(format!("--directory={}", dir.display()))
        .args(["--filename_format=$jobnum.$filenum", "--file_service_type=sequential"])
        .arg(format!("--numjobs={jobs}"))
        .arg(format!("--nrfiles={each}"))
        .arg(format!("--openfiles={}", depth.max(1)))
        .arg(format!("--filesize={}", files.size))
        .arg(format!("--bs={block}"))
        .arg(format!("--ioengine={engine}"))
        .arg(format!("--iodepth={depth}"))
        .output()
        .expect("run fio");
    let text = String::from_utf8_lossy(&out.stdout);
    let read =
        text.split_once("\"read\" :").map(|(_, rest)| rest).unwrap_or_else(|| panic!("fio said {text}"));
    let number = |key: &str| -> f64 {
        let rest = read.split_once(&format!("\"{key}\" :")).expect("a field of fio's JSON").1;
        rest.trim_start().split([',', '\n', '}']).next().expect("a value").trim().parse().expect("a number")
    };
    assert_eq!(number("io_bytes") as usize, each * jobs * files.size, "fio read something else");
    number("bw_bytes")
}
