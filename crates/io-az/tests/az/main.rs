//! The store of `az://` on servers that speak its protocol.

mod conformance;
mod identity;
mod memory_first;
mod network;
mod reuse;
mod server;
mod under_faults;
