//! S3 and what speaks its protocol, as a Forebay store: [`open`] makes one of a location and
//! [`S3Options`].
//!
//! Three clients can speak to the service, all held to the same conformance suite: ours (signed requests
//! whose bodies go from the socket straight into the slot), `object_store` and, behind the feature `rusoto`,
//! `rusoto_s3`. What they have in common, which is nearly everything, is in `forebay-io-object`.
#![forbid(unsafe_code)]

mod credentials;
mod lent;
#[cfg(feature = "object-store")]
mod object_store_client;
mod open;
mod options;
mod page;
mod profile;
#[cfg(any(feature = "object-store", feature = "rusoto"))]
mod refusal;
mod resolve;
#[cfg(feature = "rusoto")]
mod rusoto_client;
mod service;
mod sign;
mod signed_client;
mod xml;

pub use credentials::{CredentialProvider, Credentials};
pub use open::open;
pub use options::{Addressing, Callable, ClientKind, S3_KEYS, S3Options};
