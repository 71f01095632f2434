//! Folders of equal files with random content, to be read by every contender.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A data set of `count` files of `size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// What it is called in results and on the command line.
    pub(crate) name: &'static str,
    /// Bytes of each file.
    pub(crate) size: usize,
    pub(crate) count: usize,
}

/// Files are spread over this many folders, nested two deep, so that a program which reads folder by folder
/// can be given one, four or sixteen equal shares.
const FANOUT: usize = 4;

impl Shape {
    pub(crate) fn bytes(&self) -> u64 {
        (self.size * self.count) as u64
    }

    /// Where file `number` lies, relative to the data set's folder.
    fn path(&self, number: usize) -> PathBuf {
        let (outer, inner) = (number % FANOUT, number / FANOUT % FANOUT);
        PathBuf::from(format!("{outer}/{inner}/{number:06}.bin"))
    }

    /// Writes the files under `parent` unless they are there already; returns their folder and paths.
    pub(crate) fn make(&self, parent: &Path) -> anyhow::Result<Dataset> {
        let folder = parent.join(self.name);
        let files: Vec<_> = (0..self.count).map(|number| folder.join(self.path(number))).collect();
        // Written last, so a set whose making was interrupted is made anew.
        let complete = parent.join(format!("{}.complete", self.name));
        let says = format!("{} files of {} bytes\n", self.count, self.size);
        if fs::read_to_string(&complete).is_ok_and(|said| said == says) {
            return Ok(Dataset { folder, files });
        }
        eprintln!("writing {}: {}", folder.display(), says.trim());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        for outer in 0..FANOUT {
            for inner in 0..FANOUT {
                fs::create_dir_all(folder.join(format!("{outer}/{inner}")))?;
            }
        }
        let mut content = vec![0; self.size];
        for (number, path) in files.iter().enumerate() {
            ChaCha8Rng::seed_from_u64(number as u64).fill_bytes(&mut content);
            fs::write(path, &content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        // Dirty pages cannot be evicted, and being written back they would disturb what is measured.
        rustix::fs::sync();
        fs::write(complete, says)?;
        Ok(Dataset { folder, files })
    }
}

/// A data set that is there.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) folder: PathBuf,
    pub(crate) files: Vec<PathBuf>,
}

/// Every file under a folder, in name order.
pub(crate) fn files_under(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    ensure!(!files.is_empty(), "{} holds no file", folder.display());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_and_again_after_it_was_broken_off() {
        let parent = tempfile::tempdir().unwrap();
        let shape = Shape { name: "tiny", size: 100, count: 33 };
        let dataset = shape.make(parent.path()).unwrap();
        assert_eq!(files_under(&dataset.folder).unwrap().len(), 33);
        assert!(dataset.files.iter().all(|file| fs::metadata(file).unwrap().len() == 100));

        fs::write(&dataset.files[0], "kept").unwrap();
        shape.make(parent.path()).unwrap();
        assert_eq!(fs::read(&dataset.files[0]).unwrap(), b"kept");

        fs::remove_file(parent.path().join("tiny.complete")).unwrap();
        shape.make(parent.path()).unwrap();
        assert_eq!(fs::metadata(&dataset.files[0]).unwrap().len(), 100);
    }

    #[test]
    fn no_two_files_hold_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let dataset = Shape { name: "tiny", size: 64, count: 2 }.make(parent.path()).unwrap();
        assert_ne!(fs::read(&dataset.files[0]).unwrap(), fs::read(&dataset.files[1]).unwrap());
    }
}
