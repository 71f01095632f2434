//! Rules of the house that no compiler checks: what `docs` and reviewers would otherwise have to repeat.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Folders that hold our Rust code.
const FOLDERS: &[&str] = &["crates", "examples", "xtask"];

/// A file that needs more holds more than one noun.
const MAX_LINES: usize = 600;

/// What may not stand in code, with the reason. Written in pieces so that this file passes its own check.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or return an `Unsupported` error"),
    (concat!("#[", "ignore"), "a test that does not run proves nothing"),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];

/// Checks every Rust file of the repository; the error lists all that break a rule.
pub(crate) fn check(root: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut wrong = Vec::new();
    for path in &files {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(path);
        wrong.extend(
            broken_rules(shown, &text).into_iter().map(|rule| format!("{}: {rule}", shown.display())),
        );
    }
    if !wrong.is_empty() {
        bail!("{} to tidy:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(format!("{} files", files.len()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The rules that this file breaks. `path` is relative to the root.
fn broken_rules(path: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let in_src = path.components().any(|part| part.as_os_str() == "src");
    if in_src && !text.starts_with("//!") {
        broken.push("begins without a `//!` comment that says what it is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        broken.push(format!("{lines} lines, at most {MAX_LINES}; a second noun wants its own file"));
    }
    for (number, line) in text.lines().enumerate() {
        for (pattern, remedy) in FORBIDDEN {
            if line.contains(pattern) {
                broken.push(format!("line {}: `{pattern}`: {remedy}", number + 1));
            }
        }
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let empty_name = |name: &str| EMPTY_NAMES.contains(&name);
    let in_empty_folder =
        path.parent().is_some_and(|p| p.components().any(|c| c.as_os_str().to_str().is_some_and(empty_name)));
    if empty_name(stem) || in_empty_folder {
        broken.push("its name says nothing; name it for the thing in it".to_owned());
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> String {
        broken_rules(Path::new(path), text).join("; ")
    }

    #[test]
    fn a_tidy_file_breaks_nothing() {
        assert_eq!(broken("crates/io/src/budget.rs", "//! The byte budget.\n"), "");
        assert_eq!(broken("crates/io/tests/budget.rs", "use forebay_io::Budget;\n"), "");
    }

    #[test]
    fn a_file_under_src_begins_by_saying_what_it_is_for() {
        assert!(broken("crates/io/src/budget.rs", "use std::fs;\n").contains("`//!`"));
    }

    #[test]
    fn a_file_of_many_nouns_is_too_long() {
        let text = "//! x\n".repeat(MAX_LINES + 1);
        assert!(broken("crates/io/src/budget.rs", &text).contains("601 lines, at most 600"));
    }

    #[test]
    fn unfinished_code_and_tests_that_do_not_run_are_named_by_line() {
        for (pattern, remedy) in FORBIDDEN {
            let text = format!("//! x\nfn f() {{}}\n    {pattern}\n");
            let said = broken("crates/io/tests/budget.rs", &text);
            assert!(said.contains("line 3") && said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        assert!(broken("crates/io/src/utils.rs", "//! x\n").contains("its name"));
        assert!(broken("crates/io/tests/common/mod.rs", "").contains("its name"));
    }
}
