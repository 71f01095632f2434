//! The most memory that a command had resident, as the kernel counted it.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs a command to its end, which must be a success; its peak in bytes.
pub(crate) fn peak_rss(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap();
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
            assert!(status.success(), "{command:?}: {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
