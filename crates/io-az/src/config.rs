//! What options, environment and URI come to: an account, where its blobs are, and how requests to it are
//! authorised.
//!
//! What is said nearer wins: the URI, then options, then the environment. A credential of one account is
//! never sent to another, and the environment's to no host that a URL names unless that is Azure's or the
//! environment's own: whoever may choose the URL must not come by it.

use crate::account::{
    Account, EMULATOR_ACCOUNT, EMULATOR_ENDPOINT, EMULATOR_KEY, account_of_endpoint, account_of_host,
    is_azure,
};
use crate::connection_string::ConnectionString;
use crate::credential::{Application, Credential, MetadataService};
use crate::options::AzOptions;
use forebay_io::{Error, Location, Result};
use forebay_io_object::{Secret, Surroundings};
use url::Url;

/// An account and how requests to it are authorised.
#[derive(Debug, Clone)]
pub struct AzConfig {
    /// The account.
    pub account: Account,
    /// How requests are authorised.
    pub credential: Credential,
}

/// What one source says.
struct Said {
    account: Option<String>,
    endpoint: Option<String>,
    /// With the name of the option it came by.
    credentials: Vec<(&'static str, Credential)>,
}

impl AzConfig {
    /// The account of `location` (`az://CONTAINER/…` or `https://HOST/CONTAINER/…`), reached as `options` say
    /// and, where they say nothing, as the environment does.
    ///
    /// # Errors
    /// `InvalidConfig`, showing no secret: no account or credentials; more than one kind of credentials among
    /// the options; a value that cannot be; credentials of the environment that belong to another account; a
    /// bearer token for a service that is reached unencrypted.
    pub fn resolve(location: &Location, options: &AzOptions, around: &Surroundings) -> Result<Self> {
        Self::of(location, options, around).map_err(|error| error.at(location))
    }

