//! The same service through the crate `object_store`. It has no retries of its own here, and its only
//! deadline is the one for connecting.
//!
//! Its errors do not say the status, and its paths are not all keys: the status and the words of a refusal
//! are noted on the way ([`Noting`]), and a key that it cannot keep as it is (`a//b`) is refused by name.

use crate::credentials::Source;
use crate::refusal::{self, Refusal};
use crate::service::{Service, Style};
use crate::signed_client::FACTS;
use async_trait::async_trait;
use forebay_io::{Error, Kind, PutMode, Result};
use forebay_io_object::{
    Answer, Answered, Ask, Chunks, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listed, ListedEntry,
    ListedObject, Listing, Payload, Stored, chain, if_match, retry_after, version_of,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::client::{
    Certificate, ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientConfigKey, CredentialProvider, GetOptions, GetRange, ObjectMeta, ObjectStore, PutPayload,
    RetryConfig,
};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// See the module's words.
pub(crate) struct ObjectStoreClient {
    store: AmazonS3,
}

/// Not what the crate shows of itself: a proxy's password is in it.
impl fmt::Debug for ObjectStoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreClient").finish_non_exhaustive()
    }
}

impl ObjectStoreClient {
    pub(crate) fn new(service: Service, options: &HttpOptions) -> Result<Self> {
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_http1_only()
            .with_connect_timeout(options.connect_timeout)
            // Ours are kept outside, where waiting for memory does not count.
            .with_timeout_disabled()
            .with_read_timeout_disabled()
            .with_pool_idle_timeout(options.connection_idle)
            .with_pool_max_idle_per_host(options.max_idle_connections);
        let client = through(client, &service).map_err(|error| error.context("client=object-store"))?;
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&service.bucket)
            .with_region(&service.region)
            .with_endpoint(service.endpoint.to_string())
            .with_virtual_hosted_style_request(service.style == Style::Virtual)
            .with_allow_http(true)
            .with_client_options(client)
            .with_http_connector(NotingConnector)
            .with_retry(RetryConfig {
                max_retries: 0,
                retry_timeout: Duration::ZERO,
                ..RetryConfig::default()
            });
        let builder = match service.source {
            Source::Anonymous => builder.with_skip_signature(true),
            source => {
                let (source, around) = (Arc::new(source), service.around);
                builder.with_credentials(Arc::new(Keys { source, around }))
            }
        };
        let store =
            builder.build().map_err(|error| Error::invalid(format!("client=object-store: {error}")))?;
        Ok(ObjectStoreClient { store })
    }
}

/// Its own HTTP takes proxies from the environment of the process and trusts what the system does, unless told.
fn through(client: ClientOptions, service: &Service) -> Result<ClientOptions> {
    let client = match service.network.proxy(&service.endpoint) {
        Some(proxy) => client.with_proxy_url(proxy.url().expose()),
        // One that nothing goes through, so that it looks for no other.
        None => client.with_proxy_url("http://127.0.0.1:9").with_proxy_excludes("*,0.0.0.0/0,::/0"),
    };
    let Some((file, by)) = service.network.bundle().filter(|_| service.endpoint.is_tls()) else {
        return Ok(client);
    };
    let invalid =
        |error: &dyn std::error::Error| Error::invalid(format!("{by} {:?}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| invalid(&error))?;
    let trusted = Certificate::from_pem_bundle(&text).map_err(|error| invalid(&error))?;
    // In place of the system's, as for every client.
    let client = client.with_config(ClientConfigKey::NoSystemCertificates, "true");
    Ok(trusted.into_iter().fold(client, ClientOptions::with_root_certificate))
}

/// Our credentials as `object_store` asks for them.
#[derive(Debug)]
struct Keys {
    source: Arc<Source>,
    around: forebay_io_object::Surroundings,
}

#[async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let generic = |source| object_store::Error::Generic { store: "S3", source };
        let found =
            self.source.credentials(self.around.now()).await.map_err(|error| generic(Box::new(error)))?;
        let keys = found.ok_or_else(|| generic("no credentials".into()))?;
        refusal::signed(&self.source, &keys);
        Ok(Arc::new(AwsCredential {
            key_id: keys.access_key_id.clone(),
            secret_key: keys.secret_access_key.expose().to_owned(),
            token: keys.session_token.as_ref().map(|token| token.expose().to_owned()),
        }))
    }
}

/// Makes clients that note refusals.
#[derive(Debug)]
struct NotingConnector;

impl HttpConnector for NotingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Noting(inner)))
    }
}

/// Notes refusals, whose words it reads, and passes everything on.
#[derive(Debug)]
struct Noting(HttpClient);

#[async_trait]
impl HttpService for Noting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.execute(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after = retry_after(field("retry-after"), field("date"));
        let (parts, body) = response.into_parts();
        let words = body.bytes().await?;
        refusal::note(Refusal { status: status.as_u16(), words: words.to_vec(), after });
        Ok(HttpResponse::from_parts(parts, words.into()))
    }
}

/// Makes a call; a failure says what the service did.
async fn call<T>(call: impl Future<Output = object_store::Result<T>>) -> Result<T, Failure> {
    refusal::said(call, failure).await
}

/// A failure without an answer of the service.
fn failure(error: object_store::Error) -> Failure {
    use object_store::Error as E;
    match &error {
        E::InvalidPath { .. } => Failure::new(Kind::InvalidConfig, error.to_string()),
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            Failure::new(Kind::Unsupported, error.to_string())
        }
        E::NotFound { .. } => Failure::new(Kind::NotFound, chain(&error)),
        other => {
            let text = chain(other);
            // Inside of the crate this is one kind of error with many causes.
            let kind = if text.contains("connect") && text.contains("timed out") {
                Kind::TimedOut
            } else {
                Kind::Unavailable
            };
            Failure::new(kind, text)
        }
    }
}

