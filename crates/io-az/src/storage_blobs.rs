//! The other client: requests made, signed and retried never by `azure_storage_blobs`, over the same kept
//! connections, with answers read by the same code as the default client's.
//!
//! What its own transport and answers would get in the way of is taken around it: a new connection for each
//! request, a range's CRC that is asked for and that servers may refuse, a range on each read (so that an
//! empty blob cannot be read), and header fields that it insists on and servers leave out.
//!
//! What it lacks and the default client has: batches of deletions, identities and callables for tokens, and
//! blobs whose names begin or end with a slash.

use crate::account::Account;
use crate::config::AzConfig;
use crate::credential::Credential;
use crate::page::Page;
use crate::refusal::{refusal, stored};
use crate::service::{FACTS, steady};
use crate::upload::{UploadIds, block_name};
use crate::wire;
use azure_core::Url;
use azure_core::prelude::{IfMatchCondition, NextMarker, Range as SdkRange};
use azure_core::{
    Body, ClientOptions, Context, Policy, PolicyResult, Request, RetryOptions, TransportOptions,
};
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_blobs::prelude::{BlobBlockType, BlobClient, BlockList, ClientBuilder, ContainerClient};
use bytes::Bytes;
use forebay_io::{Kind, Observe, PutMode};
use forebay_io_object::Endpoint;
use forebay_io_object::wire::{Reply, Request as WireRequest, Wire};
use forebay_io_object::{
    Answer, Answered, Ask, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listing, Network, Payload,
    Stored, if_match,
};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// Larger than any blob: reads are one request, and parts are the caller's affair.
const ALL_AT_ONCE: u64 = 1 << 60;

/// Talks to one container.
pub(crate) struct StorageBlobsClient {
    account: Account,
    container: ContainerClient,
    uploads: UploadIds,
}

impl fmt::Debug for StorageBlobsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageBlobsClient")
            .field("container", &self.container.container_name())
            .finish_non_exhaustive()
    }
}

impl StorageBlobsClient {
    /// No connection is made yet; `observer` will hear of each.
    ///
    /// # Errors
    /// `Unsupported` for credentials that it has no use for.
    pub(crate) fn new(
        config: &AzConfig,
        container: &str,
        http: &HttpOptions,
        network: &Network,
        observer: Arc<dyn Observe>,
    ) -> Result<Self, Failure> {
        let account = &config.account;
        let credentials = match &config.credential {
            Credential::Anonymous => StorageCredentials::anonymous(),
            Credential::AccountKey(key) => {
                StorageCredentials::access_key(account.name(), key.expose().to_owned())
            }
            Credential::Sas(sas) => StorageCredentials::sas_token(sas.expose()).map_err(|_| {
                Failure::new(Kind::InvalidConfig, "the shared access signature is not a query string")
            })?,
            Credential::Bearer(token) => StorageCredentials::bearer_token(token.expose().to_owned()),
            Credential::Tokens(_)
            | Credential::ManagedIdentity { .. }
            | Credential::ClientSecret { .. }
            | Credential::WorkloadIdentity { .. } => {
                let said = "client=azure-storage-blobs takes account_key, sas_token, bearer_token and anonymous; for \
                            identities and callables use client=forebay";
                return Err(Failure::new(Kind::Unsupported, said));
            }
        };
        let location =
            CloudLocation::Custom { account: account.name().to_owned(), uri: account.endpoint().to_owned() };
        let endpoint = Endpoint::parse(account.endpoint()).map_err(Failure::of)?;
        let carry: Arc<dyn Policy> =
            Arc::new(Carry(Wire::new(endpoint, http, network, observer).map_err(Failure::of)?));
        let mut options =
            ClientOptions::new(TransportOptions::new_custom_policy(carry)).retry(RetryOptions::none());
        options.per_call_policies_mut().push(Arc::new(Shape));
        let container = ClientBuilder::with_location(location, credentials)
            .client_options(options)
            .container_client(container);
        Ok(StorageBlobsClient { account: account.clone(), container, uploads: UploadIds::default() })
    }

    fn blob(&self, key: &str) -> Result<(BlobClient, Call), Failure> {
        steady(key)?;
        let url = self.account.blob_url(self.container.container_name(), key);
        let call = Call { url: Some(url), ..Call::default() };
        Ok((self.container.blob_client(key), call))
    }
}

/// One call: what is known of it beside the request, and the answer that came.
#[derive(Clone, Default)]
struct Call {
    /// The blob's URL as it should be.
    url: Option<String>,
    /// No range is asked for.
    whole: bool,
    came: Arc<Mutex<Option<Result<Reply, Failure>>>>,
}

impl Call {
    fn context(&self) -> Context {
        let mut context = Context::new();
        context.insert(self.clone());
        context
    }

    /// The answer, if it is a success. `said` is what the library made of the call, which only counts where it
    /// did not come to a request.
    async fn answer<T>(self, said: azure_core::Result<T>) -> Result<Reply, Failure> {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (came, said) {
            (Some(came), _) => {
                let response = came?;
                if response.is_success() { Ok(response) } else { Err(refusal(response).await) }
            }
            (None, Err(error)) => Err(Failure::new(
                Kind::InvalidConfig,
                format!("the request could not be made: {}", error.kind()),
            )),
            (None, Ok(_)) => Err(Failure::new(Kind::Unavailable, "the library answered by itself")),
        }
    }
}

/// Takes away what the library adds and the service need not have. Before the signature, which covers it.
#[derive(Debug)]
struct Shape;

