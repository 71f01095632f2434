//! Connection strings, as the Azure portal shows them: `AccountName=…;AccountKey=…;EndpointSuffix=…`.
//!
//! Only what blobs need is kept; the endpoints of queues, tables and files are known and passed over.
//! No error shows a value: any of them may be a secret.

use crate::account::{EMULATOR_ACCOUNT, EMULATOR_ENDPOINT, EMULATOR_KEY, account_of_endpoint};
use forebay_io::{Error, Result};
use forebay_io_object::Secret;
use std::collections::BTreeMap;

/// What a connection string says about blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// The storage account, where it is named, be it by the host of the endpoint.
    pub account: Option<String>,
    /// The URL of the blob service, where it is named or can be told from the account.
    pub endpoint: Option<String>,
    /// The account's key, in base64.
    pub account_key: Option<Secret>,
    /// A shared access signature, without its question mark.
    pub sas_token: Option<Secret>,
}

/// Keys with a meaning elsewhere: other services of the same account.
const OTHER_SERVICES: [&str; 7] = [
    "queueendpoint",
    "tableendpoint",
    "fileendpoint",
    "queuesecondaryendpoint",
    "tablesecondaryendpoint",
    "filesecondaryendpoint",
    "blobsecondaryendpoint",
];

/// Keys that are understood.
const VALID: &str = "AccountName, AccountKey, SharedAccessSignature, BlobEndpoint, \
                     DefaultEndpointsProtocol, EndpointSuffix, UseDevelopmentStorage, DevelopmentStorageProxyUri";

impl ConnectionString {
    /// Reads a connection string. Keys may be in any case and any order; a value may hold `=`.
    ///
    /// # Errors
    /// `InvalidConfig` for a part that is not `key=value`, an unknown or doubled key, a protocol other than
    /// http and https, a SAS beside a key, and a string that names neither account nor blob endpoint. The
    /// text names the key and never a value.
    pub fn parse(text: &str) -> Result<Self> {
        let mut given = fields(text)?;
        let mut take = |key: &str| given.remove(key);
        let proxy = take("developmentstorageproxyuri");
        if let Some(emulator) = take("usedevelopmentstorage") {
            if !emulator.eq_ignore_ascii_case("true") {
                return Err(Error::invalid(
                    "connection string: UseDevelopmentStorage is not `true`; leave it out where no emulator is meant",
                ));
            }
            return match given.keys().next() {
                None => Ok(Self::emulator(proxy)),
                Some(key) => Err(Error::invalid(format!(
                    "connection string: {key} stands beside UseDevelopmentStorage=true, which fixes it already"
                ))),
            };
        }
        if proxy.is_some() {
            return Err(Error::invalid(
                "connection string: DevelopmentStorageProxyUri is only for UseDevelopmentStorage=true",
            ));
        }
        let account = take("accountname");
        let account_key = take("accountkey").map(Secret::new);
        let sas_token =
            take("sharedaccesssignature").map(|sas| Secret::new(sas.trim_start_matches('?').to_owned()));
        if account_key.is_some() && sas_token.is_some() {
            return Err(Error::invalid(
                "connection string: AccountKey and SharedAccessSignature exclude each other; leave one out",
            ));
        }
        let protocol = take("defaultendpointsprotocol").unwrap_or_else(|| "https".to_owned());
        if !["http", "https"].iter().any(|valid| protocol.eq_ignore_ascii_case(valid)) {
            return Err(Error::invalid("connection string: DefaultEndpointsProtocol must be http or https"));
        }
        let suffix = take("endpointsuffix").unwrap_or_else(|| "core.windows.net".to_owned());
        let endpoint = match (take("blobendpoint"), &account) {
            (Some(endpoint), _) => Some(endpoint),
            (None, Some(account)) => {
                let protocol = protocol.to_ascii_lowercase();
                Some(format!("{protocol}://{account}.blob.{suffix}"))
            }
            (None, None) => None,
        };
        if endpoint.is_none() {
            return Err(Error::invalid(
                "connection string: it names neither AccountName nor BlobEndpoint, so there is nothing to connect to",
            ));
        }
        let account = account.or_else(|| account_of_endpoint(endpoint.as_deref()?));
        Ok(ConnectionString { account, endpoint, account_key, sas_token })
    }

    /// Azurite, or the emulator behind `proxy`, with its well-known account.
    fn emulator(proxy: Option<String>) -> Self {
        let endpoint = match proxy {
            Some(proxy) => format!("{}:10000/{EMULATOR_ACCOUNT}", proxy.trim_end_matches('/')),
            None => EMULATOR_ENDPOINT.to_owned(),
        };
        ConnectionString {
            account: Some(EMULATOR_ACCOUNT.to_owned()),
            endpoint: Some(endpoint),
            account_key: Some(Secret::new(EMULATOR_KEY.to_owned())),
            sas_token: None,
        }
    }
}

