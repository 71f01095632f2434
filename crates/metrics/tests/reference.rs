//! `docs/metrics.md` says what the registry says.
// The switch that writes the file anew is for the person at the keyboard.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

#[test]
fn the_reference_is_that_of_the_registry() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let wanted = forebay_metrics::reference::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo test -p forebay-metrics --test reference"
    );
    for definition in forebay_metrics::names::all() {
        assert!(found.contains(&format!("| `{}` |", definition.name)), "{}", definition.name);
    }
}
