//! Numbers for people: three significant digits, a unit, and separators in thousands.
//!
//! Bytes are binary (KiB, MiB), everything else is decimal. All text that shows a quantity takes it
//! from here, so that the same quantity looks the same everywhere.

/// A size: `0 B`, `64.0 KiB`, `1.37 GiB`.
pub fn bytes(n: u64) -> String {
    if n < 1024 {
        return format!("{n} B");
    }
    scaled(n as f64 / 1024.0, 1024.0, &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A power of two of bytes, or zero, without a fraction: `64 KiB`.
pub fn whole_bytes(n: u64) -> String {
    let step = (n.trailing_zeros() / 10).min(6) as usize;
    match n {
        0 => "0 B".to_owned(),
        _ => format!("{} {}", n >> (10 * step), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][step]),
    }
}

/// A time, from nanoseconds: `850 ns`, `12.5 µs`, `3.20 ms`, `41.0 s`.
pub fn duration(ns: f64) -> String {
    if ns < 999.5 {
        return format!("{ns:.0} ns");
    }
    scaled(ns / 1e3, 1000.0, &["µs", "ms", "s"])
}

/// A rate of bytes in a fixed unit, so that runs line up: `1,234 MiB/s`.
pub fn mib_per_second(bytes_per_second: f64) -> String {
    format!("{} MiB/s", number(bytes_per_second / f64::from(1 << 20)))
}

/// A count: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with three significant digits below 1,000 and all its whole digits above.
pub fn number(n: f64) -> String {
    match n.abs() {
        size if size >= 999.5 => count(n.round() as u64),
        size if size >= 99.95 => format!("{n:.0}"),
        size if size >= 9.995 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

/// A part of a whole, from a fraction: `98.2 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn scaled(mut n: f64, base: f64, units: &[&str]) -> String {
    let mut at = 0;
    // Rounded first: 1023.8 KiB would be shown as 1024 KiB, which is 1.00 MiB.
    while n.round() >= base && at + 1 < units.len() {
        n /= base;
        at += 1;
    }
    format!("{} {}", number(n), units[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.00 KiB"),
            (65_536, "64.0 KiB"),
            (104_857, "102 KiB"),
            (1_048_400, "1.00 MiB"),
            (1_034_240, "1,010 KiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        for (n, text) in
            [(0, "0 B"), (512, "512 B"), (65_536, "64 KiB"), (1 << 40, "1 TiB"), (1 << 63, "8 EiB")]
        {
            assert_eq!(whole_bytes(n), text);
        }
    }

    #[test]
    fn times() {
        for (ns, text) in [
            (0.4, "0 ns"),
            (999.0, "999 ns"),
            (999.6, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (999_600.0, "1.00 ms"),
            (3.2e9, "3.20 s"),
            (3.6e12, "3,600 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(number(0.0), "0.00");
        assert_eq!(number(9.996), "10.0");
        assert_eq!(number(99.96), "100");
        assert_eq!(number(999.6), "1,000");
        assert_eq!(mib_per_second(1.5 * 1024.0 * 1024.0 * 1024.0), "1,536 MiB/s");
        assert_eq!(percent(0.9824), "98.2 %");
    }
}
