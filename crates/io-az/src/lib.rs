//! Azure Blob Storage: who is asked, with which credentials, and in which words.
//!
//! ```text
//! URI, options, environment ─► AzConfig ─► Client (one container) ─► io-object's ObjectBackend: the store
//! ```
//! Two clients speak to the service: ours (`client=forebay`), whose bodies go from the socket straight into the
//! slot, and, with the feature `azure-storage-blobs` and the option `client=azure-storage-blobs`, that crate over
//! the same connections. Both keep the same promises, by the same tests.
//!
//! What it never does: retry, read the environment, send a credential of one account to another, or let a
//! secret into a `Debug` or an error.
//!
//! A signature that stands in a URL (`https://…?sv=…&sig=…`) is taken off it before there is a location: by
//! whoever opens stores.
#![forbid(unsafe_code)]

mod account;
mod authority;
mod batch;
mod config;
mod connection_string;
mod credential;
mod identity;
mod open;
mod options;
mod page;
mod pass;
mod refusal;
mod rest;
mod service;
mod shared_key;
#[cfg(feature = "azure-storage-blobs")]
mod storage_blobs;
mod token;
mod upload;
mod wire;

pub use account::{Account, account_of_host};
pub use config::AzConfig;
pub use connection_string::ConnectionString;
pub use credential::{Application, Credential, MetadataService};
pub use open::open;
pub use options::{AzOptions, KEYS, Key};
pub use token::{Issued, Token, TokenSource};
