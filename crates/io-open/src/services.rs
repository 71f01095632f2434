//! Options of services over HTTP, as text: kept until a store is opened, because what several services
//! understand is read by the one that is asked.

use crate::Scheme;
use crate::key::{Key, Text};
use forebay_io::{Error, Location, Result};
use forebay_io_az::{AzOptions, TokenSource};
use forebay_io_object::{HTTP_KEYS, HttpOptions, Secret, Surroundings};
use forebay_io_s3::{Callable, CredentialProvider, S3_KEYS, S3Options};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The schemes of Azure.
pub(crate) const AZ: &[&str] = &["az", "https"];
/// The scheme of S3.
pub(crate) const S3: &[&str] = &["s3"];
/// The schemes of all services that are reached over HTTP.
pub(crate) const HTTP: &[&str] = &["s3", "az", "https"];

/// What was said about services. Set through [`StoreOptions`](crate::StoreOptions).
#[derive(Clone, Default)]
pub struct Services {
    values: BTreeMap<String, Secret>,
    /// Signatures that stood in locations, by the location's host.
    signatures: BTreeMap<String, Secret>,
    /// Environment and clock; without them nothing is found in the environment.
    pub(crate) surroundings: Option<Surroundings>,
    /// Hands out tokens for Azure.
    pub(crate) az_tokens: Option<Arc<dyn TokenSource>>,
    /// Gives credentials for S3.
    pub(crate) s3_credentials: Option<Arc<dyn CredentialProvider>>,
}

impl Services {
    /// # Errors
    /// `InvalidConfig` where credentials would be handed to a store that asks for none.
    pub(crate) fn check(&self, scheme: &Scheme) -> Result<()> {
        let given = self.az_tokens.is_some() || self.s3_credentials.is_some();
        if given && !scheme.is_remote() {
            let context = format!("credentials have no meaning for {}://; leave them out", scheme.name);
            return Err(Error::invalid(context));
        }
        Ok(())
    }

    /// Reads and keeps an option. Whoever knows the key says whether the value can be.
    pub(crate) fn set(&mut self, text: Text<'_>) -> Result<()> {
        let Text { key, value } = text;
        // S3's options are read by way of those of requests. What both services know is good if it is good
        // for one of them: which of them is asked is not known yet, and it will say.
        let s3 = S3Options::default().set(key, value);
        if !matches!(s3, Ok(true)) {
            let az = is_of_az(key).then(|| AzOptions::default().set(key, value));
            match (s3, az) {
                (_, Some(Ok(()))) => {}
                (Err(error), _) | (Ok(_), Some(Err(error))) => return Err(error),
                (Ok(_), None) => return Err(Error::invalid(format!("option {key:?} is not known"))),
            }
        }
        self.values.insert(key.to_owned(), Secret::from(value));
        Ok(())
    }

    /// One of several endpoints.
    pub(crate) fn set_endpoint(&mut self, url: &str) -> Result<()> {
        if self.has("endpoint") {
            let context = "endpoint and endpoints are both given; leave one of them out";
            return Err(Error::invalid(context));
        }
        self.set(Text { key: "endpoint", value: url }).map_err(|e| e.context("endpoints"))
    }

    /// Whether an option was said.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Options of requests.
    pub(crate) fn http(&self) -> Result<HttpOptions> {
        let mut options = HttpOptions::default();
        for (key, value) in &self.values {
            options.set(key, value.expose())?;
        }
        Ok(options)
    }

    /// Options of S3.
    pub(crate) fn s3(&self) -> Result<S3Options> {
        let mut options = S3Options::default();
        for (key, value) in &self.values {
            options.set(key, value.expose())?;
        }
        options.credentials = self.s3_credentials.clone().map(Callable);
        Ok(options)
    }

    /// Options of Azure, for this location.
    pub(crate) fn az(&self, location: &Location) -> Result<AzOptions> {
        let mut options = AzOptions::default();
        options.tokens.clone_from(&self.az_tokens);
        for (key, value) in &self.values {
            if is_of_az(key) {
                options.set(key, value.expose())?;
            }
        }
        if let Some(signature) = location.host().and_then(|host| self.signatures.get(host)) {
            if self.has("sas_token") {
                let context = "sas_token is given and the location brings a signature; leave one of them out";
                return Err(Error::invalid(context).at(location));
            }
            options.set("sas_token", signature.expose())?;
        }
        Ok(options)
    }

