//! `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use super::objects::Held;
use super::request::Request;

/// What the conditions of a request say about the object that is there, or is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// `If-Match` named another version, or there is none.
    Failed,
    /// `If-None-Match` named this version, or any.
    Same,
}

pub(crate) fn verdict(request: &Request, held: Option<&Held>) -> Verdict {
    let named = |header: &str, held: Option<&Held>| {
        let Some(held) = held else { return false };
        let etag = held.etag.to_str().unwrap_or_default().trim_matches('"');
        header.split(',').map(str::trim).any(|one| one == "*" || one.trim_matches('"') == etag)
    };
    if request.header("if-match").is_some_and(|header| !named(header, held)) {
        return Verdict::Failed;
    }
    if request.header("if-none-match").is_some_and(|header| named(header, held)) {
        return Verdict::Same;
    }
    Verdict::Go
}
