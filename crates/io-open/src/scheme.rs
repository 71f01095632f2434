//! The schemes there are, as data: for `open`, for help texts and for whoever lists what is possible.

use crate::nearest::did_you_mean;
use forebay_io::{Error, Kind, Location, Operation, Result};

/// One scheme of locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// What stands before `://`.
    pub name: &'static str,
    /// What it names, in a few words.
    pub about: &'static str,
    /// Whether this build can open it.
    pub available: bool,
    /// How often a failed operation is tried again where nothing is said.
    pub retries: u32,
}

/// Every scheme whose meaning is fixed, also those that this build cannot open yet.
pub const SCHEMES: [Scheme; 6] = [
    // An error of a local disk does not go away by asking again, and to try would hide it.
    Scheme { name: "file", about: "files, through the page cache", available: true, retries: 0 },
    Scheme { name: "mem", about: "objects that a program holds in memory", available: true, retries: 0 },
    Scheme { name: "direct", about: "files, past the page cache (O_DIRECT)", available: true, retries: 0 },
    Scheme { name: "s3", about: "objects in S3 and what speaks its protocol", available: true, retries: 4 },
    Scheme { name: "az", about: "blobs in Azure Blob Storage", available: true, retries: 4 },
    Scheme { name: "https", about: "the same by the URL of their account", available: true, retries: 4 },
];

impl Scheme {
    /// Whether it names a service over a network, which may be slow, busy or gone for a while.
    pub fn is_remote(&self) -> bool {
        crate::services::HTTP.contains(&self.name)
    }

    /// The scheme of a location, if this build can open it.
    ///
    /// # Errors
    /// `Unsupported` for one that is not built in, `InvalidConfig` for an unknown one; both name what
    /// is available.
    pub fn of(location: &Location) -> Result<&'static Scheme> {
        let name = location.scheme();
        match SCHEMES.iter().find(|scheme| scheme.name == name) {
            Some(scheme) if scheme.available => Ok(scheme),
            Some(scheme) => Err(Error::new(
                Kind::Unsupported,
                Operation::Configure,
                format!("{name}:// ({}) is not built yet; available: {}", scheme.about, available()),
            )
            .at(location)),
            None => {
                let mean = did_you_mean(name, SCHEMES.iter().map(|scheme| scheme.name));
                let context = format!("scheme {name:?} is not known; {mean}available: {}", available());
                Err(Error::invalid(context).at(location))
            }
        }
    }
}

fn available() -> String {
    let names: Vec<_> = SCHEMES
        .iter()
        .filter(|scheme| scheme.available)
        .map(|scheme| format!("{}://", scheme.name))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(uri: &str) -> Error {
        Scheme::of(&uri.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn unknown_schemes_are_refused_with_what_there_is() {
        let error = refusal("gopher://x/y");
        assert_eq!(error.kind(), Kind::InvalidConfig);
        let text = error.to_string();
        assert!(text.contains("\"gopher\"") && text.contains("file://, mem://"), "{text}");
        assert!(!text.contains("did you mean"), "{text}");
        assert!(refusal("ss3://b/k").to_string().contains("did you mean s3?"));
    }

    #[test]
    fn names_are_unique() {
        for (i, scheme) in SCHEMES.iter().enumerate() {
            assert!(SCHEMES[..i].iter().all(|other| other.name != scheme.name));
        }
    }
}
