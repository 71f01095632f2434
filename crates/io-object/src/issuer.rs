//! Whoever hands out keys and tokens over HTTP: a machine's metadata, a cluster's, an authority. One short
//! question, one short answer.

use crate::wire::{Request, Wire};
use crate::{Endpoint, Failure, HttpOptions, Network, Payload, Secret};
use forebay_io::{Kind, Result, Retry, Unobserved};
use std::sync::Arc;
use std::time::Duration;

/// The longest answer: tokens are a few KiB.
const LONGEST: usize = 256 << 10;

/// One of them. Connections are kept as for all requests, and none of them is kept busy.
#[derive(Debug)]
pub struct Issuer {
    wire: Wire,
    /// From the question to the end of the answer.
    limit: Duration,
}

/// What it answered.
#[derive(Debug)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The body: a secret, as a rule.
    pub body: Secret,
}

impl Issuer {
    /// No connection is made yet.
    ///
    /// # Errors
    /// As [`Wire::new`].
    pub fn new(endpoint: Endpoint, options: &HttpOptions, network: &Network) -> Result<Self> {
        Ok(Issuer {
            wire: Wire::new(endpoint, options, network, Arc::new(Unobserved))?,
            limit: options.first_byte_timeout,
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        self.wire.endpoint()
    }

    /// Asks for `target`, which comes behind the endpoint's own path.
    ///
    /// # Errors
    /// That no answer came, of any status, or none that is text. All of it may be another matter the next time.
    pub async fn ask(
        &self,
        method: &'static str,
        target: &str,
        fields: &[(&str, &str)],
        body: Payload,
    ) -> Result<Said, Failure> {
        let endpoint = self.endpoint();
        let path = format!("{}{target}", endpoint.path());
        let request = Request::new(method, &path, &endpoint.authority());
        let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
        let answer = tokio::time::timeout(self.limit, async {
            let mut reply = self.wire.send(request, &body).await?;
            Ok((reply.status(), reply.gather(LONGEST).await?))
        });
        let late = |_| Failure::new(Kind::TimedOut, format!("{endpoint} did not answer in time"));
        let (status, body) = answer.await.map_err(late)??;
        let body = String::from_utf8(body).map_err(|_| {
            Failure::new(Kind::Corrupt, format!("{endpoint} answered what is not text"))
                .with_retry(Retry::Backoff)
        })?;
        Ok(Said { status, body: Secret::from(body) })
    }
}

impl Said {
    /// Whether it is what was asked for.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same question may have another answer soon: the issuer is not ready, or asked too much.
    pub fn passes(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..=599)
    }

    /// A refusal, told with these words of the answer, which must hold no secret.
    pub fn refusal(&self, who: &str, words: &str) -> Failure {
        let retry = if self.passes() { Retry::Backoff } else { Retry::Never };
        let sep = if words.is_empty() { "" } else { ": " };
        Failure::new(Kind::Denied, format!("{who} answered with status {}{sep}{words}", self.status))
            .with_retry(retry)
    }
}
