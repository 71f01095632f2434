//! Who asks: keys, and where they come from.

use forebay_io::{Error, Result};
use forebay_io_object::{Renewed, Secret};
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Keys to sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// What goes with keys that are lent for a time.
    pub session_token: Option<Secret>,
    /// When they end, if they do.
    pub expires: Option<SystemTime>,
}

/// Gives credentials, again and again: for keys that change while a program runs.
pub trait CredentialProvider: Send + Sync + fmt::Debug {
    /// The credentials of now. What it answers is kept until five minutes before it
    /// [expires](Credentials::expires); and until the service refuses it as ended.
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials>>;
}

/// Credentials are asked for again so long before they end: more than clocks are apart, and longer than any
/// request takes that was signed with them.
const EARLY: Duration = Duration::from_secs(300);

/// Where a client has its credentials from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Requests are not signed.
    Anonymous,
    /// They never change.
    Static(Arc<Credentials>),
    /// Asked of someone, and kept.
    Asked { provider: Arc<dyn CredentialProvider>, kept: Renewed<Credentials> },
}

impl Source {
    pub(crate) fn asked(provider: Arc<dyn CredentialProvider>) -> Self {
        Source::Asked { provider, kept: Renewed::new() }
    }

    /// The credentials of now; none where requests are not signed.
    ///
    /// # Errors
    /// The provider's.
    pub(crate) async fn credentials(&self, now: SystemTime) -> Result<Option<Arc<Credentials>>> {
        match self {
            Source::Anonymous => Ok(None),
            Source::Static(credentials) => Ok(Some(credentials.clone())),
            Source::Asked { provider, kept } => {
                let good = |kept: &Credentials| kept.expires.is_none_or(|end| now + EARLY < end);
                let lent = kept.get(good, async {
                    let credentials = provider.credentials().await?;
                    if credentials.expires.is_some_and(|end| end <= now) {
                        return Err(Error::invalid("the credentials that were given have already expired"));
                    }
                    Ok(credentials)
                });
                lent.await.map(Some)
            }
        }
    }

    /// A request with these succeeded.
    pub(crate) async fn accepted(&self, used: &Arc<Credentials>) {
        if let Source::Asked { kept, .. } = self {
            kept.accepted(used).await;
        }
    }

    /// The service refused these, as it does those that have ended: whether another try will be made with
    /// others.
    pub(crate) async fn refused(&self, used: &Arc<Credentials>) -> bool {
        match self {
            Source::Asked { kept, .. } => kept.refused(used).await,
            Source::Anonymous | Source::Static(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::UNIX_EPOCH;

    fn keys(expires: Option<SystemTime>) -> Credentials {
        Credentials {
            access_key_id: "AKID".into(),
            secret_access_key: "hunter2".into(),
            session_token: Some("hunter3".into()),
            expires,
        }
    }

    #[derive(Debug)]
    struct Hourly(AtomicU32);

    impl CredentialProvider for Hourly {
        fn credentials(&self) -> BoxFuture<'_, Result<Credentials>> {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            let end = UNIX_EPOCH + Duration::from_secs(3600 * u64::from(asked + 1));
            async move { Ok(keys(Some(end))) }.boxed()
        }
    }

    #[tokio::test]
    async fn credentials_are_kept_and_asked_for_again_before_they_end() {
        let provider = Arc::new(Hourly(AtomicU32::new(0)));
        let source = Source::asked(provider.clone());
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (now, asked) in [(0, 1), (3000, 1), (3299, 1), (3301, 2), (3500, 2)] {
            source.credentials(at(now)).await.unwrap().unwrap();
            assert_eq!(provider.0.load(Ordering::Relaxed), asked, "at {now}");
        }
        let error = source.credentials(at(1_000_000)).await.unwrap_err();
        assert!(error.to_string().contains("already expired"), "{error}");
    }

    #[test]
    fn secrets_are_never_printed() {
        let source = Source::Static(Arc::new(keys(None)));
        assert!(!format!("{source:?} {source:#?}").contains("hunter"));
    }
}
