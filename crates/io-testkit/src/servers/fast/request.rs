//! A request as both dialects look at it: method, decoded path, query, headers, whole body.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) async fn read(request: http::Request<Incoming>) -> Result<Self, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = match parts.method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ => body.collect().await?.to_bytes(),
        };
        Ok(Request { method: parts.method, uri: parts.uri, headers: parts.headers, body })
    }

    /// A bucket in front of the host `localhost`, put in front of the path: whether there was one.
    pub(crate) fn lower_bucket(&mut self) -> bool {
        let host = self.header("host").unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let Some(bucket) = name.strip_suffix(".localhost") else { return false };
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        match format!("/{bucket}{path}").parse() {
            Ok(uri) => self.uri = uri,
            Err(_) => return false,
        }
        true
    }

    /// Whether it asks either dialect for a page of a listing.
    pub(crate) fn is_listing(&self) -> bool {
        self.method == Method::GET
            && (self.query("list-type").as_deref() == Some("2")
                || self.query("comp").as_deref() == Some("list"))
    }

    /// A delete without conditions: what a batch is made of.
    pub(crate) fn bare() -> Self {
        Request { method: Method::DELETE, uri: Uri::default(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The path's first `N` parts and all that follows them, decoded; what is missing is empty. `None` where
    /// it is not UTF-8.
    pub(crate) fn path<const N: usize>(&self) -> Option<[Cow<'_, str>; N]> {
        let path = self.uri.path();
        let mut parts = path.strip_prefix('/').unwrap_or(path).splitn(N, '/');
        let mut decoded = [const { Cow::Borrowed("") }; N];
        for slot in &mut decoded {
            *slot = percent_decode_str(parts.next().unwrap_or_default()).decode_utf8().ok()?;
        }
        Some(decoded)
    }

    /// A value of the query, decoded; the empty one where the name stands alone.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.uri.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // `+` is how forms, and so some clients, write a blank.
            let value = || percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
            (key == name).then(value)
        })
    }

    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
