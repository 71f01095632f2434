//! The promises of every store, kept against Azurite.

use crate::server;
use forebay_io::Location;
#[cfg(feature = "azure-storage-blobs")]
use forebay_io::Unobserved;
#[cfg(feature = "azure-storage-blobs")]
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io_object::{HttpOptions, ObjectBackend};
use forebay_io_testkit::Fixture;
use forebay_io_testkit::servers::Azurite;
use std::num::NonZeroU64;
use std::sync::Arc;

/// A container of its own on the shared server; `settings` say which client and credential.
fn fixture(settings: &[(&str, &str)], http: HttpOptions) -> Fixture {
    let (store, root, azurite) = container(settings, http);
    Fixture::new(Arc::new(store), root).keep(azurite)
}

/// The other client keeps connections longer than Azurite does, and now and then asks on one that was just closed.
/// It leaves it to the layer above to ask again, which `forebay-io-open` always puts there.
#[cfg(feature = "azure-storage-blobs")]
fn other_client(credential: (&str, &str), http: HttpOptions) -> Fixture {
    let (store, root, azurite) = container(&[credential, ("client", "azure-storage-blobs")], http);
    let store = Retrying::new(Arc::new(store), RetryPolicy::default(), Arc::new(Unobserved));
    Fixture::new(Arc::new(store), root).keep(azurite)
}

fn container(settings: &[(&str, &str)], http: HttpOptions) -> (ObjectBackend, Location, Arc<Azurite>) {
    let azurite = Azurite::shared().expect("Azurite starts");
    let container = azurite.new_container().expect("a container");
    let store = server::store(&container, &azurite.endpoint(), settings, http);
    let root = format!("az://{container}").parse().expect("a location");
    (store, root, azurite)
}

/// Parts so small that the suite's objects have several.
fn small_parts() -> HttpOptions {
    HttpOptions {
        request_bytes: NonZeroU64::new(1000),
        upload_part_bytes: NonZeroU64::new(3000).expect("not 0"),
        ..HttpOptions::default()
    }
}

mod with_the_account_s_key {
    use super::*;

    async fn store() -> Fixture {
        fixture(&[("account_key", Azurite::KEY)], HttpOptions::default())
    }

    forebay_io_testkit::conformance_suite!(store);
}

mod in_small_parts_with_a_signature {
    use super::*;

    async fn store() -> Fixture {
        let sas = Azurite::shared().expect("Azurite starts").sas();
        fixture(&[("sas_token", &sas)], small_parts())
    }

    forebay_io_testkit::conformance_suite!(store);
}

#[cfg(feature = "azure-storage-blobs")]
mod with_the_other_client {
    use super::*;

    async fn store() -> Fixture {
        other_client(("account_key", Azurite::KEY), HttpOptions::default())
    }

    forebay_io_testkit::conformance_suite!(store);
}

#[cfg(feature = "azure-storage-blobs")]
mod with_the_other_client_in_small_parts_with_a_signature {
    use super::*;

    async fn store() -> Fixture {
        let sas = Azurite::shared().expect("Azurite starts").sas();
        other_client(("sas_token", &sas), small_parts())
    }

    forebay_io_testkit::conformance_suite!(store);
}
