//! A list of named steps: each is announced, timed, and kept for the summary, whatever its outcome.
//! Later steps run after a failed one, so that one run tells everything.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How one step went.
#[derive(Debug)]
struct Line {
    name: String,
    took: Duration,
    /// What to show beside it: a count when it went well, the reason when it did not.
    note: String,
    ok: bool,
}

/// The steps run so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Runs a step and returns what it made, or nothing when it failed; its reason is printed at once.
    pub(crate) fn step<T: Display>(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<T>,
    ) -> Option<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step();
        let took = start.elapsed();
        let (note, ok) = match &outcome {
            Ok(value) => (value.to_string(), true),
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                (format!("{error:#}").lines().next().unwrap_or_default().to_owned(), false)
            }
        };
        self.lines.push(Line { name: name.to_owned(), took, note, ok });
        outcome.ok()
    }

    /// Names of the steps that failed.
    pub(crate) fn failed(&self) -> Vec<&str> {
        self.lines.iter().filter(|line| !line.ok).map(|line| line.name.as_str()).collect()
    }

    /// One line a step: result, name, seconds, note.
    pub(crate) fn print(&self) {
        println!();
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        for Line { name, took, note, ok } in &self.lines {
            let result = if *ok { "ok    " } else { "FAILED" };
            println!("{result} {name:width$} {:7.1} s  {note}", took.as_secs_f64());
        }
    }
}

/// For steps whose success needs no words.
#[derive(Debug)]
pub(crate) struct Done;

impl Display for Done {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_remembered_and_does_not_stop_the_next() {
        let mut report = Report::default();
        assert!(report.step::<Done>("first", || anyhow::bail!("no such file")).is_none());
        assert!(report.step("second", || Ok(Done)).is_some());
        assert_eq!(report.failed(), ["first"]);
    }
}
