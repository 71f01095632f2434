//! The cap in memory: peak RSS of an epoch far larger than it. A process of its own, because the peak
//! is that of a process.

use std::fs::{self, File};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// 4 GiB through 64 MiB: under what the command needs anyway, the cap, one batch and 16 MiB.
///
/// The files are sparse, so they take no disk; they are read like any others.
#[test]
fn four_gib_through_a_cap_of_64_mib_stay_under_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Sizes differ, so that slabs of the right size are not simply there.
    let mut total = 0;
    let mut i = 0;
    while total < 4 << 30 {
        let size = MIB / 2 + (i * 7919 * 4096) % (3 * MIB / 2) + i % 61;
        File::create(folder.path().join(format!("{i:06}"))).unwrap().set_len(size).unwrap();
        total += size;
        i += 1;
    }
    let small = folder.path().join("base");
    fs::create_dir(&small).unwrap();
    fs::write(small.join("one"), b"a byte or two").unwrap();

    let batch = 8;
    let base = peak_rss(small.to_str().unwrap(), batch);
    let peak = peak_rss(folder.path().to_str().unwrap(), batch);
    let bound = base + 64 * MIB + batch * 2 * MIB + 16 * MIB;
    println!("base {} MiB, peak {} MiB, bound {} MiB", base / MIB, peak / MIB, bound / MIB);
    assert!(peak < bound, "peak {peak} bytes, bound {bound}");
}

/// Runs `forebay load` to its end; the peak that the kernel counted for it.
fn peak_rss(folder: &str, batch: u64) -> u64 {
    let batch = batch.to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["load", folder, "--shuffle", "--batch-size", &batch, "--max-bytes-in-flight", "64MiB"])
        .args(["--num-workers", "8", "--prefetch", "16", "--json"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // `VmHWM` only grows, and the last reading before the process is gone counts; while it is being
    // reaped the line is missing, so it is read until then.
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = high.and_then(|rest| rest.trim().strip_suffix(" kB")) {
            peak = peak.max(kib.trim().parse::<u64>().unwrap() << 10);
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
