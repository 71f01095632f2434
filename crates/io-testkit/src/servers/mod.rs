//! Servers that object stores are tested against, all on loopback and on ports that the system chose:
//!
//! * [`S3Server`]: s3s-fs. Checks signatures; for correctness, not for speed.
//! * [`Azurite`]: Microsoft's emulator of Azure Blob. Checks signatures too; slower still.
//! * [`FastServer`]: S3 and Azure Blob over one set of objects in memory; checks no signatures and costs
//!   what hyper costs. For speed, for listings of millions, and for faults in front of it.
//! * [`FaultProxy`]: stands in front of any of them and makes things go wrong, by seed, and counted.
//! * [`TokenServer`]: hands out tokens and keys as clouds do, and knows which are good.
//! * [`WebProxy`]: a proxy as companies have them, with a password or without, that counts.
//! * [`Certificates`]: for servers that speak TLS, and whom to trust for it.
//! * [`RefusedPort`], [`BlackHole`], [`NO_SUCH_HOST`]: where nobody answers at all.
//!
//! Each starts in a call, is ready when that returns, and stops when it is dropped. One that cannot start
//! is an error, never a skipped test.

mod azurite;
mod azurite_install;
mod certificates;
mod fast;
mod plain_http;
mod proxy;
mod s3_server;
mod serving;
mod shared_key;
mod token_server;
mod tokens;
mod web_proxy;

pub use azurite::Azurite;
pub use azurite_install::NodeFrom;
pub use certificates::Certificates;
pub use fast::FastServer;
pub use plain_http::{Answer, Ask};
pub use proxy::{
    At, BlackHole, FaultPlan, FaultProxy, Framing, HttpFault, NO_SUCH_HOST, RefusedPort, Rule, Seen, Traffic,
};
pub use s3_server::S3Server;
pub use token_server::TokenServer;
pub use tokens::{TokenFault, TokenVerdict, Tokens};
pub use web_proxy::WebProxy;
