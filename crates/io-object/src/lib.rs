//! What Forebay's S3 and Azure stores share: everything but the protocol.
//!
//! A service's crate implements [`Client`]: one HTTP request a call. [`ObjectBackend`] makes a
//! [`Store`](forebay_io::Store) of any client: one GET of unknown size reads a whole object straight into
//! its slot, large ones in parts side by side, ranges are pinned to one version, lengths and checksums are
//! checked, uploads go in parts and are taken back when they fail, listings come page by page.
//!
//! What it never does: retry on its own account (that is a wrapper's, [`forebay_io::layer::Retrying`], which may
//! share its policy and budget for parts of large objects: [`ObjectBackend::with_part_retries`]), read the
//! environment, or let a secret into a message.
#![forbid(unsafe_code)]

mod answer;
mod attempt;
mod backend;
mod checksum;
mod client;
mod endpoint;
mod failure;
mod http_options;
mod incoming;
mod issuer;
mod listed;
mod listing;
mod network;
mod opened;
mod part;
mod proxy;
mod read;
mod renewed;
mod secret;
mod surroundings;
mod upload;
mod uploads;
mod watch;
pub mod wire;
mod xml;

pub use answer::{Answer, Head, read_header};
pub use backend::ObjectBackend;
pub use checksum::{Checksum, Verify};
pub use client::{Answered, Ask, Client, Facts, ListAsk, Payload, Stored};
pub use endpoint::Endpoint;
pub use failure::{Failure, chain, if_match, retry_after, version_of};
pub use http_options::{HTTP_KEYS, HttpOptions, ProxyChoice};
pub use incoming::{Chunks, Incoming, fill, gather};
pub use issuer::{Issuer, Said};
pub use listed::{Each, Listed, ListedEntry, ListedObject, Listing};
pub use network::{NETWORK_VARIABLES, Network};
pub use proxy::{NoProxy, Proxy};
pub use renewed::Renewed;
pub use secret::Secret;
pub use surroundings::Surroundings;
pub use uploads::Uploads;
pub use xml::{Piece, Text, Xml};
