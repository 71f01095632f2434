//! Tokens of identities, from whoever hands them out to the server that knows which were.

use crate::server::at;
use forebay_io::{Location, Retry, Store, Unobserved};
use forebay_io_az::{AzOptions, open};
use forebay_io_object::{HttpOptions, Surroundings};
use forebay_io_testkit::servers::{FastServer, TokenFault, TokenServer};
use forebay_io_testkit::services::identity::{Lending, now, stumbles};
use std::sync::Arc;
use std::time::Duration;

fn lending() -> Lending {
    Lending::new(&at("k").to_string(), now)
}

fn store(lending: &Lending, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Arc<dyn Store> {
    let mut options = AzOptions::default();
    options.set("endpoint", &lending.server.azure_endpoint()).unwrap();
    options.set("account_name", FastServer::ACCOUNT).unwrap();
    settings.iter().for_each(|(name, value)| options.set(name, value).unwrap());
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let around = Surroundings::new(variables, now);
    let root: Location = format!("az://{}", FastServer::BUCKET).parse().unwrap();
    Arc::new(open(&root, &options, HttpOptions::default(), &around, Arc::new(Unobserved)).unwrap())
}

fn of_machine(lending: &Lending) -> Arc<dyn Store> {
    let settings = [("managed_identity", "true"), ("identity_endpoint", &*lending.lender.endpoint())];
    store(lending, &settings, &[])
}

#[tokio::test]
async fn each_identity_s_token_is_let_in_and_asked_for_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", TokenServer::ASSERTION)).unwrap();
    let file = file.path().to_str().unwrap();
    let managed = ("managed_identity", "true");
    let who = [("tenant_id", TokenServer::TENANT), ("client_id", TokenServer::CLIENT)];
    for identity in 0..6 {
        let lending = lending();
        let (base, app) = (lending.lender.endpoint(), lending.lender.app_service());
        let store = match identity {
            0 => of_machine(&lending),
            1 => {
                let settings = [managed, ("client_id", TokenServer::CLIENT)];
                store(&lending, &settings, &[("AZURE_IDENTITY_ENDPOINT", &base)])
            }
            2 => store(&lending, &[managed], &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &base)]),
            3 => {
                let variables = [("IDENTITY_ENDPOINT", &*app), ("IDENTITY_HEADER", TokenServer::HEADER)];
                store(&lending, &[managed], &variables)
            }
            4 => {
                let secret = [("client_secret", TokenServer::SECRET), ("authority_host", &base)];
                store(&lending, &[&who[..], &secret].concat(), &[])
            }
            _ => {
                let variables = [
                    ("AZURE_TENANT_ID", TokenServer::TENANT),
                    ("AZURE_CLIENT_ID", TokenServer::CLIENT),
                    ("AZURE_FEDERATED_TOKEN_FILE", file),
                    ("AZURE_AUTHORITY_HOST", &base),
                ];
                store(&lending, &[], &variables)
            }
        };
        lending.asked_for_once(&*store, &identity.to_string()).await;
    }
}

#[tokio::test]
async fn who_is_not_known_is_denied_and_told_why() {
    let lending = lending();
    let base = lending.lender.endpoint();
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
        lending.denied(&*store(&lending, settings, &[]), needle).await;
    }
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_asked_for_again_and_the_reads_go_on() {
    let lending = lending();
    lending.asked_for_again(of_machine(&lending)).await;
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_renewed() {
    let lending = lending();
    lending.tokens().set_lifetime(Duration::ZERO);
    let store = of_machine(&lending);
    for given in 1..4 {
        lending.read(&*store).await.unwrap();
        assert_eq!(lending.tokens().given(), given);
    }
}

#[tokio::test]
async fn an_issuer_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    let machine = || {
        let lending = lending();
        let store = of_machine(&lending);
        (lending, store)
    };
    stumbles(TokenFault::Status(503), Retry::Backoff, "", machine).await;
    stumbles(TokenFault::Status(429), Retry::Backoff, "", machine).await;
    stumbles(TokenFault::Status(403), Retry::Never, "", machine).await;
}
