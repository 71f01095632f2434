//! The same service through the crate `rusoto_s3`, which its authors have retired.
//!
//! What it cannot do is refused: puts that must not replace, and buckets in front of the host. It has no
//! deadline for connecting (the one for an answer includes it), no checksums, and no retries, which suits us.

use crate::credentials::Source;
use crate::refusal::{self, Refusal};
use crate::service::{Service, Style};
use crate::signed_client::{FACTS, gone, kept};
use async_trait::async_trait;
use forebay_io::{Error, Kind, PutMode, Result};
use forebay_io_object::{
    Answer, Answered, Ask, Chunks, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listed, ListedEntry,
    ListedObject, Listing, Payload, Stored, Surroundings, if_match, read_header, retry_after, version_of,
};
use futures::{FutureExt, TryStreamExt, stream};
use rusoto_core::request::{DispatchSignedRequest, DispatchSignedRequestFuture, HttpConfig, HttpResponse};
use rusoto_core::signature::SignedRequest;
use rusoto_core::{ByteStream, HttpClient, Region, RusotoError};
use rusoto_credential::{AwsCredentials, CredentialsError, ProvideAwsCredentials};
use rusoto_s3::{
    AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart,
    CreateMultipartUploadRequest, Delete, DeleteObjectRequest, DeleteObjectsRequest, GetObjectRequest,
    HeadObjectRequest, ListObjectsV2Request, ObjectIdentifier, PutObjectRequest, S3, S3Client,
    UploadPartRequest,
};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// See the module's words.
pub(crate) struct RusotoClient {
    client: S3Client,
    bucket: String,
}

impl RusotoClient {
    pub(crate) fn new(service: Service, options: &HttpOptions) -> Result<Self> {
        if service.style == Style::Virtual {
            let context =
                "client=rusoto puts buckets into the path only; leave addressing out or set it to path";
            return Err(Error::invalid(context));
        }
        if let Some(proxy) = service.network.proxy(&service.endpoint) {
            let context =
                format!("client=rusoto knows no proxies, and {proxy} is on the way; use client=forebay");
            return Err(Error::invalid(context));
        }
        // Its TLS looks at SSL_CERT_FILE by itself.
        let bundle = service.network.bundle().filter(|(_, by)| *by != "SSL_CERT_FILE");
        if let (Some((_, by)), true) = (bundle, service.endpoint.is_tls()) {
            let context =
                format!("client=rusoto does not look at {by}; use client=forebay, or SSL_CERT_FILE");
            return Err(Error::invalid(context));
        }
        let mut config = HttpConfig::new();
        config.pool_idle_timeout(options.connection_idle);
        let http = HttpClient::new_with_config(config)
            .map_err(|error| Error::invalid(format!("client=rusoto: no TLS: {error}")))?;
        let http = Noting(Arc::new(http));
        let region = Region::Custom { name: service.region, endpoint: service.endpoint.to_string() };
        let client = match service.source {
            Source::Anonymous => rusoto_core::Client::new_not_signing(http),
            source => {
                rusoto_core::Client::new_with(Keys { source: Arc::new(source), around: service.around }, http)
            }
        };
        Ok(RusotoClient { client: S3Client::new_with_client(client, region), bucket: service.bucket })
    }
}

/// Our credentials as rusoto asks for them.
struct Keys {
    source: Arc<Source>,
    around: Surroundings,
}

#[async_trait]
impl ProvideAwsCredentials for Keys {
    async fn credentials(&self) -> Result<AwsCredentials, CredentialsError> {
        let found = self.source.credentials(self.around.now()).await.map_err(CredentialsError::new)?;
        let keys = found.ok_or_else(|| CredentialsError::new("no credentials"))?;
        refusal::signed(&self.source, &keys);
        let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
        Ok(AwsCredentials::new(keys.access_key_id.as_str(), keys.secret_access_key.expose(), token, None))
    }
}

/// Sends, and notes what is refused.
struct Noting(Arc<HttpClient>);

/// Rusoto would otherwise set a deadline of its own.
const NO_DEADLINE: Option<Duration> = None;

