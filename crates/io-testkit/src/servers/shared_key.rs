//! Azure's Shared Key: a signature over a request's method, headers and resource, and the account SAS that
//! is made with the same key. As published under "Authorize with Shared Key" and "Create an account SAS" in
//! Microsoft's documentation of the storage services.
//!
//! Here so that Azurite can be filled before any store of ours has to work.

use super::plain_http::Ask;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

/// The version of the protocol that signatures here are made for.
const VERSION: &str = "2021-12-02";
/// Emulators do not look at the clock, so this needs none.
const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

/// `ask`, its target beginning with `/ACCOUNT` as emulators want it, with date, version and signature.
/// Values of its query must not need decoding.
pub(crate) fn sign(ask: Ask, account: &str, key: &str) -> Ask {
    let ask = ask.header("x-ms-date", DATE).header("x-ms-version", VERSION);
    let mut ms: Vec<_> = ask.headers().iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    ms.sort();
    let ms: String = ms.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (path, query) = ask.target().split_once('?').unwrap_or((ask.target(), ""));
    let mut query: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let query: String = query.iter().map(|pair| format!("\n{}", pair.replacen('=', ":", 1))).collect();
    let length = if ask.body_len() == 0 { String::new() } else { ask.body_len().to_string() };
    let given = |wanted: &str| {
        let found = ask.headers().iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value.as_str())
    };
    let text = format!(
        "{}\n\n\n{length}\n\n{}\n\n\n\n\n\n{}\n{ms}/{account}{path}{query}",
        ask.method(),
        given("content-type"),
        given("range"),
    );
    let signature = signature(&text, key);
    ask.header("authorization", format!("SharedKey {account}:{signature}"))
}

/// An account SAS that allows everything on blobs for as long as anybody will run these tests.
pub(crate) fn account_sas(account: &str, key: &str) -> String {
    let (version, permissions, services, resources) = ("2018-11-09", "rwdlac", "b", "sco");
    let (expiry, protocol) = ("2099-01-01T00:00:00Z", "https,http");
    let text =
        format!("{account}\n{permissions}\n{services}\n{resources}\n\n{expiry}\n\n{protocol}\n{version}\n");
    let signature = signature(&text, key);
    let encode = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    format!(
        "sv={version}&ss={services}&srt={resources}&sp={permissions}&se={}&spr={}&sig={}",
        encode(expiry),
        encode(protocol),
        encode(&signature)
    )
}

fn signature(text: &str, key: &str) -> String {
    let key = STANDARD.decode(key).expect("an account key is base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length of key will do");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
