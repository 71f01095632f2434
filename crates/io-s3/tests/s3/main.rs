//! The store of `s3://` on servers that speak its protocol.

mod conformance;
mod connections;
mod faults;
mod identity;
mod memory_first;
mod network;
mod part_retries;
mod server;
mod under_faults;
mod writing;
