//! A storage account and the URL of its blob service, and how the URL of a blob is made of them.

use forebay_io::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Host, Url};

/// The account of the emulators, and its key, which is the same everywhere and no secret.
/// <https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key>
pub(crate) const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
pub(crate) const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Where an emulator listens unless told otherwise.
pub(crate) const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// The host of an account's blob service in Azure's public cloud is the account and this. Other clouds
/// differ in what follows `.blob.`.
const SERVICE: &str = ".blob.";

/// What a path of a URL may hold as it stands (RFC 3986, unreserved), and the slash between its segments.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The same for a value in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Text for a query's value, escaped.
pub(crate) fn query_value(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// Text for a path, escaped; its slashes stay.
pub(crate) fn path_of(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, PATH)
}

/// An account and where its blobs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    /// Without a slash at its end. Where the host does not name the account, its path does.
    base: String,
    encrypted: bool,
    loopback: bool,
}

impl Account {
    /// The account `name` at the blob service `endpoint`, or in Azure's public cloud if none is given. An
    /// endpoint without a path on an IP address or on `localhost` is an emulator's, which takes the account
    /// as the first part of the path; it is added.
    ///
    /// # Errors
    /// `InvalidConfig` for a name that no account can have and for an endpoint that is no plain
    /// http(s) URL. Credentials in an endpoint are refused without being shown.
    pub fn new(name: &str, endpoint: Option<&str>) -> Result<Self> {
        let valid = (3..=24).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !valid {
            return Err(Error::invalid(format!(
                "account {name:?} cannot be: an account's name has 3 to 24 lower-case letters and digits"
            )));
        }
        let Some(endpoint) = endpoint else {
            let base = format!("https://{name}{SERVICE}core.windows.net");
            return Ok(Account { name: name.to_owned(), base, encrypted: true, loopback: false });
        };
        let bad = |what: &str| {
            Err(Error::invalid(format!(
                "endpoint: {what}; give the blob service as in https://ACCOUNT.blob.core.windows.net or \
                 http://127.0.0.1:10000/ACCOUNT"
            )))
        };
        let Ok(url) = Url::parse(endpoint) else { return bad("it is not a URL") };
        if !matches!(url.scheme(), "http" | "https") {
            return bad(&format!("its scheme is {:?}, not http or https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("it holds a user name or password, which Azure has no use for");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad("it has a query or fragment; a shared access signature is the option sas_token");
        }
        let Some(host) = url.host() else { return bad("it names no host") };
        let (numeric, loopback) = match host {
            Host::Domain(domain) => (domain == "localhost", domain == "localhost"),
            Host::Ipv4(address) => (true, address.is_loopback()),
            Host::Ipv6(address) => (true, address.is_loopback()),
        };
        let path = url.path().trim_end_matches('/');
        let origin = url.origin().ascii_serialization();
        let base =
            if path.is_empty() && numeric { format!("{origin}/{name}") } else { format!("{origin}{path}") };
        Ok(Account { name: name.to_owned(), base, encrypted: url.scheme() == "https", loopback })
    }

    /// The emulator at its usual place.
    pub fn emulator() -> Self {
        Account {
            name: EMULATOR_ACCOUNT.to_owned(),
            base: EMULATOR_ENDPOINT.to_owned(),
            encrypted: false,
            loopback: true,
        }
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the service, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.base
    }

    /// Whether a bearer token may be sent there: over TLS, or to this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.encrypted || self.loopback
    }

    /// The URL of a container, escaped.
    #[cfg(any(test, feature = "azure-storage-blobs"))]
    pub(crate) fn container_url(&self, container: &str) -> String {
        format!("{}/{}", self.base, path_of(container))
    }

    /// The URL of a blob, escaped.
    #[cfg(any(test, feature = "azure-storage-blobs"))]
    pub(crate) fn blob_url(&self, container: &str, blob: &str) -> String {
        let mut url = self.container_url(container);
        url.push('/');
        url.extend(utf8_percent_encode(blob, PATH));
        url
    }
}

/// The account that a host such as `acme.blob.core.windows.net` names. Its second place, at
/// `acme-secondary.blob.…`, is the same account's; a zone may stand before `blob`. Any domain will do, whosever it
/// is.
pub fn account_of_host(host: &str) -> Option<&str> {
    let (account, rest) = host.split_once('.')?;
    let in_cloud = |rest: &str| rest.strip_prefix("blob.").is_some_and(|cloud| !cloud.is_empty());
    let service = in_cloud(rest) || rest.split_once('.').is_some_and(|(_, rest)| in_cloud(rest));
    let account = account.strip_suffix("-secondary").unwrap_or(account);
    (service && !account.is_empty()).then_some(account)
}

/// The account that the URL of a blob service names: by its host, or, of an emulator (an IP address or `localhost`),
/// by its path.
pub(crate) fn account_of_endpoint(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    match url.host()? {
        Host::Domain(domain) if domain != "localhost" => account_of_host(domain).map(str::to_owned),
        _ => url.path_segments()?.next().filter(|account| !account.is_empty()).map(str::to_owned),
    }
}

/// What the hosts of blob services end in, in the clouds that are Microsoft's.
const CLOUDS: [&str; 5] = [
    ".blob.core.windows.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.core.usgovcloudapi.net",
    ".blob.storage.azure.net",
    ".blob.fabric.microsoft.com",
];

/// Whether a host (without a port) is Azure's own, and not merely named like it.
pub(crate) fn is_azure(host: &str) -> bool {
    CLOUDS.iter().any(|cloud| host.ends_with(cloud))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(endpoint: &str) -> Result<String> {
        Account::new("acme", Some(endpoint)).map(|account| account.blob_url("c", "k"))
    }

    #[test]
    fn an_emulator_s_endpoint_takes_the_account_in_its_path() {
        for (endpoint, url) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000/acme/c/k"),
            ("http://127.0.0.1:7000/", "http://127.0.0.1:7000/acme/c/k"),
            ("http://localhost:7000/acme/", "http://localhost:7000/acme/c/k"),
            ("http://[::1]:7000", "http://[::1]:7000/acme/c/k"),
            ("https://acme.blob.core.usgovcloudapi.net/", "https://acme.blob.core.usgovcloudapi.net/c/k"),
            ("https://blobs.example.com", "https://blobs.example.com/c/k"),
        ] {
            assert_eq!(at(endpoint).unwrap(), url);
        }
        let account = Account::new("acme", None).unwrap();
        assert_eq!(account.blob_url("c", "k"), "https://acme.blob.core.windows.net/c/k");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_its_secrets() {
        for (endpoint, needle) in [
            ("acme", "not a URL"),
            ("ftp://x/", "\"ftp\""),
            ("https://user:hush@x/", "user name or password"),
            ("https://x/?sig=hush", "sas_token"),
        ] {
            let error = at(endpoint).unwrap_err().to_string();
            assert!(error.contains(needle) && !error.contains("hush"), "{endpoint}: {error}");
        }
        assert!(Account::new("No", None).unwrap_err().to_string().contains("\"No\""));
    }

    #[test]
    fn hosts_of_accounts_are_told_from_others() {
        assert_eq!(account_of_host("acme.blob.core.windows.net"), Some("acme"));
        assert_eq!(account_of_host("acme-secondary.blob.core.windows.net"), Some("acme"));
        assert_eq!(account_of_host("acme.z12.blob.storage.azure.net"), Some("acme"));
        assert_eq!(account_of_host("acme.blob."), None);
        assert_eq!(account_of_host("example.com"), None);
    }

    #[test]
    fn an_endpoint_names_its_account() {
        let of = |endpoint: &str| account_of_endpoint(endpoint);
        for endpoint in [
            "https://acme.blob.core.windows.net/",
            "http://127.0.0.1:10000/acme",
            "http://localhost:10000/acme/",
            "http://[::1]/acme",
        ] {
            assert_eq!(of(endpoint).as_deref(), Some("acme"), "{endpoint}");
        }
        for endpoint in ["https://blobs.example.com/acme", "http://127.0.0.1:10000", "acme"] {
            assert_eq!(of(endpoint), None, "{endpoint}");
        }
    }

    #[test]
    fn azure_s_own_hosts_are_told_from_look_alikes() {
        for host in ["acme.blob.core.windows.net", "acme.z12.blob.storage.azure.net"] {
            assert!(is_azure(host), "{host}");
        }
        for host in ["acme.blob.evil.example", "acme.blob.core.windows.net.evil.example", "localhost", "evil"]
        {
            assert!(!is_azure(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn a_url_s_path_decodes_to_the_blob(key in "[ -~äß/]{1,30}") {
            let account = Account::new("acme", None).unwrap();
            let url = account.blob_url("c", &key);
            let path = &url[account.endpoint().len()..];
            let decoded = percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded, format!("/c/{key}"));
            let unsteady = key.split('/').any(|part| matches!(part, "." | ".."));
            if !unsteady {
                let parsed = Url::parse(&url).unwrap();
                prop_assert_eq!(parsed.path(), path, "a URL's own parser changes nothing");
            }
        }
    }
}
