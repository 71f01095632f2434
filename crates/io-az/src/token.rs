//! Tokens that somebody else hands out, asked for when they are needed and kept while they are good.

use crate::pass::{Form, Pass};
use forebay_io::{Kind, Result};
use forebay_io_object::{Failure, Renewed, Secret};
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long before its end a token is renewed: a request that begins with it must still be accepted when it
/// arrives, and Azure allows for clocks that differ by minutes.
const MARGIN: Duration = Duration::from_secs(120);

/// What may be sent with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Of Microsoft Entra ID, for `Authorization: Bearer`.
    Bearer(Secret),
    /// A shared access signature, without its question mark.
    Sas(Secret),
}

impl Token {
    fn form(&self) -> Result<Form, Failure> {
        Ok(match self {
            Token::Bearer(token) => Form::bearer(token),
            Token::Sas(sas) => Form::signature(sas)?,
        })
    }
}

/// A token and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: Token,
    /// From when it was asked for; none for a token that does not end.
    pub good_for: Option<Duration>,
}

/// Hands out tokens: a callable of the program that uses this crate.
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token that is good now. Called again when it is about to end or when the service has refused it, never
    /// while a call is under way.
    fn issue(&self) -> BoxFuture<'_, Result<Issued>>;
}

/// The last token of a source.
#[derive(Debug)]
pub(crate) struct Tokens {
    source: Arc<dyn TokenSource>,
    last: Renewed<Pass>,
}

impl Tokens {
    pub(crate) fn new(source: Arc<dyn TokenSource>) -> Self {
        Tokens { source, last: Renewed::new() }
    }

    /// The token, renewed if it is about to end or was refused.
    pub(crate) async fn pass(&self) -> Result<Arc<Pass>, Failure> {
        let now = Instant::now();
        let good = |pass: &Pass| pass.until.is_none_or(|until| now < until);
        let lender = async {
            let issued = self.source.issue().await.map_err(|error| Failure {
                kind: if error.kind() == Kind::InvalidConfig { Kind::InvalidConfig } else { Kind::Denied },
                retry: Some(error.retry()),
                status: None,
                said: format!("the source of tokens failed: {error}"),
            })?;
            // A token that ends within the margin is used for half of its time.
            let until = issued.good_for.map(|good| now + good.saturating_sub(MARGIN).max(good / 2));
            Ok(Pass { form: issued.token.form()?, until })
        };
        self.last.get(good, lender).await
    }

    /// A request with this one succeeded.
    pub(crate) async fn accepted(&self, used: &Arc<Pass>) {
        self.last.accepted(used).await;
    }

    /// The service refused this one: whether another try will be made with another.
    pub(crate) async fn refused(&self, used: &Arc<Pass>) -> bool {
        self.last.refused(used).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::{Error, Operation};
    use futures::FutureExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug)]
    struct Counting(AtomicU32, Option<Duration>);

    impl TokenSource for Counting {
        fn issue(&self) -> BoxFuture<'_, Result<Issued>> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            async move {
                if n == 9 {
                    return Err(Error::new(Kind::Unavailable, Operation::Configure, "no more"));
                }
                Ok(Issued { token: Token::Bearer(Secret::from(format!("t{n}"))), good_for: self.1 })
            }
            .boxed()
        }
    }

    async fn asked(good_for: Option<Duration>, times: u32) -> u32 {
        let source = Arc::new(Counting(AtomicU32::new(0), good_for));
        let tokens = Tokens::new(source.clone());
        for _ in 0..times {
            tokens.pass().await.unwrap();
        }
        source.0.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_good_token_is_not_asked_for_again() {
        assert_eq!(asked(None, 5).await, 1);
        assert_eq!(asked(Some(Duration::from_secs(3600)), 5).await, 1);
        assert_eq!(asked(Some(Duration::ZERO), 5).await, 5);
    }

    #[tokio::test]
    async fn a_refused_token_is_asked_for_again_once() {
        let tokens = Tokens::new(Arc::new(Counting(AtomicU32::new(0), None)));
        let first = tokens.pass().await.unwrap();
        assert!(tokens.refused(&first).await);
        let second = tokens.pass().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!tokens.refused(&second).await);
    }

    #[tokio::test]
    async fn a_failing_source_denies_and_keeps_its_word_on_trying_again() {
        let tokens = Tokens::new(Arc::new(Counting(AtomicU32::new(9), None)));
        let failure = tokens.pass().await.err().unwrap();
        assert_eq!((failure.kind, failure.retry), (Kind::Denied, Some(forebay_io::Retry::Backoff)));
        assert!(failure.said.contains("no more"));
        assert!(tokens.pass().await.is_ok());
    }
}
