//! Keys and tokens that somebody lends, from whoever hands them out to the server that knows which were.

use super::retrying;
use crate::data;
use crate::servers::{FastServer, TokenFault, TokenServer, Tokens};
use forebay_io::{Budget, Kind, Location, Pool, ReadOptions, Result, Retry, Store, read};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LEN: usize = 1000;

/// A time that tokens are good at.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// One object on a server that lets in who shows what a lender gave.
pub struct Lending {
    /// Where the object is.
    pub server: FastServer,
    /// Who lends.
    pub lender: TokenServer,
    at: Location,
    pool: Pool,
}

impl Lending {
    /// The object is the one with key `k` of the server's bucket, `at` in the words of the service.
    pub fn new(at: &str, now: fn() -> SystemTime) -> Self {
        let server = FastServer::start(1).unwrap();
        let lender = TokenServer::start(1, now).unwrap();
        server.put(server.bucket(), "k", data::bytes(1, LEN));
        server.check_tokens(lender.tokens());
        Lending { server, lender, at: at.parse().unwrap(), pool: Pool::new(Budget::new(1 << 20).unwrap()) }
    }

    /// What was lent and shown.
    pub fn tokens(&self) -> &Arc<Tokens> {
        self.lender.tokens()
    }

    /// Reads the object, which must be right.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, store: &dyn Store) -> Result<()> {
        let block = read(store, &self.at, None, ReadOptions::default(), &self.pool).await?;
        assert!(block.slot(0).unwrap() == data::bytes(1, LEN));
        Ok(())
    }

    /// What is lent is let in, and asked for once for all reads.
    pub async fn asked_for_once(&self, store: &dyn Store, what: &str) {
        for _ in 0..5 {
            self.read(store).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let tokens = self.tokens();
        assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (1, 5, 0), "{what}");
    }

    /// What the service refuses all at once is asked for again, and the reads go on.
    pub async fn asked_for_again(&self, store: Arc<dyn Store>) {
        self.tokens().set_uses(Some(3));
        let store = retrying(store);
        for _ in 0..10 {
            self.read(&store).await.unwrap();
        }
        let tokens = self.tokens();
        assert_eq!((tokens.given(), tokens.accepted(), tokens.refused()), (4, 10, 3));
        // Who lends what is never good is asked once more, and not for ever.
        tokens.set_uses(Some(0));
        tokens.end_all();
        let given = tokens.given();
        assert_eq!(self.read(&store).await.unwrap_err().kind(), Kind::Denied);
        assert!(tokens.given() <= given + 2, "{} were asked for", tokens.given() - given);
    }

    /// Who shows nothing or something else is denied, which says `word` and no secret (`hush`).
    pub async fn denied(&self, store: &dyn Store, word: &str) {
        let error = self.read(store).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Retry::Never), "{error}");
        assert!(error.to_string().contains(word) && !error.to_string().contains("hush"), "{error}");
        assert_eq!(self.tokens().accepted(), 0);
    }
}

/// Who stumbles over `fault` while lending is asked again if `retry` says so, else not. `make` makes two of the kind.
pub async fn stumbles(
    fault: TokenFault,
    retry: Retry,
    word: &str,
    make: impl Fn() -> (Lending, Arc<dyn Store>),
) {
    let (lending, store) = make();
    lending.tokens().fail_next([fault]);
    let error = lending.read(&*store).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Denied, retry), "{fault:?}: {error}");
    assert!(error.to_string().contains(word), "{error}");
    let (lending, store) = make();
    lending.tokens().fail_next([fault]);
    let again = lending.read(&retrying(store)).await;
    assert_eq!(again.is_ok(), retry == Retry::Backoff, "{fault:?}");
}
