//! `cargo deny`, installed once under the target folder when the right version is not at hand.

use std::path::PathBuf;

use crate::report::Done;
use crate::shell;
use crate::workspace::Workspace;

/// The version whose checks and configuration keys `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks bans, licences and sources of everything that may be linked in.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Done> {
    let program = installed(workspace)?;
    let args = ["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    shell::run(&mut shell::command(workspace.root(), program, args))?;
    Ok(Done)
}

/// The program in this version: on the path, under the target folder, or else built there now.
fn installed(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let root = workspace.target().join("tools");
    let ours = root.join("bin").join("cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), ours.clone()] {
        let said = shell::read(&mut shell::command(workspace.root(), &candidate, ["--version"]));
        if said.is_ok_and(|said| said.trim() == format!("cargo-deny {VERSION}")) {
            return Ok(candidate);
        }
    }
    println!("building cargo-deny {VERSION} under {}, once; a few minutes", root.display());
    let mut install = shell::cargo(workspace.root(), ["install", "cargo-deny", "--locked", "--quiet"]);
    install.args(["--version", VERSION, "--root"]).arg(&root);
    // It runs for a second and is built on small machines: its own profile spends minutes on optimising.
    install.env("CARGO_PROFILE_RELEASE_LTO", "off");
    install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    // A target folder shared with the workspace would keep its hundreds of megabytes; this one is temporary.
    install.env_remove("CARGO_TARGET_DIR");
    shell::run(&mut install)?;
    Ok(ours)
}
