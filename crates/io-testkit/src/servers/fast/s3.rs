//! S3 over the objects in memory, as its REST API reference describes the operations.

use super::super::tokens::TokenVerdict;
use super::conditions::{Verdict, verdict};
use super::listing::{self, Entry, Query};
use super::objects::{Bucket, Held};
use super::range::{Ranged, ranged};
use super::reply::{Dialect, MODIFIED_HTTP, MODIFIED_ISO, Reply, empty, object, with_body, xml};
use super::request::Request;
use super::{State, aws_chunked, s3_parts};
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use quick_xml::escape::escape;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The checksum that is checked here, and computed for seeded objects.
pub(super) const CRC32C: &str = "x-amz-checksum-crc32c";
/// Most keys that a page of a listing has, and that a batch of deletes may have.
const PAGE: usize = 1000;

pub(super) async fn answer(state: Arc<State>, mut request: Request) -> Reply {
    if let Err(refused) = unwrap_chunks(&mut request) {
        return refused;
    }
    if request.lower_bucket() {
        state.by_host.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(refused) = stranger(&state, &request) {
        return refused;
    }
    let Some([bucket, key]) = request.path::<2>() else {
        return error(400, "InvalidURI", "the path is not UTF-8");
    };
    if bucket.is_empty() {
        return unsupported(&request);
    }
    if key.is_empty() && request.method == Method::PUT {
        state.objects.make_bucket(&bucket);
        return empty(StatusCode::OK);
    }
    let Some(held) = state.objects.bucket(&bucket) else {
        return error(404, "NoSuchBucket", &format!("there is no bucket `{bucket}`"));
    };
    if key.is_empty() {
        return of_bucket(&state, &request, &bucket, &held);
    }
    match request.method {
        Method::GET | Method::HEAD if request.query("uploadId").is_none() => get(&request, &held, &key),
        Method::PUT if request.query("uploadId").is_some() => {
            s3_parts::put_part(&state, &request, &bucket, &key)
        }
        Method::PUT => put(&state, &request, &held, &key),
        Method::POST if request.query("uploads").is_some() => {
            s3_parts::begin(&state, &request, &bucket, &key)
        }
        Method::POST if request.query("uploadId").is_some() => {
            s3_parts::complete(&state, &request, &held, &bucket, &key)
        }
        Method::DELETE if request.query("uploadId").is_some() => s3_parts::abort(&state, &request),
        Method::DELETE => {
            held.write().remove(&*key);
            empty(StatusCode::NO_CONTENT)
        }
        _ => unsupported(&request),
    }
}

pub(super) fn error(status: u16, code: &'static str, text: &str) -> Reply {
    super::reply::error(Dialect::S3, status, code, text)
}

fn unsupported(request: &Request) -> Reply {
    error(501, "NotImplemented", &format!("{} of this is not what a test server does", request.method))
}

/// Takes the body out of `aws-chunked`.
fn unwrap_chunks(request: &mut Request) -> Result<(), Reply> {
    let by_hash = request.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
    let by_encoding =
        request.header("content-encoding").is_some_and(|encoding| encoding.contains("aws-chunked"));
    if by_hash || by_encoding {
        let malformed = || error(400, "IncompleteBody", "the body is not whole in aws-chunked");
        request.body = aws_chunked::decode(&request.body).ok_or_else(malformed)?;
    }
    Ok(())
}

/// Why somebody is not let in who shows no session token that is good, or another key's.
fn stranger(state: &State, request: &Request) -> Option<Reply> {
    let tokens = state.tokens.lock().clone()?;
    let id =
        request.header("authorization").and_then(|text| text.split_once("Credential=")?.1.split('/').next());
    // Requests that are not signed show no key.
    match tokens.show(request.header("x-amz-security-token"), Some(id.unwrap_or_default())) {
        TokenVerdict::Good => None,
        TokenVerdict::Ended => Some(error(400, "ExpiredToken", "the token has ended")),
        TokenVerdict::Unknown => Some(error(403, "InvalidAccessKeyId", "nobody knows this key")),
    }
}

fn of_bucket(state: &State, request: &Request, name: &str, bucket: &Bucket) -> Reply {
    match request.method {
        Method::HEAD => empty(StatusCode::OK),
        Method::GET if request.query("list-type").as_deref() == Some("2") => list(request, name, bucket),
        Method::GET if request.query("location").is_some() => xml(
            StatusCode::OK,
            "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>".to_owned(),
        ),
        Method::POST if request.query("delete").is_some() => delete_many(request, bucket),
        Method::DELETE if bucket.read().is_empty() => {
            state.objects.remove_bucket(name);
            empty(StatusCode::NO_CONTENT)
        }
        Method::DELETE => error(409, "BucketNotEmpty", "there are objects in it"),
        _ => unsupported(request),
    }
}

fn get(request: &Request, bucket: &Bucket, key: &str) -> Reply {
    let Some(held) = bucket.read().get(key).cloned() else {
        return error(404, "NoSuchKey", &format!("there is no object `{key}`"));
    };
    match verdict(request, Some(&held)) {
        Verdict::Failed => return error(412, "PreconditionFailed", "it is another version"),
        Verdict::Same => return empty(StatusCode::NOT_MODIFIED),
        Verdict::Go => {}
    }
    let head = request.method == Method::HEAD;
    let range = match ranged(request.header("range"), held.content.len() as u64) {
        Ranged::Whole => None,
        Ranged::Part(start, end) => Some((start, end)),
        Ranged::Unsatisfiable => {
            let mut refused = error(416, "InvalidRange", "nothing of the range is there");
            let len = format!("bytes */{}", held.content.len());
            refused.headers_mut().insert(CONTENT_RANGE, HeaderValue::from_str(&len).expect("digits"));
            return refused;
        }
    };
    let mut reply = object(Dialect::S3, &held, range, head);
    for (name, value) in &held.said {
        // Checksums are of whole objects, and told to those who ask.
        let checksum = name.as_str().starts_with("x-amz-checksum-");
        let asked =
            || request.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
        if !checksum || (range.is_none() && asked()) {
            reply.headers_mut().insert(name.clone(), value.clone());
        }
    }
    reply
}

fn put(state: &State, request: &Request, bucket: &Bucket, key: &str) -> Reply {
    let source = match request.header("x-amz-copy-source") {
        Some(source) => match copied(state, source) {
            Some(held) => Some(held),
            None => return error(404, "NoSuchKey", "there is no such object to copy"),
        },
        None => None,
    };
    let version = match &source {
        Some(source) => {
            state.objects.version(source.content.clone(), Some(source.kind.clone()), source.said.clone())
        }
        None => {
            if let Err(refused) = checked(request, &request.body) {
                return refused;
            }
            state.objects.version(request.body.clone(), kind(request), said(request))
        }
    };
    let etag = version.etag.clone();
    if let Err(refused) = store(bucket, request, key, version) {
        return refused;
    }
    let mut reply = match source {
        Some(_) => xml(
            StatusCode::OK,
            format!(
                "<CopyObjectResult><ETag>{}</ETag><LastModified>{MODIFIED_ISO}</LastModified></CopyObjectResult>",
                escape(etag.to_str().unwrap_or_default())
            ),
        ),
        None => empty(StatusCode::OK),
    };
    reply.headers_mut().insert(ETAG, etag);
    reply
}

/// Puts a version where the request's conditions allow it.
pub(super) fn store(bucket: &Bucket, request: &Request, key: &str, version: Arc<Held>) -> Result<(), Reply> {
    let mut objects = bucket.write();
    match verdict(request, objects.get(key).map(|held| &**held)) {
        Verdict::Go => {
            objects.insert(key.into(), version);
            Ok(())
        }
        Verdict::Failed if !objects.contains_key(key) => {
            Err(error(404, "NoSuchKey", "there is none to replace"))
        }
        _ => Err(error(412, "PreconditionFailed", "the condition does not hold")),
    }
}

fn copied(state: &State, source: &str) -> Option<Arc<Held>> {
    let source = percent_decode_str(source.trim_start_matches('/')).decode_utf8().ok()?;
    let (bucket, key) = source.split_once('/')?;
    let bucket = state.objects.bucket(bucket)?;
    bucket.read().get(key).cloned()
}

/// The content against the checksum that came with it.
pub(super) fn checked(request: &Request, content: &Bytes) -> Result<(), Reply> {
    use base64::Engine as _;
    if let Some(sum) = request.header(CRC32C) {
        let found = crc32c::crc32c(content).to_be_bytes();
        if base64::engine::general_purpose::STANDARD.encode(found) != sum {
            return Err(error(400, "BadDigest", "the CRC32C is another"));
        }
    }
    Ok(())
}

pub(super) fn kind(request: &Request) -> Option<HeaderValue> {
    request.headers.get(CONTENT_TYPE).cloned()
}

/// Metadata and checksums, to be given back as they came.
pub(super) fn said(request: &Request) -> Vec<(HeaderName, HeaderValue)> {
    let kept = |name: &str| {
        name.starts_with("x-amz-meta-")
            || ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]
                .iter()
                .any(|sum| name.strip_prefix("x-amz-checksum-") == Some(sum))
    };
    let headers = request.headers.iter().filter(|(name, _)| kept(name.as_str()));
    headers.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn list(request: &Request, name: &str, bucket: &Bucket) -> Reply {
    let [prefix, delimiter] = ["prefix", "delimiter"].map(|name| request.query(name).unwrap_or_default());
    let after = match request.query("continuation-token") {
        Some(token) => match listing::from_token(&token) {
            Some(after) => Some(after),
            None => return error(400, "InvalidArgument", "the continuation token is not one of ours"),
        },
        None => request.query("start-after"),
    };
    let limit = request.query("max-keys").map_or(Ok(PAGE), |limit| limit.parse());
    let Ok(limit) = limit else { return error(400, "InvalidArgument", "max-keys is no number") };
    let limit = limit.min(PAGE);
    let page = listing::list(bucket, &Query { prefix: &prefix, delimiter: &delimiter, after, limit });
    let by_url = request.query("encoding-type").as_deref() == Some("url");
    let shown = |key: &str| -> String {
        match by_url {
            true => utf8_percent_encode(key, PLAIN).to_string(),
            false => Cow::into_owned(escape(key)),
        }
    };
    let mut body = String::with_capacity(512 + 256 * page.entries.len());
    body.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    body.push_str("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    let _ = write!(
        body,
        "<Name>{}</Name><Prefix>{}</Prefix><MaxKeys>{limit}</MaxKeys><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        escape(name),
        shown(&prefix),
        page.entries.len(),
        page.next.is_some(),
    );
    if by_url {
        body.push_str("<EncodingType>url</EncodingType>");
    }
    if !delimiter.is_empty() {
        let _ = write!(body, "<Delimiter>{}</Delimiter>", shown(&delimiter));
    }
    if let Some(next) = &page.next {
        let _ = write!(body, "<NextContinuationToken>{next}</NextContinuationToken>");
    }
    for entry in &page.entries {
        let _ = match entry {
            Entry::Object(key, held) => write!(
                body,
                "<Contents><Key>{}</Key><LastModified>{MODIFIED_ISO}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                shown(key),
                held.etag.to_str().unwrap_or_default().trim_matches('"'),
                held.content.len(),
            ),
            Entry::Prefix(prefix) => {
                write!(body, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", shown(prefix))
            }
        };
    }
    body.push_str("</ListBucketResult>");
    let mut reply = xml(StatusCode::OK, body);
    reply.headers_mut().insert(http::header::LAST_MODIFIED, HeaderValue::from_static(MODIFIED_HTTP));
    reply
}

#[derive(Deserialize)]
struct Delete {
    #[serde(rename = "Object", default)]
    objects: Vec<DeleteKey>,
    #[serde(rename = "Quiet", default)]
    quiet: bool,
}

#[derive(Deserialize)]
struct DeleteKey {
    #[serde(rename = "Key")]
    key: String,
}

fn delete_many(request: &Request, bucket: &Bucket) -> Reply {
    let parsed = std::str::from_utf8(&request.body).ok().and_then(|text| quick_xml::de::from_str(text).ok());
    let Some(Delete { objects, quiet }) = parsed else {
        return error(400, "MalformedXML", "not a list of keys to delete");
    };
    if objects.len() > PAGE {
        return error(400, "MalformedXML", "more than 1000 keys");
    }
    let mut body = String::from("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    let mut held = bucket.write();
    for DeleteKey { key } in objects {
        held.remove(&*key);
        if !quiet {
            let _ = write!(body, "<Deleted><Key>{}</Key></Deleted>", escape(&*key));
        }
    }
    body.push_str("</DeleteResult>");
    let mut reply = with_body(StatusCode::OK, body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}
