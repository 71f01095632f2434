//! What options, environment and profile come to: options first, then the environment, then the profile.

use crate::credentials::{Credentials, Source};
use crate::profile;
use crate::service::{Service, Style};
use crate::{Addressing, ClientKind, S3Options};
use forebay_io::{Error, Location, Result};
use forebay_io_object::Endpoint;
use forebay_io_object::{Network, Surroundings};
use std::sync::Arc;

/// Where the bucket of `location` is, and who asks.
///
/// # Errors
/// `InvalidConfig` for what contradicts itself or is missing.
pub(crate) fn resolve(location: &Location, options: &S3Options, around: &Surroundings) -> Result<Service> {
    let Some(bucket) = location.host().filter(|_| location.scheme() == "s3") else {
        return Err(Error::invalid("this store serves s3://BUCKET/KEY and nothing else"));
    };
    // A profile is only looked at where something may be missing that it has.
    let named = options.profile.as_deref().or_else(|| around.variable("AWS_PROFILE"));
    let profile = profile::read(named, around)?;
    let variable = |names: &[&str]| names.iter().find_map(|name| around.variable(name)).map(str::to_owned);

    let region = options.region.clone().or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    let region = region.or(profile.region).unwrap_or_else(|| "us-east-1".into());
    if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Err(Error::invalid(format!("region {region:?} is none: letters, digits and dashes")));
    }
    let endpoint =
        options.endpoint.clone().or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let endpoint = endpoint.or(profile.endpoint);
    let own = endpoint.is_some();
    let endpoint = endpoint.unwrap_or_else(|| {
        let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://s3.{region}.{end}")
    });
    let endpoint = Endpoint::parse(&endpoint)?;
    let style = match options.addressing {
        Addressing::Path => Style::Path,
        Addressing::Virtual if fits_a_host(bucket) => Style::Virtual,
        Addressing::Virtual => {
            return Err(Error::invalid(format!(
                "bucket {bucket:?} cannot be part of a host name (lower-case letters, digits and dashes); use \
                 addressing=path"
            )));
        }
        Addressing::Auto if own || options.client == ClientKind::Rusoto || !fits_a_host(bucket) => {
            Style::Path
        }
        Addressing::Auto => Style::Virtual,
    };
    let endpoint = if style == Style::Virtual { endpoint.with_label(bucket) } else { endpoint };
    let network = Network::new(&options.http, around, Some("AWS_CA_BUNDLE"))?;
    let source = source(options, profile.credentials, &region, around, &network)?;
    Ok(Service {
        endpoint,
        bucket: bucket.to_owned(),
        style,
        region,
        source,
        around: around.clone(),
        network,
    })
}

/// A dot in it would be outside of the service's certificate.
fn fits_a_host(bucket: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain)
}

