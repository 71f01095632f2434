//! The default client: Blob Storage's REST over the HTTP, the credentials and the signatures of
//! `object_store`.
//!
//! Not through its `ObjectStore`, which hides the page of a listing, the status of an answer and the number
//! of requests, and takes `a//b` for no key.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

use crate::account::{Account, query_value};
use crate::authority::{Authority, Grant};
use crate::batch::{self, BatchBody};
use crate::config::AzConfig;
use crate::reply::{as_write, refusal, stored, text_of};
use crate::service::{FACTS, steady};
use crate::transport::{Transport, fields_of};
use crate::upload::{UploadIds, block_id};
use crate::wire;
use bytes::Bytes;
use forebay_io::{Kind, PutMode};
use forebay_io_object::{
    Answer, Answered, Ask, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listed, Payload, Stored,
    if_match, read_header,
};
use futures::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};
use std::fmt;

const BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");
const DELETE_SNAPSHOTS: HeaderName = HeaderName::from_static("x-ms-delete-snapshots");

/// Talks to one container.
pub(crate) struct RestClient {
    transport: Transport,
    account: Account,
    container: String,
    authority: Authority,
    uploads: UploadIds,
}

impl fmt::Debug for RestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestClient")
            .field("account", &self.account)
            .field("container", &self.container)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl RestClient {
    /// No connection is made yet.
    ///
    /// # Errors
    /// `InvalidConfig` for options that cannot be.
    pub(crate) fn new(config: &AzConfig, container: &str, http: &HttpOptions) -> Result<Self, Failure> {
        let account = config.account.clone();
        Ok(RestClient {
            transport: Transport::new(&account, http)?,
            authority: Authority::new(account.name(), &config.credential, http)?,
            uploads: UploadIds::default(),
            account,
            container: container.to_owned(),
        })
    }

    fn blob_url(&self, key: &str) -> Result<String, Failure> {
        steady(key)?;
        Ok(self.account.blob_url(&self.container, key))
    }

    /// A request that is not authorised yet.
    fn request(
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: impl Into<HttpRequestBody>,
    ) -> Result<HttpRequest, Failure> {
        let mut request = http::Request::new(body.into());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|_| {
            Failure::new(Kind::InvalidConfig, "the name is too long for a request, or holds what no URL can")
        })?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, Failure> {
        let grant = self.authority.credential().await?;
        self.authority.sign(&grant, &mut request)?;
        self.transport.send(request).await
    }

    /// Sends, and reads what the service says where it refuses.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let response = self.send(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    async fn put_bytes(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: impl Into<HttpRequestBody>,
    ) -> Result<HttpResponse, Failure> {
        let body = body.into();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.content_length()));
        let response = self.ask(Self::request(Method::PUT, url, headers, body)?).await?;
        Ok(response)
    }

    /// The deletions of one batch, each with an authorisation of its own.
    fn batch_body(&self, grant: &Grant<'_>, keys: &[String]) -> Result<BatchBody, Failure> {
        let mut body = BatchBody::default();
        for key in keys {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            headers.insert(DELETE_SNAPSHOTS, HeaderValue::from_static("include"));
            let url = self.blob_url(key)?;
            let mut part = Self::request(Method::DELETE, &url, headers, Bytes::new())?;
            self.authority.sign(grant, &mut part)?;
            let target = part.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            body.push(target, part.headers());
        }
        Ok(body)
    }
}

fn conditions(mode: PutMode) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if mode == PutMode::Create {
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    headers
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::new(Kind::InvalidConfig, "a version that no header can hold"))
}

impl Client for RestClient {
    fn facts(&self) -> Facts {
        Facts { client: "object_store", ..FACTS }
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move {
            let url = self.blob_url(key)?;
            let response =
                self.ask(Self::request(Method::HEAD, &url, HeaderMap::new(), Bytes::new())?).await?;
            let status = response.status().as_u16();
            Ok(read_header(status, fields_of(response.headers()))?.0)
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let mut headers = HeaderMap::with_capacity(8);
            if let Some(range) = ask.range {
                let last = range.end.saturating_sub(1);
                headers.insert(RANGE, header_value(&format!("bytes={}-{last}", range.start))?);
            }
            if let Some(version) = ask.if_match {
                headers.insert(IF_MATCH, header_value(&if_match(version))?);
            }
            let url = self.blob_url(key)?;
            let response = self.ask(Self::request(Method::GET, &url, headers, Bytes::new())?).await?;
            let (parts, body) = response.into_parts();
            let status = parts.status.as_u16();
            let (head, range) = read_header(status, fields_of(&parts.headers))?;
            Ok(Answer { status, head, range, body: Transport::body(body) })
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Listed> {
        async move {
            let mut url = self.account.container_url(&self.container);
            url.push_str("?restype=container&comp=list");
            let mut add = |name: &str, value: &str| url.push_str(&format!("&{name}={}", query_value(value)));
            if !ask.prefix.is_empty() {
                add("prefix", ask.prefix);
            }
            if ask.one_level {
                add("delimiter", "/");
            }
            if let Some(token) = ask.token {
                add("marker", token);
            }
            if let Some(limit) = ask.limit {
                add("maxresults", &limit.to_string());
            }
            let response =
                self.ask(Self::request(Method::GET, &url, HeaderMap::new(), Bytes::new())?).await?;
            wire::page_of(&text_of(response).await?)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            let mut headers = conditions(mode);
            headers.insert(BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
            let url = self.blob_url(key)?;
            let response = self.put_bytes(&url, headers, Transport::payload(payload)).await;
            Ok(stored(&response.map_err(|failure| as_write(failure, mode))?))
        }
        .boxed()
    }

    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String> {
        async move {
            steady(key)?;
            Ok(self.uploads.next())
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
            let id = block_id(upload, number);
            let url = format!("{}?comp=block&blockid={}", self.blob_url(key)?, query_value(&id));
            self.put_bytes(&url, HeaderMap::new(), Transport::payload(payload)).await?;
            Ok(id)
        }
        .boxed()
    }

    fn finish_upload<'a>(
        &'a self,
        key: &'a str,
        _upload: &'a str,
        parts: &'a [String],
        mode: PutMode,
    ) -> Answered<'a, Stored> {
        async move {
            let url = format!("{}?comp=blocklist", self.blob_url(key)?);
            let response = self.put_bytes(&url, conditions(mode), wire::block_list(parts)).await;
            Ok(stored(&response.map_err(|failure| as_write(failure, mode))?))
        }
        .boxed()
    }

    /// Nothing to be done: no reader sees blocks that no list names, and the service forgets them with the
    /// next write to the blob, or after a week.
    fn abort_upload<'a>(&'a self, _key: &'a str, _upload: &'a str) -> Answered<'a, ()> {
        std::future::ready(Ok(())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()> {
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(DELETE_SNAPSHOTS, HeaderValue::from_static("include"));
            let url = self.blob_url(key)?;
            self.ask(Self::request(Method::DELETE, &url, headers, Bytes::new())?).await.map(drop)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let grant = self.authority.credential().await?;
            let (text, content_type) = self.batch_body(&grant, keys)?.finish();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, header_value(&content_type)?);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
            // Of the container: all that a container's own signature allows.
            let url = format!("{}?restype=container&comp=batch", self.account.container_url(&self.container));
            let mut request = Self::request(Method::POST, &url, headers, text)?;
            self.authority.sign(&grant, &mut request)?;
            let response = self.transport.send(request).await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            let said = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let said = said.unwrap_or_default().to_owned();
            batch::read_answers(&said, &text_of(response).await?, keys.len())
        }
        .boxed()
    }
}
