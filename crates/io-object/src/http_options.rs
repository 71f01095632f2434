//! Options of requests that S3 and Azure share, and how they are written as text.

use crate::{Proxy, Verify};
use forebay_io::{Error, Result, parse_size};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The options that can be given as text, each with what it means.
pub const HTTP_KEYS: [(&str, &str); 15] = [
    ("connect_timeout", "the longest wait for a connection, TLS included, as 5s"),
    ("first_byte_timeout", "the longest wait from a request to the header of its answer, as 30s"),
    ("idle_timeout", "the longest wait for the next bytes of an answer, as 30s"),
    ("request_timeout", "the longest that one request may take in all, as 5m, or none"),
    ("connection_idle", "how long an unused connection is kept, as 20s"),
    ("max_idle_connections", "the most unused connections that are kept"),
    ("concurrency", "the most requests in flight"),
    ("request_bytes", "objects are read in requests of this size side by side, as 8MiB, or none"),
    ("upload_part_bytes", "objects are written in parts of this size side by side, as 8MiB"),
    ("verify_checksums", "off, cheap (CRC-32, CRC-32C, CRC-64) or all (MD5 too)"),
    ("list_fanout", "listings beneath this many prefixes run side by side; 1 for one after another"),
    ("list_page", "the most keys that one page of a listing asks for, 1 to 5000"),
    (
        "proxy",
        "proxy on the way to the service, as http://USER:PASSWORD@HOST:PORT, or none (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)",
    ),
    (
        "no_proxy",
        "hosts and networks that are reached without a proxy, as .example.org,10.0.0.0/8 (NO_PROXY)",
    ),
    (
        "ca_bundle",
        "file in PEM with the certificates that vouch for the service (AWS_CA_BUNDLE, SSL_CERT_FILE)",
    ),
];

/// How requests are made. The defaults suit one machine and a service in the same region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// The longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// The longest wait from a request to the header of its answer.
    pub first_byte_timeout: Duration,
    /// The longest wait for the next bytes of an answer. Waiting for memory to put them does not count.
    pub idle_timeout: Duration,
    /// The longest that one request may take, from its start to the last byte of its answer. `None`: the
    /// others suffice.
    pub request_timeout: Option<Duration>,
    /// How long an unused connection is kept. S3 closes them after about 20 seconds, and a request on a
    /// connection that is just being closed fails.
    pub connection_idle: Duration,
    /// The most unused connections that are kept.
    pub max_idle_connections: usize,
    /// The most requests in flight at once. One that waits for memory does not count.
    pub concurrency: NonZeroU32,
    /// Reads ask for this many bytes at once, and larger objects are read in such requests side by side.
    /// `None`: each read is one request. [`ReadOptions::target_request_bytes`](forebay_io::ReadOptions)
    /// goes before it.
    pub request_bytes: Option<NonZeroU64>,
    /// Objects larger than this are written in parts of this size (larger where the service has a limit of
    /// parts), side by side.
    pub upload_part_bytes: NonZeroU64,
    /// Which checksums of the service are compared.
    pub verify: Verify,
    /// Recursive listings beneath this many prefixes run side by side.
    pub list_fanout: NonZeroU32,
    /// The most keys that one page of a listing asks for. `None`: as many as the service gives.
    pub list_page: Option<NonZeroU32>,
    /// Through what the service is reached. `None`: as the environment says.
    pub proxy: Option<ProxyChoice>,
    /// What is reached without a proxy, as in [`NoProxy`](crate::NoProxy). `None`: as the environment says.
    pub no_proxy: Option<String>,
    /// A file with the certificates that are trusted in place of the system's. `None`: as the environment says.
    pub ca_bundle: Option<PathBuf>,
}

/// Whether there is a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// There is none, whatever the environment says.
    None,
    /// This one.
    Via(Proxy),
}

impl ProxyChoice {
    /// The proxy.
    pub fn proxy(&self) -> Option<&Proxy> {
        match self {
            ProxyChoice::None => None,
            ProxyChoice::Via(proxy) => Some(proxy),
        }
    }
}

impl FromStr for ProxyChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "none" { Ok(ProxyChoice::None) } else { text.parse().map(ProxyChoice::Via) }
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            request_timeout: None,
            connection_idle: Duration::from_secs(15),
            max_idle_connections: 256,
            concurrency: NonZeroU32::new(64).expect("64 is not 0"),
            // What AWS advises for byte-range fetches (8 to 16 MiB): long enough that the first byte's
            // latency (tens of ms) is a small part, short enough that a few of them fill a link.
            request_bytes: NonZeroU64::new(8 << 20),
            upload_part_bytes: NonZeroU64::new(8 << 20).expect("8 MiB is not 0"),
            verify: Verify::default(),
            list_fanout: NonZeroU32::MIN,
            list_page: None,
            proxy: None,
            no_proxy: None,
            ca_bundle: None,
        }
    }
}

