//! The client that is ours: signed requests on [`Wire`], so that a body goes from the socket into the slot.

use crate::credentials::Credentials;
use crate::page::Page;
use crate::service::{Service, value};
use crate::sign::{Covered, Signer, Unsigned};
use crate::xml;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_io::{Kind, Observe, PutMode, Result, Retry};
use forebay_io_object::wire::{Reply, Wire};
use forebay_io_object::{
    Answer, Answered, Ask, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listing, Payload, Stored,
    retry_after,
};
use futures::FutureExt;
use md5::{Digest, Md5};
use std::fmt::Write;
use std::sync::Arc;

/// A page of 1000 keys of the longest kind, escaped, with its owners and checksums.
const LONGEST_PAGE: usize = 16 << 20;
/// What an error says, and other short answers.
const LONGEST_WORDS: usize = 1 << 20;

/// See the module's words.
#[derive(Debug)]
pub(crate) struct SignedClient {
    wire: Wire,
    signer: Signer,
    authority: String,
    service: Service,
}

/// What one kind of request has beside its key.
#[derive(Default)]
struct Call<'a> {
    method: &'static str,
    key: &'a str,
    /// Percent-encoded, in the order of its names.
    query: &'a str,
    /// Signed.
    fields: &'a [(&'a str, &'a str)],
    /// Not signed.
    more: &'a [(&'a str, &'a str)],
    payload: Payload,
}

impl SignedClient {
    /// `observer` hears of each connection.
    pub(crate) fn new(service: Service, options: &HttpOptions, observer: Arc<dyn Observe>) -> Result<Self> {
        let wire = Wire::new(service.endpoint.clone(), options, &service.network, observer)?;
        let signer = Signer::new(&service.region);
        Ok(SignedClient { wire, signer, authority: service.endpoint.authority(), service })
    }

    /// Makes a request; an answer other than success is a failure with the service's words.
    async fn call(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let now = self.service.around.now();
        let credentials = self.service.source.credentials(now).await.map_err(|error| {
            let retry = error.retry();
            Failure::new(error.kind(), format!("credentials: {error}")).with_retry(retry)
        })?;
        let unsigned = Unsigned {
            method: call.method,
            path: &self.service.path(call.key),
            query: call.query,
            authority: &self.authority,
            fields: call.fields,
            covered: Covered::body(call.payload.chunks(), self.service.endpoint.is_tls()),
        };
        let request = self.signer.request(&unsigned, credentials.as_deref(), now);
        let request = call.more.iter().fold(request, |request, (name, value)| request.field(name, value));
        let reply = self.wire.send(request, &call.payload).await?;
        if reply.is_success() {
            if let Some(used) = &credentials {
                self.service.source.accepted(used).await;
            }
            return Ok(reply);
        }
        Err(self.refusal(reply, credentials.as_ref()).await)
    }

    /// What the service says where it refuses. Where that is the credentials, and others can be had, the next try
    /// is made with those.
    async fn refusal(&self, mut reply: Reply, used: Option<&Arc<Credentials>>) -> Failure {
        let status = reply.status();
        let after = retry_after(reply.field("retry-after"), reply.field("date"));
        let region = reply.field("x-amz-bucket-region").map(str::to_owned);
        let words = reply.gather(LONGEST_WORDS).await.unwrap_or_default();
        let (code, message) = xml::error(&words);
        let mut failure = Failure::status(status, &code, &message, after);
        if let Some(used) = used.filter(|_| ended(status, &code))
            && self.service.source.refused(used).await
        {
            failure = failure.with_retry(Retry::Backoff);
        }
        match region.filter(|region| *region != self.service.region && matches!(status, 301 | 307 | 400)) {
            Some(region) => {
                let said =
                    format!("the bucket is in region {region}, not {}; set region", self.service.region);
                Failure { kind: Kind::InvalidConfig, ..failure }.context(said)
            }
            None => failure,
        }
    }

    async fn document(&self, call: Call<'_>, limit: usize) -> Result<Vec<u8>, Failure> {
        self.call(call).await?.document(limit).await
    }

    /// A request whose answer's body says nothing.
    async fn done(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let mut reply = self.call(call).await?;
        // Read, so that the connection can be used again.
        reply.gather(LONGEST_WORDS).await?;
        Ok(reply)
    }
}

