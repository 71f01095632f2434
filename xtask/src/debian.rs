//! Programs that neither cargo, pip nor npm can bring: from Debian's packages.

use std::path::Path;

use anyhow::Context;

use crate::shell;

/// What `probe` (a program and its arguments) prints, once it is installed by `packages` where it was not. `why` says
/// what it is for.
pub(crate) fn require(root: &Path, probe: &[&str], packages: &[&str], why: &str) -> anyhow::Result<String> {
    let ask = || shell::read(&mut shell::command(root, probe[0], &probe[1..]));
    if ask().is_err() {
        shell::run(&mut shell::command(root, "apt-get", ["update", "--quiet"]))
            .and_then(|()| {
                let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
                shell::run(shell::command(root, "apt-get", install).args(packages))
            })
            .with_context(|| format!("{} is not installed and could not be; {why}", packages.join(", ")))?;
    }
    Ok(ask()?.trim().to_owned())
}