    fn of(location: &Location, options: &AzOptions, around: &Surroundings) -> Result<Self> {
        let environment = AzOptions::from_environment(around)?;
        let (near, far) = (
            said(options, &environment)?,
            said(&environment, &environment).map_err(|e| e.context("the environment"))?,
        );
        nothing_idle(options)?;
        if let [(one, _), (other, _), ..] = &near.credentials[..] {
            return Err(Error::invalid(format!("{one} and {other} are both given; leave one of them out")));
        }
        let (uri_account, uri_endpoint) = match (location.scheme(), location.host()) {
            ("az", _) | (_, None) => (None, None),
            (scheme, Some(host)) => {
                let host = host.split('/').next().unwrap_or(host);
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                (account_of_host(name).map(str::to_owned), Some(format!("{scheme}://{host}")))
            }
        };
        let stranger = uri_endpoint.clone().filter(|endpoint| !is_trusted(endpoint, far.endpoint.as_deref()));
        if let (Some(endpoint), Some(given)) = (&uri_endpoint, &near.endpoint) {
            return Err(Error::invalid(format!(
                "endpoint {given:?} is given and the location names {endpoint}; use an az:// location with endpoint"
            )));
        }
        if let (Some(uri), Some(given)) = (&uri_account, &near.account)
            && uri != given
        {
            return Err(Error::invalid(format!(
                "account_name is {given:?} and the location's account is {uri:?}"
            )));
        }
        let account = uri_account.or(near.account.clone());
        // The environment's credential is its account's, if it names one.
        let foreign = matches!((&account, &far.account), (Some(ours), Some(theirs)) if ours != theirs);
        let endpoint = uri_endpoint.or(near.endpoint).or(far.endpoint.filter(|_| !foreign));
        let account = account.or(far.account);
        let credential = match (near.credentials.into_iter().next(), far.credentials.into_iter().next()) {
            (Some((_, near)), _) => near,
            (None, Some((variable, far))) => {
                // Tokens of an identity are good for every account that trusts it.
                if foreign && matches!(far, Credential::AccountKey(_) | Credential::Sas(_)) {
                    return Err(Error::invalid(format!(
                        "the account is {:?}, and the environment's {variable} is for another; give one for this account",
                        account.unwrap_or_default(),
                    )));
                }
                if let Some(endpoint) = stranger.filter(|_| !matches!(far, Credential::Anonymous)) {
                    return Err(Error::invalid(format!(
                        "the environment's {variable} is not sent to {endpoint}, which is neither Azure's nor \
                         AZURE_STORAGE_ENDPOINT; give credentials for it as options, or anonymous=true"
                    )));
                }
                far
            }
            (None, None) => {
                return Err(Error::invalid(
                    "no credentials are given; set one of account_key, sas_token, connection_string, bearer_token, \
                     client_secret, federated_token_file (or its AZURE_STORAGE_* variable), or managed_identity=true, \
                     or anonymous=true",
                ));
            }
        };
        let Some(name) = account else {
            return Err(Error::invalid(
                "no storage account is named; set account_name or AZURE_STORAGE_ACCOUNT, or write \
                 https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB",
            ));
        };
        let account = Account::new(&name, endpoint.as_deref())?;
        if !account.is_private() && credential.is_token() {
            return Err(Error::invalid(format!(
                "a token would go unencrypted to {}; give an https endpoint",
                account.endpoint()
            )));
        }
        Ok(AzConfig { account, credential })
    }
}

/// Whether the URL of a service is one to which the environment's credentials may go: Azure's, or the environment's.
fn is_trusted(endpoint: &str, own: Option<&str>) -> bool {
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
    let Some(url) = Url::parse(endpoint).ok() else { return false };
    url.host_str().is_some_and(is_azure) || own.and_then(origin) == Some(url.origin())
}

/// What one set of options says, its credentials in the order in which they count. Who hands out tokens, and where,
/// may be said by the `environment` although what is asked for is said here.
fn said(options: &AzOptions, environment: &AzOptions) -> Result<Said> {
    let text = |name: &str| options.text(name).map(str::to_owned);
    let (mut account, mut endpoint) = (text("account_name"), text("endpoint"));
    let mut credentials = Vec::new();
    if let Some(tokens) = &options.tokens {
        credentials.push(("a source of tokens", Credential::Tokens(tokens.clone())));
    }
    if options.is_on("anonymous") {
        credentials.push(("anonymous", Credential::Anonymous));
    }
    if let Some(string) = options.text("connection_string") {
        let read = ConnectionString::parse(string)?;
        if let (Some(given), Some(named)) = (&account, &read.account)
            && given != named
        {
            return Err(Error::invalid(format!(
                "account_name is {given:?} and the connection string's account is {named:?}"
            )));
        }
        account = account.or(read.account);
        endpoint = endpoint.or(read.endpoint);
        if let Some(key) = read.account_key {
            credentials.push(("connection_string", account_key(key)?));
        } else if let Some(sas) = read.sas_token {
            credentials.push(("connection_string", signature(&sas)?));
        }
    }
    if let Some(key) = options.secret("account_key") {
        credentials.push(("account_key", account_key(key)?));
    }
    if let Some(sas) = options.secret("sas_token") {
        credentials.push(("sas_token", signature(&sas)?));
    }
    if let Some(token) = options.secret("bearer_token") {
        credentials.push(("bearer_token", Credential::Bearer(token)));
    }
    if let Some(secret) = options.secret("client_secret") {
        let application = application(options, environment, "client_secret")?;
        credentials.push(("client_secret", Credential::ClientSecret { application, secret }));
    }
    if let Some(file) = text("federated_token_file") {
        let application = application(options, environment, "federated_token_file")?;
        credentials.push(("federated_token_file", Credential::WorkloadIdentity { application, file }));
    }
    if options.is_on("managed_identity") {
        let client_id = text("client_id");
        let far = |name: &str| environment.text(name).map(str::to_owned);
        let service = MetadataService {
            endpoint: text("identity_endpoint").or_else(|| far("identity_endpoint")),
            header: options.secret("identity_header").or_else(|| environment.secret("identity_header")),
        };
        credentials.push(("managed_identity", Credential::ManagedIdentity { client_id, service }));
    }
    if options.is_on("emulator") {
        account = account.or_else(|| Some(EMULATOR_ACCOUNT.to_owned()));
        if account.as_deref() == Some(EMULATOR_ACCOUNT) {
            endpoint = endpoint.or_else(|| Some(EMULATOR_ENDPOINT.to_owned()));
            if credentials.is_empty() {
                credentials.push(("emulator", Credential::AccountKey(Secret::from(EMULATOR_KEY))));
            }
        } else {
            endpoint = endpoint.or_else(|| Some("http://127.0.0.1:10000".to_owned()));
        }
    }
    let account = account.or_else(|| account_of_endpoint(endpoint.as_deref()?));
    Ok(Said { account, endpoint, credentials })
}

/// Refuses options that no credential among them looks at: what is said for nothing is a mistake.
fn nothing_idle(options: &AzOptions) -> Result<()> {
    const APPLICATION: &[&str] = &["client_secret", "federated_token_file"];
    const ANY: &[&str] = &["client_secret", "federated_token_file", "managed_identity=true"];
    const MACHINE: &[&str] = &["managed_identity=true"];
    for (idle, users) in [
        ("tenant_id", APPLICATION),
        ("authority_host", APPLICATION),
        ("client_id", ANY),
        ("identity_endpoint", MACHINE),
        ("identity_header", MACHINE),
    ] {
        let used = users.iter().any(|user| match user.strip_suffix("=true") {
            Some(switch) => options.is_on(switch),
            None => options.text(user).is_some(),
        });
        if options.text(idle).is_some() && !used {
            let users = users.join(" or ");
            return Err(Error::invalid(format!("{idle} has no meaning without {users}; give that too")));
        }
    }
    Ok(())
}

fn application(options: &AzOptions, environment: &AzOptions, beside: &str) -> Result<Application> {
    let need = |name: &str| {
        options.text(name).map(str::to_owned).ok_or_else(|| {
            Error::invalid(format!(
                "{beside} is given without {name}; both, tenant_id and client_id, are needed"
            ))
        })
    };
    Ok(Application {
        tenant_id: need("tenant_id")?,
        client_id: need("client_id")?,
        authority_host: options
            .text("authority_host")
            .or(environment.text("authority_host"))
            .map(str::to_owned),
    })
}

fn account_key(key: Secret) -> Result<Credential> {
    use base64::Engine;
    match base64::prelude::BASE64_STANDARD.decode(key.expose()) {
        Ok(bytes) if !bytes.is_empty() => Ok(Credential::AccountKey(key)),
        _ => Err(Error::invalid("account_key is not base64, as keys of storage accounts are")),
    }
}

/// A signature is a query with a `sig`.
fn signature(sas: &Secret) -> Result<Credential> {
    let text = sas.expose().trim_start_matches('?');
    if !text.split('&').any(|pair| pair.strip_prefix("sig=").is_some_and(|value| !value.is_empty())) {
        return Err(Error::invalid(
            "sas_token has no `sig`; a shared access signature is as in sv=…&sp=r&sig=…",
        ));
    }
    Ok(Credential::Sas(Secret::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAS: &str = "?sv=2024&sp=r&sig=hush";
    const KEY: &str = "aHVzaA==";

    fn resolve(uri: &str, options: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<AzConfig> {
        let mut given = AzOptions::default();
        options.iter().for_each(|(name, value)| given.set(name, value).unwrap());
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let around = Surroundings::new(environment, || std::time::SystemTime::UNIX_EPOCH);
        AzConfig::resolve(&uri.parse().unwrap(), &given, &around)
    }

    #[test]
    fn options_win_over_the_environment() {
        let environment = [
            ("AZURE_STORAGE_ACCOUNT", "env"),
            ("AZURE_STORAGE_KEY", KEY),
            ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1"),
        ];
        let config = resolve("az://c/k", &[], &environment).unwrap();
        assert_eq!(config.account.endpoint(), "http://127.0.0.1:1/env");
        assert!(matches!(config.credential, Credential::AccountKey(_)));
        let options = [("account_name", "mine"), ("sas_token", SAS)];
        let config = resolve("az://c/k", &options, &environment).unwrap();
        assert_eq!(config.account.endpoint(), "https://mine.blob.core.windows.net");
        assert!(matches!(config.credential, Credential::Sas(sas) if sas.expose() == "sv=2024&sp=r&sig=hush"));
    }

    #[test]
    fn what_nothing_looks_at_is_refused() {
        let key = [("account_name", "acme"), ("account_key", KEY)];
        for (idle, value) in [
            ("tenant_id", "t"),
            ("client_id", "c"),
            ("authority_host", "https://x.y"),
            ("identity_endpoint", "http://127.0.0.1:1"),
            ("identity_header", "hush"),
        ] {
            let error = resolve("az://c/k", &[key[0], key[1], (idle, value)], &[]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{idle} has no meaning without")) && !error.contains("hush"),
                "{error}"
            );
        }
        let machine = [("account_name", "acme"), ("managed_identity", "true"), ("client_id", "c")];
        assert!(resolve("az://c/k", &machine, &[]).is_ok());
        assert!(resolve("az://c/k", &[machine[0], machine[1], ("tenant_id", "t")], &[]).is_err());
    }

    #[test]
    fn a_key_is_never_sent_to_another_account() {
        let environment = [("AZURE_STORAGE_CONNECTION_STRING", "AccountName=env;AccountKey=aHVzaA==")];
        let error = resolve("az://c/k", &[("account_name", "mine")], &environment).unwrap_err().to_string();
        assert!(
            error.contains("\"mine\"") && error.contains("another") && !error.contains("aHVz"),
            "{error}"
        );
        let uri = "https://mine.blob.core.windows.net/c/k";
        assert!(resolve(uri, &[], &environment).is_err());
        assert!(resolve("https://env.blob.core.windows.net/c/k", &[], &environment).is_ok());
    }

    const PORTAL: &str =
        "BlobEndpoint=https://acme.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=hush";

    #[test]
    fn an_endpoint_that_names_its_account_is_enough() {
        for config in [
            resolve("az://c/k", &[("connection_string", PORTAL)], &[]),
            resolve("az://c/k", &[], &[("AZURE_STORAGE_CONNECTION_STRING", PORTAL)]),
            resolve(
                "az://c/k",
                &[("sas_token", SAS), ("endpoint", "https://acme.blob.core.windows.net")],
                &[],
            ),
        ] {
            let account = config.unwrap().account;
            assert_eq!((account.name(), account.endpoint()), ("acme", "https://acme.blob.core.windows.net"));
        }
    }

    #[test]
    fn a_signature_is_never_sent_to_another_account_than_its_endpoint_names() {
        let environment = [("AZURE_STORAGE_CONNECTION_STRING", PORTAL)];
        let elsewhere = [("account_name", "other"), ("endpoint", "https://localhost:9")];
        for (options, environment) in [
            (&elsewhere[..], &environment[..]),
            (&elsewhere[..1], &environment),
            (&[("account_name", "other"), ("connection_string", PORTAL)], &[]),
        ] {
            let error = resolve("az://c/k", options, environment).unwrap_err().to_string();
            assert!(error.contains("\"other\"") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn credentials_of_the_environment_go_to_no_stranger() {
        let account = ("AZURE_STORAGE_ACCOUNT", "acme");
        for credential in [
            ("AZURE_STORAGE_TOKEN", "hush"),
            ("AZURE_STORAGE_SAS_TOKEN", SAS),
            ("AZURE_STORAGE_KEY", KEY),
            ("AZURE_STORAGE_USE_MANAGED_IDENTITY", "true"),
        ] {
            for uri in [
                "https://localhost:9/box/k",
                "https://acme.blob.evil.example/box/k",
                "https://acme.blob.core.windows.net.evil.example/box/k",
            ] {
                let error = resolve(uri, &[], &[account, credential]).unwrap_err().to_string();
                assert!(error.contains("is not sent to https://"), "{error}");
                assert!(!error.contains("hush") && !error.contains("aHVz"), "{error}");
                let own = [("sas_token", "sig=mine"), ("account_name", "acme")];
                assert!(resolve(uri, &own, &[account, credential]).is_ok(), "{uri}");
            }
            for cloud in ["core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net"] {
                let uri = format!("https://acme.blob.{cloud}:443/box/k");
                assert!(resolve(&uri, &[], &[account, credential]).is_ok(), "{uri}");
            }
            let own = ("AZURE_STORAGE_ENDPOINT", "https://blobs.example.com/");
            assert!(resolve("https://blobs.example.com/box/k", &[], &[account, credential, own]).is_ok());
            assert!(resolve("https://blobs.example.com:9/box/k", &[], &[account, credential, own]).is_err());
        }
        let nothing = [account, ("AZURE_STORAGE_ANON", "true")];
        assert!(resolve("https://localhost:9/box/k", &[], &nothing).is_ok());
    }

    #[test]
    fn a_url_names_account_and_endpoint() {
        let uri = "https://acme.blob.core.usgovcloudapi.net/c/k";
        let config = resolve(uri, &[("anonymous", "true")], &[]).unwrap();
        assert_eq!(config.account.name(), "acme");
        assert_eq!(config.account.endpoint(), "https://acme.blob.core.usgovcloudapi.net");
        assert!(resolve(uri, &[("anonymous", "true"), ("account_name", "other")], &[]).is_err());
        assert!(resolve(uri, &[("anonymous", "true"), ("endpoint", "https://x")], &[]).is_err());
    }

    #[test]
    fn the_emulator_may_listen_elsewhere() {
        let config =
            resolve("az://c/k", &[("emulator", "true"), ("endpoint", "http://127.0.0.1:9")], &[]).unwrap();
        assert_eq!(config.account.endpoint(), "http://127.0.0.1:9/devstoreaccount1");
        let string = [("connection_string", "UseDevelopmentStorage=true")];
        assert_eq!(resolve("az://c/k", &string, &[]).unwrap().account, Account::emulator());
        assert_eq!(resolve("az://c/k", &[("emulator", "true")], &[]).unwrap().account, Account::emulator());
    }

    #[test]
    fn identities_take_what_they_need() {
        let who = [("account_name", "acme"), ("tenant_id", "t"), ("client_id", "c")];
        let secret = [&who[..], &[("client_secret", "hush")]].concat();
        let config = resolve("az://c/k", &secret, &[]).unwrap();
        assert!(
            matches!(&config.credential, Credential::ClientSecret { application, .. } if application.tenant_id == "t")
        );
        assert!(!format!("{config:?}").contains("hush"));
        let file = [("AZURE_FEDERATED_TOKEN_FILE", "/f"), ("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t")];
        let config = resolve("az://c/k", &[("account_name", "acme")], &file).unwrap();
        assert!(matches!(config.credential, Credential::WorkloadIdentity { .. }));
        let managed = [("account_name", "acme"), ("managed_identity", "true")];
        assert!(matches!(
            resolve("az://c/k", &managed, &[]).unwrap().credential,
            Credential::ManagedIdentity { .. }
        ));
    }

    #[test]
    fn mistakes_are_refused_by_name_and_show_no_secret() {
        for (options, needle) in [
            (&[("account_name", "acme")][..], "no credentials"),
            (&[("account_key", KEY)], "no storage account"),
            (
                &[("account_name", "acme"), ("account_key", KEY), ("sas_token", SAS)],
                "account_key and sas_token",
            ),
            (&[("account_name", "acme"), ("account_key", "hush!")], "not base64"),
            (&[("account_name", "acme"), ("sas_token", "hush")], "no `sig`"),
            (&[("account_name", "acme"), ("client_secret", "hush")], "without tenant_id"),
            (&[("account_name", "acme"), ("connection_string", "hush")], "not KEY=VALUE"),
            (
                &[("account_name", "acme"), ("bearer_token", "hush"), ("endpoint", "http://example.com")],
                "unencrypted",
            ),
        ] {
            let error = resolve("az://c/k", options, &[]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(needle), "{options:?}: {text}");
            assert!(!text.contains("hush") && !text.contains("aHVzaA"), "{text}");
        }
    }
}
