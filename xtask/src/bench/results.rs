//! Results on disk, for people and programs that compare runs.

use serde::Serialize;

use crate::workspace::Workspace;

#[derive(Serialize)]
struct File<'a, C> {
    machine: &'a str,
    cases: &'a [C],
}

/// Writes `target/bench/NAME.json`: the machine, and every reading of every case.
pub(crate) fn write<C: Serialize>(
    workspace: &Workspace,
    name: &str,
    machine: &str,
    cases: &[C],
) -> anyhow::Result<()> {
    let folder = workspace.target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&File { machine, cases })?)?;
    println!("\nevery reading: {}", path.display());
    Ok(())
}