impl DispatchSignedRequest for Noting {
    fn dispatch(&self, request: SignedRequest, _: Option<Duration>) -> DispatchSignedRequestFuture {
        let http = self.0.clone();
        async move {
            let response = http.dispatch(request, NO_DEADLINE).await?;
            if response.status.is_success() {
                return Ok(response);
            }
            let field = |name: &str| response.headers.get(name).map(String::as_str);
            let after = retry_after(field("retry-after"), field("date"));
            let HttpResponse { status, body, headers } = response;
            let words = body.map_ok(|chunk| chunk.to_vec()).try_concat().await;
            let words =
                words.map_err(|error| rusoto_core::request::HttpDispatchError::new(error.to_string()))?;
            refusal::note(Refusal { status: status.as_u16(), words: words.clone(), after });
            Ok(HttpResponse { status, body: ByteStream::from(words), headers })
        }
        .boxed()
    }
}

async fn call<T, E: fmt::Display>(
    call: impl Future<Output = Result<T, RusotoError<E>>>,
) -> Result<T, Failure> {
    refusal::said(call, |error| match error {
        RusotoError::Credentials(error) => Failure::new(Kind::Denied, format!("credentials: {error}")),
        RusotoError::HttpDispatch(error) => Failure::new(Kind::Unavailable, error.to_string()),
        RusotoError::ParseError(error) => Failure::new(Kind::Corrupt, error),
        RusotoError::Validation(error) => Failure::new(Kind::InvalidConfig, error),
        RusotoError::Service(_) | RusotoError::Unknown(_) | RusotoError::Blocking => {
            Failure::new(Kind::Unavailable, "an error of the service that it did not explain")
        }
    })
    .await
}

/// Fields of an answer as a header has them.
fn header(
    status: u16,
    length: Option<i64>,
    range: Option<&str>,
    etag: Option<&str>,
    modified: Option<&str>,
) -> Result<(Head, std::ops::Range<u64>), Failure> {
    let length = length.map(|length| length.to_string());
    let fields = [
        ("content-length", length.as_deref()),
        ("content-range", range),
        ("etag", etag),
        ("last-modified", modified),
    ];
    read_header(status, fields.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes()))))
}

fn stream_of(payload: &Payload) -> ByteStream {
    let chunks: Vec<_> = payload.chunks().iter().cloned().map(Ok).collect();
    ByteStream::new_with_size(stream::iter(chunks), usize::try_from(payload.len()).unwrap_or(usize::MAX))
}

fn only_replaces(mode: PutMode) -> Result<(), Failure> {
    match mode {
        PutMode::Overwrite => Ok(()),
        PutMode::Create => Err(Failure::new(
            Kind::Unsupported,
            "the client rusoto cannot put only where nothing is; use client=forebay",
        )),
    }
}

