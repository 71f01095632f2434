//! Tokens of an identity: of this machine from its metadata service, and of an application from Microsoft Entra
//! ID, which it shows a secret or another authority's token.

use crate::credential::{Application, Credential};
use crate::token::{Issued, Token, TokenSource};
use bytes::Bytes;
use forebay_io::{Error, Kind, Operation, Result};
use forebay_io_object::Endpoint;
use forebay_io_object::{Failure, HttpOptions, Issuer, Network, Said, Secret, Surroundings};
use futures::FutureExt;
use futures::future::BoxFuture;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What tokens are for.
const RESOURCE: &str = "https://storage.azure.com/";
/// Of each virtual machine, and not routed.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
const METADATA: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";
/// Of the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// A source of tokens.
struct Identity {
    issuer: Issuer,
    kind: How,
    around: Surroundings,
}

enum How {
    Machine { path: String, header: Option<Secret>, client_id: Option<String> },
    Secret { client_id: String, secret: Secret },
    File { client_id: String, file: String },
}

/// The source of a credential that is asked of somebody. Nobody is asked yet.
///
/// # Errors
/// `InvalidConfig` for a URL that cannot be, and for one where a secret would go unencrypted over a network.
pub(crate) fn source(
    credential: &Credential,
    http: &HttpOptions,
    around: &Surroundings,
    network: &Network,
) -> Result<Arc<dyn TokenSource>> {
    let (url, what, kind) = match credential {
        Credential::ManagedIdentity { client_id, service } => {
            let url = service.endpoint.as_deref().unwrap_or(METADATA);
            let endpoint = Endpoint::parse(url).map_err(|e| e.context("identity_endpoint"))?;
            let path = if endpoint.path().is_empty() { METADATA_PATH } else { "" }.to_owned();
            let (header, client_id) = (service.header.clone(), client_id.clone());
            (url.to_owned(), "identity_endpoint", How::Machine { path, header, client_id })
        }
        Credential::ClientSecret { application, secret } => {
            let (client_id, secret) = (application.client_id.clone(), secret.clone());
            (authority(application)?, "authority_host", How::Secret { client_id, secret })
        }
        Credential::WorkloadIdentity { application, file } => {
            let (client_id, file) = (application.client_id.clone(), file.clone());
            (authority(application)?, "authority_host", How::File { client_id, file })
        }
        _ => return Err(Error::invalid("these credentials are not asked of anybody")),
    };
    let endpoint = Endpoint::parse(&url).map_err(|e| e.context(what))?;
    if !matches!(kind, How::Machine { .. }) && !endpoint.is_tls() && !endpoint.is_loopback() {
        return Err(Error::invalid(format!(
            "{what}: a secret would go unencrypted to {endpoint}; give an https URL"
        )));
    }
    let issuer = Issuer::new(endpoint, http, network)?;
    Ok(Arc::new(Identity { issuer, kind, around: around.clone() }))
}

/// The URL of an application's tenant. Hosts without a scheme are common here.
fn authority(application: &Application) -> Result<String> {
    let tenant = &application.tenant_id;
    if !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') || tenant.is_empty() {
        let context = format!("tenant_id {tenant:?} cannot be: letters, digits, hyphens and dots");
        return Err(Error::invalid(context));
    }
    let host = application.authority_host.as_deref().unwrap_or(AUTHORITY).trim_end_matches('/');
    let scheme = if host.contains("://") { "" } else { "https://" };
    Ok(format!("{scheme}{host}/{tenant}"))
}

