//! Answers, and how each dialect says what went wrong.

use super::objects::Held;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use http::{Response, StatusCode};
use http_body_util::Full;

pub(crate) type Reply = Response<Full<Bytes>>;

/// When every object was last modified: these servers have no clock.
pub(crate) const MODIFIED_HTTP: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
pub(crate) const MODIFIED_ISO: &str = "2024-01-01T00:00:00.000Z";

/// Which service an answer has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    S3,
    Azure,
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    with_body(status, Bytes::new())
}

pub(crate) fn with_body(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
}

pub(crate) fn xml(status: StatusCode, body: String) -> Reply {
    let mut reply = with_body(status, body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}

/// An error with its code, which clients look at, and a text for people.
pub(crate) fn error(dialect: Dialect, status: u16, code: &'static str, text: &str) -> Reply {
    let status = StatusCode::from_u16(status).expect("statuses here are constants");
    let text = quick_xml::escape::escape(text);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{text}</Message></Error>"
    );
    let mut reply = xml(status, body);
    if dialect == Dialect::Azure {
        reply.headers_mut().insert("x-ms-error-code", HeaderValue::from_static(code));
    }
    reply
}

/// An object, or `range` of it: for GET and HEAD, whose body hyper leaves out by itself.
pub(crate) fn object(dialect: Dialect, held: &Held, range: Option<(u64, u64)>, head: bool) -> Reply {
    let len = held.content.len() as u64;
    let (start, end) = range.unwrap_or((0, len));
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let content = if head { Bytes::new() } else { held.content.slice(start as usize..end as usize) };
    let mut reply = with_body(status, content);
    let headers = reply.headers_mut();
    if head {
        headers.insert(http::header::CONTENT_LENGTH, (end - start).into());
    }
    if range.is_some() {
        let range = format!("bytes {start}-{}/{len}", end - 1);
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits"));
    }
    headers.insert(ETAG, held.etag.clone());
    headers.insert(LAST_MODIFIED, HeaderValue::from_static(MODIFIED_HTTP));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, held.kind.clone());
    if dialect == Dialect::Azure {
        headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        headers.insert("x-ms-version", HeaderValue::from_static("2021-12-02"));
    }
    reply
}
