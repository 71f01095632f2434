//! Keys that a machine, a cluster or a token lends for a time: IMDSv2 of EC2, containers of ECS and EKS, web
//! identity through STS. `object_store` speaks to all of these, and keeps and renews what it is told.

use crate::S3Options;
use crate::credentials::{CredentialProvider, Credentials, Source};
use forebay_io::{Error, Kind, Operation, Result};
use forebay_io_object::Surroundings;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredentialProvider};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// `object_store` renews what it keeps five minutes before its end, so what it says holds for a minute. (An
/// answer is kept until five minutes before it expires.)
const HOLDS: Duration = Duration::from_secs(6 * 60);

struct Lent {
    provider: AwsCredentialProvider,
    around: Surroundings,
    what: &'static str,
}

/// Where nothing else says who asks. With a token (and a role) from there, else from the container or the
/// machine.
pub(crate) fn source(
    options: &S3Options,
    token: Option<&str>,
    bucket: &str,
    region: &str,
    around: &Surroundings,
) -> Result<Source> {
    let variable = |name: &str| around.variable(name).map(str::to_owned);
    let http = ClientOptions::new()
        .with_connect_timeout(options.http.connect_timeout)
        .with_timeout(options.http.first_byte_timeout);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(http)
        // A machine that has just started answers late; a request that fails for it is tried again outside.
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 2,
            retry_timeout: options.http.first_byte_timeout,
        });
    let mut what = "the machine's role (IMDSv2)";
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if let Some(token) = token {
        let role = options.role_arn.clone().or_else(|| variable("AWS_ROLE_ARN"));
        let role = role.ok_or_else(|| Error::invalid("web_identity_token_file needs role_arn beside it"))?;
        what = "the role of a web identity";
        builder = builder.with_config(Key::WebIdentityTokenFile, token).with_config(Key::RoleArn, role);
        let name = options.role_session_name.clone().or_else(|| variable("AWS_ROLE_SESSION_NAME"));
        builder = builder.with_config(Key::RoleSessionName, name.unwrap_or_else(|| "forebay".into()));
        if let Some(endpoint) = variable("AWS_ENDPOINT_URL_STS") {
            builder = builder.with_config(Key::StsEndpoint, endpoint);
        }
    } else if let Some(uri) = relative {
        what = "the container's role";
        builder = builder.with_config(Key::ContainerCredentialsRelativeUri, uri);
    } else if let (Some(uri), Some(file)) = (full, variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
        what = "the pod's role";
        builder = builder
            .with_config(Key::ContainerCredentialsFullUri, uri)
            .with_config(Key::ContainerAuthorizationTokenFile, file);
    } else if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::invalid(
            "no credentials: give access_key_id and secret_access_key, a profile, or anonymous=true",
        ));
    } else if let Some(endpoint) = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_config(Key::MetadataEndpoint, endpoint);
    }
    let store = builder.build().map_err(|error| Error::invalid(format!("{what}: {error}")))?;
    let provider = store.credentials().clone();
    Ok(Source::asked(Arc::new(Lent { provider, around: around.clone(), what })))
}

impl CredentialProvider for Lent {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials>> {
        async move {
            let lent = self.provider.get_credential().await.map_err(|error| {
                // Its own text may hold what was sent; its first line says what it could not reach.
                let said = format!(
                    "{} gave none ({}); give access_key_id and secret_access_key, a profile, or anonymous=true",
                    self.what,
                    short(&error),
                );
                Error::new(Kind::Denied, Operation::Configure, said)
            })?;
            Ok(Credentials {
                access_key_id: lent.key_id.clone(),
                secret_access_key: lent.secret_key.as_str().into(),
                session_token: lent.token.as_deref().map(Into::into),
                expires: Some(self.around.now() + HOLDS),
            })
        }
        .boxed()
    }
}

/// What kind of error it is, without what a service said.
fn short(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => "not found",
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => "not allowed",
        _ => "no answer, or one that is not understood",
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({})", self.what)
    }
}