/// The first of these that there is: none (if asked for), a callable, keys, a token's or a profile's among the options;
/// keys or a token's in the environment; a profile; what the machine lends.
fn source(
    options: &S3Options,
    profile: Option<Credentials>,
    region: &str,
    around: &Surroundings,
    network: &Network,
) -> Result<Source> {
    let asked = [
        ("credentials", options.credentials.is_some()),
        ("access_key_id", options.access_key_id.is_some() || options.secret_access_key.is_some()),
        ("web_identity_token_file", options.web_identity_token_file.is_some()),
        ("profile", options.profile.is_some()),
        ("anonymous", options.anonymous),
    ];
    let mut asked = asked.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
    if let (Some(one), Some(other)) = (asked.next(), asked.next()) {
        return Err(Error::invalid(format!("{one} and {other} are both given; only one can say who asks")));
    }
    if options.session_token.is_some() && options.access_key_id.is_none() {
        return Err(Error::invalid("session_token needs access_key_id and secret_access_key beside it"));
    }
    let roles = [("role_arn", &options.role_arn), ("role_session_name", &options.role_session_name)];
    let role = roles.into_iter().find_map(|(name, given)| given.as_ref().map(|_| name));
    let without_role = |source| match role {
        Some(role) => Err(Error::invalid(format!(
            "{role} has no meaning without web_identity_token_file, whose token takes that role; give that too"
        ))),
        None => Ok(source),
    };
    if options.anonymous {
        return without_role(Source::Anonymous);
    }
    if let Some(callable) = &options.credentials {
        return without_role(Source::asked(callable.0.clone()));
    }
    let fixed = |credentials| without_role(Source::Static(Arc::new(credentials)));
    match (&options.access_key_id, &options.secret_access_key) {
        (Some(id), Some(secret)) => {
            return fixed(Credentials {
                access_key_id: id.clone(),
                secret_access_key: secret.clone(),
                session_token: options.session_token.clone(),
                expires: None,
            });
        }
        (None, None) => {}
        (Some(_), None) => return Err(Error::invalid("access_key_id needs secret_access_key beside it")),
        (None, Some(_)) => return Err(Error::invalid("secret_access_key needs access_key_id beside it")),
    }
    let keys = (around.variable("AWS_ACCESS_KEY_ID"), around.variable("AWS_SECRET_ACCESS_KEY"));
    let elsewhere = options.profile.is_some() || options.web_identity_token_file.is_some();
    if let (Some(id), Some(secret), false) = (keys.0, keys.1, elsewhere) {
        return fixed(Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: secret.into(),
            session_token: around.variable("AWS_SESSION_TOKEN").map(Into::into),
            expires: None,
        });
    }
    let token = options.web_identity_token_file.as_deref();
    let token = token.or_else(|| around.variable("AWS_WEB_IDENTITY_TOKEN_FILE"));
    if let (None, Some(credentials)) | (Some(_), Some(credentials)) = (token, profile)
        && (token.is_none() || options.profile.is_some())
    {
        return fixed(credentials);
    }
    if token.is_none() {
        return without_role(crate::lent::source(options, None, region, around, network)?);
    }
    crate::lent::source(options, token, region, around, network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn around(variables: &[(&str, &str)]) -> Surroundings {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Surroundings::new(all, || SystemTime::UNIX_EPOCH)
    }

    fn options(pairs: &[(&str, &str)]) -> S3Options {
        let mut options = S3Options::default();
        pairs.iter().for_each(|(key, value)| assert!(options.set(key, value).unwrap(), "{key}"));
        options
    }

    fn service(bucket: &str, pairs: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Service> {
        resolve(&format!("s3://{bucket}/k").parse().unwrap(), &options(pairs), &around(variables))
    }

    fn url(service: &Service) -> String {
        format!("{}{}", service.endpoint, service.path("a b//c"))
    }

    const ANYONE: (&str, &str) = ("anonymous", "true");

    #[test]
    fn the_bucket_goes_where_it_can() {
        let own = ("endpoint", "http://h:9000");
        for (bucket, pairs, expected) in [
            ("data", &[ANYONE][..], "https://data.s3.us-east-1.amazonaws.com/a%20b//c"),
            ("da.ta", &[ANYONE], "https://s3.us-east-1.amazonaws.com/da.ta/a%20b//c"),
            (
                "data",
                &[ANYONE, ("region", "cn-north-1")],
                "https://data.s3.cn-north-1.amazonaws.com.cn/a%20b//c",
            ),
            ("data", &[ANYONE, own], "http://h:9000/data/a%20b//c"),
            ("data", &[ANYONE, own, ("addressing", "virtual")], "http://data.h:9000/a%20b//c"),
            ("data", &[ANYONE, ("addressing", "path")], "https://s3.us-east-1.amazonaws.com/data/a%20b//c"),
        ] {
            assert_eq!(url(&service(bucket, pairs, &[]).unwrap()), expected);
        }
        assert!(service("Da_ta", &[ANYONE, ("addressing", "virtual")], &[]).is_err());
    }

    #[test]
    fn options_go_before_the_environment() {
        let env = [
            ("AWS_ENDPOINT_URL_S3", "http://env:1"),
            ("AWS_ENDPOINT_URL", "http://all:1"),
            ("AWS_REGION", "r1"),
        ];
        let from_env = service("b", &[ANYONE], &env).unwrap();
        assert_eq!((from_env.endpoint.host(), from_env.region.as_str()), ("env", "r1"));
        let given = service("b", &[ANYONE, ("endpoint", "http://own:1"), ("region", "r2")], &env).unwrap();
        assert_eq!((given.endpoint.host(), given.region.as_str()), ("own", "r2"));
    }

    #[test]
    fn keys_are_found_in_their_order() {
        let id = |service: Service| match service.source {
            Source::Static(credentials) => credentials.access_key_id.clone(),
            other => panic!("{other:?}"),
        };
        let env = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        assert_eq!(id(service("b", &[], &env).unwrap()), "ENV");
        let pairs = [("access_key_id", "OWN"), ("secret_access_key", "hunter3")];
        assert_eq!(id(service("b", &pairs, &env).unwrap()), "OWN");
        assert!(matches!(service("b", &[ANYONE], &env).unwrap().source, Source::Anonymous));
        let text = format!("{:?}", service("b", &pairs, &env).unwrap());
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn contradictions_are_refused_without_secrets() {
        for pairs in [
            &[("access_key_id", "A")][..],
            &[("secret_access_key", "hunter2")],
            &[("session_token", "hunter2")],
            &[ANYONE, ("access_key_id", "A"), ("secret_access_key", "hunter2")],
            &[ANYONE, ("session_token", "hunter2")],
            &[ANYONE, ("role_arn", "arn:hunter2")],
            &[("access_key_id", "A"), ("secret_access_key", "hunter2"), ("role_session_name", "x")],
            &[("role_arn", "arn:hunter2")],
            &[ANYONE, ("region", "a/b")],
            &[ANYONE, ("endpoint", "http://u:hunter2@h")],
        ] {
            let error = service("b", pairs, &[]).unwrap_err().to_string();
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
