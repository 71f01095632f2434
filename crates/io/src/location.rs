//! Where an object is: `file:///data/a%20b.bin`, a plain path, `s3://bucket/key`, `mem://set/key`.
//!
//! A location holds bytes, not text, because file names are bytes. Its text form is a URI that
//! parses back to the same location.

use crate::{Error, Result};
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The name of an object, or of a folder of objects. Cheap to clone.
///
/// * `file` and `direct`: no host, an absolute path, percent-encoded in the URI.
/// * `https`: an account's host with its container as the host, and a key, percent-encoded in the URI. A
///   query, which may be a signature, is refused: whoever opens stores takes it off before.
/// * others: a host (bucket, container) and a key, taken as they stand: object stores do not
///   percent-encode the keys that people type.
///
/// Trailing slashes and empty path segments of files are removed; `..` is left to the kernel,
/// because resolving it by text is wrong where there are symbolic links.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    scheme: Cow<'static, str>,
    host: Option<Arc<str>>,
    /// Absolute, with its leading '/', for files; the key without one for others.
    path: Arc<[u8]>,
}

impl Location {
    /// Parses a URI, or a plain path. A relative path is taken from `base`, which must be absolute.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the text and what would be valid.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("a location is empty; give a path or a URI such as file:///data"));
        }
        match split_scheme(text) {
            Some((scheme, rest)) => Self::from_uri(text, scheme, rest),
            None => Self::from_path(&base.join(text)),
        }
    }

    /// The location of a file by its absolute path.
    ///
    /// # Errors
    /// `InvalidConfig` if the path is relative or contains NUL.
    pub fn from_path(path: &Path) -> Result<Self> {
        if !path.is_absolute() {
            return Err(Error::invalid(format!(
                "path {path:?} is relative; give an absolute path or a file:/// URI"
            )));
        }
        Self::file("file", path.as_os_str().as_bytes())
    }

    fn from_uri(text: &str, scheme: &str, rest: &str) -> Result<Self> {
        let scheme = known(&scheme.to_ascii_lowercase());
        if matches!(&*scheme, "file" | "direct") {
            let path = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(Error::invalid(format!(
                    "{text:?} has {host:?} where a host would be; write {scheme}:///{rest} for an \
                     absolute path, or leave the scheme out for a path from the working directory",
                    host = path.split('/').next().unwrap_or(path),
                )));
            }
            let bytes: Vec<u8> = percent_decode(path.as_bytes()).collect();
            if has_bad_escape(path) {
                return Err(Error::invalid(format!(
                    "{text:?} has a '%' that is not followed by two hex digits; write %25 for a percent sign"
                )));
            }
            return Self::file_of(scheme, &bytes).map_err(|e| e.context(format_args!("{text:?}")));
        }
        if scheme == "https" {
            return Self::from_https(rest);
        }
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains(['@', ':']) {
            // The text stays unsaid: what stands there where a name should be is most likely a key.
            return Err(Error::invalid(format!(
                "a location {scheme}://… has ':' or '@' before its first '/', as if keys were part of a place; \
                 write {scheme}://NAME/key, and give keys as options or by the environment"
            )));
        }
        if host.is_empty() {
            return Err(Error::invalid(format!(
                "{text:?} names no bucket or container; write {scheme}://NAME/key"
            )));
        }
        Ok(Location { scheme, host: Some(host.into()), path: key.as_bytes().into() })
    }

    /// No error shows the text: it may hold a signature or a password.
    fn from_https(rest: &str) -> Result<Self> {
        let refuse = |what: &str| {
            let context = format!("a location https://… {what}; write https://HOST/CONTAINER/key");
            Err(Error::invalid(context))
        };
        if rest.contains(['?', '#']) {
            return refuse(
                "has a query or fragment, which is no part of a place (escape ? as %3F and # as %23)",
            );
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return refuse("has a user name or password in front of its host");
        }
        if has_bad_escape(path) {
            return refuse("has a '%' that is not followed by two hex digits (write %25 for a percent sign)");
        }
        let (container, key) = path.split_once('/').unwrap_or((path, ""));
        if authority.is_empty() || container.is_empty() {
            return refuse("names no host or no container");
        }
        let host = format!("{}/{container}", authority.to_ascii_lowercase());
        let key: Vec<u8> = percent_decode(key.as_bytes()).collect();
        Ok(Location { scheme: Cow::Borrowed("https"), host: Some(host.into()), path: key.into() })
    }

    fn file(scheme: &'static str, path: &[u8]) -> Result<Self> {
        Self::file_of(Cow::Borrowed(scheme), path)
    }

    fn file_of(scheme: Cow<'static, str>, path: &[u8]) -> Result<Self> {
        if path.contains(&0) {
            return Err(Error::invalid("a file name cannot contain a NUL byte"));
        }
        let clean = path.starts_with(b"/")
            && !path.windows(2).any(|w| w == b"//")
            && !path.windows(3).any(|w| w == b"/./")
            && !path.ends_with(b"/.")
            && (path.len() == 1 || !path.ends_with(b"/"));
        if clean {
            return Ok(Location { scheme, host: None, path: path.into() });
        }
        let mut out = Vec::with_capacity(path.len());
        for part in path.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".") {
            out.push(b'/');
            out.extend_from_slice(part);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        Ok(Location { scheme, host: None, path: out.into() })
    }

    /// `file`, `direct`, `s3`, `az`, `mem`, …, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The bucket or container (of `https`, with its account's host in front); none for files.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The absolute path of a file, or the key of an object, as bytes.
    pub fn path_bytes(&self) -> &[u8] {
        &self.path
    }

    /// The path of a file as the operating system takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// The last part of the path: a file's name. Empty at the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// The same path under another scheme of files, as `direct` for `file`.
    #[must_use]
    pub fn with_scheme(&self, scheme: &str) -> Self {
        Location { scheme: known(scheme), host: self.host.clone(), path: self.path.clone() }
    }

    /// The location of `key` beneath this one. An empty key is this location itself.
    #[must_use]
    pub fn join(&self, key: &[u8]) -> Self {
        if key.is_empty() {
            return self.clone();
        }
        let slash = !self.path.is_empty() && !self.path.ends_with(b"/");
        let begin = self.path.len() + usize::from(slash);
        // One allocation, because this runs once a sample: an iterator that knows its length is collected into
        // the shared slice itself.
        let mut path: Arc<[u8]> = std::iter::repeat_n(b'/', begin + key.len()).collect();
        let bytes = Arc::get_mut(&mut path).expect("nobody else has it yet");
        bytes[..self.path.len()].copy_from_slice(&self.path);
        bytes[begin..].copy_from_slice(key);
        Location { scheme: self.scheme.clone(), host: self.host.clone(), path }
    }

    /// The key of this location beneath `root`: what `root.join` would need. Empty if they are
    /// equal, none if it is not beneath.
    pub fn key_beneath(&self, root: &Location) -> Option<&[u8]> {
        if self.scheme != root.scheme || self.host != root.host {
            return None;
        }
        let rest = self.path.strip_prefix(&*root.path)?;
        if rest.is_empty() || root.path.is_empty() || root.path.ends_with(b"/") {
            return Some(rest);
        }
        rest.strip_prefix(b"/")
    }
}