#[async_trait::async_trait]
impl Policy for Shape {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let call = context.get::<Call>();
        let whole = call.is_some_and(|call| call.whole);
        let mut url = request.url().clone();
        if let Some(blob) = call.and_then(|call| call.url.as_deref()) {
            let mut right = Url::parse(blob)?;
            right.set_query(url.query());
            url = right;
        }
        let mut shaped = Request::new(url, *request.method());
        for (name, value) in request.headers().iter() {
            let range = matches!(name.as_str(), "range" | "x-ms-range");
            let sum = matches!(name.as_str(), "x-ms-range-get-content-crc64" | "x-ms-range-get-content-md5");
            if !(sum || range && whole) {
                shaped.insert_header(name.clone(), value.clone());
            }
        }
        shaped.set_body(request.body().clone());
        *request = shaped;
        next[0].send(context, request, &next[1..]).await
    }
}

/// The end of the line: sends, and leaves the answer with the call.
#[derive(Debug)]
struct Carry(Wire);

#[async_trait::async_trait]
impl Policy for Carry {
    async fn send(&self, context: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
        let came = match wire_request(request, &self.0.endpoint().authority()) {
            Ok((request, payload)) => self.0.send(request, &payload).await,
            Err(failure) => Err(failure),
        };
        if let Some(call) = context.get::<Call>() {
            *call.came.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
        }
        // The library need not read it, too.
        Err(azure_core::Error::message(azure_core::error::ErrorKind::Other, "the answer is with the call"))
    }
}

fn wire_request(request: &Request, host: &str) -> Result<(WireRequest, Payload), Failure> {
    let wrong = || Failure::new(Kind::InvalidConfig, "what no request can hold");
    let Body::Bytes(body) = request.body() else { return Err(wrong()) };
    let method = request.method().as_ref().to_ascii_uppercase();
    let method = ["GET", "HEAD", "PUT", "POST", "DELETE"].into_iter().find(|known| *known == method);
    let url = request.url();
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut made = WireRequest::new(method.ok_or_else(wrong)?, &target, host);
    for (name, value) in request.headers().iter() {
        // These are the connection's affair.
        if !matches!(name.as_str(), "host" | "content-length") {
            made = made.field(name.as_str(), value.as_str());
        }
    }
    Ok((made, body.clone().into()))
}

fn never_replacing(mode: PutMode) -> Option<IfMatchCondition> {
    (mode == PutMode::Create).then(|| IfMatchCondition::NotMatch("*".to_owned()))
}

impl Client for StorageBlobsClient {
    fn facts(&self) -> Facts {
        Facts { client: "azure_storage_blobs", delete_batch: 1, ..FACTS }
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move {
            let (blob, call) = self.blob(key)?;
            let said = blob.get_properties().context(call.context()).await;
            call.answer(said).await?.said()
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let (blob, call) = self.blob(key)?;
            let call = Call { whole: ask.range.is_none(), ..call };
            let mut get = blob.get().chunk_size(ALL_AT_ONCE).context(call.context());
            if let Some(range) = ask.range {
                get = get.range(SdkRange::new(range.start, range.end));
            }
            if let Some(version) = ask.if_match {
                get = get.if_match(IfMatchCondition::Match(if_match(version)));
            }
            let said = get.into_stream().next().await.unwrap_or_else(|| Err(nothing()));
            call.answer(said).await?.into_answer()
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>> {
        async move {
            let call = Call::default();
            let mut list = self.container.list_blobs().context(call.context());
            if !ask.prefix.is_empty() {
                list = list.prefix(ask.prefix.to_owned());
            }
            if ask.one_level {
                list = list.delimiter("/");
            }
            if let Some(token) = ask.token {
                list = list.marker(NextMarker::new(token.to_owned()));
            }
            if let Some(limit) = ask.limit.and_then(NonZeroU32::new) {
                list = list.max_results(limit);
            }
            let said = list.into_stream().next().await.unwrap_or_else(|| Err(nothing()));
            let document = call.answer(said).await?.gather(wire::LONGEST).await?;
            Ok(Box::new(Page::new(document, ask.details)) as Box<dyn Listing>)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            let (blob, call) = self.blob(key)?;
            let mut put = blob.put_block_blob(payload.into_bytes()).context(call.context());
            if let Some(condition) = never_replacing(mode) {
                put = put.if_match(condition);
            }
            let said = put.await;
            stored(call.answer(said).await.map_err(|failure| failure.of_write(mode))?).await
        }
        .boxed()
    }

    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String> {
        async move {
            self.blob(key)?;
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
            let ((blob, call), name) = (self.blob(key)?, block_name(upload, number));
            let put = blob.put_block(name.clone(), payload.into_bytes()).context(call.context());
            let said = put.await;
            stored(call.answer(said).await?).await?;
            Ok(name)
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
            let (blob, call) = self.blob(key)?;
            let blocks =
                parts.iter().map(|name| BlobBlockType::new_latest(Bytes::from(name.clone()))).collect();
            let mut put = blob.put_block_list(BlockList { blocks }).context(call.context());
            if let Some(condition) = never_replacing(mode) {
                put = put.if_match(condition);
            }
            let said = put.await;
            stored(call.answer(said).await.map_err(|failure| failure.of_write(mode))?).await
        }
        .boxed()
    }

    /// As the default client's: nothing to be done.
    fn abort_upload<'a>(&'a self, _key: &'a str, _upload: &'a str) -> Answered<'a, ()> {
        std::future::ready(Ok(())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()> {
        async move {
            let (blob, call) = self.blob(key)?;
            let said = blob.delete().context(call.context()).await;
            stored(call.answer(said).await?).await.map(drop)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move { Ok(futures::future::join_all(keys.iter().map(|key| self.delete(key))).await) }.boxed()
    }
}

fn nothing() -> azure_core::Error {
    azure_core::Error::message(azure_core::error::ErrorKind::Other, "no page")
}