    /// The environment and the clock, or an empty one.
    pub(crate) fn around(&self) -> Surroundings {
        let nothing = || Surroundings::new([], || SystemTime::UNIX_EPOCH);
        self.surroundings.clone().unwrap_or_else(nothing)
    }

    /// Reads a location. A signature in its query (`https://HOST/CONTAINER/BLOB?sv=…&sig=…`) is kept for the
    /// store of that container, and is no part of the location.
    pub(crate) fn locate(&mut self, text: &str, base: &Path) -> Result<Location> {
        let is_https = text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let Some((bare, signature)) = text.split_once('?').filter(|_| is_https) else {
            return Location::parse(text, base);
        };
        let location = Location::parse(bare, base)?;
        let signed = signature.split('&').any(|pair| pair.starts_with("sig="));
        if !signed || signature.contains('#') {
            let context = "the query of the location is no shared access signature (it has no `sig`); \
                           escape a ? in a blob's name as %3F";
            return Err(Error::invalid(context).at(&location));
        }
        let host = location.host().unwrap_or_default().to_owned();
        let signature = Secret::from(signature);
        if self.signatures.get(&host).is_some_and(|earlier| *earlier != signature) {
            let context = "two signatures for one container are given; use one that is good for all of it";
            return Err(Error::invalid(context).at(&location));
        }
        self.signatures.insert(host, signature);
        Ok(location)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("values", &self.values)
            .field("signatures", &self.signatures)
            .field("surroundings", &self.surroundings)
            .field("az_tokens", &self.az_tokens.is_some())
            .field("s3_credentials", &self.s3_credentials.is_some())
            .finish()
    }
}

/// Options that mean the same everywhere, and whose values differ.
const SHARED: [(&str, &str); 3] = [
    ("endpoint", "the URL of the service, where it is not the usual one"),
    ("anonymous", "whether to send no credentials at all"),
    (
        "client",
        "who speaks to the service: forebay, object-store or rusoto to S3, forebay or azure-storage-blobs to Azure",
    ),
];

fn is_of_az(key: &str) -> bool {
    forebay_io_az::KEYS.iter().any(|known| known.name == key)
}

/// The rows of services in the table of options. A key that several have is one row.
pub(crate) fn rows() -> Vec<Key> {
    let alone = |name: &str| SHARED.iter().all(|(shared, _)| *shared != name);
    let http = HTTP_KEYS.iter().chain(&SHARED).map(|(name, about)| row(name, about, HTTP));
    let s3 = S3_KEYS.iter().filter(|(name, _)| alone(name)).map(|(name, about)| row(name, about, S3));
    let az = forebay_io_az::KEYS.iter().filter(|key| alone(key.name)).map(|key| row(key.name, key.about, AZ));
    http.chain(s3).chain(az).collect()
}

fn row(name: &'static str, about: &'static str, schemes: &'static [&'static str]) -> Key {
    Key { name, about, schemes, set: |options, text| options.services.set(text), given: |_| false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://acme.blob.core.windows.net/box/a";

    #[test]
    fn a_signature_is_taken_out_of_its_location_and_kept_for_it() {
        let mut services = Services::default();
        let location = services.locate(&format!("{URL}?sv=1&sig=hush"), Path::new("/")).unwrap();
        assert_eq!(location, URL.parse().unwrap());
        let options = services.az(&location).unwrap();
        assert!(format!("{options:?}").contains("sas_token"));
        let elsewhere = "https://acme.blob.core.windows.net/other/a".parse().unwrap();
        assert!(!format!("{:?}", services.az(&elsewhere).unwrap()).contains("sas_token"));
        assert!(!format!("{services:?} {location:?} {options:?}").contains("hush"));
    }

    #[test]
    fn what_is_no_signature_is_refused_without_showing_it() {
        let mut services = Services::default();
        services.locate(&format!("{URL}?sig=hush1"), Path::new("/")).unwrap();
        for query in ["hush", "sv=hush", "sig=hush2"] {
            let error = services.locate(&format!("{URL}?{query}"), Path::new("/")).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        services.set(Text { key: "sas_token", value: "sig=hush" }).unwrap();
        let error = services.az(&URL.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("leave one of them out") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn other_locations_are_read_as_always() {
        let mut services = Services::default();
        let location = services.locate("a?b", Path::new("/base")).unwrap();
        assert_eq!(location.path_bytes(), b"/base/a?b");
        assert_eq!(services.locate("s3://b/k?x", Path::new("/")).unwrap().path_bytes(), b"k?x");
    }
}
