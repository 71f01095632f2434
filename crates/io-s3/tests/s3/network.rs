//! Ways to the service: TLS and who vouches for it, proxies, and buckets in front of the host.

use crate::server::{fast_options, options};
use forebay_io::{
    Budget, Kind, Location, Pool, PutOptions, ReadOptions, Result, Retry, Store, Unobserved, read,
};
use forebay_io_object::Surroundings;
use forebay_io_s3::{Addressing, ClientKind, S3Options, open};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{Certificates, FastServer, S3Server, WebProxy};
use futures::TryStreamExt;
use std::sync::Arc;
use std::time::SystemTime;

const LEN: usize = 100_000;

fn clients() -> Vec<ClientKind> {
    let other = cfg!(feature = "object-store").then_some(ClientKind::ObjectStore);
    [ClientKind::Forebay].into_iter().chain(other).collect()
}

fn store(bucket: &str, options: &S3Options, variables: &[(&str, &str)]) -> Result<Arc<dyn Store>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    #[allow(clippy::disallowed_methods)]
    let around = Surroundings::new(variables, SystemTime::now);
    let location: Location = format!("s3://{bucket}/").parse().unwrap();
    open(&location, options, &around, Arc::new(Unobserved)).map(|store| Arc::new(store) as Arc<dyn Store>)
}

async fn get(store: &dyn Store, bucket: &str) -> Result<()> {
    let location = format!("s3://{bucket}/a/k").parse().unwrap();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let block = read(store, &location, None, ReadOptions::default(), &pool).await?;
    assert!(block.slot(0).unwrap() == data::bytes(5, LEN));
    Ok(())
}

/// Puts, reads and lists.
async fn use_it(store: &dyn Store, bucket: &str) -> Result<()> {
    let at: Location = format!("s3://{bucket}/a/k").parse().unwrap();
    store.put(&at, data::bytes(5, LEN).as_slice().into(), PutOptions::default()).await?;
    get(store, bucket).await?;
    let all: Location = format!("s3://{bucket}/a").parse().unwrap();
    let pages: Vec<_> = store.list(&all, Default::default()).try_collect().await?;
    assert_eq!(pages.iter().map(|page| page.len()).sum::<usize>(), 1);
    Ok(())
}

fn told(options: &S3Options, pairs: &[(&str, &str)]) -> S3Options {
    let mut options = options.clone();
    for (key, value) in pairs {
        assert!(options.set(key, value).unwrap(), "{key}");
    }
    options
}

#[tokio::test]
async fn a_service_over_tls_is_believed_where_somebody_trusted_vouches_for_it() {
    let (known, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let server = FastServer::start_tls(1, &known).unwrap();
    let [good, bad] = [&known, &other].map(|certificates| certificates.bundle().to_str().unwrap());
    let bucket = server.bucket();
    for client in clients() {
        let options = S3Options { client, ..fast_options(&server) };
        assert!(options.endpoint.as_ref().unwrap().starts_with("https://"));
        let own = told(&options, &[("ca_bundle", good)]);
        use_it(&*store(bucket, &own, &[("AWS_CA_BUNDLE", bad)]).unwrap(), bucket).await.unwrap();
        for variables in [&[("AWS_CA_BUNDLE", good), ("SSL_CERT_FILE", bad)][..], &[("SSL_CERT_FILE", good)]]
        {
            use_it(&*store(bucket, &options, variables).unwrap(), bucket).await.unwrap();
        }
        let wrong = told(&options, &[("ca_bundle", bad)]);
        assert!(get(&*store(bucket, &wrong, &[]).unwrap(), bucket).await.is_err(), "{client:?}");
    }
    for (pairs, needle) in
        [(&[("ca_bundle", bad)][..], "that ca_bundle names"), (&[], "the system's certificates")]
    {
        let options = told(&fast_options(&server), pairs);
        let error = get(&*store(bucket, &options, &[]).unwrap(), bucket).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::InvalidConfig, Retry::Never), "{error}");
        assert!(error.to_string().contains(needle) && error.to_string().contains("UnknownIssuer"), "{error}");
    }
    let missing = told(&fast_options(&server), &[("ca_bundle", "/nowhere/ca.pem")]);
    let error = store(bucket, &missing, &[]).err().unwrap().to_string();
    assert!(error.contains("ca_bundle \"/nowhere/ca.pem\""), "{error}");
}