/// The key as a path that means the same.
fn path(key: &str) -> Result<Path, Failure> {
    let refused = |why: &str| {
        let said = format!("the client object-store cannot keep the key {key:?}: {why}; use client=forebay");
        Failure::new(Kind::InvalidConfig, said)
    };
    let path = Path::parse(key)
        .map_err(|_| refused("it has empty parts, a part that is `.` or `..`, or a control character"))?;
    if path.as_ref() == key { Ok(path) } else { Err(refused("it begins or ends with a slash")) }
}

fn head(meta: &ObjectMeta) -> Head {
    Head {
        size: meta.size,
        version: meta.e_tag.as_deref().map(version_of),
        modified: Some(meta.last_modified.into()),
        checksum: None,
    }
}

fn put_payload(payload: &Payload) -> PutPayload {
    payload.chunks().iter().cloned().collect()
}

impl Client for ObjectStoreClient {
    fn facts(&self) -> Facts {
        Facts { client: "object-store", ..FACTS }
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move {
            let path = path(key)?;
            let options = GetOptions { head: true, ..GetOptions::default() };
            Ok(head(&call(self.store.get_opts(&path, options)).await?.meta))
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let path = path(key)?;
            let options = GetOptions {
                range: ask.range.cloned().map(GetRange::Bounded),
                if_match: ask.if_match.map(if_match),
                ..GetOptions::default()
            };
            let found = call(self.store.get_opts(&path, options)).await?;
            let (range, head) = (found.range.clone(), head(&found.meta));
            let body = found.into_stream();
            let status = if ask.range.is_some() { 206 } else { 200 };
            let body = body.map_err(failure);
            Ok(Answer { status, head, range, body: Box::new(Chunks::new(body)) })
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>> {
        async move {
            let options = PaginatedListOptions {
                delimiter: ask.one_level.then_some("/".into()),
                max_keys: ask.limit.map(|limit| limit as usize),
                page_token: ask.token.map(str::to_owned),
                ..PaginatedListOptions::default()
            };
            let prefix = (!ask.prefix.is_empty()).then_some(ask.prefix);
            let page = call(self.store.list_paginated(prefix, options)).await?;
            let object = |meta: &ObjectMeta| {
                ListedEntry::Object(ListedObject {
                    key: meta.location.to_string().into(),
                    size: meta.size,
                    modified: Some(meta.last_modified.into()),
                    version: meta.e_tag.as_deref().map(version_of),
                })
            };
            let prefixes = page.result.common_prefixes.iter();
            let prefixes = prefixes.map(|prefix| ListedEntry::Prefix(format!("{prefix}/").into()));
            let entries = page.result.objects.iter().map(object).chain(prefixes).collect();
            Ok(Box::new(Listed { entries, next: page.page_token }) as Box<dyn Listing>)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            let path = path(key)?;
            let mode_there = match mode {
                PutMode::Overwrite => object_store::PutMode::Overwrite,
                PutMode::Create => object_store::PutMode::Create,
            };
            let put = self.store.put_opts(&path, put_payload(&payload), mode_there.into());
            let stored = call(put).await.map_err(|failure| failure.of_write(mode))?;
            Ok(Stored::tagged(stored.e_tag.as_deref()))
        }
        .boxed()
    }

    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String> {
        async move { call(self.store.create_multipart(&path(key)?)).await }.boxed()
    }

    fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        payload: Payload,
    ) -> Answered<'a, String> {
        async move {
            let (path, upload) = (path(key)?, upload.to_owned());
            let part = self.store.put_part(&path, &upload, number as usize - 1, put_payload(&payload));
            Ok(call(part).await?.content_id)
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
            if mode == PutMode::Create {
                let said = "the client object-store cannot put a large object only where nothing is; use \
                            client=forebay";
                return Err(Failure::new(Kind::Unsupported, said));
            }
            let (path, upload) = (path(key)?, upload.to_owned());
            let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
            let stored = call(self.store.complete_multipart(&path, &upload, parts)).await?;
            Ok(Stored::tagged(stored.e_tag.as_deref()))
        }
        .boxed()
    }

    fn abort_upload<'a>(&'a self, key: &'a str, upload: &'a str) -> Answered<'a, ()> {
        async move {
            let (path, upload) = (path(key)?, upload.to_owned());
            call(self.store.abort_multipart(&path, &upload)).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()> {
        async move {
            let answers = self.delete_many(std::slice::from_ref(&key.to_owned())).await?;
            answers.into_iter().next().unwrap_or(Ok(()))
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move {
            let mut answers: Vec<Option<Result<(), Failure>>> = Vec::with_capacity(keys.len());
            let mut paths = Vec::new();
            for key in keys {
                match path(key) {
                    Ok(path) => {
                        paths.push(Ok(path));
                        answers.push(None);
                    }
                    Err(failure) => answers.push(Some(Err(failure))),
                }
            }
            let deletes = self.store.delete_stream(stream::iter(paths).boxed());
            // Answers come in the order of the paths.
            let all = call(async move { Ok(deletes.collect::<Vec<_>>().await) }).await?;
            let mut all = all.into_iter();
            let each = answers.into_iter().map(|answer| match answer {
                Some(answer) => answer,
                None => match all.next() {
                    Some(Err(error)) if !matches!(error, object_store::Error::NotFound { .. }) => {
                        Err(failure(error))
                    }
                    _ => Ok(()),
                },
            });
            Ok(each.collect())
        }
        .boxed()
    }
}
