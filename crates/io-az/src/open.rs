//! The door: a location and what is said about it become a store.

use crate::AzConfig;
use crate::options::AzOptions;
use forebay_io::{Error, Kind, Location, Observe, Operation, Result};
use forebay_io_object::{Client, HttpOptions, Network, ObjectBackend, Surroundings};
use std::sync::Arc;

/// The container of `location`, which is `az://CONTAINER/…` or `https://HOST/CONTAINER/…`. Nothing is asked
/// of the service yet. `observer` hears of each request and connection.
///
/// # Errors
/// As [`AzConfig::resolve`]; `Unsupported` for a client that this build lacks and for credentials that the
/// client has no use for.
pub fn open(
    location: &Location,
    options: &AzOptions,
    http: HttpOptions,
    around: &Surroundings,
    observer: Arc<dyn Observe>,
) -> Result<ObjectBackend> {
    let config = AzConfig::resolve(location, options, around)?;
    let client = client(location, &config, options, &http, around, observer.clone())?;
    Ok(ObjectBackend::new(location, client, http, observer))
}

/// The container that a location names.
fn container(location: &Location) -> Result<&str> {
    let host = location.host().unwrap_or_default();
    let container = match location.scheme() {
        "https" => host.split_once('/').map_or("", |(_, container)| container),
        _ => host,
    };
    let valid = (3..=63).contains(&container.len())
        && container.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if valid || matches!(container, "$root" | "$web" | "$logs") {
        return Ok(container);
    }
    Err(Error::invalid(format!(
        "container {container:?} cannot be: its name has 3 to 63 lower-case letters, digits and hyphens"
    ))
    .at(location))
}

fn client(
    location: &Location,
    config: &AzConfig,
    options: &AzOptions,
    http: &HttpOptions,
    around: &Surroundings,
    observer: Arc<dyn Observe>,
) -> Result<Arc<dyn Client>> {
    let container = container(location)?;
    let network = Network::new(http, around, None).map_err(|error| error.at(location))?;
    let failed = |failure: forebay_io_object::Failure| failure.into_error(Operation::Configure, location);
    match options.client() {
        "forebay" => {
            let client = crate::rest::RestClient::new(config, container, http, around, &network, observer);
            Ok(Arc::new(client.map_err(failed)?))
        }
        #[cfg(feature = "azure-storage-blobs")]
        "azure-storage-blobs" => {
            let client =
                crate::storage_blobs::StorageBlobsClient::new(config, container, http, &network, observer);
            Ok(Arc::new(client.map_err(failed)?))
        }
        other => {
            let context =
                format!("client {other} is not in this build; it comes with the feature of that name");
            Err(Error::new(Kind::Unsupported, Operation::Configure, context).at(location))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_in_both_forms_of_a_location() {
        let of = |text: &str| container(&text.parse().unwrap()).map(str::to_owned);
        assert_eq!(of("az://box/k").unwrap(), "box");
        assert_eq!(of("https://acme.blob.core.windows.net/box/k").unwrap(), "box");
        assert_eq!(of("az://$web/index.html").unwrap(), "$web");
        assert!(of("az://No_Box/k").unwrap_err().to_string().contains("\"No_Box\""));
    }
}
