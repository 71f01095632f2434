//! HTTP/1.1 as reading objects needs it: one request on one connection at a time, and the body of the
//! answer straight from the socket into the reader's memory.
//!
//! General clients run each connection as a task of its own and hand its bytes over in pieces that they
//! allocate. Here the reader's own task reads the socket: no hand-over, no allocation a request but for the
//! head, and no copy but the kernel's. What is left out for it: HTTP/2, redirects (an object service's redirect
//! means a wrong region or account, which is an error with a name), and sending a request again.

mod body;
mod connection;
mod pool;
mod reply;
mod request;
mod tls;
mod tunnel;

pub use reply::Reply;
pub use request::Request;

use crate::{Failure, HttpOptions, Network, Payload, Proxy};
use connection::Connection;
use forebay_io::{Error, Event, Kind, Observe, Result};
use pool::Pool;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where a service is: scheme, host and port of its URL, and the path before everything that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: Box<str>,
    port: u16,
    path: Box<str>,
}

impl Endpoint {
    /// Reads `http://host:port/path` or `https://…`; no slash remains at the end of the path.
    ///
    /// # Errors
    /// `InvalidConfig` for anything else, for a user or password in it, and for a query.
    pub fn parse(url: &str) -> Result<Self> {
        // The text may hold a password where it should not: only its shape is named.
        let invalid = |why: &str| {
            Error::invalid(format!(
                "an endpoint {why}; write http://HOST:PORT or https://HOST, without a query"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(invalid("is neither http nor https")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(invalid("has a user in it"));
        }
        if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_control() || c == ' ') {
            return Err(invalid("has a query or a blank in it"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| invalid("has a port that is no number"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        Ok(Endpoint { tls, host: host.into(), port, path: path.trim_end_matches('/').into() })
    }

    /// The same with a label in front of the host, as in `bucket.host`.
    #[must_use]
    pub fn with_label(&self, label: &str) -> Self {
        Endpoint { host: format!("{label}.{}", self.host).into(), ..self.clone() }
    }

    /// What is in front of every path, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host as names and addresses are written elsewhere: without the brackets of IPv6.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an address that no router passes on, as a machine's metadata services have. (AWS's on IPv6
    /// is of the unique local addresses, and no more reachable from elsewhere.)
    pub fn is_link_local(&self) -> bool {
        match self.bare_host().parse() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            Ok(IpAddr::V6(address)) => {
                address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0x0ec2]
            }
            Err(_) => false,
        }
    }

    /// Whether it is this machine: what is sent there crosses no network.
    pub fn is_loopback(&self) -> bool {
        let bare = self.bare_host();
        is_localhost(bare) || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// The `Host` field: with the port where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

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
        let tls = endpoint.tls.then(|| tls::Connector::new(&endpoint.host, network)).transpose()?;
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
        self.observer.noted(Event::Connected);
        Ok(made)
    }
}

/// Names of this machine, whatever a name server would say of them (RFC 6761, 6.3): each bucket can have one.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let end = host.len().checked_sub("localhost".len()).and_then(|at| host.split_at_checked(at));
    end.is_some_and(|(label, name)| {
        name.eq_ignore_ascii_case("localhost") && (label.is_empty() || label.ends_with('.'))
    })
}

async fn open(to: &Endpoint, what: &str) -> Result<TcpStream, Failure> {
    let host = to.bare_host();
    let opened = if is_localhost(host) && !host.eq_ignore_ascii_case("localhost") {
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to.port))).await
    } else {
        TcpStream::connect((host, to.port)).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_said_again() {
        for (text, said, authority) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("https://s3.example.org/", "https://s3.example.org", "s3.example.org"),
            ("HTTP://h:80/a/b/", "http://h/a/b", "h"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x", "[::1]:8443"),
            ("http://[::1]", "http://[::1]", "[::1]"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.to_string(), endpoint.authority()), (said.into(), authority.into()));
        }
        let labelled = Endpoint::parse("https://s3.example.org").unwrap().with_label("bucket");
        assert_eq!(labelled.to_string(), "https://bucket.s3.example.org");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, ours) in [
            ("http://localhost:1", true),
            ("http://bucket.localhost:1", true),
            ("http://a.b.LocalHost.:1", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://notlocalhost", false),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_loopback(), ours, "{url}");
        }
    }

    #[test]
    fn endpoints_that_are_none_are_refused_without_saying_them() {
        for text in [
            "s3.example.org",
            "ftp://x",
            "http://",
            "http://u:hunter2@h",
            "http://h:p",
            "http://h?sig=hunter2",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