impl Client for SignedClient {
    fn facts(&self) -> Facts {
        FACTS
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move { self.call(Call { method: "HEAD", key, ..Call::default() }).await?.said() }.boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let asked = ask.fields();
            let more: Vec<_> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let fields: &[_] = if ask.checksum { &[("x-amz-checksum-mode", "ENABLED")] } else { &[] };
            self.call(Call { method: "GET", key, fields, more: &more, ..Call::default() })
                .await?
                .into_answer()
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>> {
        async move {
            let mut query = String::new();
            if let Some(token) = ask.token {
                let _ = write!(query, "continuation-token={}&", value(token));
            }
            if ask.one_level {
                query.push_str("delimiter=%2F&");
            }
            query.push_str("encoding-type=url&list-type=2");
            if let Some(limit) = ask.limit {
                let _ = write!(query, "&max-keys={limit}");
            }
            let _ = write!(query, "&prefix={}", value(ask.prefix));
            let call = Call { method: "GET", query: &query, ..Call::default() };
            let document = self.document(call, LONGEST_PAGE).await?;
            Ok(Box::new(Page::new(document, ask.details)) as Box<dyn Listing>)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            // Kept by the service with the object: it refuses what was damaged on the way, and can say it to
            // readers.
            let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
            payload.chunks().iter().for_each(|chunk| sum.update(chunk));
            let sum = STANDARD.encode(u32::try_from(sum.finalize()).unwrap_or_default().to_be_bytes());
            let fields = [("x-amz-checksum-crc32c", sum.as_str())];
            let more = only_new(mode);
            let call = Call { method: "PUT", key, payload, fields: &fields, more, ..Call::default() };
            let reply = self.done(call).await.map_err(|failure| failure.of_write(mode))?;
            Ok(Stored::tagged(reply.field("etag")))
        }
        .boxed()
    }

    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String> {
        async move {
            let call = Call { method: "POST", key, query: "uploads=", ..Call::default() };
            let document = self.document(call, LONGEST_WORDS).await?;
            let name = xml::text_of(&document, "InitiateMultipartUploadResult", "UploadId")?;
            name.ok_or_else(|| Failure::new(Kind::Corrupt, "an upload that was begun has no name"))
        }
        .boxed()
    }

    fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        payload: Payload,
    ) -> Answered<'a, String> {
        async move {
            let query = format!("partNumber={number}&uploadId={}", value(upload));
            let reply =
                self.done(Call { method: "PUT", key, query: &query, payload, ..Call::default() }).await?;
            let etag = reply.field("etag").map(str::to_owned);
            etag.ok_or_else(|| Failure::new(Kind::Corrupt, "a part that was stored has no ETag"))
        }
        .boxed()
    }

    fn finish_upload<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [String],
        mode: PutMode,
    ) -> Answered<'a, Stored> {
        async move {
            let query = format!("uploadId={}", value(upload));
            let payload = bytes::Bytes::from(xml::complete(parts)).into();
            let call =
                Call { method: "POST", key, query: &query, payload, more: only_new(mode), ..Call::default() };
            let document =
                self.document(call, LONGEST_WORDS).await.map_err(|failure| failure.of_write(mode))?;
            // The service begins to answer before it knows how this ends: an error may come with status 200.
            let (code, message) = xml::error(&document);
            if !code.is_empty() {
                return Err(Failure::status(500, &code, &message, None).of_write(mode));
            }
            let etag = xml::text_of(&document, "CompleteMultipartUploadResult", "ETag")?;
            Ok(Stored::tagged(etag.as_deref()))
        }
        .boxed()
    }

    fn abort_upload<'a>(&'a self, key: &'a str, upload: &'a str) -> Answered<'a, ()> {
        async move {
            let query = format!("uploadId={}", value(upload));
            self.done(Call { method: "DELETE", key, query: &query, ..Call::default() }).await.map(drop)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()> {
        async move { gone(self.done(Call { method: "DELETE", key, ..Call::default() }).await) }.boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let document = bytes::Bytes::from(xml::delete(keys));
            let sum = STANDARD.encode(Md5::digest(&document));
            let more = [("content-md5", sum.as_str())];
            let payload = document.into();
            let call = Call { method: "POST", query: "delete=", payload, more: &more, ..Call::default() };
            let errors = xml::delete_errors(&self.document(call, LONGEST_PAGE).await?)?;
            let answer = |key: &String| {
                let found = errors.iter().find(|(failed, code, _)| failed == key && code != "NoSuchKey");
                found.map_or(Ok(()), |(_, code, message)| Err(kept(code, message)))
            };
            Ok(keys.iter().map(answer).collect())
        }
        .boxed()
    }
}

/// S3's limits (AWS, *Amazon S3 multipart upload limits*, *PutObject*, *DeleteObjects*).
pub(crate) const FACTS: Facts = Facts {
    client: "forebay",
    conditional_put: true,
    delete_reports_missing: false,
    delete_batch: 1000,
    min_part: 5 << 20,
    max_parts: 10_000,
    max_put: 5 << 30,
};

/// Whether this is how credentials are refused that have ended or were replaced. (An answer to HEAD has no code.)
pub(crate) fn ended(status: u16, code: &str) -> bool {
    match code {
        "" => matches!(status, 400 | 401 | 403),
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch" => true,
        _ => status == 401,
    }
}

/// The field by which a put does not replace.
fn only_new(mode: PutMode) -> &'static [(&'static str, &'static str)] {
    match mode {
        PutMode::Overwrite => &[],
        PutMode::Create => &[("if-none-match", "*")],
    }
}

/// What became of a deletion. S3 does not say whether something was there; services that do are not believed either,
/// so that all behave alike. A bucket that is missing is another matter.
pub(crate) fn gone<T>(answer: Result<T, Failure>) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.kind == Kind::NotFound && !failure.said.contains("NoSuchBucket") => Ok(()),
        other => other.map(drop),
    }
}

/// Why one object of a batch is still there: the code inside an answer to many, with the status that goes with it.
pub(crate) fn kept(code: &str, message: &str) -> Failure {
    let status = match code {
        "AccessDenied" => 403,
        "SlowDown" => 503,
        _ => 500,
    };
    Failure::status(status, code, message, None)
}
