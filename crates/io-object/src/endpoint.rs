//! Where a service is: what its URL says.

use forebay_io::{Error, Result};
use std::fmt;
use std::net::IpAddr;

/// Where a service is: scheme, host and port of its URL, and the path before everything that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: Box<str>,
    port: u16,
    path: Box<str>,
}

impl Endpoint {
    /// Reads `http://host:port/path` or `https://…`; no slash remains at the end of the path.
    ///
    /// # Errors
    /// `InvalidConfig` for anything else, for a user or password in it, and for a query.
    pub fn parse(url: &str) -> Result<Self> {
        // The text may hold a password where it should not: only its shape is named.
        let invalid = |why: &str| {
            Error::invalid(format!(
                "an endpoint {why}; write http://HOST:PORT or https://HOST, without a query"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(invalid("is neither http nor https")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(invalid("has a user in it"));
        }
        if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_control() || c == ' ') {
            return Err(invalid("has a query or a blank in it"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| invalid("has a port that is no number"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        Ok(Endpoint { tls, host: host.into(), port, path: path.trim_end_matches('/').into() })
    }

    /// The same with a label in front of the host, as in `bucket.host`.
    #[must_use]
    pub fn with_label(&self, label: &str) -> Self {
        Endpoint { host: format!("{label}.{}", self.host).into(), ..self.clone() }
    }

    /// What is in front of every path, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host as names and addresses are written elsewhere: without the brackets of IPv6.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an address that no router passes on, as a machine's metadata services have. (AWS's on IPv6
    /// is of the unique local addresses, and no more reachable from elsewhere.)
    pub fn is_link_local(&self) -> bool {
        match self.bare_host().parse() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            Ok(IpAddr::V6(address)) => {
                address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0x0ec2]
            }
            Err(_) => false,
        }
    }

    /// Whether it is this machine: what is sent there crosses no network.
    pub fn is_loopback(&self) -> bool {
        let bare = self.bare_host();
        is_localhost(bare) || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// The `Host` field: with the port where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Names of this machine, whatever a name server would say of them (RFC 6761, 6.3): each bucket can have one.
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let end = host.len().checked_sub("localhost".len()).and_then(|at| host.split_at_checked(at));
    end.is_some_and(|(label, name)| {
        name.eq_ignore_ascii_case("localhost") && (label.is_empty() || label.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::Kind;

    #[test]
    fn endpoints_are_read_and_said_again() {
        for (text, said, authority) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("https://s3.example.org/", "https://s3.example.org", "s3.example.org"),
            ("HTTP://h:80/a/b/", "http://h/a/b", "h"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x", "[::1]:8443"),
            ("http://[::1]", "http://[::1]", "[::1]"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.to_string(), endpoint.authority()), (said.into(), authority.into()));
        }
        let labelled = Endpoint::parse("https://s3.example.org").unwrap().with_label("bucket");
        assert_eq!(labelled.to_string(), "https://bucket.s3.example.org");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, ours) in [
            ("http://localhost:1", true),
            ("http://bucket.localhost:1", true),
            ("http://a.b.LocalHost.:1", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://notlocalhost", false),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_loopback(), ours, "{url}");
        }
    }

    #[test]
    fn endpoints_that_are_none_are_refused_without_saying_them() {
        for text in [
            "s3.example.org",
            "ftp://x",
            "http://",
            "http://u:hunter2@h",
            "http://h:p",
            "http://h?sig=hunter2",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
