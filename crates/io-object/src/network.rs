//! How a service is reached and by what it is known: proxies, and the certificates that are trusted.
//!
//! What an option says goes before the environment. Of the environment these are looked at, as other programs do:
//! `HTTP_PROXY` and `HTTPS_PROXY` (or `ALL_PROXY`), `NO_PROXY`, in lower case first; `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`, and before them what a service's own tools look at.

use crate::proxy::{NoProxy, Proxy};
use crate::{Endpoint, HttpOptions, Surroundings};
use forebay_io::{Error, Result};
use std::path::PathBuf;

/// The variables that are looked at, whatever the service: for whoever hands over an environment.
pub const NETWORK_VARIABLES: [&str; 11] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUEST_METHOD",
];

/// See the module's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// For `http://`.
    plain: Option<Proxy>,
    /// For `https://`.
    encrypted: Option<Proxy>,
    /// Whether an option named the proxy. If not, what is on this machine is reached without.
    asked_for: bool,
    no_proxy: NoProxy,
    trust: Trust,
}

/// Whose word counts for who a service is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Of those that the system trusts.
    #[default]
    System,
    /// Of those in a file in PEM, and in a folder of such files.
    These {
        file: Option<PathBuf>,
        folder: Option<PathBuf>,
        /// Who named them.
        by: &'static str,
    },
}

impl Network {
    /// What options and environment come to. `bundle` names the variable for certificates that the service's own
    /// tools look at, if they do.
    ///
    /// # Errors
    /// `InvalidConfig` for a proxy in the environment that cannot be used, and for `no_proxy` beside `proxy=none`.
    pub fn new(options: &HttpOptions, around: &Surroundings, bundle: Option<&'static str>) -> Result<Self> {
        let (plain, encrypted, asked_for) = match &options.proxy {
            Some(proxy) => (proxy.proxy().cloned(), proxy.proxy().cloned(), true),
            None => {
                let all = of_environment(around, &["all_proxy", "ALL_PROXY"])?;
                // In a CGI program, HTTP_PROXY is what the caller sent as the field `Proxy`.
                let cgi = around.variable("REQUEST_METHOD").is_some();
                let plain = if cgi { &["http_proxy"][..] } else { &["http_proxy", "HTTP_PROXY"] };
                let plain = of_environment(around, plain)?.or_else(|| all.clone());
                let encrypted = of_environment(around, &["https_proxy", "HTTPS_PROXY"])?.or(all);
                (plain, encrypted, false)
            }
        };
        if options.no_proxy.is_some() && asked_for && plain.is_none() && encrypted.is_none() {
            let context = "no_proxy has no meaning with proxy=none; leave one of them out";
            return Err(Error::invalid(context));
        }
        let said = ["no_proxy", "NO_PROXY"].iter().find_map(|name| around.variable(name));
        let no_proxy = options.no_proxy.as_deref().or(said).map(NoProxy::from).unwrap_or_default();
        let of_service = bundle.and_then(|name| Some((name, around.variable(name)?)));
        let trust = if let Some(file) = &options.ca_bundle {
            Trust::These { file: Some(file.clone()), folder: None, by: "ca_bundle" }
        } else if let Some((by, file)) = of_service {
            Trust::These { file: Some(file.into()), folder: None, by }
        } else {
            let path = |name| around.variable(name).map(PathBuf::from);
            match (path("SSL_CERT_FILE"), path("SSL_CERT_DIR")) {
                (None, None) => Trust::System,
                (file, folder) => {
                    let by = if file.is_some() { "SSL_CERT_FILE" } else { "SSL_CERT_DIR" };
                    Trust::These { file, folder, by }
                }
            }
        };
        Ok(Network { plain, encrypted, asked_for, no_proxy, trust })
    }

    /// The proxy on the way to a service, if there is one.
    pub fn proxy(&self, to: &Endpoint) -> Option<&Proxy> {
        let proxy = if to.is_tls() { &self.encrypted } else { &self.plain };
        let direct = to.is_link_local() || (to.is_loopback() && !self.asked_for) || self.no_proxy.holds(to);
        proxy.as_ref().filter(|_| !direct)
    }

