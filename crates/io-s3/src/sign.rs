//! Signature Version 4 of requests (AWS, *Signing AWS API requests*), for the service `s3`.
//!
//! The key that a day's requests are signed with is derived once and kept, as is the text of the second:
//! what is left for a request are two hashes of a few hundred bytes.

use crate::Credentials;
use forebay_io_object::wire::Request;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Says that the body is not covered by the signature: enough where TLS covers it.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A body as the signature sees it.
#[derive(Debug, Clone)]
pub(crate) enum Covered {
    Nothing,
    /// The body's SHA-256, in hexadecimal digits.
    Sum(String),
    ByTls,
}

impl Covered {
    /// A body that is to be sent.
    pub(crate) fn body(chunks: &[bytes::Bytes], tls: bool) -> Self {
        if chunks.is_empty() {
            return Covered::Nothing;
        }
        if tls {
            return Covered::ByTls;
        }
        let mut sum = Sha256::new();
        chunks.iter().for_each(|chunk| sum.update(chunk));
        Covered::Sum(hex(&sum.finalize()))
    }

    fn text(&self) -> &str {
        match self {
            Covered::Nothing => EMPTY,
            Covered::Sum(sum) => sum,
            Covered::ByTls => UNSIGNED,
        }
    }
}

/// A request before it is signed.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'static str,
    /// The path, percent-encoded.
    pub(crate) path: &'a str,
    /// The query, percent-encoded and in the order of its names.
    pub(crate) query: &'a str,
    pub(crate) authority: &'a str,
    /// Fields that are signed: those that begin with `x-amz-`, in lower case.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) covered: Covered,
}

/// Signs for one region.
pub(crate) struct Signer {
    region: Box<str>,
    key: Mutex<Option<DayKey>>,
}

#[derive(Clone)]
struct DayKey {
    /// What it was derived from: the access key's id, and the day.
    id: Box<str>,
    day: [u8; 8],
    secret: forebay_io_object::Secret,
    key: [u8; 32],
}

impl Signer {
    pub(crate) fn new(region: &str) -> Self {
        Signer { region: region.into(), key: Mutex::new(None) }
    }

    /// The request as it is sent; without credentials it is not signed.
    pub(crate) fn request(
        &self,
        unsigned: &Unsigned<'_>,
        credentials: Option<&Credentials>,
        now: SystemTime,
    ) -> Request {
        let Unsigned { method, path, query, authority, fields, covered } = unsigned;
        let target = if query.is_empty() { path.to_string() } else { format!("{path}?{query}") };
        let request = Request::new(method, &target, authority);
        let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
        let Some(credentials) = credentials else { return request };
        let time = Stamp::of(now);
        let token = credentials.session_token.as_ref().map(|token| token.expose());
        let mut signed: Vec<(&str, &str)> = fields.to_vec();
        signed.extend([
            ("host", *authority),
            ("x-amz-content-sha256", covered.text()),
            ("x-amz-date", time.text()),
        ]);
        signed.extend(token.map(|token| ("x-amz-security-token", token)));
        signed.sort_unstable();

        let mut canonical = String::with_capacity(512);
        let _ = write!(canonical, "{method}\n{path}\n");
        // A name without a value has an empty one here.
        for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let sign = if pair.contains('=') { "" } else { "=" };
            let _ = write!(canonical, "{}{pair}{sign}", if index > 0 { "&" } else { "" });
        }
        canonical.push('\n');
        for (name, value) in &signed {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let mut names = String::with_capacity(96);
        for (name, _) in &signed {
            names.push_str(if names.is_empty() { "" } else { ";" });
            names.push_str(name);
        }
        let _ = write!(canonical, "\n{names}\n{}", covered.text());

        let scope = format!("{}/{}/s3/aws4_request", time.day(), self.region);
        let text =
            format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", time.text(), hex(&Sha256::digest(&canonical)));
        let signature = hex(&mac(&self.day_key(credentials, &time), text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key_id
        );
        let mut request = request
            .field("x-amz-content-sha256", covered.text())
            .field("x-amz-date", time.text())
            .field("authorization", &authorization);
        if let Some(token) = token {
            request = request.field("x-amz-security-token", token);
        }
        request
    }

    fn day_key(&self, credentials: &Credentials, time: &Stamp) -> [u8; 32] {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && kept.day == time.digits[..8]
            && *kept.id == *credentials.access_key_id
            && kept.secret == credentials.secret_access_key
        {
            return kept.key;
        }
        let secret = format!("AWS4{}", credentials.secret_access_key.expose());
        let day = mac(secret.as_bytes(), time.day().as_bytes());
        let region = mac(&day, self.region.as_bytes());
        let key = mac(&mac(&region, b"s3"), b"aws4_request");
        let mut day = [0; 8];
        day.copy_from_slice(&time.digits[..8]);
        *kept = Some(DayKey {
            id: credentials.access_key_id.as_str().into(),
            day,
            secret: credentials.secret_access_key.clone(),
            key,
        });
        key
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is one");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// A time as `20130524T000000Z`.
struct Stamp {
    digits: [u8; 16],
}

impl Stamp {
    fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut digits = *b"00000000T000000Z";
        let mut put = |at: usize, len: usize, mut value: u64| {
            for index in (at..at + len).rev() {
                digits[index] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(4, 2, month);
        put(6, 2, day);
        put(9, 2, second / 3600);
        put(11, 2, second / 60 % 60);
        put(13, 2, second % 60);
        Stamp { digits }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.digits).unwrap_or_default()
    }

    fn day(&self) -> &str {
        &self.text()[..8]
    }
}

/// Year, month and day of a number of days since 1970 (H. Hinnant, *chrono-Compatible Low-Level Date
/// Algorithms*, `civil_from_days`, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn example() -> Credentials {
        Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            expires: None,
        }
    }

