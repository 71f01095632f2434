//! A location and options become a store.

use crate::resolve::resolve;
use crate::signed_client::SignedClient;
use crate::{ClientKind, S3Options};
#[cfg(not(all(feature = "object-store", feature = "rusoto")))]
use forebay_io::{Error, Kind, Operation};
use forebay_io::{Location, Observe, Result};
use forebay_io_object::{Client, ObjectBackend, Surroundings};
use std::sync::Arc;

/// The store of the bucket that `location` is in. Nothing is asked of the service yet. `observer` hears of
/// each request.
///
/// # Errors
/// `InvalidConfig` for options that contradict each other or are missing, `Unsupported` for a client that is
/// not built in.
pub fn open(
    location: &Location,
    options: &S3Options,
    around: &Surroundings,
    observer: Arc<dyn Observe>,
) -> Result<ObjectBackend> {
    let service = resolve(location, options, around).map_err(|error| error.at(location))?;
    let client: Arc<dyn Client> = match options.client {
        ClientKind::Forebay => Arc::new(SignedClient::new(service, &options.http, observer.clone())?),

        #[cfg(feature = "object-store")]
        ClientKind::ObjectStore => {
            Arc::new(crate::object_store_client::ObjectStoreClient::new(service, &options.http)?)
        }
        #[cfg(not(feature = "object-store"))]
        ClientKind::ObjectStore => return Err(not_built_in("object-store", "object-store").at(location)),
        #[cfg(feature = "rusoto")]
        ClientKind::Rusoto => Arc::new(crate::rusoto_client::RusotoClient::new(service, &options.http)?),
        #[cfg(not(feature = "rusoto"))]
        ClientKind::Rusoto => return Err(not_built_in("rusoto", "rusoto").at(location)),
    };
    Ok(ObjectBackend::new(location, client, options.http.clone(), observer))
}

#[cfg(not(all(feature = "object-store", feature = "rusoto")))]
fn not_built_in(client: &str, feature: &str) -> Error {
    let context = format!("client={client} is not built in (feature {feature}); use client=forebay");
    Error::new(Kind::Unsupported, Operation::Configure, context)
}
