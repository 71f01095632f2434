//! Keys that a machine, a cluster or a token lends for a time: IMDSv2 of EC2, containers of ECS and EKS, web
//! identity through STS.

use crate::S3Options;
use crate::credentials::{CredentialProvider, Credentials, Source};
use crate::{service, xml};
use bytes::Bytes;
use forebay_io::{Error, Kind, Operation, Result, Retry};
use forebay_io_object::Endpoint;
use forebay_io_object::{Failure, Issuer, Network, Said, Secret, Surroundings};
use futures::FutureExt;
use futures::future::BoxFuture;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Of each EC2 instance, and not routed.
const METADATA: &str = "http://169.254.169.254";
const METADATA_IPV6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// Of each ECS task.
const CONTAINER: &str = "http://169.254.170.2";
/// Where keys of a container may come from without encryption, beside this machine.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
const CONTAINERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// How long a session with the metadata service lasts: one question is asked in each.
const SESSION_SECONDS: &str = "60";
const INSTEAD: &str = "give access_key_id and secret_access_key, a profile, or anonymous=true";

struct Lent {
    issuer: Issuer,
    from: From,
}

enum From {
    Machine,
    Container { target: String, shown: Shown },
    WebIdentity { file: String, role: String, session: String },
}

/// What a container shows.
enum Shown {
    Nothing,
    Text(Secret),
    /// Read again each time: whoever put it there replaces it.
    File(String),
}

/// Where nothing else says who asks. With a token (and a role) from there, else from the container or the
/// machine.
pub(crate) fn source(
    options: &S3Options,
    token: Option<&str>,
    region: &str,
    around: &Surroundings,
    network: &Network,
) -> Result<Source> {
    let variable = |name: &str| around.variable(name).map(str::to_owned);
    let endpoint = |name: &str, url: &str| Endpoint::parse(url).map_err(|error| error.context(name));
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let (endpoint, from) = if let Some(token) = token {
        let role = options.role_arn.clone().or_else(|| variable("AWS_ROLE_ARN"));
        let role = role.ok_or_else(|| Error::invalid("web_identity_token_file needs role_arn beside it"))?;
        let session = options.role_session_name.clone().or_else(|| variable("AWS_ROLE_SESSION_NAME"));
        let session = session.unwrap_or_else(|| "forebay".into());
        let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL"));
        let url = url.unwrap_or_else(|| format!("https://sts.{region}.{end}"));
        let from = From::WebIdentity { file: token.to_owned(), role, session };
        (endpoint("AWS_ENDPOINT_URL_STS", &url)?, from)
    } else if let Some(target) = relative {
        (Endpoint::parse(CONTAINER)?, From::Container { target, shown: shown(around) })
    } else if let Some(url) = full {
        let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let (base, query) = url.split_once('?').map_or((&*url, None), |(base, query)| (base, Some(query)));
        let endpoint = endpoint(name, base)?;
        let near = endpoint.is_loopback() || CONTAINERS.contains(&endpoint.bare_host());
        if !endpoint.is_tls() && !near {
            return Err(Error::invalid(format!(
                "{name}: keys would come unencrypted from {endpoint}; give an https URL"
            )));
        }
        let target = query.map(|query| format!("?{query}")).unwrap_or_default();
        (endpoint, From::Container { target, shown: shown(around) })
    } else if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::invalid(format!("no credentials: {INSTEAD}")));
    } else {
        let ipv6 = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let usual =
            if ipv6.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) { METADATA_IPV6 } else { METADATA };
        let url = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| usual.into());
        (endpoint("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)?, From::Machine)
    };
    let issuer = Issuer::new(endpoint, &options.http, network)?;
    Ok(Source::asked(Arc::new(Lent { issuer, from })))
}

fn shown(around: &Surroundings) -> Shown {
    if let Some(file) = around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        return Shown::File(file.to_owned());
    }
    around
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        .map_or(Shown::Nothing, |text| Shown::Text(text.into()))
}

impl Lent {
    async fn ask(&self) -> Result<Credentials, Failure> {
        match &self.from {
            From::Machine => self.machine().await,
            From::Container { target, shown } => {
                let text = match shown {
                    Shown::Nothing => None,
                    Shown::Text(text) => Some(text.clone()),
                    Shown::File(file) => Some(read(file)?),
                };
                let field = text.as_ref().map(|text| ("authorization", text.expose()));
                let said = self.issuer.ask("GET", target, field.as_slice(), Bytes::new().into()).await?;
                of_json(&self.good(said)?)
            }
            From::WebIdentity { file, role, session } => self.web_identity(file, role, session).await,
        }
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>
    async fn machine(&self) -> Result<Credentials, Failure> {
        let field = ("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        let session = self.issuer.ask("PUT", "/latest/api/token", &[field], Bytes::new().into()).await?;
        let session = self.good(session)?;
        let field = [("x-aws-ec2-metadata-token", session.expose().trim())];
        let roles = self.good(self.issuer.ask("GET", ROLES, &field, Bytes::new().into()).await?)?;
        let role = roles.expose().lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(Failure::new(Kind::Denied, "this machine has no role"));
        }
        let target = format!("{ROLES}{}", service::value(role));
        of_json(&self.good(self.issuer.ask("GET", &target, &field, Bytes::new().into()).await?)?)
    }

    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    async fn web_identity(&self, file: &str, role: &str, session: &str) -> Result<Credentials, Failure> {
        let token = read(file)?;
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            escaped(role),
            escaped(session),
            escaped(token.expose())
        );
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        let said = self.issuer.ask("POST", "/", &fields, Bytes::from(form).into()).await?;
        let document = self.good(said)?;
        let text = |name| {
            xml::text_of(document.expose().as_bytes(), "Credentials", name).map(Option::unwrap_or_default)
        };
        credentials(
            &text("AccessKeyId")?,
            &text("SecretAccessKey")?,
            &text("SessionToken")?,
            &text("Expiration")?,
        )
    }

