//! Where the locations of a trace go: by prefix, one to one, many to one, or one spread over many.

use crate::error::{Error, Result};
use forebay_io::Location;
use std::str::FromStr;

/// One rule: what lies beneath a location lies beneath another one instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    from: Location,
    /// More than one: an object goes to one of them by its name, always to the same.
    to: Vec<Location>,
}

impl Rule {
    /// Where it leads.
    pub fn targets(&self) -> &[Location] {
        &self.to
    }
}

impl FromStr for Rule {
    type Err = Error;

    /// `FROM=TO`, or `FROM=TO1|TO2|…` to spread over several.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::Invalid(format!(
                "rule {text:?} {what}; write FROM=TO or FROM=TO1|TO2, as file:///data=s3://bucket/data"
            ))
        };
        let (from, to) = text.split_once('=').ok_or_else(|| bad("has no '='"))?;
        let location = |side: &str| match side.is_empty() {
            true => Err(bad("has an empty side")),
            false => {
                side.parse::<Location>().map_err(|e| bad(&format!("has a side that is no location: {e}")))
            }
        };
        Ok(Rule { from: location(from)?, to: to.split('|').map(location).collect::<Result<_>>()? })
    }
}

/// Rules, of which the first that matches is used. What none matches stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remap(pub Vec<Rule>);

impl Remap {
    /// Where `location` goes.
    pub fn apply(&self, location: &Location) -> Location {
        for rule in &self.0 {
            let Some(key) = location.key_beneath(&rule.from) else { continue };
            let to = match &rule.to[..] {
                [one] => one,
                many => {
                    let hash = blake3::hash(key);
                    let eight: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
                    &many[(u64::from_le_bytes(eight) % many.len() as u64) as usize]
                }
            };
            return to.join(key);
        }
        location.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remap(rules: &[&str]) -> Remap {
        Remap(rules.iter().map(|rule| rule.parse().unwrap()).collect())
    }

    fn apply(rules: &Remap, uri: &str) -> String {
        rules.apply(&uri.parse().unwrap()).to_string()
    }

    #[test]
    fn prefixes_are_exchanged_at_borders_of_names() {
        let rules = remap(&["file:///data=s3://b/d", "s3://old/=/new/", "file:///data2=mem://x/"]);
        for (from, to) in [
            ("file:///data/a", "s3://b/d/a"),
            ("file:///data", "s3://b/d"),
            ("file:///database/a", "file:///database/a"),
            ("s3://old/k", "file:///new/k"),
            ("file:///data/x%20y", "s3://b/d/x y"),
            ("s3://old/x y%", "file:///new/x%20y%25"),
            ("file:///data2/k", "mem://x/k"),
            ("az://c/k", "az://c/k"),
        ] {
            assert_eq!(apply(&rules, from), to);
        }
    }

    #[test]
    fn many_go_to_one_and_one_is_spread_over_many() {
        let one = remap(&["s3://a/=s3://c/", "s3://b/=s3://c/"]);
        assert_eq!(
            (apply(&one, "s3://a/1"), apply(&one, "s3://b/2")),
            ("s3://c/1".into(), "s3://c/2".into())
        );
        let many = remap(&["s3://a/=s3://x/|s3://y/"]);
        let places: Vec<_> = (0..64).map(|i| apply(&many, &format!("s3://a/{i}"))).collect();
        assert!(
            places.iter().any(|p| p.starts_with("s3://x/"))
                && places.iter().any(|p| p.starts_with("s3://y/"))
        );
        assert_eq!(places[7], apply(&many, "s3://a/7"));
    }

    #[test]
    fn bad_rules_are_refused() {
        for (rule, needle) in [("/a", "no '='"), ("=/b", "empty"), ("/a=", "empty"), ("/a=rel", "relative")] {
            let text = rule.parse::<Rule>().unwrap_err().to_string();
            assert!(text.contains(needle) && text.contains("FROM=TO"), "{text}");
        }
    }
}
