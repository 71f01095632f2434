//! The client that is ours: Blob Storage's REST on [`Wire`], so that a body goes from the socket into the slot.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

use crate::account::{path_of, query_value};
use crate::authority::{Authority, Grant, Unsigned};
use crate::batch::{self, BatchBody};
use crate::config::AzConfig;
use crate::page::Page;
use crate::refusal::{refusal, stored};
use crate::service::{FACTS, steady};
use crate::upload::{UploadIds, block_id};
use crate::wire as xml;
use bytes::Bytes;
use forebay_io::{Observe, PutMode};
use forebay_io_object::Endpoint;
use forebay_io_object::wire::{Reply, Wire};
use forebay_io_object::{
    Answer, Answered, Ask, Client, Facts, Failure, Head, HttpOptions, ListAsk, Listing, Network, Payload,
    Stored, Surroundings,
};
use futures::FutureExt;
use std::fmt;
use std::sync::Arc;

/// Talks to one container.
pub(crate) struct RestClient {
    wire: Wire,
    /// The `Host` field.
    host: String,
    /// The container's path, as it is sent.
    container: String,
    authority: Authority,
    uploads: UploadIds,
}

impl fmt::Debug for RestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestClient")
            .field("wire", &self.wire)
            .field("container", &self.container)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// What one kind of request has.
#[derive(Default)]
struct Call<'a> {
    method: &'static str,
    /// A blob, or none for the container.
    key: Option<&'a str>,
    /// As it is sent.
    query: &'a str,
    /// With names in lower case.
    fields: &'a [(&'a str, &'a str)],
    payload: Payload,
}

impl RestClient {
    /// No connection is made yet; `observer` will hear of each.
    ///
    /// # Errors
    /// `InvalidConfig` for options that cannot be.
    pub(crate) fn new(
        config: &AzConfig,
        container: &str,
        http: &HttpOptions,
        around: &Surroundings,
        network: &Network,
        observer: Arc<dyn Observe>,
    ) -> Result<Self, Failure> {
        let endpoint = Endpoint::parse(config.account.endpoint()).map_err(Failure::of)?;
        Ok(RestClient {
            host: endpoint.authority(),
            container: format!("{}/{}", endpoint.path(), path_of(container)),
            authority: Authority::new(config, http, around, network)?,
            uploads: UploadIds::default(),
            wire: Wire::new(endpoint, http, network, observer).map_err(Failure::of)?,
        })
    }

    /// The path of a blob or of the container, as it is sent.
    fn path(&self, key: Option<&str>) -> Result<String, Failure> {
        let Some(key) = key else { return Ok(self.container.clone()) };
        steady(key)?;
        Ok(format!("{}/{}", self.container, path_of(key)))
    }

    /// Makes a request; an answer other than success is a failure with the service's words.
    async fn call(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let grant = self.authority.grant().await?;
        self.call_as(&grant, call).await
    }

    async fn call_as(&self, grant: &Grant<'_>, call: Call<'_>) -> Result<Reply, Failure> {
        let Call { method, key, query, fields, payload } = call;
        let path = self.path(key)?;
        let unsigned = Unsigned { method, path: &path, query, fields, length: payload.len() };
        let request = self.authority.sign(grant, &unsigned).request(&self.host);
        let reply = self.wire.send(request, &payload).await?;
        if reply.is_success() {
            self.authority.accepted(grant).await;
            return Ok(reply);
        }
        Err(self.authority.refused(grant, refusal(reply).await).await)
    }

    /// A request whose answer is a document.
    async fn document(&self, call: Call<'_>) -> Result<Vec<u8>, Failure> {
        self.call(call).await?.document(xml::LONGEST).await
    }

    /// The deletions of one batch, each with an authorisation of its own.
    fn batch_body(&self, grant: &Grant<'_>, keys: &[String]) -> Result<BatchBody, Failure> {
        let mut body = BatchBody::default();
        for key in keys {
            let path = self.path(Some(key))?;
            let fields = &[("content-length", "0"), ("x-ms-delete-snapshots", "include")];
            let unsigned = Unsigned { method: "DELETE", path: &path, fields, ..Unsigned::default() };
            let signed = self.authority.sign(grant, &unsigned);
            body.push(&signed.target, signed.fields.iter().map(|(name, value)| (*name, &**value)));
        }
        Ok(body)
    }
}

/// The conditions of a write, behind `fields`.
fn conditions<'a>(mode: PutMode, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let only_new = (mode == PutMode::Create).then_some(("if-none-match", "*"));
    fields.iter().copied().chain(only_new).collect()
}

impl Client for RestClient {
    fn facts(&self) -> Facts {
        let delete_batch = if self.authority.signs_batches() { FACTS.delete_batch } else { 1 };
        Facts { client: "forebay", delete_batch, ..FACTS }
    }

    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head> {
        async move { self.call(Call { method: "HEAD", key: Some(key), ..Call::default() }).await?.said() }
            .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer> {
        async move {
            let asked = ask.fields();
            let fields: Vec<_> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let call = Call { method: "GET", key: Some(key), fields: &fields, ..Call::default() };
            self.call(call).await?.into_answer()
        }
        .boxed()
    }

    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>> {
        async move {
            let mut query = "restype=container&comp=list".to_owned();
            let mut add =
                |name: &str, value: &str| query.push_str(&format!("&{name}={}", query_value(value)));
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
            let call = Call { method: "GET", query: &query, ..Call::default() };
            Ok(Box::new(Page::new(self.document(call).await?, ask.details)) as Box<dyn Listing>)
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored> {
        async move {
            let fields = conditions(mode, &[("x-ms-blob-type", "BlockBlob")]);
            let call = Call { method: "PUT", key: Some(key), fields: &fields, payload, ..Call::default() };
            stored(self.call(call).await.map_err(|failure| failure.of_write(mode))?).await
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
            let query = format!("comp=block&blockid={}", query_value(&id));
            let call = Call { method: "PUT", key: Some(key), query: &query, payload, ..Call::default() };
            stored(self.call(call).await?).await?;
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
            let fields = conditions(mode, &[]);
            let payload = Bytes::from(xml::block_list(parts)).into();
            let call =
                Call { method: "PUT", key: Some(key), query: "comp=blocklist", fields: &fields, payload };
            stored(self.call(call).await.map_err(|failure| failure.of_write(mode))?).await
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
            let fields = &[("x-ms-delete-snapshots", "include")];
            let call = Call { method: "DELETE", key: Some(key), fields, ..Call::default() };
            self.document(call).await.map(drop)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>> {
        async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let grant = self.authority.grant().await?;
            let (text, content_type) = self.batch_body(&grant, keys)?.finish();
            let fields = &[("content-type", content_type.as_str())];
            let payload = Bytes::from(text).into();
            // Of the container: all that a container's own signature allows.
            let query = "restype=container&comp=batch";
            let call = Call { method: "POST", query, fields, payload, ..Call::default() };
            let mut reply = self.call_as(&grant, call).await?;
            let said = reply.field("content-type").unwrap_or_default().to_owned();
            batch::read_answers(&said, &reply.gather(xml::LONGEST).await?, keys.len())
        }
        .boxed()
    }
}
