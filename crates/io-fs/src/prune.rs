//! Which directories a glob makes it pointless to enter.
//!
//! Only what is certain is used: a directory is entered unless no key beneath it can match.

use forebay_io::Glob;

/// What every matching key has in common.
#[derive(Debug, Default)]
pub(crate) struct Prune {
    /// Every matching key begins with this, which is empty or ends in a slash.
    prefix: Vec<u8>,
    /// Every matching key has at most this many slashes.
    depth: Option<usize>,
}

impl Prune {
    pub(crate) fn new(glob: Option<&Glob>) -> Self {
        let Some(pattern) = glob.map(Glob::pattern) else { return Prune::default() };
        let literal = pattern.find(['*', '?', '[', ']', '{', '}', '\\']).unwrap_or(pattern.len());
        let prefix = pattern[..literal].rfind('/').map_or(0, |slash| slash + 1);
        // Only `**`, an alternative or a class can match a slash that the pattern does not show; an
        // escape may hide any of them.
        let plain = !pattern.contains("**") && !pattern.contains(['[', '{', '\\']);
        Prune {
            prefix: pattern.as_bytes()[..prefix].to_vec(),
            depth: plain.then(|| pattern.matches('/').count()),
        }
    }

    /// Whether a key beneath the directory `key` can match.
    pub(crate) fn enters(&self, key: &[u8]) -> bool {
        let slashes = 1 + key.iter().filter(|&&b| b == b'/').count();
        if self.depth.is_some_and(|depth| slashes > depth) {
            return false;
        }
        // The shorter of the two must be the beginning of the other, with the slash that follows `key`.
        self.prefix.iter().zip(key.iter().chain(b"/")).all(|(a, b)| a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enters(pattern: &str, key: &str) -> bool {
        Prune::new(Some(&Glob::new(pattern).unwrap())).enters(key.as_bytes())
    }

    #[test]
    fn only_directories_that_can_hold_a_match_are_entered() {
        assert!(enters("train/*.jpg", "train"));
        assert!(!enters("train/*.jpg", "trainer"));
        assert!(!enters("train/*.jpg", "train/deep"));
        assert!(!enters("train/*.jpg", "val"));
        assert!(!enters("*.jpg", "train"));
        assert!(enters("*/*.jpg", "train"));
        assert!(enters("a/b/**/*.jpg", "a"));
        assert!(!enters("a/b/**/*.jpg", "a/c"));
        assert!(enters("a/b/**/*.jpg", "a/b/c/d"));
        assert!(enters("**/x", "any/where"));
        assert!(enters("{train,val/deep}/*", "val"));
        assert!(Prune::new(None).enters(b"any/where"));
    }

    /// Against the definition: whatever matches must have been reachable.
    #[test]
    fn nothing_that_matches_is_pruned() {
        let keys = ["a", "a/b", "a/b/c", "x/b/c", "a/bb/c", "a/b/c/d", "[a]/b", "a*/b"];
        let patterns = [
            "**",
            "*",
            "a/*",
            "*/b",
            "a/**",
            "**/c",
            "a/b/c",
            "{a,x}/b/c",
            "{a/b,x}/*",
            "[ax]/b/*",
            "a/?/c",
            "a/b*/c",
            "\\[a\\]/b",
            "a\\*/b",
            "a/**/d",
            "**/b/**",
            "a/**/b/**",
        ];
        for pattern in patterns {
            let glob = Glob::new(pattern).unwrap();
            let prune = Prune::new(Some(&glob));
            for key in keys.iter().filter(|key| glob.matches(key.as_bytes())) {
                for (slash, _) in key.match_indices('/') {
                    assert!(prune.enters(&key.as_bytes()[..slash]), "{pattern} matches {key}");
                }
            }
        }
    }
}
