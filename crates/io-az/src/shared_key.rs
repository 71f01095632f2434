//! Signatures with an account's key.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forebay_io_object::Secret;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use std::borrow::Cow;
use std::fmt::Write;

/// The fields whose values are signed without their names, in this order; the length stands behind the second.
const PLACES: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// A key, ready to sign.
#[derive(Clone)]
pub(crate) struct SharedKey {
    account: Box<str>,
    /// Has the key in it already: half of the work of each signature.
    keyed: Hmac<Sha256>,
}

impl SharedKey {
    /// None where the key is not base64.
    pub(crate) fn new(account: &str, key: &Secret) -> Option<Self> {
        let key = BASE64_STANDARD.decode(key.expose()).ok()?;
        let keyed = Hmac::new_from_slice(&key).ok()?;
        Some(SharedKey { account: account.into(), keyed })
    }

    /// The value of `Authorization` for a request. Names of `fields` are in lower case; path and query are as
    /// they are sent.
    pub(crate) fn authorization(
        &self,
        method: &str,
        path: &str,
        query: &str,
        fields: &[(&str, Cow<'_, str>)],
        length: u64,
    ) -> String {
        let mut mac = self.keyed.clone();
        mac.update(self.text(method, path, query, fields, length).as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        format!("SharedKey {}:{signature}", self.account)
    }

    /// What is signed.
    fn text(
        &self,
        method: &str,
        path: &str,
        query: &str,
        fields: &[(&str, Cow<'_, str>)],
        length: u64,
    ) -> String {
        let mut text = String::with_capacity(512);
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{method}");
        for (index, place) in PLACES.iter().enumerate() {
            if index == 2 {
                if length > 0 {
                    let _ = write!(text, "{length}");
                }
                text.push('\n');
            }
            let value = fields.iter().find(|(name, _)| name == place);
            let _ = writeln!(text, "{}", value.map_or("", |(_, value)| value));
        }
        let mut own: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
        own.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in own {
            let _ = writeln!(text, "{name}:{}", value.trim());
        }
        let _ = write!(text, "/{}{path}", self.account);
        let decoded = |part| percent_decode_str(part).decode_utf8_lossy();
        let mut pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), decoded(value)))
            .collect();
        pairs.sort_unstable();
        for (name, value) in pairs {
            let _ = write!(text, "\n{name}:{value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SharedKey {
        SharedKey::new("acme", &Secret::from("a2V5")).unwrap()
    }

    /// As in the service's documentation: every place in its line, `x-ms-` by name, the query decoded by name.
    #[test]
    fn what_is_signed_has_everything_in_its_place() {
        let fields = [
            ("x-ms-version", Cow::from("2023-11-03")),
            ("range", Cow::from("bytes=0-9")),
            ("x-ms-date", Cow::from("now")),
            ("if-match", Cow::from("\"e\"")),
            ("content-type", Cow::from("text/plain")),
        ];
        let text = key().text("PUT", "/c/a%20b", "comp=block&blockid=YQ%3D%3D", &fields, 7);
        assert_eq!(
            text,
            "PUT\n\n\n7\n\ntext/plain\n\n\n\"e\"\n\n\nbytes=0-9\nx-ms-date:now\nx-ms-version:2023-11-03\n\
             /acme/c/a%20b\nblockid:YQ==\ncomp:block"
        );
        let empty = key().text("GET", "/acme/c", "", &[], 0);
        assert_eq!(empty, format!("GET{}/acme/acme/c", "\n".repeat(12)));
    }

    #[test]
    fn other_requests_and_other_keys_are_signed_otherwise() {
        let other = SharedKey::new("acme", &Secret::from("b3RoZXI=")).unwrap();
        let sign = |key: &SharedKey, path: &str| key.authorization("GET", path, "", &[], 0);
        let one = sign(&key(), "/a");
        assert!(one.starts_with("SharedKey acme:"), "{one}");
        assert_eq!(one, sign(&key(), "/a"));
        assert_ne!(one, sign(&key(), "/b"));
        assert_ne!(one, sign(&other, "/a"));
        assert!(SharedKey::new("acme", &Secret::from("hush!")).is_none());
    }
}
