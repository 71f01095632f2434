//! The promises of every store, kept against Azurite.

use crate::server;
use forebay_io_object::HttpOptions;
use forebay_io_testkit::Fixture;
use forebay_io_testkit::servers::Azurite;
use std::num::NonZeroU64;
use std::sync::Arc;

/// A container of its own on the shared server; `settings` say which client and credential.
fn fixture(settings: &[(&str, &str)], http: HttpOptions) -> Fixture {
    let azurite = Azurite::shared().expect("Azurite starts");
    let container = azurite.new_container().expect("a container");
    let store = server::store(&container, &azurite.endpoint(), settings, http);
    let root = format!("az://{container}").parse().expect("a location");
    Fixture::new(Arc::new(store), root).keep(azurite)
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
        fixture(&[("account_key", Azurite::KEY), ("client", "azure-storage-blobs")], HttpOptions::default())
    }

    forebay_io_testkit::conformance_suite!(store);
}

#[cfg(feature = "azure-storage-blobs")]
mod with_the_other_client_in_small_parts_with_a_signature {
    use super::*;

    async fn store() -> Fixture {
        let sas = Azurite::shared().expect("Azurite starts").sas();
        fixture(&[("sas_token", &sas), ("client", "azure-storage-blobs")], small_parts())
    }

    forebay_io_testkit::conformance_suite!(store);
}
