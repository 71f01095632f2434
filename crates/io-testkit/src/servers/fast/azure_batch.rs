//! Azure's blob batch: many deletes in one request, as `multipart/mixed` there and back.

use super::State;
use super::azure::{delete, error};
use super::reply::{Reply, with_body};
use super::request::Request;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use percent_encoding::percent_decode_str;
use std::fmt::Write as _;

/// Most requests of a batch.
const MOST: usize = 256;
const BOUNDARY: &str = "batchresponse_forebay";

pub(super) fn answer(state: &State, request: &Request) -> Reply {
    let kind = request.header("content-type").unwrap_or_default();
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
    let body = std::str::from_utf8(&request.body).ok();
    let (Some(boundary), Some(body)) = (boundary, body) else {
        return error(400, "InvalidInput", "not a batch in multipart/mixed");
    };
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let mut said = String::new();
    // What stands before the first boundary and after the last is no part.
    let parts: Vec<_> = body.split(&*boundary).skip(1).take_while(|part| !part.starts_with("--")).collect();
    if parts.len() > MOST {
        return error(400, "ExceedsMaxBatchRequestCount", "more than 256 requests");
    }
    for (number, part) in parts.into_iter().enumerate() {
        let id = part.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-id").then(|| value.trim())
        });
        let id = id.map_or_else(|| number.to_string(), str::to_owned);
        let one = match part.lines().find_map(|line| line.strip_prefix("DELETE ")) {
            Some(line) => delete_one(state, request, line.split(' ').next().unwrap_or_default()),
            None => error(400, "InvalidInput", "only deletes are batched here"),
        };
        let status = one.status();
        let _ = write!(
            said,
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: {id}\r\n\r\nHTTP/1.1 {} {}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        );
        if let Some(code) = one.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok()) {
            let _ = write!(said, "x-ms-error-code: {code}\r\n");
        }
        said.push_str("x-ms-version: 2021-12-02\r\nContent-Length: 0\r\n\r\n");
    }
    let _ = write!(said, "--{BOUNDARY}--\r\n");
    let mut reply = with_body(StatusCode::ACCEPTED, said);
    let kind = HeaderValue::from_str(&format!("multipart/mixed; boundary={BOUNDARY}")).expect("letters");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// `target` is a URL's path, with the account in front where the batch itself has it.
fn delete_one(state: &State, batch: &Request, target: &str) -> Reply {
    let path =
        target.split_once("://").map_or(target, |(_, rest)| rest.split_once('/').map_or("", |(_, p)| p));
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let account = batch.path::<1>().map(|[first]| first.into_owned()).unwrap_or_default();
    let account = account.split('/').next().unwrap_or_default();
    let path = match path.split_once('/') {
        Some((first, rest)) if first == account => rest,
        _ => path,
    };
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or_default();
    let Some((container, blob)) = decoded.split_once('/') else {
        return error(400, "InvalidInput", "not the path of a blob");
    };
    let Some(held) = state.objects.bucket(container) else {
        return error(404, "ContainerNotFound", "there is no such container");
    };
    // The batch's own headers are no conditions on its parts.
    delete(&Request::bare(), &held, blob)
}
