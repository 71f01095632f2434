//! Which requests go through a proxy, and through which.

use crate::Endpoint;
use crate::Secret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forebay_io::{Error, Result};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A proxy for HTTP. Its `Debug` and `Display` are its URL without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    endpoint: Endpoint,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Secret>,
    /// As it was given.
    url: Secret,
}

impl Proxy {
    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The value of `Proxy-Authorization`: of the user and password in its URL.
    pub fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_ref()
    }

    /// Its URL, user and password included.
    pub fn url(&self) -> &Secret {
        &self.url
    }
}

impl FromStr for Proxy {
    type Err = Error;

    /// `http://USER:PASSWORD@HOST:PORT`, the scheme and the user being optional.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |what: &str| {
            Error::invalid(format!("{what}; a proxy is as in http://USER:PASSWORD@HOST:PORT, or none"))
        };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
        if !scheme.eq_ignore_ascii_case("http") {
            // What is in front of `://` is no secret where there is a `://`.
            return Err(invalid(&format!("proxies are spoken to over http, not {scheme:?}")));
        }
        let rest = rest.trim_end_matches('/');
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        if place.is_empty() || place.contains('/') {
            return Err(invalid("that is no host and port"));
        }
        let endpoint =
            Endpoint::parse(&format!("http://{place}")).map_err(|_| invalid("that is no host and port"))?;
        let authorization = user.map(|user| {
            let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let both = [&decoded(name)[..], b":", &decoded(password)].concat();
            Secret::from(format!("Basic {}", BASE64_STANDARD.encode(both)))
        });
        let url = match user {
            Some(user) => format!("http://{user}@{place}"),
            None => format!("http://{place}"),
        };
        Ok(Proxy { endpoint, authorization, url: Secret::from(url) })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.endpoint, f)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.endpoint)
    }
}

/// Which hosts are reached without a proxy: `NO_PROXY`, a list with commas.
///
/// `*` is all; a name is that host and all beneath it, with a dot in front or without; an address is itself, and
/// `ADDRESS/BITS` a network. A port behind a name or address makes it good for that port only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Except>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Except {
    All,
    Name(String, Option<u16>),
    Net(IpAddr, u32),
}

impl From<&str> for NoProxy {
    /// What is not understood excepts nothing: such lists are written for many programs.
    fn from(text: &str) -> Self {
        let entries = text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        NoProxy(entries.filter_map(Except::read).collect())
    }
}

impl Except {
    fn read(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Except::All);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Except::Net(address, bits));
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Except::Net(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some(Except::Name(host, port))
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        match self {
            Except::All => true,
            Except::Name(name, only) => {
                let beneath = host.strip_suffix(name.as_str());
                let ours = beneath.is_some_and(|label| label.is_empty() || label.ends_with('.'));
                ours && only.is_none_or(|only| only == port)
            }
            Except::Net(net, bits) => match (net, host.parse()) {
                (IpAddr::V4(net), Ok(IpAddr::V4(host))) => {
                    let differing = u32::from(*net) ^ u32::from(host);
                    differing.checked_shr(32 - bits).unwrap_or(0) == 0
                }
                (IpAddr::V6(net), Ok(IpAddr::V6(host))) => {
                    let differing = u128::from(*net) ^ u128::from(host);
                    differing.checked_shr(128 - bits).unwrap_or(0) == 0
                }
                _ => false,
            },
        }
    }
}

impl NoProxy {
    /// Whether `to` is reached without a proxy.
    pub fn holds(&self, to: &Endpoint) -> bool {
        let host = to.bare_host().trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|except| except.holds(&host, to.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_proxy_is_read_and_its_password_never_shown() {
        for (text, at, authorization) in [
            ("http://p:3128", "http://p:3128", None),
            ("p:3128", "http://p:3128", None),
            ("http://u:hush@p:3128/", "http://p:3128", Some("Basic dTpodXNo")),
            ("http://u%40x:h%3Ash@p", "http://p", Some("Basic dUB4Omg6c2g=")),
            ("u@[::1]:8", "http://[::1]:8", Some("Basic dTo=")),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.to_string(), at);
            assert_eq!(proxy.authorization().map(Secret::expose), authorization, "{text}");
            assert!(!format!("{proxy:?} {proxy}").contains("hush"));
        }
        for text in
            ["https://u:hush@p", "socks5://u:hush@p", "http://u:hush@", "u:hush@p/x", "u:hush@p:x", ""]
        {
            let error = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn exceptions_are_names_networks_and_ports() {
        let list = NoProxy::from(
            "example.org, .inner.net,*.star.net,10.0.0.0/8, 1.2.3.4,h:9000,[fd00::1],bad/x,fe80::/10",
        );
        for (url, excepted) in [
            ("https://example.org", true),
            ("https://A.Example.org.", true),
            ("https://badexample.org", false),
            ("http://inner.net", true),
            ("http://b.star.net", true),
            ("http://10.255.0.1:9", true),
            ("http://11.0.0.1", false),
            ("http://1.2.3.4", true),
            ("http://1.2.3.5", false),
            ("http://h:9000", true),
            ("http://h", false),
            ("http://[fd00::1]:7", true),
            ("http://[fe80::7]", true),
            ("http://[fd00::2]", false),
        ] {
            assert_eq!(list.holds(&Endpoint::parse(url).unwrap()), excepted, "{url}");
        }
        let here = Endpoint::parse("http://x").unwrap();
        assert!(NoProxy::from("*").holds(&here) && !NoProxy::from("").holds(&here));
    }

    proptest! {
        #[test]
        fn a_network_holds_the_addresses_that_begin_like_it(net: u32, host: u32, bits in 0u32..=32) {
            let list = NoProxy::from(&*format!("{}/{bits}", std::net::Ipv4Addr::from(net)));
            let to = Endpoint::parse(&format!("http://{}", std::net::Ipv4Addr::from(host))).unwrap();
            let alike = (0..bits).all(|bit| (net ^ host) & (1 << (31 - bit)) == 0);
            prop_assert_eq!(list.holds(&to), alike);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = NoProxy::from(&*text);
            let _ = text.parse::<Proxy>();
        }
    }
}
