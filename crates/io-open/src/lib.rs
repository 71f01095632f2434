//! A location and options become a stack of stores. The one place that knows every backend.
//!
//! ```text
//! for each endpoint: backend → Observed("device") → Deadline → Breaker → adaptive limit
//! then, once:        Balanced → Hedged → Retrying → Limited → Coalesced → Observed("caller")
//! ```
//! A layer is only there if it is asked for, or if the scheme needs it (services over HTTP have retries, a
//! breaker and an adaptive limit unless `none` is said): what is not wrapped costs nothing.
//!
//! What it never does: guess. A scheme, key or value that cannot be honoured is an error that names
//! what can be, and no option is accepted for a store that has no use for it.
//!
//! ```
//! use forebay_io_open::{StoreOptions, open};
//! let options = StoreOptions::parse([("threads", "8"), ("limit_bytes_per_second", "200MiB")])?;
//! let store = open(&"file:///data".parse()?, &options)?;
//! assert!(store.capability().native_batch);
//!
//! let error = open(&"flie://data".parse()?, &options).unwrap_err();
//! assert!(error.to_string().contains("did you mean file?"), "{error}");
//! # Ok::<_, forebay_io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod direct;
mod key;
mod keys;
mod layers;
mod nearest;
mod open;
mod scheme;
mod services;
mod store_options;
mod value;

pub use direct::Direct;
pub use forebay_io_az::{Issued, Token, TokenSource};
pub use forebay_io_fs::{FsOptions, FsStore};
pub use forebay_io_object::{Secret, Surroundings, Uploads};
pub use forebay_io_s3::{CredentialProvider, Credentials};
pub use key::Key;
pub use keys::KEYS;
pub use layers::{Choice, LayerOptions};
pub use open::open;
pub use scheme::{SCHEMES, Scheme};
pub use services::Services;
pub use store_options::StoreOptions;
