//! How many tests passed, failed and were skipped, read from what the test runners print.
//! A runner that printed no count it should have printed has run nothing, and that is never a success.

use std::fmt;
use std::ops::AddAssign;

/// Counts of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Sums libtest's `test result: ok. 3 passed; 0 failed; 1 ignored; …` lines.
    pub(crate) fn from_cargo_test(output: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            let counts = line.split_once(". ").map_or(line, |(_, counts)| counts);
            for part in counts.split("; ") {
                match part.split_once(' ') {
                    Some((n, "passed")) => tally.passed += number(n),
                    Some((n, "failed")) => tally.failed += number(n),
                    Some((n, "ignored")) => tally.skipped += number(n),
                    _ => {}
                }
            }
        }
        tally
    }

    /// Reads pytest's last `=== 1 failed, 12 passed, 2 skipped in 3.21s ===` line. An error counts as a
    /// failure, an unexpected pass too.
    pub(crate) fn from_pytest(output: &str) -> Self {
        let mut tally = Self::default();
        let Some(line) = output.lines().rev().find(|line| line.starts_with('=') && line.contains(" in "))
        else {
            return tally;
        };
        let counts = line.trim_matches(['=', ' ']).split(" in ").next().unwrap_or_default();
        for part in counts.split(", ") {
            match part.split_once(' ') {
                Some((n, "passed")) => tally.passed += number(n),
                Some((n, "failed" | "error" | "errors" | "xpassed")) => tally.failed += number(n),
                Some((n, "skipped" | "xfailed" | "deselected")) => tally.skipped += number(n),
                _ => {}
            }
        }
        tally
    }

    /// One test with this result.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_counts_are_summed_over_every_binary() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\
            test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s\n";
        assert_eq!(Tally::from_cargo_test(output), Tally { passed: 6, failed: 1, skipped: 1 });
    }

    #[test]
    fn pytest_errors_and_unexpected_passes_are_failures() {
        let output = "collected 9 items\n\
            ==== 1 failed, 5 passed, 1 skipped, 1 xpassed, 2 warnings, 1 error in 3.21s ====\n";
        assert_eq!(Tally::from_pytest(output), Tally { passed: 5, failed: 3, skipped: 1 });
    }

    #[test]
    fn output_without_a_count_is_no_test() {
        assert_eq!(Tally::from_pytest("==== no tests ran in 0.01s ===="), Tally::default());
        assert_eq!(Tally::from_cargo_test("error: could not compile"), Tally::default());
    }

    #[test]
    fn the_closing_line_leaves_out_skips_that_are_none() {
        assert_eq!(Tally { passed: 3, failed: 0, skipped: 0 }.to_string(), "3 passed, 0 failed");
        assert_eq!(Tally { passed: 3, failed: 1, skipped: 2 }.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
