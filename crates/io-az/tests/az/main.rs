//! The store of `az://` on servers that speak its protocol.

mod conformance;
mod reuse;
mod server;
mod under_faults;
