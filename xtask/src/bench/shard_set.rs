//! Tar shards of equal samples, so that everybody can know where each one is.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of a tar header; data are padded to a multiple.
const BLOCK: usize = 512;

/// Shards of one file a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardSet {
    pub(crate) shards: usize,
    /// Samples of each shard.
    pub(crate) samples: usize,
    /// Bytes of each sample; a multiple of 512.
    pub(crate) size: usize,
}

impl ShardSet {
    /// Where in its shard sample `number` begins.
    pub(crate) fn offset(&self, number: usize) -> u64 {
        (number * (BLOCK + self.size) + BLOCK) as u64
    }

    fn name(&self) -> String {
        format!("tar-{}x{}x{}", self.shards, self.samples, self.size)
    }

    /// Writes the shards under `parent` unless they are there already; returns their folder and paths.
    pub(crate) fn make(&self, parent: &Path) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
        let folder = parent.join(self.name());
        let paths: Vec<_> = (0..self.shards).map(|shard| folder.join(format!("{shard:04}.tar"))).collect();
        // Written last, so a set whose making was interrupted is made anew.
        let complete = parent.join(format!("{}.complete", self.name()));
        if complete.exists() {
            return Ok((folder, paths));
        }
        eprintln!("writing {}", folder.display());
        fs::create_dir_all(&folder)?;
        let mut content = vec![0; self.size];
        for (shard, path) in paths.iter().enumerate() {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            let mut out = BufWriter::new(file);
            for number in 0..self.samples {
                ChaCha8Rng::seed_from_u64((shard * self.samples + number) as u64).fill_bytes(&mut content);
                out.write_all(&header(&format!("{shard:04}/{number:06}.bin"), self.size))?;
                out.write_all(&content)?;
            }
            out.write_all(&[0; 2 * BLOCK])?;
            out.flush()?;
        }
        // Dirty pages would be written back while something is measured.
        rustix::fs::sync();
        fs::write(complete, "")?;
        Ok((folder, paths))
    }
}

/// The header of a regular file in POSIX ustar form.
fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_where_they_are_said_to_be() {
        let parent = tempfile::tempdir().unwrap();
        let set = ShardSet { shards: 2, samples: 3, size: 1024 };
        let (_, paths) = set.make(parent.path()).unwrap();
        let bytes = fs::read(&paths[1]).unwrap();
        assert_eq!(bytes.len(), 3 * 1536 + 1024);
        let mut expected = vec![0; 1024];
        ChaCha8Rng::seed_from_u64(5).fill_bytes(&mut expected);
        let at = set.offset(2) as usize;
        assert_eq!(&bytes[at..at + 1024], expected);
        assert!(bytes[at - BLOCK..].starts_with(b"0001/000002.bin"));
    }
}
