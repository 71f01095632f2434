//! The README's quick starts, run as a reader would run them: in one empty folder, from top to bottom.
//!
//! Blocks tagged `sh` and `python` are run; `sh` has the built `forebay` on its path. The `rust` block must be,
//! word for word, the `main.rs` of one example (after its `//!` lines), and the examples are run. `console`
//! and `text` blocks show output and are not run; a tag other than these is an error, so that nothing
//! stays unrun by a slip of the pen.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::python::{Venv, path_with};
use crate::shell;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Tags of blocks that are looked at, not run.
const SHOWN: &[&str] = &["console", "text", "toml", "json"];
/// Tags that a README has to have at least one block of.
const RUN: &[&str] = &["sh", "python", "rust"];

/// A fenced block of Markdown.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Of the line with the opening fence, from 1.
    line: usize,
    tag: String,
    text: String,
}

/// Runs every quick start; a block is a test.
pub(crate) fn run(workspace: &Workspace, venv: &Venv) -> anyhow::Result<Tally> {
    let path = workspace.root().join("README.md");
    let readme = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let blocks = blocks(&readme)?;
    for tag in RUN {
        if !blocks.iter().any(|block| block.tag == *tag) {
            bail!("README.md has no `{tag}` block to run; it has to show that quick start");
        }
    }
    let folder = tempfile::Builder::new().prefix("readme-").tempdir_in(workspace.target())?;
    let mut tally = Tally::default();
    for block in blocks.iter().filter(|block| !SHOWN.contains(&block.tag.as_str())) {
        println!("README.md:{}: {}", block.line, block.tag);
        let outcome = match block.tag.as_str() {
            "sh" => shell::run(&mut script(workspace, folder.path(), &block.text)),
            "python" => shell::run(venv.python(["-c", &block.text]).current_dir(folder.path())),
            _ => same_as_an_example(workspace, &block.text),
        };
        if let Err(error) = &outcome {
            println!("FAILED README.md:{}: {error:#}", block.line);
        }
        tally += Tally::one(outcome.is_ok());
    }
    Ok(tally)
}

/// The block as a shell runs it, the built `forebay` first on the path; any failing line fails it.
fn script(workspace: &Workspace, folder: &Path, text: &str) -> Command {
    let mut script = shell::command(folder, "bash", ["-euo", "pipefail", "-c", text]);
    script.env("PATH", path_with(&workspace.target().join("debug")));
    script
}

/// Succeeds when the text is the body of an example's `main.rs`.
fn same_as_an_example(workspace: &Workspace, text: &str) -> anyhow::Result<()> {
    let mut examples = Vec::new();
    for (package, folder) in workspace.packages().filter(|(_, folder)| folder.starts_with("examples/")) {
        let path = workspace.root().join(&folder).join("src/main.rs");
        let main = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if body(&main) == text.trim() {
            println!("it is {folder}/src/main.rs");
            return Ok(());
        }
        examples.push(package.name.to_string());
    }
    bail!(
        "differs from the main.rs of every example ({}); copy one, `//!` lines left out",
        examples.join(", ")
    )
}

/// A program's text after the comment that says what it is for.
fn body(main: &str) -> String {
    let lines = main.lines().skip_while(|line| line.starts_with("//!") || line.is_empty());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Every fenced block, in order; an unknown tag or a fence never closed is an error.
fn blocks(markdown: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(tag) = line.strip_prefix("```") else { continue };
        let (line, tag) = (index + 1, tag.trim().to_owned());
        if !RUN.contains(&tag.as_str()) && !SHOWN.contains(&tag.as_str()) {
            let known = [RUN, SHOWN].concat().join(", ");
            bail!("README.md:{line}: block tagged `{tag}`; use one of {known}");
        }
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, content)) => text.extend([content, "\n"]),
                None => bail!("README.md:{line}: the block is never closed"),
            }
        }
        blocks.push(Block { line, tag, text });
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_line_tag_and_text() {
        let found = blocks("# Title\n```sh\nforebay ls .\n```\ntext\n```console\n$ ls\n```\n").unwrap();
        let sh = Block { line: 2, tag: "sh".into(), text: "forebay ls .\n".into() };
        let console = Block { line: 6, tag: "console".into(), text: "$ ls\n".into() };
        assert_eq!(found, [sh, console]);
    }

    #[test]
    fn a_tag_that_would_go_unrun_is_an_error() {
        let error = blocks("```bash\nls\n```\n").unwrap_err().to_string();
        assert!(error.contains("README.md:1") && error.contains("`bash`"), "{error}");
        assert!(blocks("```\nls\n```\n").is_err());
    }

    #[test]
    fn a_block_never_closed_is_an_error() {
        assert!(blocks("```sh\nls\n").unwrap_err().to_string().contains("never closed"));
    }

    #[test]
    fn the_leading_comment_of_a_program_is_not_its_body() {
        assert_eq!(body("//! What it is.\n//! More.\n\nfn main() {}\n"), "fn main() {}");
    }
}
