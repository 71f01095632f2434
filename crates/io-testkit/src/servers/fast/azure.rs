//! Azure Blob over the objects in memory, as the reference of its REST API describes the operations. The
//! account is the first part of the path, as emulators have it.

use super::super::tokens::TokenVerdict;
use super::conditions::{Verdict, verdict};
use super::listing::{self, Entry, Query};
use super::objects::{Bucket, Held};
use super::range::{Ranged, ranged};
use super::reply::{Dialect, MODIFIED_HTTP, Reply, empty, object, xml};
use super::request::Request;
use super::uploads::joined;
use super::{State, azure_batch};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use quick_xml::escape::escape;
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most blobs that a page has.
const PAGE: usize = 5000;

pub(super) async fn answer(state: Arc<State>, request: Request) -> Reply {
    let mut reply = stranger(&state, &request).unwrap_or_else(|| route(&state, &request));
    let headers = reply.headers_mut();
    headers.insert("x-ms-version", HeaderValue::from_static("2021-12-02"));
    headers.insert("x-ms-request-id", HeaderValue::from_static("00000000-0000-0000-0000-000000000000"));
    // Clients match answers with requests by it.
    if let Some(id) = request.headers.get("x-ms-client-request-id") {
        headers.insert("x-ms-client-request-id", id.clone());
    }
    reply
}

/// Why somebody is not let in who shows no bearer token that is good.
fn stranger(state: &State, request: &Request) -> Option<Reply> {
    let tokens = state.tokens.lock().clone()?;
    let token = request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
    match tokens.show(token, None) {
        TokenVerdict::Good => None,
        TokenVerdict::Ended => Some(error(401, "InvalidAuthenticationInfo", "Lifetime validation failed.")),
        TokenVerdict::Unknown => Some(error(403, "AuthenticationFailed", "nobody knows this token")),
    }
}

fn route(state: &State, request: &Request) -> Reply {
    let Some([_account, container, blob]) = request.path::<3>() else {
        return error(400, "InvalidUri", "the path is not UTF-8");
    };
    let comp = request.query("comp");
    if request.method == Method::POST && comp.as_deref() == Some("batch") {
        return azure_batch::answer(state, request);
    }
    if container.is_empty() {
        return unsupported(request);
    }
    let Some(held) = state.objects.bucket(&container) else {
        if blob.is_empty() && request.method == Method::PUT {
            state.objects.make_bucket(&container);
            return created(None);
        }
        return error(404, "ContainerNotFound", &format!("there is no container `{container}`"));
    };
    if blob.is_empty() {
        return match (&request.method, comp.as_deref()) {
            (&Method::GET, Some("list")) => list(request, &container, &held),
            (&Method::GET | &Method::HEAD, None) => dated(empty(StatusCode::OK)),
            (&Method::PUT, None) => error(409, "ContainerAlreadyExists", "it is there already"),
            (&Method::DELETE, None) => {
                state.objects.remove_bucket(&container);
                empty(StatusCode::ACCEPTED)
            }
            _ => unsupported(request),
        };
    }
    match (&request.method, comp.as_deref()) {
        (&Method::GET | &Method::HEAD, None) => get(request, &held, &blob),
        (&Method::PUT, None) => put(state, request, &held, &blob),
        (&Method::PUT, Some("block")) => put_block(state, request, &container, &blob),
        (&Method::PUT, Some("blocklist")) => put_block_list(state, request, &held, &container, &blob),
        (&Method::DELETE, None) => delete(request, &held, &blob),
        _ => unsupported(request),
    }
}

pub(super) fn error(status: u16, code: &'static str, text: &str) -> Reply {
    super::reply::error(Dialect::Azure, status, code, text)
}

fn unsupported(request: &Request) -> Reply {
    error(400, "UnsupportedHttpVerb", &format!("{} of this is not what a test server does", request.method))
}

fn dated(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(LAST_MODIFIED, HeaderValue::from_static(MODIFIED_HTTP));
    reply
}

fn created(etag: Option<HeaderValue>) -> Reply {
    let mut reply = dated(empty(StatusCode::CREATED));
    if let Some(etag) = etag {
        reply.headers_mut().insert(ETAG, etag);
    }
    reply.headers_mut().insert("x-ms-request-server-encrypted", HeaderValue::from_static("true"));
    reply
}

