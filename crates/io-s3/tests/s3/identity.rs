//! Keys that somebody lends, from the lender to the server that knows which it lent.

use crate::server::Fast;
use forebay_io::{Retry, Store, Unobserved};
use forebay_io_object::Surroundings;
use forebay_io_s3::{S3Options, open};
use forebay_io_testkit::servers::{TokenFault, TokenServer};
use forebay_io_testkit::services::Service as _;
use forebay_io_testkit::services::identity::{Lending, now, stumbles};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

fn lending(now: fn() -> SystemTime) -> Lending {
    Lending::new(&Fast.at("k").to_string(), now)
}

fn store(lending: &Lending, now: fn() -> SystemTime, variables: &[(&str, &str)]) -> Arc<dyn Store> {
    let options = S3Options { endpoint: Some(lending.server.s3_endpoint()), ..S3Options::default() };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let around = Surroundings::new(variables, now);
    Arc::new(open(&Fast.at("k"), &options, &around, Arc::new(Unobserved)).unwrap())
}

/// Of the machine's role.
fn of_machine(lending: &Lending, now: fn() -> SystemTime) -> Arc<dyn Store> {
    store(lending, now, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &lending.lender.endpoint())])
}

#[tokio::test]
async fn each_lender_s_keys_are_let_in_and_asked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (header, assertion) =
        (file("header", TokenServer::HEADER), file("assertion", TokenServer::ASSERTION));
    for lender in ["machine", "container", "pod", "web identity"] {
        let lending = lending(now);
        let (base, container, role) =
            (lending.lender.endpoint(), lending.lender.container(), TokenServer::role_arn());
        let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container);
        let variables = match lender {
            "machine" => vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*base)],
            "container" => vec![full, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TokenServer::HEADER)],
            "pod" => vec![full, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &header)],
            _ => vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &*assertion),
                ("AWS_ROLE_ARN", &role),
                ("AWS_ENDPOINT_URL_STS", &base),
            ],
        };
        lending.asked_for_once(&*store(&lending, now, &variables), lender).await;
    }
}

#[tokio::test]
async fn who_shows_nothing_or_something_else_is_denied() {
    let lending = lending(now);
    let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_SESSION_TOKEN", "hush")];
    let container = lending.lender.container();
    let nothing = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container)];
    for variables in [&keys[..], &keys[..2], &nothing] {
        lending.denied(&*store(&lending, now, variables), "").await;
    }
}

#[tokio::test]
async fn keys_that_the_service_calls_ended_are_asked_for_again_and_the_reads_go_on() {
    let lending = lending(now);
    lending.asked_for_again(of_machine(&lending, now)).await;
}

#[tokio::test]
async fn keys_are_renewed_before_they_end() {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    fn later() -> SystemTime {
        now() + Duration::from_secs(CLOCK.load(Ordering::Relaxed))
    }
    let lending = lending(later);
    let store = of_machine(&lending, later);
    for (second, given) in [(0, 1), (3000, 1), (3299, 1), (3301, 2), (6000, 2), (100_000, 3)] {
        CLOCK.store(second, Ordering::Relaxed);
        lending.read(&*store).await.unwrap();
        assert_eq!(lending.tokens().given(), given, "after {second} s");
    }
}

#[tokio::test]
async fn a_lender_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    let container = || {
        let lending = lending(now);
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*lending.lender.container()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TokenServer::HEADER),
        ];
        let store = store(&lending, now, &variables);
        (lending, store)
    };
    for (fault, retry) in [
        (TokenFault::Status(503), Retry::Backoff),
        (TokenFault::Status(429), Retry::Backoff),
        (TokenFault::Status(403), Retry::Never),
        (TokenFault::Garbled, Retry::Backoff),
    ] {
        stumbles(fault, retry, "the container's role gave none", container).await;
    }
}
