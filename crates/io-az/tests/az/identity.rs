//! Tokens of identities, from whoever hands them out to the server that knows which were.

use crate::server::at;
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Budget, Kind, Location, Pool, ReadOptions, Result, Retry, Store, Unobserved, read};
use forebay_io_az::{AzOptions, open};
use forebay_io_object::{HttpOptions, Surroundings};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{FastServer, TokenFault, TokenServer};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

struct Setup {
    server: FastServer,
    issuer: TokenServer,
    pool: Pool,
}

impl Setup {
    fn new() -> Self {
        let server = FastServer::start(1).unwrap();
        let issuer = TokenServer::start(1, now).unwrap();
        server.put(server.bucket(), "k", data::bytes(1, 1000));
        server.check_tokens(issuer.tokens());
        Setup { server, issuer, pool: Pool::new(Budget::new(1 << 20).unwrap()) }
    }

    fn store(&self, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Arc<dyn Store> {
        let mut options = AzOptions::default();
        options.set("endpoint", &self.server.azure_endpoint()).unwrap();
        options.set("account_name", FastServer::ACCOUNT).unwrap();
        settings.iter().for_each(|(name, value)| options.set(name, value).unwrap());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let around = Surroundings::new(variables, now);
        let root: Location = format!("az://{}", FastServer::BUCKET).parse().unwrap();
        Arc::new(open(&root, &options, HttpOptions::default(), &around, Arc::new(Unobserved)).unwrap())
    }

    fn of_machine(&self) -> Arc<dyn Store> {
        let settings = [("managed_identity", "true"), ("identity_endpoint", &*self.issuer.endpoint())];
        self.store(&settings, &[])
    }

    async fn read(&self, store: &dyn Store) -> Result<()> {
        let block = read(store, &at("k"), None, ReadOptions::default(), &self.pool).await?;
        assert!(block.slot(0).unwrap() == data::bytes(1, 1000));
        Ok(())
    }
}

fn retrying(store: Arc<dyn Store>) -> Retrying {
    let policy = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    Retrying::new(store, policy, Arc::new(Unobserved))
}

#[tokio::test]
async fn each_identity_s_token_is_let_in_and_asked_for_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", TokenServer::ASSERTION)).unwrap();
    let file = file.path().to_str().unwrap();
    let setup = || {
        let setup = Setup::new();
        let (base, app) = (setup.issuer.endpoint(), setup.issuer.app_service());
        (setup, base, app)
    };
    let managed = ("managed_identity", "true");
    let who = [("tenant_id", TokenServer::TENANT), ("client_id", TokenServer::CLIENT)];
    for identity in 0..6 {
        let (setup, base, app) = setup();
        let store = match identity {
            0 => setup.of_machine(),
            1 => setup
                .store(&[managed, ("client_id", TokenServer::CLIENT)], &[("AZURE_IDENTITY_ENDPOINT", &base)]),
            2 => setup.store(&[managed], &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &base)]),
            3 => {
                let variables = [("IDENTITY_ENDPOINT", &*app), ("IDENTITY_HEADER", TokenServer::HEADER)];
                setup.store(&[managed], &variables)
            }
            4 => {
                let secret = [("client_secret", TokenServer::SECRET), ("authority_host", &base)];
                setup.store(&[&who[..], &secret].concat(), &[])
            }
            _ => {
                let variables = [
                    ("AZURE_TENANT_ID", TokenServer::TENANT),
                    ("AZURE_CLIENT_ID", TokenServer::CLIENT),
                    ("AZURE_FEDERATED_TOKEN_FILE", file),
                    ("AZURE_AUTHORITY_HOST", &base),
                ];
                setup.store(&[], &variables)
            }
        };
        for _ in 0..5 {
            setup.read(&*store).await.unwrap_or_else(|error| panic!("{identity}: {error}"));
        }
        let tokens = setup.issuer.tokens();
        assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (1, 5, 0), "{identity}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_denied_and_told_why() {
    let setup = Setup::new();
    let base = setup.issuer.endpoint();
    let wrong = [
        ("tenant_id", TokenServer::TENANT),
        ("client_id", TokenServer::CLIENT),
        ("client_secret", "hush"),
        ("authority_host", &base),
    ];
    let machine = [("managed_identity", "true"), ("identity_endpoint", &base), ("client_id", "another")];
    for (settings, needle) in [
        (&[("bearer_token", "hush")][..], "AuthenticationFailed"),
        (&[("account_key", "aHVzaA==")], "AuthenticationFailed"),
        (&wrong, "invalid_client: AADSTS7000215"),
        (&machine, "invalid_request"),
    ] {
        let error = setup.read(&*setup.store(settings, &[])).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Retry::Never), "{error}");
        assert!(error.to_string().contains(needle) && !error.to_string().contains("hush"), "{error}");
    }
    assert_eq!(setup.issuer.tokens().accepted(), 0);
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_asked_for_again_and_the_reads_go_on() {
    let setup = Setup::new();
    setup.issuer.tokens().set_uses(Some(3));
    let store = retrying(setup.of_machine());
    for _ in 0..10 {
        setup.read(&store).await.unwrap();
    }
    let tokens = setup.issuer.tokens();
    assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (4, 10, 3));
    // An issuer whose tokens are never good is asked once more, and not for ever.
    tokens.set_uses(Some(0));
    tokens.end_all();
    let given = tokens.given();
    assert_eq!(setup.read(&store).await.unwrap_err().kind(), Kind::Denied);
    assert!(tokens.given() <= given + 2, "{} were asked for", tokens.given() - given);
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_renewed() {
    let setup = Setup::new();
    setup.issuer.tokens().set_lifetime(Duration::ZERO);
    let store = setup.of_machine();
    for given in 1..4 {
        setup.read(&*store).await.unwrap();
        assert_eq!(setup.issuer.tokens().given(), given);
    }
}

#[tokio::test]
async fn an_issuer_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    for (fault, retry) in [
        (TokenFault::Status(503), Retry::Backoff),
        (TokenFault::Status(429), Retry::Backoff),
        (TokenFault::Status(403), Retry::Never),
    ] {
        let setup = Setup::new();
        setup.issuer.tokens().fail_next([fault]);
        let error = setup.read(&*setup.of_machine()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, retry), "{fault:?}: {error}");
        setup.issuer.tokens().fail_next([fault]);
        let again = setup.read(&retrying(setup.of_machine())).await;
        assert_eq!(again.is_ok(), retry == Retry::Backoff, "{fault:?}");
    }
}