    /// 24 May 2013, as in AWS's examples.
    fn then() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    fn said(request: Request) -> String {
        String::from_utf8(request.head().to_vec()).unwrap()
    }

    /// "GET Object" and "GET Bucket (List Objects)" of AWS, *Signature calculations: transferring payload in a
    /// single chunk*. The first signs `range` too, which is allowed and not needed; here it stands for any
    /// field that is signed.
    #[test]
    fn the_examples_of_aws_come_out() {
        let signer = Signer::new("us-east-1");
        let get = Unsigned {
            method: "GET",
            path: "/test.txt",
            query: "",
            authority: "examplebucket.s3.amazonaws.com",
            fields: &[("range", "bytes=0-9")],
            covered: Covered::Nothing,
        };
        let list = Unsigned {
            path: "/",
            query: "max-keys=2&prefix=J",
            fields: &[],
            covered: Covered::Nothing,
            ..get
        };
        for (unsigned, signature) in [
            (&get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            (&list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let text = said(signer.request(unsigned, Some(&example()), then()));
            assert!(text.contains(&format!("Signature={signature}")), "{text}");
        }
    }

    #[test]
    fn another_key_another_day_and_a_token_change_the_signature() {
        let signer = Signer::new("us-east-1");
        let unsigned = Unsigned {
            method: "GET",
            path: "/k",
            query: "uploads",
            authority: "h",
            fields: &[],
            covered: Covered::ByTls,
        };
        let day = Duration::from_secs(86_400);
        let with_token = Credentials { session_token: Some("token".into()), ..example() };
        let other = Credentials { secret_access_key: "other".into(), ..example() };
        let all = [
            said(signer.request(&unsigned, Some(&example()), then())),
            said(signer.request(&unsigned, Some(&example()), then() + day)),
            said(signer.request(&unsigned, Some(&with_token), then())),
            said(signer.request(&unsigned, Some(&other), then())),
        ];
        let signatures: std::collections::BTreeSet<_> =
            all.iter().map(|text| text.split("Signature=").nth(1).unwrap()[..64].to_owned()).collect();
        assert_eq!(signatures.len(), 4);
        assert_eq!(
            said(signer.request(&unsigned, Some(&example()), then())),
            all[0],
            "a kept key is the same key"
        );
        assert!(!said(signer.request(&unsigned, None, then())).contains("authorization"));
    }

    proptest! {
        /// Against another implementation of the calendar.
        #[test]
        fn stamps_are_dates(seconds in 0u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let iso = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
            let stamp = Stamp::of(time);
            prop_assert_eq!(stamp.text(), iso);
        }
    }
}
