//! How a request becomes one that the service accepts: signed, or with a token.

use crate::config::AzConfig;
use crate::credential::Credential;
use crate::identity;
use crate::pass::{Form, Pass};
use crate::shared_key::SharedKey;
use crate::token::Tokens;
use forebay_io::{Kind, Result, Retry};
use forebay_io_object::wire::Request;
use forebay_io_object::{Failure, HttpOptions, Network, Surroundings};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The version of the protocol that is spoken.
/// <https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services>
const VERSION: &str = "2023-11-03";

/// Authorises requests to one account.
#[derive(Debug)]
pub(crate) struct Authority {
    by: By,
    signs_batches: bool,
    around: Surroundings,
}

enum By {
    Nothing,
    Key(SharedKey),
    Fixed(Arc<Pass>),
    Tokens(Tokens),
}

/// Keys and tokens are secrets.
impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Nothing => f.write_str("nothing"),
            By::Key(_) => f.write_str("account key"),
            By::Fixed(pass) => write!(f, "{}", pass.what()),
            By::Tokens(tokens) => tokens.fmt(f),
        }
    }
}

/// What one request is authorised with.
pub(crate) enum Grant<'a> {
    Nothing,
    Key(&'a SharedKey),
    Token(Arc<Pass>),
}

/// A request before it is authorised: all but its body.
#[derive(Default)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'static str,
    /// As it is sent.
    pub(crate) path: &'a str,
    /// As it is sent.
    pub(crate) query: &'a str,
    /// With names in lower case.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// Bytes of the body.
    pub(crate) length: u64,
}

/// The same authorised.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) fields: Vec<(&'a str, Cow<'a, str>)>,
}

impl Authority {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// `InvalidConfig` for a credential that cannot be.
    pub(crate) fn new(
        config: &AzConfig,
        http: &HttpOptions,
        around: &Surroundings,
        network: &Network,
    ) -> Result<Self, Failure> {
        let invalid = |said: &str| Failure::new(Kind::InvalidConfig, said);
        let signs_batches = !matches!(config.credential, Credential::Sas(_));
        let by = match &config.credential {
            Credential::Anonymous => By::Nothing,
            Credential::AccountKey(key) => {
                let key = SharedKey::new(config.account.name(), key);
                By::Key(key.ok_or_else(|| invalid("account_key is not base64"))?)
            }
            Credential::Sas(sas) => By::Fixed(Arc::new(Pass::lasting(Form::signature(sas)?))),
            Credential::Bearer(token) => By::Fixed(Arc::new(Pass::lasting(Form::bearer(token)))),
            Credential::Tokens(source) => By::Tokens(Tokens::new(source.clone())),
            asked => By::Tokens(Tokens::new(
                identity::source(asked, http, around, network)
                    .map_err(|error| invalid(&error.to_string()))?,
            )),
        };
        Ok(Authority { by, signs_batches, around: around.clone() })
    }

    /// Whether a batch of requests can be authorised. A signature that was handed out names the operations it
    /// allows, and a batch may not be among them; Azurite knows it in no batch at all.
    pub(crate) fn signs_batches(&self) -> bool {
        self.signs_batches
    }