/// The parts by their key in lower case, without those of other services.
fn fields(text: &str) -> Result<BTreeMap<String, String>> {
    const KNOWN: [&str; 8] = [
        "accountname",
        "accountkey",
        "sharedaccesssignature",
        "blobendpoint",
        "defaultendpointsprotocol",
        "endpointsuffix",
        "usedevelopmentstorage",
        "developmentstorageproxyuri",
    ];
    let mut given = BTreeMap::new();
    for (index, part) in text.split(';').map(str::trim).enumerate() {
        if part.is_empty() {
            continue;
        }
        let Some((key, value)) = part.split_once('=') else {
            let context = format!("connection string: part {} is not KEY=VALUE", index + 1);
            return Err(Error::invalid(context));
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if OTHER_SERVICES.contains(&key.as_str()) {
            continue;
        }
        if !KNOWN.contains(&key.as_str()) {
            // What stands before `=` can be a secret too, where somebody pasted something else.
            let context =
                format!("connection string: the key of part {} is not known; valid: {VALID}", index + 1);
            return Err(Error::invalid(context));
        }
        if value.is_empty() {
            return Err(Error::invalid(format!("connection string: {key} has no value")));
        }
        if given.insert(key.clone(), value.to_owned()).is_some() {
            return Err(Error::invalid(format!("connection string: {key} is given twice")));
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoint(text: &str) -> String {
        ConnectionString::parse(text).unwrap().endpoint.unwrap()
    }

    fn refusal(text: &str) -> String {
        ConnectionString::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_portal_s_string_is_understood() {
        let text = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0PT0=;\
                    EndpointSuffix=core.windows.net";
        let read = ConnectionString::parse(text).unwrap();
        assert_eq!(read.account.as_deref(), Some("acme"));
        assert_eq!(read.endpoint.as_deref(), Some("https://acme.blob.core.windows.net"));
        assert_eq!(read.account_key.unwrap().expose(), "c2VjcmV0PT0=");
    }

    #[test]
    fn the_portal_s_string_of_a_signature_names_its_account_by_the_endpoint() {
        let text = "BlobEndpoint=https://acme.blob.core.windows.net/;QueueEndpoint=https://acme.queue.core.windows.net/;\
                    SharedAccessSignature=sv=1&sig=x";
        let read = ConnectionString::parse(text).unwrap();
        assert_eq!(read.account.as_deref(), Some("acme"));
        assert_eq!(read.endpoint.as_deref(), Some("https://acme.blob.core.windows.net/"));
    }

    #[test]
    fn a_blob_endpoint_wins_over_what_would_be_guessed() {
        let text = "AccountName=a;BlobEndpoint=http://127.0.0.1:7777/a;QueueEndpoint=http://127.0.0.1:1/a";
        assert_eq!(endpoint(text), "http://127.0.0.1:7777/a");
        assert_eq!(endpoint("accountname=a;ENDPOINTSUFFIX=blob.cn"), "https://a.blob.blob.cn");
    }

    #[test]
    fn the_emulator_has_a_name_of_its_own() {
        assert_eq!(endpoint("UseDevelopmentStorage=true"), "http://127.0.0.1:10000/devstoreaccount1");
        assert_eq!(
            endpoint("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://box"),
            "http://box:10000/devstoreaccount1"
        );
    }

    #[test]
    fn a_sas_loses_its_question_mark() {
        let read = ConnectionString::parse("BlobEndpoint=https://a.b/;SharedAccessSignature=?sv=1&sig=x%3D");
        assert_eq!(read.unwrap().sas_token.unwrap().expose(), "sv=1&sig=x%3D");
    }

    #[test]
    fn mistakes_are_named_and_values_are_not() {
        for (text, needle) in [
            ("", "neither AccountName nor BlobEndpoint"),
            ("AccountName=a;hush", "part 2 is not KEY=VALUE"),
            ("hush=1;AccountName=a", "part 1 is not known"),
            ("AccountName=a;AccountKey=", "accountkey has no value"),
            ("AccountName=a;AccountName=hush", "given twice"),
            ("AccountName=a;AccountKey=hush;SharedAccessSignature=hush", "exclude each other"),
            ("AccountName=a;DefaultEndpointsProtocol=hush", "http or https"),
            ("UseDevelopmentStorage=hush", "not `true`"),
            ("UseDevelopmentStorage=true;AccountKey=hush", "accountkey stands beside"),
            ("AccountName=a;DevelopmentStorageProxyUri=hush", "only for"),
        ] {
            let error = refusal(text);
            assert!(error.contains(needle), "{text:?}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_showing_it(text in "[ -~]{0,80}") {
            if let Err(error) = ConnectionString::parse(&text) {
                for value in text.split(';').filter_map(|part| part.split_once('=')).map(|(_, v)| v.trim()) {
                    let told = value.len() > 12 && error.to_string().contains(value);
                    prop_assert!(!told, "{}", error);
                }
            }
        }

        #[test]
        fn order_case_and_spaces_do_not_matter(
            account in "[a-z0-9]{3,24}", key in "[A-Za-z0-9+/]{4,40}={0,2}", flip in any::<bool>(),
        ) {
            let (a, b) = (format!("AccountName={account}"), format!("AccountKey={key}"));
            let text = if flip { format!(" {b} ; {a};") } else { format!("{a};{b}").replace("Account", "ACCOUNT") };
            let read = ConnectionString::parse(&text).unwrap();
            prop_assert_eq!(read.account_key, Some(Secret::new(key)));
            prop_assert_eq!(read.endpoint.unwrap(), format!("https://{account}.blob.core.windows.net"));
        }
    }
}
