//! Which crate may import which. `cargo metadata` tells what is, the table here what may be; a new edge
//! is a decision, made here and in `docs/architecture.md`, never an accident.
//!
//! Normal and build dependencies are held to the table. Dev-dependencies may point anywhere but at
//! the programs, and the test kit may be nothing else.

use anyhow::bail;
use cargo_metadata::{Dependency, DependencyKind, Metadata};

/// What a room may import. Names are folder names under `crates/`; a package is `forebay-<name>`.
enum Allowed {
    These(&'static [&'static str]),
    /// It composes the product: every room but the test kit and the other programs.
    Everything,
}
use Allowed::{Everything, These};

/// Every room of the workspace and its doors. A room that does not exist yet costs nothing here.
const ROOMS: &[(&str, Allowed)] = &[
    ("io", These(&[])),
    ("io-fs", These(&["io"])),
    ("io-direct", These(&["io", "io-fs"])),
    ("io-object", These(&["io"])),
    ("io-s3", These(&["io", "io-object"])),
    ("io-az", These(&["io", "io-object"])),
    ("io-open", These(&["io", "io-fs", "io-direct", "io-object", "io-s3", "io-az"])),
    ("io-testkit", These(&["io"])),
    ("metrics", These(&["io"])),
    ("trace", These(&["io", "metrics"])),
    ("cache", These(&["io"])),
    ("pipeline", These(&["metrics"])),
    ("loader", These(&["io", "pipeline", "metrics"])),
    ("monitor", These(&["metrics", "pipeline"])),
    ("cli", Everything),
    ("py", Everything),
    ("xtask", These(&[])),
];

/// Programs: they import, and are never imported.
const PROGRAMS: &[&str] = &["cli", "py", "xtask"];
const TEST_KIT: &str = "io-testkit";