    /// What this moment's requests are authorised with.
    pub(crate) async fn grant(&self) -> Result<Grant<'_>, Failure> {
        Ok(match &self.by {
            By::Nothing => Grant::Nothing,
            By::Key(key) => Grant::Key(key),
            By::Fixed(pass) => Grant::Token(pass.clone()),
            By::Tokens(tokens) => Grant::Token(tokens.pass().await?),
        })
    }

    /// Adds date, version and authorisation.
    pub(crate) fn sign<'a>(&self, grant: &Grant<'_>, unsigned: &Unsigned<'a>) -> Signed<'a> {
        let Unsigned { method, path, query, fields, length } = *unsigned;
        let mut fields: Vec<(&str, Cow<'_, str>)> =
            fields.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect();
        fields.push(("x-ms-date", httpdate::fmt_http_date(self.around.now()).into()));
        fields.push(("x-ms-version", VERSION.into()));
        let mut target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        match grant {
            Grant::Nothing => {}
            Grant::Key(key) => {
                let authorization = key.authorization(method, path, query, &fields, length);
                fields.push(("authorization", authorization.into()));
            }
            Grant::Token(pass) => match &pass.form {
                Form::Field(bearer) => fields.push(("authorization", bearer.expose().to_owned().into())),
                Form::Query(signature) => {
                    target.push(if query.is_empty() { '?' } else { '&' });
                    target.push_str(signature.expose());
                }
            },
        }
        Signed { method, target, fields }
    }

    /// A request with this succeeded.
    pub(crate) async fn accepted(&self, grant: &Grant<'_>) {
        if let (By::Tokens(tokens), Grant::Token(pass)) = (&self.by, grant) {
            tokens.accepted(pass).await;
        }
    }

    /// The service refused a request with this. Where that is the token, and another can be had, the next try is
    /// made with that.
    pub(crate) async fn refused(&self, grant: &Grant<'_>, failure: Failure) -> Failure {
        if let (By::Tokens(tokens), Grant::Token(pass)) = (&self.by, grant)
            && token_ended(&failure)
            && tokens.refused(pass).await
        {
            return failure.with_retry(Retry::Backoff);
        }
        failure
    }
}

/// Whether this is how a token is refused that has ended or was taken back. That it may not do what was asked is
/// another matter, and has codes of its own.
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>
fn token_ended(failure: &Failure) -> bool {
    match failure.status {
        Some(401) => true,
        Some(403) => !failure.said.contains("Authorization") && !failure.said.contains("PublicAccess"),
        _ => false,
    }
}

impl Signed<'_> {
    /// As it is sent to `host`.
    pub(crate) fn request(&self, host: &str) -> Request {
        let request = Request::new(self.method, &self.target, host);
        self.fields.iter().fold(request, |request, (name, value)| request.field(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Account;
    use std::time::SystemTime;

    async fn signed(credential: Credential) -> String {
        let config = AzConfig { account: Account::new("acme", None).unwrap(), credential };
        let around = Surroundings::new([], || SystemTime::UNIX_EPOCH);
        let authority =
            Authority::new(&config, &HttpOptions::default(), &around, &Network::default()).unwrap();
        assert!(!format!("{authority:?}").contains("hush"), "{authority:?}");
        let grant = authority.grant().await.unwrap();
        let unsigned = Unsigned { method: "GET", path: "/c/k", query: "comp=list", ..Unsigned::default() };
        let request = authority.sign(&grant, &unsigned).request("acme.blob.core.windows.net");
        let text = String::from_utf8(request.head().to_vec()).unwrap();
        assert!(text.contains("\r\nx-ms-date: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-ms-version: 2"), "{text}");
        text
    }

    #[tokio::test]
    async fn each_kind_of_credential_is_sent_in_its_place() {
        let text = signed(Credential::Anonymous).await;
        assert!(
            text.starts_with("GET /c/k?comp=list HTTP/1.1\r\n") && !text.contains("authorization"),
            "{text}"
        );

        let text = signed(Credential::AccountKey("aHVzaA==".into())).await;
        assert!(text.contains("\r\nauthorization: SharedKey acme:"), "{text}");

        for sas in ["sv=1&sig=hush%2B", "?sv=1&sig=hush+"] {
            let text = signed(Credential::Sas(sas.into())).await;
            assert!(text.starts_with("GET /c/k?comp=list&sv=1&sig=hush%2B HTTP"), "{text}");
            assert!(!text.contains("authorization"), "{text}");
        }

        let text = signed(Credential::Bearer("hush\n".into())).await;
        assert!(text.contains("\r\nauthorization: Bearer hush\r\n"), "{text}");
    }

    #[test]
    fn only_a_token_that_has_ended_is_renewed() {
        for (status, code, ended) in [
            (401, "InvalidAuthenticationInfo", true),
            (403, "AuthenticationFailed", true),
            (403, "", true),
            (403, "AuthorizationPermissionMismatch", false),
            (403, "AuthorizationFailure", false),
            (404, "BlobNotFound", false),
        ] {
            assert_eq!(token_ended(&Failure::status(status, code, "", None)), ended, "{status} {code}");
        }
    }
}
