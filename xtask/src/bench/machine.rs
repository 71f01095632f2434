//! One line about the machine, because a figure without it cannot be compared with anything.

use std::fs;
use std::path::Path;

use crate::shell;

/// Processor, cores, memory, kernel, and the filesystem that holds the data.
pub(crate) fn describe(root: &Path, data: &Path) -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|kib| kib.strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or("unknown memory".to_owned(), |kib| format!("{:.0} GiB", kib as f64 / f64::from(1 << 20)));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut df = shell::command(root, "df", ["--output=source,fstype"]);
    let filesystem = shell::read(df.arg(data)).unwrap_or_default();
    let filesystem: Vec<_> = filesystem.lines().skip(1).flat_map(str::split_whitespace).collect();
    format!("{cpu}, {cores} cores, {memory}, Linux {}, data on {}", kernel.trim(), filesystem.join(" "))
}

/// The value of the first `name : value` line of a file in `/proc`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_kernel_and_the_filesystem() {
        let line = describe(Path::new("/"), Path::new("/proc"));
        assert!(line.contains("Linux ") && line.ends_with("data on proc proc"), "{line}");
    }
}
