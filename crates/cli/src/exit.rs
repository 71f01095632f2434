//! How the command ends: one small number for scripts, the same for every command.

use forebay_io::Kind;
use std::process::ExitCode;

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Mismatch = 4,
    Interrupted = 130,
    Terminated = 143,
}

/// What `--help` says about exit codes. The README says the same, which a test checks.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done (also when the reader of a pipe closed it early)
  1    an operation failed
  2    wrong usage: unknown command or option, a value or location that cannot be honoured
  3    what was named does not exist
  4    verification failed: bytes, sizes or names are not those that were promised
  130  interrupted by Ctrl-C (SIGINT)
  143  ended by SIGTERM";

impl Exit {
    /// The code for an error of a store.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::NotFound => Exit::NotFound,
            Kind::InvalidConfig => Exit::Usage,
            Kind::Corrupt => Exit::Mismatch,
            Kind::Cancelled => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }

    /// One code for several failures: their own where they agree, else the general one.
    pub(crate) fn join(self, other: Exit) -> Self {
        match (self, other) {
            (Exit::Done, code) | (code, Exit::Done) => code,
            (one, two) if one == two => one,
            _ => Exit::Failed,
        }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_agree_keep_their_code() {
        assert_eq!(Exit::Done.join(Exit::NotFound).join(Exit::NotFound), Exit::NotFound);
        assert_eq!(Exit::NotFound.join(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::NotFound.join(Exit::Mismatch), Exit::Failed);
    }

    #[test]
    fn help_and_readme_name_every_code() {
        let readme = include_str!("../README.md");
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Mismatch,
            Exit::Interrupted,
            Exit::Terminated,
        ] {
            assert!(HELP.contains(&format!("\n  {:<5}", exit.code())), "{exit:?}");
            assert!(readme.contains(&format!("| {} |", exit.code())), "{exit:?}");
        }
    }
}