impl HttpOptions {
    /// Sets the option `key` from text. `false` if there is none of this name.
    ///
    /// # Errors
    /// `InvalidConfig` naming the key, the value and what would be valid.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "connect_timeout" => self.connect_timeout = duration(key, value)?,
            "first_byte_timeout" => self.first_byte_timeout = duration(key, value)?,
            "idle_timeout" => self.idle_timeout = duration(key, value)?,
            "request_timeout" => {
                self.request_timeout = (value != "none").then(|| duration(key, value)).transpose()?;
            }
            "connection_idle" => self.connection_idle = duration(key, value)?,
            "max_idle_connections" => {
                let parsed = value.parse().ok();
                self.max_idle_connections = parsed.ok_or_else(|| whole_number(key, value, "0 or more"))?;
            }
            "concurrency" => self.concurrency = number(key, value)?,
            "request_bytes" => {
                self.request_bytes = (value != "none").then(|| size(key, value)).transpose()?;
            }
            "upload_part_bytes" => self.upload_part_bytes = size(key, value)?,
            "verify_checksums" => self.verify = value.parse().map_err(|e: Error| e.context(key))?,
            "list_fanout" => self.list_fanout = number(key, value)?,
            "list_page" => {
                let page = number(key, value)?;
                if page.get() > 5000 {
                    return Err(whole_number(key, value, "1 to 5000"));
                }
                self.list_page = Some(page);
            }
            "proxy" => self.proxy = Some(value.parse().map_err(|e: Error| e.context(key))?),
            "no_proxy" => self.no_proxy = Some(value.to_owned()),
            "ca_bundle" if value.is_empty() => {
                return Err(Error::invalid(
                    "ca_bundle is empty; give the path of a file in PEM, or leave it out",
                ));
            }
            "ca_bundle" => self.ca_bundle = Some(PathBuf::from(value)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn whole_number(key: &str, value: &str, valid: &str) -> Error {
    Error::invalid(format!("{key} must be a whole number, {valid}; it is {value:?}"))
}

fn number(key: &str, value: &str) -> Result<NonZeroU32> {
    value.parse().map_err(|_| whole_number(key, value, "1 or more"))
}

fn size(key: &str, value: &str) -> Result<NonZeroU64> {
    let bytes = parse_size(value).map_err(|e| e.context(key))?;
    NonZeroU64::new(bytes).ok_or_else(|| Error::invalid(format!("{key} must be 1 or more, is {value:?}")))
}

fn duration(key: &str, value: &str) -> Result<Duration> {
    let parsed = humantime::parse_duration(value).ok().filter(|duration| !duration.is_zero());
    let valid = "a time longer than 0 with its unit, as 500ms, 30s or 5m";
    parsed.ok_or_else(|| Error::invalid(format!("{key} must be {valid}; it is {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood_and_changes_something() {
        for (key, _) in HTTP_KEYS {
            let value = match key {
                "verify_checksums" => "all",
                "proxy" => "http://u:hush@p:1",
                key if key.ends_with("timeout") || key == "connection_idle" => "7s",
                _ => "7",
            };
            let mut options = HttpOptions::default();
            assert!(options.set(key, value).unwrap(), "{key}");
            assert_ne!(options, HttpOptions::default(), "{key}");
            assert!(!format!("{options:?}").contains("hush"));
        }
        assert!(!HttpOptions::default().set("colour", "red").unwrap());
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (key, value, needle) in [
            ("connect_timeout", "5", "500ms"),
            ("idle_timeout", "0s", "longer than 0"),
            ("concurrency", "0", "1 or more"),
            ("request_bytes", "0", "1 or more"),
            ("request_bytes", "big", "request_bytes"),
            ("verify_checksums", "yes", "off, cheap"),
            ("list_page", "5001", "1 to 5000"),
            ("proxy", "https://u:hush@p", "http://USER:PASSWORD@HOST:PORT"),
            ("ca_bundle", "", "give the path"),
        ] {
            let error = HttpOptions::default().set(key, value).unwrap_err().to_string();
            assert!(
                error.contains(key) && error.contains(needle) && !error.contains("hush"),
                "{key}={value}: {error}"
            );
        }
        let mut options = HttpOptions::default();
        options.set("request_bytes", "none").unwrap();
        assert_eq!(options.request_bytes, None);
    }
}
