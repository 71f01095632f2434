//! Running other programs so that a reader sees what ran, from where, and how it ended.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A command in the workspace's root. Its standard input is closed, so nothing waits for an answer.
pub(crate) fn command<S: AsRef<OsStr>>(
    dir: &Path,
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

/// `cargo ARGS`, with the cargo that runs us. What cargo told *us* about our own package is taken out of
/// the environment, so that other packages' build scripts are not run again for it.
pub(crate) fn cargo<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(dir, program, args);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it with our own output; an exit status other than success is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// What a command that was watched said, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) stdout: String,
    pub(crate) success: bool,
}

/// Runs it, passing its standard output on line by line and keeping a copy, to be counted afterwards.
pub(crate) fn watch(command: &mut Command) -> anyhow::Result<Watched> {
    let shown = show(command);
    println!("$ {shown}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let mut reader = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut stdout = String::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        stdout.push_str(&text);
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        println!("`{shown}` ended with {status}");
    }
    Ok(Watched { stdout, success: status.success() })
}

/// Runs it silently and returns its standard output; what it said on failure is part of the error.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<String> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` ended with {}: {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not print UTF-8"))
}

/// The command as one would type it in its folder; words with blanks are quoted.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = match command.get_current_dir() {
        // Which of the installed cargos it is does not matter to a reader.
        _ if program.ends_with("cargo") => Path::new("cargo"),
        Some(folder) => program.strip_prefix(folder).unwrap_or(program),
        None => program,
    };
    let words = std::iter::once(program.as_os_str()).chain(command.get_args());
    let words = words.map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '\'') {
            format!("'{}'", word.replace('\'', r"'\''"))
        } else {
            word.into_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = read(&mut command(Path::new("/"), "sh", ["-c", "echo no such thing >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("sh -c 'echo no such thing >&2; exit 3'"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn watched_output_is_kept_even_when_the_command_fails() {
        let seen = watch(&mut command(Path::new("/"), "sh", ["-c", "echo one; exit 1"])).unwrap();
        assert_eq!(seen.stdout, "one\n");
        assert!(!seen.success);
    }
}