/// Checks every edge between packages of the workspace; the error lists all that are forbidden.
pub(crate) fn check(metadata: &Metadata) -> anyhow::Result<String> {
    let mut edges = 0;
    let mut wrong = Vec::new();
    let members = metadata.workspace_packages();
    for package in &members {
        let manifest = package.manifest_path.as_str();
        let from = room(&package.name);
        let example = manifest.contains("/examples/");
        let allowed = match ROOMS.iter().find(|(name, _)| *name == from) {
            Some((_, allowed)) => allowed,
            None if example => &Everything,
            None => {
                wrong.push(format!(
                    "{}: not in the table of rooms; add it with what it may import",
                    package.name
                ));
                continue;
            }
        };
        for dependency in &package.dependencies {
            if !members.iter().any(|member| member.name == dependency.name) {
                continue;
            }
            edges += 1;
            if let Some(why) = forbidden(from, allowed, dependency) {
                wrong.push(format!("{} -> {}: {why}", package.name, dependency.name));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{} forbidden:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(format!("{edges} edges between {} packages", members.len()))
}

/// Why this edge may not be, if it may not.
fn forbidden(from: &str, allowed: &Allowed, dependency: &Dependency) -> Option<String> {
    let to = room(&dependency.name);
    if PROGRAMS.contains(&to) {
        return Some(format!("`{to}` is a program; nothing imports it"));
    }
    if dependency.kind == DependencyKind::Development {
        return None;
    }
    if to == TEST_KIT {
        return Some(format!("`{TEST_KIT}` may only be a dev-dependency"));
    }
    if let These(rooms) = allowed
        && !rooms.contains(&to)
    {
        let list = if rooms.is_empty() { "nothing".to_owned() } else { rooms.join(", ") };
        return Some(format!("`{from}` may import {list} of its siblings"));
    }
    // The pipeline is about stages and queues; the metrics it keeps know nothing of stores.
    let has_io = dependency.uses_default_features || dependency.features.iter().any(|f| f == "io");
    if from == "pipeline" && to == "metrics" && has_io {
        return Some("`pipeline` takes `metrics` with `default-features = false` and without `io`".into());
    }
    None
}

/// `forebay-io-fs` lives in the room `io-fs`.
fn room(package: &str) -> &str {
    package.strip_prefix("forebay-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Metadata of a made-up workspace: `(package, folder, dependencies)`.
    fn workspace(packages: &[(&str, &str, Vec<Value>)]) -> Metadata {
        let id = |name: &str| format!("path+file:///w/{name}#0.1.0");
        let members: Vec<_> = packages.iter().map(|(name, ..)| id(name)).collect();
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, folder, dependencies)| {
                json!({
                    "name": name, "version": "0.1.0", "id": id(name), "source": null,
                    "dependencies": dependencies, "targets": [], "features": {},
                    "manifest_path": format!("/w/{folder}/Cargo.toml"), "edition": "2024",
                })
            })
            .collect();
        serde_json::from_value(json!({
            "packages": packages, "workspace_members": members, "resolve": null, "version": 1,
            "workspace_root": "/w", "target_directory": "/w/target", "metadata": null,
        }))
        .unwrap()
    }

    fn edge(name: &str, kind: Option<&str>) -> Value {
        json!({
            "name": name, "source": null, "req": "^0.1.0", "kind": kind, "optional": false,
            "uses_default_features": true, "features": [], "target": null, "registry": null,
        })
    }

    fn pipeline_with_metrics(default_features: bool, features: &[&str]) -> Metadata {
        let mut metrics = edge("forebay-metrics", None);
        metrics["uses_default_features"] = json!(default_features);
        metrics["features"] = json!(features);
        workspace(&[
            ("forebay-metrics", "crates/metrics", vec![]),
            ("forebay-pipeline", "crates/pipeline", vec![metrics]),
        ])
    }

    fn complaint(metadata: &Metadata) -> String {
        check(metadata).unwrap_err().to_string()
    }

    #[test]
    fn edges_of_the_table_are_counted_and_pass() {
        let metadata = workspace(&[
            ("forebay-io", "crates/io", vec![edge("forebay-io-testkit", Some("dev"))]),
            ("forebay-io-testkit", "crates/io-testkit", vec![edge("forebay-io", None), edge("serde", None)]),
            ("forebay-cli", "crates/cli", vec![edge("forebay-io", None)]),
            ("reader", "examples/reader", vec![edge("forebay-io", None)]),
        ]);
        assert_eq!(check(&metadata).unwrap(), "4 edges between 4 packages");
    }

    #[test]
    fn a_forbidden_edge_is_named_with_what_is_allowed() {
        let metadata = workspace(&[
            ("forebay-io-fs", "crates/io-fs", vec![]),
            ("forebay-loader", "crates/loader", vec![edge("forebay-io-fs", None)]),
        ]);
        let text = complaint(&metadata);
        assert!(text.contains("forebay-loader -> forebay-io-fs"), "{text}");
        assert!(text.contains("`loader` may import io, pipeline, metrics"), "{text}");
    }

    #[test]
    fn build_dependencies_are_held_to_the_table_too() {
        let metadata = workspace(&[
            ("forebay-io", "crates/io", vec![edge("forebay-metrics", Some("build"))]),
            ("forebay-metrics", "crates/metrics", vec![]),
        ]);
        assert!(complaint(&metadata).contains("`io` may import nothing"));
    }

    #[test]
    fn the_test_kit_is_for_tests_alone() {
        let metadata = workspace(&[
            ("forebay-io-testkit", "crates/io-testkit", vec![]),
            ("forebay-cli", "crates/cli", vec![edge("forebay-io-testkit", None)]),
        ]);
        assert!(complaint(&metadata).contains("may only be a dev-dependency"));
    }

    #[test]
    fn nothing_imports_a_program_not_even_a_test() {
        let metadata = workspace(&[
            ("xtask", "xtask", vec![]),
            ("forebay-io", "crates/io", vec![edge("xtask", Some("dev"))]),
        ]);
        assert!(complaint(&metadata).contains("`xtask` is a program"));
    }

    #[test]
    fn a_crate_outside_the_table_is_an_error_unless_it_is_an_example() {
        let metadata = workspace(&[("forebay-attic", "crates/attic", vec![])]);
        assert!(complaint(&metadata).contains("forebay-attic: not in the table"));
        assert!(check(&workspace(&[("attic", "examples/attic", vec![])])).is_ok());
    }

    #[test]
    fn the_pipeline_takes_metrics_without_io() {
        assert!(check(&pipeline_with_metrics(false, &[])).is_ok());
        assert!(complaint(&pipeline_with_metrics(true, &[])).contains("default-features = false"));
        assert!(complaint(&pipeline_with_metrics(false, &["io"])).contains("without `io`"));
    }
}
