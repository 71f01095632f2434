//! Keys that somebody lends, from the lender to the server that knows which it lent.

use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Budget, Kind, Location, Pool, ReadOptions, Result, Retry, Store, Unobserved, read};
use forebay_io_object::Surroundings;
use forebay_io_s3::{S3Options, open};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{FastServer, TokenFault, TokenServer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BEGIN: Duration = Duration::from_secs(1_800_000_000);

fn now() -> SystemTime {
    UNIX_EPOCH + BEGIN
}

struct Setup {
    server: FastServer,
    lender: TokenServer,
    pool: Pool,
    now: fn() -> SystemTime,
}

impl Setup {
    fn new(now: fn() -> SystemTime) -> Self {
        let server = FastServer::start(1).unwrap();
        let lender = TokenServer::start(1, now).unwrap();
        server.put(server.bucket(), "k", data::bytes(1, 1000));
        server.check_tokens(lender.tokens());
        Setup { server, lender, pool: Pool::new(Budget::new(1 << 20).unwrap()), now }
    }

    fn store(&self, variables: &[(&str, &str)]) -> Arc<dyn Store> {
        let options = S3Options { endpoint: Some(self.server.s3_endpoint()), ..S3Options::default() };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let around = Surroundings::new(variables, self.now);
        Arc::new(open(&self.at(), &options, &around, Arc::new(Unobserved)).unwrap())
    }

    /// Of the machine's role.
    fn of_machine(&self) -> Arc<dyn Store> {
        self.store(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.lender.endpoint())])
    }

    fn at(&self) -> Location {
        format!("s3://{}/k", self.server.bucket()).parse().unwrap()
    }

    async fn read(&self, store: &dyn Store) -> Result<()> {
        let block = read(store, &self.at(), None, ReadOptions::default(), &self.pool).await?;
        assert!(block.slot(0).unwrap() == data::bytes(1, 1000));
        Ok(())
    }
}

fn retrying(store: Arc<dyn Store>) -> Retrying {
    let policy = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    Retrying::new(store, policy, Arc::new(Unobserved))
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
        let setup = Setup::new(now);
        let (base, container, role) =
            (setup.lender.endpoint(), setup.lender.container(), TokenServer::role_arn());
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
        let store = setup.store(&variables);
        for _ in 0..5 {
            setup.read(&*store).await.unwrap_or_else(|error| panic!("{lender}: {error}"));
        }
        let tokens = setup.lender.tokens();
        assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (1, 5, 0), "{lender}");
    }
}

#[tokio::test]
async fn who_shows_nothing_or_something_else_is_denied() {
    let setup = Setup::new(now);
    let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_SESSION_TOKEN", "hush")];
    let container = setup.lender.container();
    let nothing = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container)];
    for variables in [&keys[..], &keys[..2], &nothing] {
        let error = setup.read(&*setup.store(variables)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Retry::Never), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    assert_eq!(setup.lender.tokens().accepted(), 0);
}

#[tokio::test]
async fn keys_that_the_service_calls_ended_are_asked_for_again_and_the_reads_go_on() {
    let setup = Setup::new(now);
    setup.lender.tokens().set_uses(Some(3));
    let store = retrying(setup.of_machine());
    for _ in 0..10 {
        setup.read(&store).await.unwrap();
    }
    let tokens = setup.lender.tokens();
    assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (4, 10, 3));
    // A lender whose keys are never good is asked once more, and not for ever.
    tokens.set_uses(Some(0));
    tokens.end_all();
    let given = tokens.given();
    assert_eq!(setup.read(&store).await.unwrap_err().kind(), Kind::Denied);
    assert!(tokens.given() <= given + 2, "{} were asked for", tokens.given() - given);
}

#[tokio::test]
async fn keys_are_renewed_before_they_end() {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    let setup = Setup::new(|| UNIX_EPOCH + BEGIN + Duration::from_secs(CLOCK.load(Ordering::Relaxed)));
    let store = setup.of_machine();
    for (second, given) in [(0, 1), (3000, 1), (3299, 1), (3301, 2), (6000, 2), (100_000, 3)] {
        CLOCK.store(second, Ordering::Relaxed);
        setup.read(&*store).await.unwrap();
        assert_eq!(setup.lender.tokens().given(), given, "after {second} s");
    }
}

#[tokio::test]
async fn a_lender_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    for (fault, retry) in [
        (TokenFault::Status(503), Retry::Backoff),
        (TokenFault::Status(429), Retry::Backoff),
        (TokenFault::Status(403), Retry::Never),
        (TokenFault::Garbled, Retry::Backoff),
    ] {
        let setup = Setup::new(now);
        let container = setup.lender.container();
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TokenServer::HEADER),
        ];
        setup.lender.tokens().fail_next([fault]);
        let error = setup.read(&*setup.store(&variables)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, retry), "{fault:?}: {error}");
        assert!(error.to_string().contains("the container's role gave none"), "{error}");
        setup.lender.tokens().fail_next([fault]);
        let again = setup.read(&retrying(setup.store(&variables))).await;
        assert_eq!(again.is_ok(), retry == Retry::Backoff, "{fault:?}");
    }
}
