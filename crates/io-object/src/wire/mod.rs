//! HTTP/1.1 as reading objects needs it: one request on one connection at a time, and the body of the
//! answer straight from the socket into the reader's memory.
//!
//! General clients run each connection as a task of its own and hand its bytes over in pieces that they
//! allocate. Here the reader's own task reads the socket: no hand-over, no allocation a request but for the
//! head, and no copy but the kernel's. What is left out for it: HTTP/2, redirects (an object service's redirect
//! means a wrong region or account, which is an error with a name), and sending a request again.

mod body;
mod connection;
mod low_water;
mod pool;
mod reply;
mod request;
mod tls;
mod tunnel;

pub use reply::Reply;
pub use request::Request;

use crate::endpoint::is_localhost;
use crate::{Endpoint, Failure, HttpOptions, Network, Payload, Proxy};
use connection::Connection;
use forebay_io::{Event, Kind, Observe, Result};
use pool::Pool;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connections to one endpoint.
pub struct Wire {
    endpoint: Endpoint,
    connect_timeout: Duration,
    pool: Arc<Pool>,
    tls: Option<tls::Connector>,
    /// On the way to the endpoint.
    proxy: Option<Proxy>,
    /// Hears of each connection that came about.
    observer: Arc<dyn Observe>,
}

impl Wire {
    /// No connection is made yet; `observer` will hear of each ([`Event::Connected`]).
    ///
    /// # Errors
    /// `InvalidConfig` if TLS is asked for and cannot be set up, or the host is no name for it.
    pub fn new(
        endpoint: Endpoint,
        options: &HttpOptions,
        network: &Network,
        observer: Arc<dyn Observe>,
    ) -> Result<Self> {
        let tls = endpoint.is_tls().then(|| tls::Connector::new(endpoint.host(), network)).transpose()?;
        let proxy = network.proxy(&endpoint).cloned();
        let pool = Arc::new(Pool::new(options.max_idle_connections, options.connection_idle));
        Ok(Wire { endpoint, connect_timeout: options.connect_timeout, pool, tls, proxy, observer })
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.pool.made()
    }

    /// Sends a request and waits for the header of its answer, of any status.
    ///
    /// # Errors
    /// `Unavailable` where a connection is refused or breaks, `TimedOut` where none comes about in time,
    /// `Corrupt` for an answer that is not HTTP.
    pub async fn send(&self, request: Request, payload: &Payload) -> Result<Reply, Failure> {
        let mut connection = match self.pool.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let head_only = request.is_head();
        // A proxy reads requests that are not encrypted, and passes all others on unseen.
        let via = self.proxy.as_ref().filter(|_| self.tls.is_none());
        let head = request.finish(payload.len(), via.map(|proxy| (&self.endpoint, proxy)));
        let sent = connection.send(&head, payload).await;
        // A service that refuses a body half way says why before it hangs up.
        let reply = connection.reply(head_only).await;
        match (sent, reply) {
            (Ok(()), Ok(head)) => Ok(Reply::new(head, connection, Some(self.pool.clone()))),
            (Err(_), Ok(head)) => Ok(Reply::new(head, connection, None)),
            (Err(failure), Err(_)) | (Ok(()), Err(failure)) => Err(failure),
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let made = tokio::time::timeout(self.connect_timeout, async {
            let stream = match &self.proxy {
                None => open(&self.endpoint, "").await?,
                Some(proxy) => open(proxy.endpoint(), "the proxy ").await?,
            };
            match &self.tls {
                None => Ok(Connection::plain(stream)),
                Some(tls) => {
                    let stream = match &self.proxy {
                        None => stream,
                        Some(proxy) => tunnel::through(proxy, &self.endpoint, stream).await?,
                    };
                    let stream = tls.connect(stream).await;
                    stream.map(Connection::tls).map_err(|failure| failure.context(&self.endpoint))
                }
            }
        });
        let limit = humantime::format_duration(self.connect_timeout);
        let made = made.await.map_err(|_| {
            let by = self.proxy.as_ref().map(|proxy| format!(" by the proxy {proxy}")).unwrap_or_default();
            let said = format!("no connection to {}{by} within connect_timeout={limit}", self.endpoint);
            Failure::new(Kind::TimedOut, said)
        })??;
        self.pool.count();
        self.observer.noted(None, Event::Connected);
        Ok(made)
    }
}

async fn open(to: &Endpoint, what: &str) -> Result<TcpStream, Failure> {
    let host = to.bare_host();
    let opened = if is_localhost(host) && !host.eq_ignore_ascii_case("localhost") {
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()))).await
    } else {
        TcpStream::connect((host, to.port())).await
    };
    let stream =
        opened.map_err(|error| Failure::unavailable(&format!("no connection to {what}{to}"), &error))?;
    // Requests are written in one go; waiting for more to come would only delay them.
    stream.set_nodelay(true).map_err(|error| Failure::unavailable("TCP_NODELAY", &error))?;
    Ok(stream)
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("endpoint", &format_args!("{}", self.endpoint))
            .field("proxy", &self.proxy)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