impl Client for RusotoClient {
    fn facts(&self) -> Facts {
        Facts { client: "rusoto", conditional_put: false, ..FACTS }
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move {
            let request =
                HeadObjectRequest { bucket: self.bucket.clone(), key: key.to_owned(), ..Default::default() };
            let found = call(self.client.head_object(request)).await?;
            let (etag, modified) = (found.e_tag.as_deref(), found.last_modified.as_deref());
            Ok(header(200, found.content_length, None, etag, modified)?.0)
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let request = GetObjectRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                range: ask.range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)),
                if_match: ask.if_match.map(if_match),
                ..Default::default()
            };
            let found = call(self.client.get_object(request)).await?;
            let status = if found.content_range.is_some() { 206 } else { 200 };
            let (head, range) = header(
                status,
                found.content_length,
                found.content_range.as_deref(),
                found.e_tag.as_deref(),
                found.last_modified.as_deref(),
            )?;
            let body = found.body.unwrap_or_else(|| ByteStream::from(Vec::new()));
            let body = body
                .map_err(|error| Failure::unavailable("the connection broke before the body's end", &error));
            Ok(Answer { status, head, range, body: Box::new(Chunks::new(body)) })
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>> {
        async move {
            let request = ListObjectsV2Request {
                bucket: self.bucket.clone(),
                prefix: Some(ask.prefix.to_owned()),
                delimiter: ask.one_level.then(|| "/".to_owned()),
                continuation_token: ask.token.map(str::to_owned),
                max_keys: ask.limit.map(i64::from),
                ..Default::default()
            };
            let page = call(self.client.list_objects_v2(request)).await?;
            let objects = page.contents.unwrap_or_default().into_iter().map(|object| {
                let wrong =
                    || Failure::new(Kind::Corrupt, "a listing with an object that has no key or size");
                let size = object.size.and_then(|size| u64::try_from(size).ok());
                Ok(ListedEntry::Object(ListedObject {
                    key: object.key.ok_or_else(wrong)?.into(),
                    size: size.ok_or_else(wrong)?,
                    modified: object.last_modified.as_deref().and_then(crate::xml::time_of),
                    version: object.e_tag.as_deref().map(version_of),
                }))
            });
            let prefixes = page.common_prefixes.unwrap_or_default();
            let prefixes = prefixes.into_iter().filter_map(|prefix| prefix.prefix);
            let prefixes = prefixes.map(|prefix| Ok(ListedEntry::Prefix(prefix.into())));
            let entries = objects.chain(prefixes).collect::<Result<Vec<_>, Failure>>()?;
            let goes_on = page.is_truncated.unwrap_or_default();
            let next = page.next_continuation_token.filter(|_| goes_on);
            Ok(Box::new(Listed { entries, next }) as Box<dyn Listing>)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            only_replaces(mode)?;
            let request = PutObjectRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                content_length: i64::try_from(payload.len()).ok(),
                body: Some(stream_of(&payload)),
                ..Default::default()
            };
            let stored = call(self.client.put_object(request)).await?;
            Ok(Stored::tagged(stored.e_tag.as_deref()))
        }
        .boxed()
    }

    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String> {
        async move {
            let request = CreateMultipartUploadRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                ..Default::default()
            };
            let begun = call(self.client.create_multipart_upload(request)).await?;
            begun.upload_id.ok_or_else(|| Failure::new(Kind::Corrupt, "an upload that was begun has no name"))
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
            let request = UploadPartRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                upload_id: upload.to_owned(),
                part_number: i64::from(number),
                content_length: i64::try_from(payload.len()).ok(),
                body: Some(stream_of(&payload)),
                ..Default::default()
            };
            let stored = call(self.client.upload_part(request)).await?;
            stored.e_tag.ok_or_else(|| Failure::new(Kind::Corrupt, "a part that was stored has no ETag"))
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
            only_replaces(mode)?;
            let parts = parts.iter().zip(1..);
            let parts = parts
                .map(|(etag, number)| CompletedPart { e_tag: Some(etag.clone()), part_number: Some(number) });
            let request = CompleteMultipartUploadRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                upload_id: upload.to_owned(),
                multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts.collect()) }),
                ..Default::default()
            };
            let stored = call(self.client.complete_multipart_upload(request)).await?;
            // An error may come with status 200, and is read as an answer in which everything is missing.
            let etag = stored.e_tag.ok_or_else(|| {
                Failure::new(Kind::Unavailable, "the service did not say that the parts were put together")
            })?;
            Ok(Stored::tagged(Some(&etag)))
        }
        .boxed()
    }

    fn abort_upload<'a>(&'a self, key: &'a str, upload: &'a str) -> Answered<'a, ()> {
        async move {
            let request = AbortMultipartUploadRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                upload_id: upload.to_owned(),
                ..Default::default()
            };
            call(self.client.abort_multipart_upload(request)).await.map(drop)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()> {
        async move {
            let request = DeleteObjectRequest {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                ..Default::default()
            };
            gone(call(self.client.delete_object(request)).await)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let objects =
                keys.iter().map(|key| ObjectIdentifier { key: key.clone(), version_id: None }).collect();
            let request = DeleteObjectsRequest {
                bucket: self.bucket.clone(),
                delete: Delete { objects, quiet: Some(true) },
                ..Default::default()
            };
            let errors = call(self.client.delete_objects(request)).await?.errors.unwrap_or_default();
            let answer = |key: &String| match errors.iter().find(|error| error.key.as_ref() == Some(key)) {
                Some(error) if error.code.as_deref() != Some("NoSuchKey") => {
                    let code = error.code.as_deref().unwrap_or_default();
                    let message = error.message.as_deref().unwrap_or_default();
                    Err(kept(code, message))
                }
                _ => Ok(()),
            };
            Ok(keys.iter().map(answer).collect())
        }
        .boxed()
    }
}

impl fmt::Debug for RusotoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RusotoClient").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
