//! The files of this machine that a command line names, and that none is read and written over at once.
//!
//! Only what is named counts: a file that is found by listing a directory is not looked for.

use crate::failure::{Failure, Result};
use forebay_io::Location;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a command line names.
#[derive(Debug)]
pub(crate) struct NamedFiles<'a> {
    /// Where relative paths begin.
    cwd: &'a Path,
    reads: Vec<PathBuf>,
    /// With the option that names it.
    writes: Vec<(&'static str, PathBuf)>,
}

impl<'a> NamedFiles<'a> {
    /// None yet.
    pub(crate) fn new(cwd: &'a Path) -> Self {
        NamedFiles { cwd, reads: Vec::new(), writes: Vec::new() }
    }

    /// The command reads this path or URI. Of one that is no file here there is nothing to note.
    pub(crate) fn reads(&mut self, argument: impl AsRef<OsStr>) {
        self.reads.extend(self.path(argument.as_ref()));
    }

    /// The same, with the manifest that lies beside it where none is named.
    pub(crate) fn reads_with_manifest(&mut self, argument: &OsStr, manifest: Option<&OsStr>) {
        self.reads(argument);
        match manifest {
            Some(manifest) => self.reads(manifest),
            None => {
                let beside = self.path(argument).and_then(|path| Location::from_path(&path).ok());
                let beside = beside.and_then(|root| crate::manifest::beside(&root).ok());
                self.reads.extend(beside.map(|manifest| manifest.as_path().to_owned()));
            }
        }
    }

    /// The command writes this file anew, because `option` says so.
    pub(crate) fn writes(&mut self, option: &'static str, path: &Path) {
        self.writes.push((option, self.cwd.join(path)));
    }

    /// The path of a location here.
    fn path(&self, argument: &OsStr) -> Option<PathBuf> {
        match argument.to_str() {
            Some(uri) if uri.contains("://") => {
                let location = uri.parse::<Location>().ok()?;
                let here = matches!(location.scheme(), "file" | "direct");
                here.then(|| location.as_path().to_owned())
            }
            _ => Some(self.cwd.join(argument)),
        }
    }

    /// Looks whether a file that is written is one of the others, by whatever name, or meant for no file.
    ///
    /// # Errors
    /// Wrong usage, with the option and the file.
    pub(crate) fn check(&self) -> Result<()> {
        for (i, (option, path)) in self.writes.iter().enumerate() {
            // Byte by byte: another spelling is meant for a file.
            if path.as_os_str() == self.cwd.join("-").as_os_str() {
                return Err(Failure::usage(format!(
                    "{option} is a file and not standard output; write ./- for one of the name -"
                )));
            }
            if self.reads.iter().any(|read| is_same(read, path)) {
                let shown = path.display();
                return Err(Failure::usage(format!(
                    "{option}: {shown} is what this command reads, and would be written over; name another file"
                )));
            }
            if let Some((other, _)) = self.writes[..i].iter().find(|(_, other)| is_same(other, path)) {
                let shown = path.display();
                return Err(Failure::usage(format!(
                    "{other} and {option} would both write {shown}; name two files"
                )));
            }
        }
        Ok(())
    }
}

/// Whether both are one regular file, or would be if it were made. Devices and pipes are not written over.
fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => place(a).is_some_and(|place| Some(place) == self::place(b)),
        _ => false,
    }
}

/// Where a file that is not there would be.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(path.parent()?).ok()?;
    Some(folder.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("soft")).unwrap();
        let uri = format!("file://{}", at("a").display());
        let check = |read: &str, write: &str| {
            let mut named = NamedFiles::new(folder.path());
            named.reads(read);
            named.writes("--out", Path::new(write));
            named.check()
        };
        for (read, write) in [("a", "a"), ("a", "./hard"), ("soft", "a"), ("hard", "soft"), (&uri, "a")] {
            let error = check(read, write).unwrap_err().to_string();
            assert!(error.contains("--out") && error.contains("written over"), "{read} {write}: {error}");
        }
        for (read, write) in
            [("a", "b"), ("b", "a"), ("s3://a/a", "a"), ("/dev/null", "/dev/null"), (".", "a")]
        {
            check(read, write).unwrap();
        }
    }

    #[test]
    fn two_outputs_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut named = NamedFiles::new(folder.path());
        named.writes("--trace", Path::new("new"));
        named.writes("--metrics-out", Path::new("other"));
        named.check().unwrap();
        named.writes("--chrome-trace", Path::new("./new"));
        let error = named.check().unwrap_err().to_string();
        assert!(error.contains("--trace and --chrome-trace"), "{error}");
    }

    #[test]
    fn the_manifest_beside_a_data_set_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("set.manifest.jsonl"), "").unwrap();
        let mut named = NamedFiles::new(folder.path());
        named.reads_with_manifest(OsStr::new("set"), None);
        named.writes("--trace", Path::new("set.manifest.jsonl"));
        named.check().unwrap_err();
    }
}