fn not_found(blob: &str) -> Reply {
    error(404, "BlobNotFound", &format!("there is no blob `{blob}`"))
}

fn get(request: &Request, container: &Bucket, blob: &str) -> Reply {
    let Some(held) = container.read().get(blob).cloned() else { return not_found(blob) };
    match verdict(request, Some(&held)) {
        Verdict::Failed => return error(412, "ConditionNotMet", "it is another version"),
        Verdict::Same => return empty(StatusCode::NOT_MODIFIED),
        Verdict::Go => {}
    }
    let head = request.method == Method::HEAD;
    // The header of its own goes first; no suffix is understood, and HEAD knows no ranges.
    let range = request.header("x-ms-range").or(request.header("range"));
    let range = range.filter(|range| !head && !range.starts_with("bytes=-"));
    let range = match ranged(range, held.content.len() as u64) {
        Ranged::Whole => None,
        Ranged::Part(start, end) => Some((start, end)),
        Ranged::Unsatisfiable => {
            let mut refused = error(416, "InvalidRange", "nothing of the range is there");
            let len = format!("bytes */{}", held.content.len());
            refused.headers_mut().insert(CONTENT_RANGE, HeaderValue::from_str(&len).expect("digits"));
            return refused;
        }
    };
    let mut reply = object(Dialect::Azure, &held, range, head);
    for (name, value) in &held.said {
        // A digest is of the whole blob; a part has it under a name of its own.
        let name = match name.as_str() {
            "content-md5" if range.is_some() => HeaderName::from_static("x-ms-blob-content-md5"),
            _ => name.clone(),
        };
        reply.headers_mut().insert(name, value.clone());
    }
    reply
}

fn put(state: &State, request: &Request, container: &Bucket, blob: &str) -> Reply {
    if let Some(source) = request.header("x-ms-copy-source") {
        let Some(source) = copied(state, source) else { return not_found(source) };
        let version =
            state.objects.version(source.content.clone(), Some(source.kind.clone()), source.said.clone());
        let mut reply = stored(request, container, blob, version);
        if reply.status() == StatusCode::CREATED {
            *reply.status_mut() = StatusCode::ACCEPTED;
            reply.headers_mut().insert("x-ms-copy-status", HeaderValue::from_static("success"));
            reply.headers_mut().insert("x-ms-copy-id", HeaderValue::from_static("0"));
        }
        return reply;
    }
    if request.header("x-ms-blob-type") != Some("BlockBlob") {
        return error(400, "InvalidHeaderValue", "x-ms-blob-type must be BlockBlob here");
    }
    let version = state.objects.version(request.body.clone(), kind(request), said(request));
    stored(request, container, blob, version)
}

fn copied(state: &State, source: &str) -> Option<Arc<Held>> {
    let path = source.split_once("://").map_or(source, |(_, rest)| rest);
    let path = path.split('?').next()?;
    // Host, account, container, blob.
    let mut parts = path.splitn(4, '/').skip(2);
    let [container, blob] = [parts.next()?, parts.next()?];
    let decoded = |part| percent_decode_str(part).decode_utf8().ok();
    let container = state.objects.bucket(&decoded(container)?)?;
    container.read().get(&*decoded(blob)?).cloned()
}

fn stored(request: &Request, container: &Bucket, blob: &str, version: Arc<Held>) -> Reply {
    let mut blobs = container.write();
    match verdict(request, blobs.get(blob).map(|held| &**held)) {
        Verdict::Failed => error(412, "ConditionNotMet", "it is another version, or none"),
        Verdict::Same => error(409, "BlobAlreadyExists", "it is there already"),
        Verdict::Go => {
            let etag = version.etag.clone();
            blobs.insert(blob.into(), version);
            created(Some(etag))
        }
    }
}

fn kind(request: &Request) -> Option<HeaderValue> {
    let given = request.headers.get("x-ms-blob-content-type").or(request.headers.get(CONTENT_TYPE));
    given.cloned()
}

/// Metadata and the digest, to be given back as they came.
fn said(request: &Request) -> Vec<(HeaderName, HeaderValue)> {
    let metadata = request.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-meta-"));
    let mut said: Vec<_> = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
    let digest = request.headers.get("x-ms-blob-content-md5").or(request.headers.get("content-md5"));
    said.extend(digest.map(|digest| (HeaderName::from_static("content-md5"), digest.clone())));
    said
}

