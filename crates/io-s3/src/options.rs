//! Options of `s3://`, and how they are written as text.

use crate::CredentialProvider;
use forebay_io::{Error, Result};
use forebay_io_object::{HttpOptions, Secret};
use std::str::FromStr;
use std::sync::Arc;

/// The options that can be given as text beside [`HTTP_KEYS`](forebay_io_object::HTTP_KEYS), each with what
/// it means. Those with a variable of the environment are taken from there where they are not given.
pub const S3_KEYS: [(&str, &str); 12] = [
    ("endpoint", "URL of the service, as http://127.0.0.1:9000 (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL)"),
    ("region", "region that requests are signed for (AWS_REGION, AWS_DEFAULT_REGION); us-east-1"),
    ("addressing", "path, virtual or auto: path with an endpoint of your own, else virtual"),
    ("anonymous", "true: requests are not signed"),
    ("access_key_id", "public name of the access key (AWS_ACCESS_KEY_ID)"),
    ("secret_access_key", "the access key (AWS_SECRET_ACCESS_KEY)"),
    ("session_token", "what goes with keys that are lent for a time (AWS_SESSION_TOKEN)"),
    ("profile", "profile in ~/.aws (AWS_PROFILE)"),
    ("web_identity_token_file", "token to be exchanged for keys (AWS_WEB_IDENTITY_TOKEN_FILE)"),
    ("role_arn", "role to be taken with that token (AWS_ROLE_ARN)"),
    ("role_session_name", "how that is named in logs (AWS_ROLE_SESSION_NAME)"),
    ("client", "forebay, object-store or rusoto (where built in): who speaks to the service"),
];

/// How a bucket is reached. The default takes everything from the environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct S3Options {
    /// URL of the service.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: Option<String>,
    /// Where the bucket's name goes.
    pub addressing: Addressing,
    /// Requests are not signed.
    pub anonymous: bool,
    /// Public name of the access key.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// What goes with keys that are lent for a time.
    pub session_token: Option<Secret>,
    /// A profile in `~/.aws`.
    pub profile: Option<String>,
    /// File with a token to be exchanged for keys.
    pub web_identity_token_file: Option<String>,
    /// Role to be taken with that token.
    pub role_arn: Option<String>,
    /// How that is named in logs.
    pub role_session_name: Option<String>,
    /// Who gives credentials, before all other ways.
    pub credentials: Option<Callable>,
    /// Who speaks to the service.
    pub client: ClientKind,
    /// What is not peculiar to S3.
    pub http: HttpOptions,
}

/// A provider that a program hands over.
#[derive(Debug, Clone)]
pub struct Callable(pub Arc<dyn CredentialProvider>);

impl PartialEq for Callable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Where the bucket's name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// `Path` with an endpoint that was given, `Virtual` at AWS where the name allows it.
    #[default]
    Auto,
    /// `endpoint/bucket/key`.
    Path,
    /// `bucket.endpoint/key`.
    Virtual,
}

impl FromStr for Addressing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Addressing::Auto),
            "path" => Ok(Addressing::Path),
            "virtual" => Ok(Addressing::Virtual),
            _ => Err(Error::invalid(format!("{text:?} is not path, virtual or auto"))),
        }
    }
}

/// Who speaks to the service. All are held to the same conformance suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientKind {
    /// Ours: bodies go from the socket into the slot.
    #[default]
    Forebay,
    /// The crate `object_store`.
    ObjectStore,
    /// The crate `rusoto_s3`.
    Rusoto,
}

impl FromStr for ClientKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "forebay" => Ok(ClientKind::Forebay),
            "object-store" => Ok(ClientKind::ObjectStore),
            "rusoto" => Ok(ClientKind::Rusoto),
            _ => Err(Error::invalid(format!("{text:?} is not forebay, object-store or rusoto"))),
        }
    }
}

impl S3Options {
    /// Sets the option `key` from text. `false` if there is none of this name.
    ///
    /// # Errors
    /// `InvalidConfig` naming the key and what would be valid; the value too, where it is no secret.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        if value.is_empty() && S3_KEYS.iter().any(|(name, _)| *name == key) {
            return Err(Error::invalid(format!("{key} is empty; leave it out instead")));
        }
        let text = || Some(value.to_owned());
        match key {
            "endpoint" => self.endpoint = text(),
            "region" => self.region = text(),
            "addressing" => self.addressing = value.parse().map_err(|e: Error| e.context(key))?,
            "anonymous" => {
                self.anonymous = value.parse().map_err(|_| {
                    Error::invalid(format!("anonymous must be true or false; it is {value:?}"))
                })?;
            }
            "access_key_id" => self.access_key_id = text(),
            "secret_access_key" => self.secret_access_key = Some(value.into()),
            "session_token" => self.session_token = Some(value.into()),
            "profile" => self.profile = text(),
            "web_identity_token_file" => self.web_identity_token_file = text(),
            "role_arn" => self.role_arn = text(),
            "role_session_name" => self.role_session_name = text(),
            "client" => self.client = value.parse().map_err(|e: Error| e.context(key))?,
            _ => return self.http.set(key, value),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood_and_changes_something() {
        for (key, _) in S3_KEYS {
            let value = match key {
                "addressing" => "path",
                "anonymous" => "true",
                "client" => "object-store",
                _ => "text",
            };
            let mut options = S3Options::default();
            assert!(options.set(key, value).unwrap(), "{key}");
            assert_ne!(options, S3Options::default(), "{key}");
            let error = options.set(key, "").unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let mut options = S3Options::default();
        assert!(options.set("idle_timeout", "3s").unwrap());
        assert!(!options.set("colour", "red").unwrap());
        assert!(options.set("addressing", "both").unwrap_err().to_string().contains("path, virtual or auto"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut options = S3Options::default();
        options.set("secret_access_key", "hunter2").unwrap();
        options.set("session_token", "hunter3").unwrap();
        assert!(!format!("{options:?} {options:#?}").contains("hunter"));
    }
}
