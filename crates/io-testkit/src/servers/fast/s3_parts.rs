//! S3's multipart uploads.

use super::State;
use super::objects::Bucket;
use super::reply::{Reply, empty, xml};
use super::request::Request;
use super::s3::{checked, error, kind, said, store};
use super::uploads::{Upload, joined};
use http::StatusCode;
use http::header::ETAG;
use quick_xml::escape::escape;
use serde::Deserialize;

/// S3's smallest part, but for the last one.
const SMALLEST: usize = 5 << 20;

pub(super) fn begin(state: &State, request: &Request, bucket: &str, key: &str) -> Reply {
    // The number of a version is unique, which is all that an identifier has to be.
    let version = state.objects.version(bytes::Bytes::new(), None, Vec::new());
    let id = version.etag.to_str().unwrap_or_default().trim_matches('"').to_owned();
    let mut headers = said(request);
    // Those of single parts are not the object's.
    headers.retain(|(name, _)| !name.as_str().starts_with("x-amz-checksum-"));
    let upload = Upload {
        bucket: bucket.into(),
        key: key.into(),
        kind: kind(request),
        said: headers,
        ..Upload::default()
    };
    let body = format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
        escape(bucket),
        escape(key)
    );
    state.uploads.begin(id, upload);
    xml(StatusCode::OK, body)
}

fn no_such_upload() -> Reply {
    error(404, "NoSuchUpload", "the upload was finished, given up, or never begun")
}

fn named(number: u32) -> String {
    format!("{number:05}")
}

pub(super) fn put_part(state: &State, request: &Request, bucket: &str, key: &str) -> Reply {
    let id = request.query("uploadId").unwrap_or_default();
    let number = request.query("partNumber").and_then(|number| number.parse().ok());
    let Some(number @ 1..=10_000) = number else {
        return error(400, "InvalidArgument", "partNumber is not from 1 to 10000");
    };
    if let Err(refused) = checked(request, &request.body) {
        return refused;
    }
    let etag = state.objects.version(request.body.clone(), None, Vec::new()).etag.clone();
    let put = state.uploads.with(&id, |upload| {
        let ours = upload.bucket == bucket && upload.key == key;
        ours.then(|| upload.parts.insert(named(number), (etag.clone(), request.body.clone())))
    });
    let Some(Some(_)) = put else { return no_such_upload() };
    let mut reply = empty(StatusCode::OK);
    reply.headers_mut().insert(ETAG, etag);
    reply
}

#[derive(Deserialize)]
struct Complete {
    #[serde(rename = "Part", default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "PartNumber")]
    number: u32,
    #[serde(rename = "ETag")]
    etag: String,
}

pub(super) fn complete(state: &State, request: &Request, held: &Bucket, bucket: &str, key: &str) -> Reply {
    let id = request.query("uploadId").unwrap_or_default();
    let parsed = std::str::from_utf8(&request.body).ok().and_then(|text| quick_xml::de::from_str(text).ok());
    let Some(Complete { parts }) = parsed else { return error(400, "MalformedXML", "not a list of parts") };
    if parts.is_empty() || !parts.is_sorted_by(|a, b| a.number < b.number) {
        return error(400, "InvalidPartOrder", "parts must be named once each, in order");
    }
    let chosen = state.uploads.with(&id, |upload| {
        let part = |part: &Part| {
            let (etag, content) = upload.parts.get(&named(part.number))?;
            (etag.to_str().ok()?.trim_matches('"') == part.etag.trim_matches('"')).then(|| content.clone())
        };
        let contents: Option<Vec<_>> = parts.iter().map(part).collect();
        (contents, upload.kind.clone(), upload.said.clone())
    });
    let Some((contents, kind, said)) = chosen else { return no_such_upload() };
    let Some(contents) = contents else { return error(400, "InvalidPart", "a part is missing or another") };
    if contents[..contents.len() - 1].iter().any(|part| part.len() < SMALLEST) {
        return error(400, "EntityTooSmall", "a part but the last is smaller than 5 MiB");
    }
    let version = state.objects.version(joined(&contents), kind, said);
    let etag = version.etag.clone();
    if let Err(refused) = store(held, request, key, version) {
        return refused;
    }
    state.uploads.take(&id);
    let body = format!(
        "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></CompleteMultipartUploadResult>",
        escape(bucket),
        escape(key),
        escape(etag.to_str().unwrap_or_default())
    );
    xml(StatusCode::OK, body)
}

pub(super) fn abort(state: &State, request: &Request) -> Reply {
    match state.uploads.take(&request.query("uploadId").unwrap_or_default()) {
        Some(_) => empty(StatusCode::NO_CONTENT),
        None => no_such_upload(),
    }
}