impl Identity {
    async fn ask(&self) -> Result<Said, Failure> {
        match &self.kind {
            How::Machine { path, header, client_id } => {
                let mut target = path.clone();
                let version = if header.is_some() { "2019-08-01" } else { "2018-02-01" };
                let resource = escaped(RESOURCE);
                target.push_str(&format!("?api-version={version}&resource={resource}"));
                if let Some(id) = client_id {
                    target.push_str(&format!("&client_id={}", escaped(id)));
                }
                let field = match header {
                    Some(header) => ("x-identity-header", header.expose()),
                    None => ("metadata", "true"),
                };
                self.issuer.ask("GET", &target, &[field], Bytes::new().into()).await
            }
            How::Secret { client_id, secret } => {
                self.grant(client_id, &format!("client_secret={}", escaped(secret.expose()))).await
            }
            How::File { client_id, file } => {
                // Whoever put it there replaces it before it ends.
                let token = std::fs::read_to_string(file).map_err(|error| {
                    Failure::new(Kind::Denied, format!("federated_token_file {file:?}: {error}"))
                })?;
                let kind = escaped("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                let token = escaped(token.trim());
                self.grant(client_id, &format!("client_assertion_type={kind}&client_assertion={token}")).await
            }
        }
    }

    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
    async fn grant(&self, client_id: &str, proof: &str) -> Result<Said, Failure> {
        let (id, scope) = (escaped(client_id), escaped(&format!("{RESOURCE}.default")));
        let form = format!("grant_type=client_credentials&client_id={id}&scope={scope}&{proof}");
        let fields = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
        self.issuer.ask("POST", "/oauth2/v2.0/token", &fields, Bytes::from(form).into()).await
    }

    fn read(&self, said: &Said) -> Result<Issued, Failure> {
        let who = self.issuer.endpoint();
        let parsed: Option<Value> = serde_json::from_str(said.body.expose()).ok();
        let text = |name: &str| parsed.as_ref().and_then(|all| all.get(name)).and_then(Value::as_str);
        if !said.is_success() {
            // A code, and a line for people: neither has what was sent.
            let words = text("error_description").and_then(|text| text.lines().next());
            let words = [text("error"), words].into_iter().flatten().collect::<Vec<_>>().join(": ");
            return Err(said.refusal(&who.to_string(), &words.chars().take(300).collect::<String>()));
        }
        let Some(token) = text("access_token").filter(|token| !token.is_empty()) else {
            return Err(Failure::new(Kind::Denied, format!("{who} answered without a token")));
        };
        let number = |name: &str| {
            let value = parsed.as_ref()?.get(name)?;
            value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
        };
        let now = self.around.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = number("expires_in").or_else(|| Some(number("expires_on")?.saturating_sub(now)));
        let good_for = left.map(Duration::from_secs);
        Ok(Issued { token: Token::Bearer(Secret::from(token)), good_for })
    }
}

impl TokenSource for Identity {
    fn issue(&self) -> BoxFuture<'_, Result<Issued>> {
        async move {
            let issued = match self.ask().await {
                Ok(said) => self.read(&said),
                Err(failure) => Err(failure),
            };
            issued.map_err(|failure| {
                let error = Error::new(failure.kind, Operation::Configure, failure.said);
                match failure.retry {
                    Some(retry) => error.with_retry(retry),
                    None => error,
                }
            })
        }
        .boxed()
    }
}

/// Nothing that it shows.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            How::Machine { .. } => "this machine",
            How::Secret { .. } => "an application with a secret",
            How::File { .. } => "an application with a token in a file",
        };
        write!(f, "Identity of {what}, from {}", self.issuer.endpoint())
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::MetadataService;

    fn around() -> Surroundings {
        Surroundings::new([], || UNIX_EPOCH + Duration::from_secs(1000))
    }

    fn application(host: Option<&str>) -> Application {
        Application {
            tenant_id: "t-1".into(),
            client_id: "c".into(),
            authority_host: host.map(str::to_owned),
        }
    }

    fn debug(credential: &Credential) -> Result<String> {
        source(credential, &HttpOptions::default(), &around(), &Network::default())
            .map(|source| format!("{source:?}"))
    }

    #[test]
    fn identities_are_made_without_asking_anybody() {
        let service = MetadataService::default();
        let machine = Credential::ManagedIdentity { client_id: None, service };
        assert_eq!(debug(&machine).unwrap(), "Identity of this machine, from http://169.254.169.254");
        for (host, said) in [
            (None, "https://login.microsoftonline.com/t-1"),
            (Some("login.example.org/"), "https://login.example.org/t-1"),
            (Some("http://127.0.0.1:9"), "http://127.0.0.1:9/t-1"),
        ] {
            let secret = Credential::ClientSecret { application: application(host), secret: "hush".into() };
            let text = debug(&secret).unwrap();
            assert!(text.ends_with(said) && !text.contains("hush"), "{text}");
        }
        let file = |host| Credential::WorkloadIdentity { application: application(host), file: "/f".into() };
        assert!(debug(&file(None)).is_ok());
        let error = debug(&file(Some("http://login.example.org"))).unwrap_err().to_string();
        assert!(error.contains("unencrypted to http://login.example.org"), "{error}");
    }

    #[test]
    fn what_is_answered_is_read_and_never_shown() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9").unwrap();
        let issuer = Issuer::new(endpoint, &HttpOptions::default(), &Network::default());
        let kind = How::Machine { path: String::new(), header: None, client_id: None };
        let identity = Identity { issuer: issuer.unwrap(), kind, around: around() };
        let read = |status, body: &str| identity.read(&Said { status, body: body.into() });
        for (body, seconds) in [
            (r#"{"access_token":"hush","expires_in":"3600","expires_on":"9"}"#, Some(3600)),
            (r#"{"access_token":"hush","expires_in":60}"#, Some(60)),
            (r#"{"access_token":"hush","expires_on":"1600"}"#, Some(600)),
            (r#"{"access_token":"hush"}"#, None),
        ] {
            let issued = read(200, body).unwrap();
            assert_eq!(issued.good_for, seconds.map(Duration::from_secs), "{body}");
            assert_eq!(issued.token, Token::Bearer("hush".into()));
        }
        let refused =
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong.\r\nTrace hush"}"#;
        for (status, body, needle) in [
            (401, refused, "status 401: invalid_client: AADSTS7000215: wrong."),
            (200, r#"{"token":"hush"}"#, "without a token"),
            (200, "hush", "without a token"),
            (500, "<html>hush", "status 500"),
        ] {
            let failure = read(status, body).unwrap_err();
            assert_eq!(failure.kind, Kind::Denied);
            assert!(failure.said.ends_with(needle) && !failure.said.contains("hush"), "{}", failure.said);
        }
    }
}
