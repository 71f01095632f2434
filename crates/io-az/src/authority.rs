//! How a request becomes one that the service accepts: signed, or with a token.

use crate::config::{Application, Credential};
use crate::token::{Renewed, Token};
use forebay_io::Kind;
use forebay_io_object::{Failure, HttpOptions, Secret, chain};
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder,
    split_sas,
};
use object_store::client::HttpRequest;
use object_store::{ClientOptions, RetryConfig};
use std::sync::Arc;

/// Authorises requests to one account.
#[derive(Debug)]
pub(crate) struct Authority {
    account: String,
    by: By,
}

enum By {
    Nothing,
    One(AzureCredential),
    Identity(AzureCredentialProvider),
    Tokens(Renewed),
}

/// Keys and tokens have a `Debug` of their own that shows them.
impl std::fmt::Debug for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            By::Nothing => "nothing",
            By::One(AzureCredential::AccessKey(_)) => "account key",
            By::One(AzureCredential::SASToken(_)) => "shared access signature",
            By::One(AzureCredential::BearerToken(_)) => "bearer token",
            By::Identity(_) => "tokens of an identity",
            By::Tokens(_) => "tokens of a source",
        })
    }
}

impl Authority {
    /// # Errors
    /// `InvalidConfig` for a credential that cannot be.
    pub(crate) fn new(account: &str, credential: &Credential, http: &HttpOptions) -> Result<Self, Failure> {
        let by = match credential {
            Credential::Anonymous => By::Nothing,
            Credential::AccountKey(key) => {
                let key = AzureAccessKey::try_new(key.expose())
                    .map_err(|_| Failure::new(Kind::InvalidConfig, "account_key is not base64"))?;
                By::One(AzureCredential::AccessKey(key))
            }
            Credential::Sas(sas) => By::One(signature(sas)?),
            Credential::Bearer(token) => By::One(AzureCredential::BearerToken(token.expose().to_owned())),
            Credential::Tokens(source) => By::Tokens(Renewed::new(source.clone())),
            identity => By::Identity(identity_of(account, identity, http)?),
        };
        Ok(Authority { account: account.to_owned(), by })
    }

    /// What this moment's requests are authorised with.
    pub(crate) async fn credential(&self) -> Result<Grant<'_>, Failure> {
        Ok(match &self.by {
            By::Nothing => Grant::Nothing,
            By::One(credential) => Grant::Fixed(credential),
            By::Identity(provider) => {
                let credential = provider.get_credential().await;
                Grant::Shared(credential.map_err(|error| {
                    let said = format!("no token could be had: {}", chain(&error));
                    Failure::new(Kind::Denied, said).with_retry(forebay_io::Retry::Backoff)
                })?)
            }
            By::Tokens(renewed) => {
                let credential = match &*renewed.token().await? {
                    Token::Bearer(token) => AzureCredential::BearerToken(token.expose().to_owned()),
                    Token::Sas(sas) => signature(sas)?,
                };
                Grant::Shared(Arc::new(credential))
            }
        })
    }

    /// Adds date, version and authorisation. Everything else of the request must be in place.
    pub(crate) fn sign(&self, grant: &Grant<'_>, request: &mut HttpRequest) -> Result<(), Failure> {
        let nothing = AzureCredential::SASToken(Vec::new());
        let credential = match grant {
            // An empty signature adds the date and the version, and nothing else.
            Grant::Nothing => &nothing,
            Grant::Fixed(credential) => *credential,
            Grant::Shared(credential) => credential,
        };
        let signed = AzureAuthorizer::new(credential, &self.account).try_authorize(request);
        signed.map_err(|error| Failure::new(Kind::InvalidConfig, format!("cannot sign: {}", chain(&error))))
    }
}

/// What one request is authorised with.
pub(crate) enum Grant<'a> {
    Nothing,
    Fixed(&'a AzureCredential),
    Shared(Arc<AzureCredential>),
}

fn signature(sas: &Secret) -> Result<AzureCredential, Failure> {
    let pairs = split_sas(sas.expose().trim_start_matches('?'));
    let wrong = |_| Failure::new(Kind::InvalidConfig, "the shared access signature is not a query string");
    Ok(AzureCredential::SASToken(pairs.map_err(wrong)?))
}

/// Tokens of an identity, got and renewed by the client library.
fn identity_of(
    account: &str,
    credential: &Credential,
    http: &HttpOptions,
) -> Result<AzureCredentialProvider, Failure> {
    let client =
        ClientOptions::new().with_connect_timeout(http.connect_timeout).with_timeout(http.first_byte_timeout);
    let none = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        // Asked for by the builder; the tokens are for the account.
        .with_container_name("any")
        .with_client_options(client)
        .with_retry(none);
    let whose = |builder: MicrosoftAzureBuilder, application: &Application| {
        let builder = builder.with_tenant_id(&application.tenant_id).with_client_id(&application.client_id);
        match &application.authority_host {
            Some(host) => builder.with_authority_host(host),
            None => builder,
        }
    };
    let builder = match credential {
        Credential::ClientSecret { application, secret } => whose(builder, application)
            .with_client_secret(secret.expose())
            .with_credential_type("client_secret"),
        Credential::WorkloadIdentity { application, file } => whose(builder, application)
            .with_federated_token_file(file)
            .with_credential_type("workload_identity"),
        Credential::ManagedIdentity { client_id: Some(id) } => {
            builder.with_client_id(id).with_credential_type("managed_identity")
        }
        _ => builder.with_credential_type("managed_identity"),
    };
    let built = builder.build();
    let built = built.map_err(|error| Failure::new(Kind::InvalidConfig, chain(&error)))?;
    Ok(built.credentials().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    async fn signed(credential: Credential) -> HttpRequest {
        let authority = Authority::new("acme", &credential, &HttpOptions::default()).unwrap();
        assert!(!format!("{authority:?}").contains("hush"), "{authority:?}");
        let mut request = http::Request::get("https://acme.blob.core.windows.net/c/k?comp=list")
            .body(HttpRequestBody::empty())
            .unwrap();
        let grant = authority.credential().await.unwrap();
        authority.sign(&grant, &mut request).unwrap();
        assert!(request.headers().contains_key("x-ms-version") && request.headers().contains_key("date"));
        request
    }

    fn authorization(request: &HttpRequest) -> Option<&str> {
        request.headers().get("authorization").map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn each_kind_of_credential_is_sent_in_its_place() {
        let request = signed(Credential::Anonymous).await;
        assert_eq!(authorization(&request), None);
        assert_eq!(request.uri().query(), Some("comp=list"));

        let request = signed(Credential::AccountKey("aHVzaA==".into())).await;
        assert!(authorization(&request).unwrap().starts_with("SharedKey acme:"));

        let request = signed(Credential::Sas("sv=1&sig=hush%2B".into())).await;
        assert_eq!(authorization(&request), None);
        assert!(request.uri().query().unwrap().ends_with("sig=hush%2B"), "{}", request.uri());

        let request = signed(Credential::Bearer("hush".into())).await;
        assert_eq!(authorization(&request), Some("Bearer hush"));
    }

    #[test]
    fn identities_are_made_without_asking_anybody() {
        let application = Application { tenant_id: "t".into(), client_id: "c".into(), authority_host: None };
        for credential in [
            Credential::ManagedIdentity { client_id: None },
            Credential::ClientSecret { application: application.clone(), secret: "hush".into() },
            Credential::WorkloadIdentity { application, file: "/nowhere".into() },
        ] {
            let authority = Authority::new("acme", &credential, &HttpOptions::default()).unwrap();
            assert!(!format!("{authority:?}").contains("hush"));
        }
    }
}