/// The scheme and the rest, if the text has the form of a URI (RFC 3986: a letter, then letters,
/// digits, `+`, `-`, `.`).
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let mut bytes = scheme.bytes();
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

/// Known schemes cost no allocation, because every sample's location carries one.
fn known(scheme: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 6] = ["file", "direct", "s3", "az", "mem", "https"];
    match KNOWN.into_iter().find(|k| *k == scheme) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(scheme.to_owned()),
    }
}

fn has_bad_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(i, &b)| {
        let hex = |k: usize| bytes.get(i + k).is_some_and(u8::is_ascii_hexdigit);
        b == b'%' && !(hex(1) && hex(2))
    })
}

impl FromStr for Location {
    type Err = Error;

    /// A URI or an absolute path; a relative one is an error, because there is no base.
    fn from_str(text: &str) -> Result<Self> {
        Location::parse(text, Path::new(""))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
            if self.scheme != "https" {
                return f.write_str(&String::from_utf8_lossy(&self.path));
            }
        }
        for chunk in self.path.utf8_chunks() {
            // Run by run: most names have nothing to escape, and traces write millions of them.
            let mut rest = chunk.valid();
            while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
                let (plain, escaped) = rest.split_at(at);
                f.write_str(plain)?;
                let (escaped, after) = escaped.split_at(c.len_utf8());
                escaped.bytes().try_for_each(|b| write!(f, "%{b:02X}"))?;
                rest = after;
            }
            f.write_str(rest)?;
            chunk.invalid().iter().try_for_each(|b| write!(f, "%{b:02X}"))?;
        }
        Ok(())
    }
}

