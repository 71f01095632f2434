//! A bench's program, built once and then run by itself: cargo would look at every file of the workspace ahead of
//! each reading, beside a peer that starts at once.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use cargo_metadata::Message;

use crate::shell;

/// Builds the bench `name` of `package` as `cargo bench` does. Answers where its program is.
pub(super) fn bench(root: &Path, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let build = ["bench", "--quiet", "--no-run", "--message-format=json-render-diagnostics"];
    let mut command = shell::cargo(root, build);
    command.args(["-p", package, "--bench", name]).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the bench {name} of {package} cannot be built: {}", output.status);
    found(&output.stdout, name).with_context(|| format!("cargo names no program of the bench {name}"))
}

fn found(messages: &[u8], name: &str) -> Option<PathBuf> {
    Message::parse_stream(messages).filter_map(Result::ok).find_map(|message| match message {
        Message::CompilerArtifact(artifact) if artifact.target.name == name => {
            artifact.executable.map(Into::into)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_of_that_name() {
        let artifact = |name: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/m","target":{{"kind":["bench"],
                "crate_types":["bin"],"name":"{name}","src_path":"/s","edition":"2024","doc":false,"doctest":false,
                "test":false}},"profile":{{"opt_level":"3","debuginfo":0,"debug_assertions":false,
                "overflow_checks":false,"test":true}},"features":[],"filenames":[],"executable":{executable},
                "fresh":true}}"#
            )
            .replace('\n', "")
        };
        let messages = [artifact("lib", "null"), artifact("reads", "\"/t/reads-1\"")].join("\n");
        assert_eq!(found(messages.as_bytes(), "reads"), Some("/t/reads-1".into()));
        assert_eq!(found(messages.as_bytes(), "lib"), None);
    }
}