    /// The body of a success. The words of a refusal may hold what was sent, its code does not.
    fn good(&self, said: Said) -> Result<Secret, Failure> {
        if said.is_success() {
            return Ok(said.body);
        }
        let code =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| text.to_owned());
        let (words, _) = xml::error(said.body.expose().as_bytes());
        Err(said.refusal(&self.issuer.endpoint().to_string(), &code(&words).unwrap_or_default()))
    }

    fn what(&self) -> &'static str {
        match self.from {
            From::Machine => "the machine's role (IMDSv2)",
            From::Container { .. } => "the container's role",
            From::WebIdentity { .. } => "the role of a web identity",
        }
    }
}

/// What somebody put into a file for us.
fn read(file: &str) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::new(Kind::Denied, format!("file {file:?}: {error}")))?;
    Ok(Secret::from(text.trim()))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// As the metadata service and containers say it.
fn of_json(body: &Secret) -> Result<Credentials, Failure> {
    let parsed: Option<Value> = serde_json::from_str(body.expose()).ok();
    let text = |name: &str| {
        parsed.as_ref().and_then(|all| all.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    credentials(text("AccessKeyId"), text("SecretAccessKey"), text("Token"), text("Expiration"))
}

fn credentials(id: &str, secret: &str, token: &str, expires: &str) -> Result<Credentials, Failure> {
    let strange = |what: &str| {
        Failure::new(Kind::Denied, format!("an answer that makes no sense: {what}"))
            .with_retry(Retry::Backoff)
    };
    if id.is_empty() || secret.is_empty() {
        return Err(strange("there are no keys in it"));
    }
    let expires = match expires {
        "" => None,
        text => {
            Some(humantime::parse_rfc3339(text).map_err(|_| strange(&format!("it expires at {text:?}")))?)
        }
    };
    Ok(Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: secret.into(),
        session_token: (!token.is_empty()).then(|| token.into()),
        expires,
    })
}

impl CredentialProvider for Lent {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials>> {
        async move {
            self.ask().await.map_err(|failure| {
                let said = format!("{} gave none ({}); {INSTEAD}", self.what(), failure.said);
                // A machine that has just started answers late.
                let retry = failure.retry.unwrap_or(failure.kind.default_retry());
                Error::new(Kind::Denied, Operation::Configure, said).with_retry(retry)
            })
        }
        .boxed()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({}, from {})", self.what(), self.issuer.endpoint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io_object::HttpOptions;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    fn of(token: Option<&str>, variables: &[(&str, &str)]) -> Result<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let around = Surroundings::new(variables, || SystemTime::UNIX_EPOCH);
        let options = S3Options { http: HttpOptions::default(), ..S3Options::default() };
        let source = source(&options, token, "eu-west-1", &around, &Network::default())?;
        Ok(format!("{source:?}"))
    }

    #[test]
    fn the_lender_is_found_by_the_documented_variables() {
        const ROLE: (&str, &str) = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
        for (token, variables, place) in [
            (None, &[][..], "IMDSv2), from http://169.254.169.254)"),
            (None, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")], "from http://[fd00:ec2::254])"),
            (None, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://h:1/")], "from http://h:1)"),
            (None, &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")], "role, from http://169.254.170.2)"),
            (
                None,
                &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:1/x?y")],
                "http://localhost:1/x)",
            ),
            (None, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://h/x")], "https://h/x)"),
            (Some("/t"), &[ROLE], "web identity, from https://sts.eu-west-1.amazonaws.com)"),
            (Some("/t"), &[ROLE, ("AWS_ENDPOINT_URL_STS", "http://h:2")], "from http://h:2)"),
        ] {
            let text = of(token, variables).unwrap();
            assert!(text.contains(place), "{variables:?}: {text}");
        }
        for (token, variables, needle) in [
            (None, &[("AWS_EC2_METADATA_DISABLED", "TRUE")][..], "no credentials"),
            (None, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org/x")], "unencrypted"),
            (Some("/t"), &[], "role_arn"),
        ] {
            let error = of(token, variables).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_lent() {
        let body = r#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"hush","Token":"t",
            "Expiration":"1970-01-01T01:00:00Z"}"#;
        let keys = of_json(&body.into()).unwrap();
        assert_eq!(keys.expires, Some(UNIX_EPOCH + Duration::from_secs(3600)));
        assert_eq!((keys.access_key_id.as_str(), keys.session_token.is_some()), ("A", true));
        for body in [
            "hush",
            r#"{"AccessKeyId":"hush"}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"hush","Expiration":"x"}"#,
        ] {
            let failure = of_json(&body.into()).unwrap_err();
            assert!(failure.kind == Kind::Denied && !failure.said.contains("hush"), "{}", failure.said);
        }
    }
}