/// What a `file://` or `https://` text escapes: what a URI gives a meaning to, and what would hide or rearrange text
/// on a terminal. Letters of any language stay readable.
fn is_escaped(c: char) -> bool {
    match c {
        '"' | '#' | '%' | '<' | '>' | '?' | '`' | '\\' => true,
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' => true,
        _ => c.is_control() || c.is_whitespace(),
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Location> {
        Location::parse(text, Path::new("/base"))
    }

    #[test]
    fn plain_paths_are_not_decoded() {
        assert_eq!(parse("a%20b").unwrap().path_bytes(), b"/base/a%20b");
        assert_eq!(parse("/x y/ä").unwrap().path_bytes(), "/x y/ä".as_bytes());
        assert_eq!(parse("/x y/ä").unwrap().to_string(), "file:///x%20y/ä");
    }

    #[test]
    fn file_uris_are_decoded() {
        assert_eq!(parse("file:///x%20y/%C3%A4").unwrap(), parse("/x y/ä").unwrap());
        assert_eq!(parse("FILE:///x").unwrap(), parse("file://localhost/x").unwrap());
    }

    #[test]
    fn empty_segments_and_trailing_slashes_go() {
        for text in ["/a/b", "/a//b", "/a/b/", "/a/./b/.", "//a/b"] {
            assert_eq!(parse(text).unwrap().path_bytes(), b"/a/b", "{text}");
        }
        assert_eq!(parse("/").unwrap().path_bytes(), b"/");
        assert_eq!(parse(".").unwrap().path_bytes(), b"/base");
    }

    #[test]
    fn object_keys_stand_as_they_are() {
        let location = parse("s3://bucket/a//b%20c").unwrap();
        assert_eq!((location.host(), location.path_bytes()), (Some("bucket"), &b"a//b%20c"[..]));
        assert_eq!(location.to_string(), "s3://bucket/a//b%20c");
    }

    #[test]
    fn https_names_host_and_container_and_is_decoded() {
        let location = parse("https://Acme.blob.core.windows.net/box/a%20b//%3F").unwrap();
        assert_eq!(location.host(), Some("acme.blob.core.windows.net/box"));
        assert_eq!(location.path_bytes(), b"a b//?");
        assert_eq!(location.to_string(), "https://acme.blob.core.windows.net/box/a%20b//%3F");
        assert_eq!(parse(&location.to_string()).unwrap(), location);
        assert_eq!(parse("https://h/box").unwrap(), parse("https://h/box/").unwrap());
    }

    #[test]
    fn https_with_secrets_is_refused_without_showing_them() {
        for text in [
            "https://h/c/k?sig=hush",
            "https://u:hush@h/c/k",
            "https://h/c/%hush",
            "https://?hush",
            "https://h",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains("https://HOST/CONTAINER/key") && !error.contains("hush"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn keys_in_a_place_are_refused_without_showing_them() {
        for text in ["s3://AK:hush@bucket/x", "az://hush@box", "s3://AK:hu/sh@bucket/x", "s3://AKhush@bucket"]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("://NAME/key") && !error.contains("hu"), "{text}: {error}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_a_remedy() {
        for (text, needle) in [
            ("", "empty"),
            ("file://data/x", "write file:///data/x"),
            ("file:///a%2", "%25"),
            ("file:///a%00b", "NUL"),
            ("s3:///key", "s3://NAME/key"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(needle), "{text:?}: {error}");
        }
        assert!("relative/path".parse::<Location>().unwrap_err().to_string().contains("relative"));
    }

    #[test]
    fn what_looks_like_a_scheme_but_is_not_is_a_path() {
        assert_eq!(parse("1a://b").unwrap().path_bytes(), b"/base/1a:/b");
    }

    proptest! {
        #[test]
        fn text_parses_back_to_the_same_file(path in proptest::collection::vec(1u8..=255, 1..40)) {
            let mut bytes = b"/".to_vec();
            bytes.extend(path);
            let location = Location::from_path(Path::new(OsStr::from_bytes(&bytes))).unwrap();
            let text = location.to_string();
            prop_assert_eq!(text.parse::<Location>().unwrap(), location);
            let hidden = text.contains(['\n', ' ', '\u{202E}']);
            prop_assert!(!hidden, "{:?}", text);
        }

        #[test]
        fn join_and_key_beneath_are_inverse(key in "[a-zä /.]{1,12}[a-z]") {
            for root in ["mem://h/", "mem://h/p", "mem://h/p/"] {
                let root: Location = root.parse().unwrap();
                let joined = root.join(key.as_bytes());
                prop_assert_eq!(joined.key_beneath(&root), Some(key.as_bytes()));
            }
        }
    }
}