#[tokio::test]
async fn tls_names_a_bucket_in_front_of_the_host() {
    let certificates = Certificates::new().unwrap();
    let server = FastServer::start_tls(1, &certificates).unwrap();
    let mut options = fast_options(&server);
    options.endpoint = Some(server.s3_endpoint_by_name());
    options.addressing = Addressing::Virtual;
    options.http.ca_bundle = Some(certificates.bundle().to_owned());
    use_it(&*store(server.bucket(), &options, &[]).unwrap(), server.bucket()).await.unwrap();
    assert_eq!(server.named_by_host(), server.requests());
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_an_option_names() {
    for client in clients() {
        for tls in [false, true] {
            let certificates = Certificates::new().unwrap();
            let server =
                if tls { FastServer::start_tls(1, &certificates) } else { FastServer::start(1) }.unwrap();
            let proxy = WebProxy::start(Some("me:hush")).unwrap();
            let mut options = S3Options { client, ..fast_options(&server) };
            options.http.ca_bundle = Some(certificates.bundle().to_owned());
            let bucket = server.bucket();
            let through = told(&options, &[("proxy", &proxy.url_of("me:hush"))]);
            use_it(&*store(bucket, &through, &[]).unwrap(), bucket).await.unwrap();
            if tls {
                assert_eq!(proxy.tunnels(), server.connections(), "{client:?}");
                assert!(proxy.tunnels() > 0);
            } else {
                assert_eq!(proxy.forwarded(), server.requests(), "{client:?}");
            }
            let before = (proxy.tunnels(), proxy.forwarded(), proxy.refused());
            let around = told(&through, &[("no_proxy", "127.0.0.0/8")]);
            get(&*store(bucket, &around, &[]).unwrap(), bucket).await.unwrap();
            let none = told(&options, &[("proxy", "none")]);
            get(&*store(bucket, &none, &[]).unwrap(), bucket).await.unwrap();
            assert_eq!((proxy.tunnels(), proxy.forwarded(), proxy.refused()), before, "{client:?}");
            for user in ["me:wrong-hush", "nobody"] {
                let refused = told(&options, &[("proxy", &proxy.url_of(user))]);
                let store = store(bucket, &refused, &[]).unwrap();
                let error = get(&*store, bucket).await.unwrap_err();
                assert!(!format!("{error} {error:?} {store:?}").contains("hush"), "{error}");
                if client == ClientKind::Forebay {
                    assert_eq!(error.kind(), Kind::Denied, "{error}");
                }
            }
            assert!(proxy.refused() >= 2);
        }
    }
}

#[tokio::test]
async fn the_environment_names_a_proxy_for_what_is_beyond_this_machine() {
    let server = FastServer::start(1).unwrap();
    let proxy = WebProxy::start(None).unwrap();
    let url = proxy.url();
    let variables = [("HTTP_PROXY", &*url), ("NO_PROXY", "else.where")];
    let bucket = server.bucket();
    let mut options = fast_options(&server);
    use_it(&*store(bucket, &options, &variables).unwrap(), bucket).await.unwrap();
    assert_eq!((proxy.forwarded(), proxy.tunnels()), (0, 0), "this machine is reached without");
    // A name that only the proxy knows.
    options.endpoint = Some(format!("http://s3.forebay.test:{}", server.s3_address().port()));
    use_it(&*store(bucket, &options, &variables).unwrap(), bucket).await.unwrap();
    assert!(proxy.forwarded() > 0);
    let wrong = store(bucket, &options, &[("HTTP_PROXY", "socks5://me:hush@h:1")]).err().unwrap();
    let text = wrong.to_string();
    assert!(
        wrong.kind() == Kind::InvalidConfig && text.contains("HTTP_PROXY") && !text.contains("hush"),
        "{text}"
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_finds_nobody_is_unavailable() {
    let server = FastServer::start(1).unwrap();
    let proxy = WebProxy::start(None).unwrap();
    let gone = WebProxy::start(None).unwrap().url();
    for (endpoint, proxy) in [
        ("http://127.0.0.1:1".to_owned(), proxy.url()),
        ("https://127.0.0.1:1".to_owned(), proxy.url()),
        (server.s3_endpoint(), gone),
    ] {
        let mut options = told(&fast_options(&server), &[("proxy", &proxy)]);
        options.endpoint = Some(endpoint);
        let error = get(&*store(server.bucket(), &options, &[]).unwrap(), server.bucket()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Backoff), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_goes_into_the_host_or_the_path_as_it_is_told() {
    let server = FastServer::start(1).unwrap();
    let bucket = server.bucket();
    let mut options = fast_options(&server);
    options.endpoint = Some(server.s3_endpoint_by_name());
    use_it(&*store(bucket, &told(&options, &[("addressing", "path")]), &[]).unwrap(), bucket).await.unwrap();
    assert_eq!(server.named_by_host(), 0);
    let before = server.requests();
    use_it(&*store(bucket, &told(&options, &[("addressing", "virtual")]), &[]).unwrap(), bucket)
        .await
        .unwrap();
    assert_eq!(server.named_by_host(), server.requests() - before);
    assert!(server.named_by_host() >= 3);
}

#[tokio::test]
async fn signatures_are_good_in_both_styles() {
    let server = S3Server::start().unwrap();
    let bucket = server.bucket();
    for addressing in [Addressing::Virtual, Addressing::Path] {
        let endpoint = Some(server.endpoint_by_name());
        let options = S3Options { addressing, endpoint, ..options(&server, ClientKind::Forebay) };
        let store = store(bucket, &options, &[]).unwrap();
        use_it(&*store, bucket).await.unwrap_or_else(|error| panic!("{addressing:?}: {error}"));
    }
}