pub(super) fn delete(request: &Request, container: &Bucket, blob: &str) -> Reply {
    let mut blobs = container.write();
    if !blobs.contains_key(blob) {
        return not_found(blob);
    }
    if verdict(request, blobs.get(blob).map(|held| &**held)) != Verdict::Go {
        return error(412, "ConditionNotMet", "it is another version");
    }
    blobs.remove(blob);
    empty(StatusCode::ACCEPTED)
}

/// Blocks that are not committed yet lie with their blob.
fn blocks_of(container: &str, blob: &str) -> String {
    format!("{container}/{blob}")
}

fn put_block(state: &State, request: &Request, container: &str, blob: &str) -> Reply {
    let Some(id) = request.query("blockid").filter(|id| !id.is_empty()) else {
        return error(400, "InvalidQueryParameterValue", "blockid is missing");
    };
    let block = (HeaderValue::from_static(""), request.body.clone());
    state.uploads.with_new(&blocks_of(container, blob), |upload| upload.parts.insert(id, block));
    created(None)
}

#[derive(Deserialize)]
struct BlockList {
    #[serde(rename = "$value", default)]
    blocks: Vec<Block>,
}

/// Where a block is looked for. Blocks that were committed are no longer known by name here.
#[derive(Deserialize)]
enum Block {
    Latest(String),
    Uncommitted(String),
    Committed(serde::de::IgnoredAny),
}

fn put_block_list(state: &State, request: &Request, held: &Bucket, container: &str, blob: &str) -> Reply {
    let parsed = std::str::from_utf8(&request.body).ok().and_then(|text| quick_xml::de::from_str(text).ok());
    let Some(BlockList { blocks }) = parsed else {
        return error(400, "InvalidXmlDocument", "not a list of blocks");
    };
    let id = blocks_of(container, blob);
    let contents: Option<Vec<_>> = state.uploads.with_new(&id, |upload| {
        let content = |block: &Block| match block {
            Block::Latest(id) | Block::Uncommitted(id) => {
                upload.parts.get(id).map(|(_, content)| content.clone())
            }
            Block::Committed(_) => None,
        };
        blocks.iter().map(content).collect()
    });
    let Some(contents) = contents else { return error(400, "InvalidBlockList", "a block is not there") };
    let version = state.objects.version(joined(&contents), kind_of_list(request), said(request));
    let reply = stored(request, held, blob, version);
    if reply.status() == StatusCode::CREATED {
        state.uploads.take(&id);
    }
    reply
}

/// The content type of the request itself is that of the list.
fn kind_of_list(request: &Request) -> Option<HeaderValue> {
    request.headers.get("x-ms-blob-content-type").cloned()
}

fn list(request: &Request, name: &str, container: &Bucket) -> Reply {
    let [prefix, delimiter] = ["prefix", "delimiter"].map(|name| request.query(name).unwrap_or_default());
    let marker = request.query("marker").filter(|marker| !marker.is_empty());
    let after = match marker.as_deref().map(listing::from_token) {
        Some(None) => return error(400, "InvalidQueryParameterValue", "the marker is not one of ours"),
        Some(after) => after,
        None => None,
    };
    let limit = request.query("maxresults").map_or(Ok(PAGE), |limit| limit.parse());
    let Ok(limit @ 1..) = limit else {
        return error(400, "OutOfRangeQueryParameterValue", "maxresults is not from 1 to 5000");
    };
    let limit = limit.min(PAGE);
    let page = listing::list(container, &Query { prefix: &prefix, delimiter: &delimiter, after, limit });
    let mut body = String::with_capacity(512 + 400 * page.entries.len());
    let _ = write!(
        body,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"{}\"><Prefix>{}</Prefix><Blobs>",
        escape(name),
        escape(&*prefix)
    );
    for entry in &page.entries {
        let _ = match entry {
            Entry::Object(key, held) => write!(
                body,
                "<Blob><Name>{}</Name><Properties><Last-Modified>{MODIFIED_HTTP}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>",
                escape(&**key),
                held.etag.to_str().unwrap_or_default().trim_matches('"'),
                held.content.len(),
            ),
            Entry::Prefix(prefix) => {
                write!(body, "<BlobPrefix><Name>{}</Name></BlobPrefix>", escape(&**prefix))
            }
        };
    }
    let next = page.next.unwrap_or_default();
    let _ = write!(body, "</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>");
    xml(StatusCode::OK, body)
}
