//! Every package states its own version: crates are released apart, so a number that several share would
//! promise changes that were never made.

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Reads every manifest of the workspace; the error lists the packages that do not say their version.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<String> {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (package, _) in workspace.packages() {
        let path = &package.manifest_path;
        let manifest = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        count += 1;
        if !states_version(&manifest) {
            wrong.push(format!("{path}: write `version = \"{}\"`, not the workspace's", package.version));
        }
    }
    if !wrong.is_empty() {
        bail!("a package's version is its own:\n  {}", wrong.join("\n  "));
    }
    Ok(format!("{count} packages"))
}

/// Whether `[package]` holds a `version = "…"` of its own.
fn states_version(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[package]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| key.trim() == "version" && value.trim().starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_literal_version_in_the_package_table_counts() {
        assert!(states_version("[package]\nname = \"x\"\nversion = \"0.1.0\"\n"));
        assert!(!states_version("[package]\nversion.workspace = true\n"));
        assert!(!states_version("[package]\nversion = { workspace = true }\n"));
        assert!(!states_version("[package]\nname = \"x\"\n[dependencies.y]\nversion = \"1\"\n"));
    }
}