    /// A file with the certificates to trust, and what named it, where it is not the system's that are.
    pub fn bundle(&self) -> Option<(&std::path::Path, &'static str)> {
        match &self.trust {
            Trust::These { file: Some(file), by, .. } => Some((file, by)),
            _ => None,
        }
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }
}

fn of_environment(around: &Surroundings, names: &[&str]) -> Result<Option<Proxy>> {
    let found = names.iter().find_map(|name| Some((name, around.variable(name)?)));
    found.map(|(name, text)| text.parse().map_err(|e: Error| e.context(name))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn network(options: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Network> {
        let mut given = HttpOptions::default();
        for (key, value) in options {
            assert!(given.set(key, value)?, "{key}");
        }
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Network::new(
            &given,
            &Surroundings::new(environment, || SystemTime::UNIX_EPOCH),
            Some("AWS_CA_BUNDLE"),
        )
    }

    fn way(network: &Network, url: &str) -> Option<String> {
        network.proxy(&Endpoint::parse(url).unwrap()).map(Proxy::to_string)
    }

    #[test]
    fn options_go_before_the_environment_and_small_letters_before_capitals() {
        let environment = [
            ("HTTP_PROXY", "http://plain:1"),
            ("https_proxy", "http://small:1"),
            ("HTTPS_PROXY", "http://capital:1"),
            ("NO_PROXY", "inner.net"),
        ];
        let found = network(&[], &environment).unwrap();
        assert_eq!(way(&found, "http://x").as_deref(), Some("http://plain:1"));
        assert_eq!(way(&found, "https://x").as_deref(), Some("http://small:1"));
        assert_eq!(way(&found, "https://a.inner.net"), None);
        let given = network(&[("proxy", "http://u:hush@own:1"), ("no_proxy", "x")], &environment).unwrap();
        assert_eq!(way(&given, "https://a.inner.net").as_deref(), Some("http://own:1"));
        assert_eq!(way(&given, "https://x"), None);
        assert!(!format!("{given:?}").contains("hush"));
        assert_eq!(way(&network(&[("proxy", "none")], &environment).unwrap(), "http://x"), None);
        let idle = network(&[("proxy", "none"), ("no_proxy", "x")], &environment).unwrap_err().to_string();
        assert!(idle.contains("no_proxy has no meaning with proxy=none"), "{idle}");
        let all = network(&[], &[("ALL_PROXY", "all:1")]).unwrap();
        assert_eq!(way(&all, "http://x").as_deref(), Some("http://all:1"));
        let cgi = network(&[], &[("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")]).unwrap();
        assert_eq!(way(&cgi, "http://x"), None);
        let error = network(&[], &[("HTTPS_PROXY", "socks5://u:hush@p")]).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY: ") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn this_machine_is_reached_without_a_proxy_unless_one_is_asked_for() {
        let ambient = network(&[], &[("HTTP_PROXY", "p:1")]).unwrap();
        let given = network(&[("proxy", "p:1")], &[]).unwrap();
        for (url, in_ambient, in_given) in [
            ("http://127.0.0.1:9000", false, true),
            ("http://b.localhost:9000", false, true),
            ("http://169.254.169.254", false, false),
            ("http://[fd00:ec2::254]", false, false),
            ("http://10.0.0.1", true, true),
        ] {
            assert_eq!(way(&ambient, url).is_some(), in_ambient, "{url}");
            assert_eq!(way(&given, url).is_some(), in_given, "{url}");
        }
    }

    #[test]
    fn the_nearest_word_says_which_certificates_count() {
        let all = [("AWS_CA_BUNDLE", "/aws"), ("SSL_CERT_FILE", "/ssl"), ("SSL_CERT_DIR", "/dir")];
        let by = |options: &[(&str, &str)], environment: &[(&str, &str)]| match network(options, environment)
            .unwrap()
            .trust
        {
            Trust::System => "system",
            Trust::These { by, .. } => by,
        };
        assert_eq!(by(&[("ca_bundle", "/own")], &all), "ca_bundle");
        assert_eq!(by(&[], &all), "AWS_CA_BUNDLE");
        assert_eq!(by(&[], &all[1..]), "SSL_CERT_FILE");
        assert_eq!(by(&[], &all[2..]), "SSL_CERT_DIR");
        assert_eq!(by(&[], &[]), "system");
    }
}
