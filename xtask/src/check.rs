//! `cargo xtask check`: what must hold of the code before it is committed, tests apart.

use std::process::Command;

use anyhow::bail;

use crate::report::{Done, Report};
use crate::test::OTHER_CLIENTS;
use crate::workspace::Workspace;
use crate::{deny, edges, shell, tidy, versions};

/// Options of `cargo xtask check`: none, because each check is for everyone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs every check, then says which failed.
pub(crate) fn run(workspace: &Workspace, _: &Args) -> anyhow::Result<()> {
    let mut report = Report::default();
    let cargo = |args: &[&str]| shell::cargo(workspace.root(), args);
    let clippy = ["clippy", "--quiet", "--all-targets"];
    let denied = ["--", "-D", "warnings"];

    report.step("format", || done(&mut cargo(&["fmt", "--all", "--check"])));
    report.step("crate edges", || edges::check(workspace.metadata()));
    report.step("own versions", || versions::check(workspace));
    report.step("tidy", || tidy::check(workspace.root()));
    report.step("clippy", || done(cargo(&clippy).arg("--workspace").args(denied)));
    // The form that `pipeline` and people without stores use; a workspace build always unifies `io` in.
    report.step("clippy, metrics alone", || {
        done(cargo(&clippy).args(["-p", "forebay-metrics", "--no-default-features"]).args(denied))
    });
    report.step("clippy, other clients", || {
        let these = ["-p", "forebay-io-s3", "-p", "forebay-io-az", "--features", OTHER_CLIENTS];
        done(cargo(&clippy).args(these).args(denied))
    });
    report.step("documentation", || {
        let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
        done(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.step("bans, licences, sources", || deny::check(workspace));

    report.print();
    let failed = report.failed();
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join("; "));
    }
    println!("\nall checks passed");
    Ok(())
}

fn done(command: &mut Command) -> anyhow::Result<Done> {
    shell::run(command)?;
    Ok(Done)
}
