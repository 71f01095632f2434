//! What Blob Storage can do, whichever client speaks to it.
//! <https://learn.microsoft.com/azure/storage/blobs/scalability-targets>

use forebay_io::Kind;
use forebay_io_object::{Facts, Failure};

/// With the name of a client filled in, the facts of that client.
pub(crate) const FACTS: Facts = Facts {
    client: "",
    conditional_put: true,
    delete_reports_missing: true,
    delete_batch: 256,
    min_part: 1,
    max_parts: 50_000,
    // What every version of the service takes in one request; blobs above are written in blocks.
    max_put: 256 << 20,
};

/// Refuses names that would become another's on the way: a part `.` or `..`, which HTTP clients take as a
/// step in a path, and a backslash, which the service takes for a slash.
pub(crate) fn steady(blob: &str) -> Result<(), Failure> {
    if blob.contains('\\') {
        let said = "a blob whose name has a \\ cannot be stored: the service takes it for a slash";
        return Err(Failure::new(Kind::InvalidConfig, said));
    }
    match blob.split('/').find(|part| matches!(*part, "." | "..")) {
        None => Ok(()),
        Some(step) => {
            let said = format!("a blob whose name has a part {step:?} cannot be asked for over HTTP");
            Err(Failure::new(Kind::InvalidConfig, said))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_a_name_are_refused() {
        for name in ["..", "a/../b", "./a", "a/.", "a\\b"] {
            assert_eq!(steady(name).unwrap_err().kind, Kind::InvalidConfig, "{name}");
        }
        for name in ["...", "a//b", ".a/b.", "a..b"] {
            assert!(steady(name).is_ok(), "{name}");
        }
    }
}
