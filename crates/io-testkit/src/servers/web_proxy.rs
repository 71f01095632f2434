//! A proxy as companies have them: `CONNECT` for what is encrypted, whole URLs for what is not, and perhaps a
//! password. It counts what passes, so that a test knows that nothing went past it, and it alone knows the hosts
//! that end in `.forebay.test`: they are this machine.

use super::serving::Serving;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;

/// See the module's words. Stops when it is dropped.
#[derive(Debug)]
pub struct WebProxy {
    serving: Serving,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    tunnels: AtomicU64,
    forwarded: AtomicU64,
    refused: AtomicU64,
}

impl WebProxy {
    /// Starts one. With `user` (`NAME:PASSWORD`), all others are refused with 407.
    ///
    /// # Errors
    /// The system gives no port or thread.
    pub fn start(user: Option<&str>) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let wanted = user.map(|user| format!("Basic {}", STANDARD.encode(user)));
        let (counted, wanted) = (counts.clone(), Arc::new(wanted));
        let serving = Serving::start("web-proxy", 1, move |stream| {
            let (counts, wanted) = (counted.clone(), wanted.clone());
            let service = service_fn(move |request| {
                let (counts, wanted) = (counts.clone(), wanted.clone());
                async move { Ok::<_, hyper::Error>(answer(&counts, wanted.as_deref(), request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            async move {
                // A client that went away is that client's affair.
                let _ = connection.with_upgrades().await;
            }
        })?;
        Ok(WebProxy { serving, counts })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.serving.address())
    }

    /// `http://USER@127.0.0.1:PORT`.
    pub fn url_of(&self, user: &str) -> String {
        format!("http://{user}@{}", self.serving.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// Ways to a service that were asked for with `CONNECT` and given.
    pub fn tunnels(&self) -> u64 {
        self.counts.tunnels.load(Ordering::Relaxed)
    }

    /// Requests that it read and passed on.
    pub fn forwarded(&self) -> u64 {
        self.counts.forwarded.load(Ordering::Relaxed)
    }

    /// Requests of those who did not say who they are.
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }
}

type Body = Either<Incoming, Empty<Bytes>>;

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}

async fn answer(counts: &Counts, wanted: Option<&str>, request: Request<Incoming>) -> Response<Body> {
    let shown = request.headers().get(PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok());
    if wanted.is_some() && shown != wanted {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        let mut response = bare(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        response.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"test\""));
        return response;
    }
    let Some(to) = request.uri().authority().map(|authority| authority.as_str().to_owned()) else {
        return bare(StatusCode::BAD_REQUEST);
    };
    let place = to.rsplit_once(':').map_or((&*to, "80"), |(host, port)| (host, port));
    let host = if place.0.ends_with(".forebay.test") { "127.0.0.1" } else { place.0 };
    let Ok(service) = TcpStream::connect(format!("{host}:{}", place.1)).await else {
        return bare(StatusCode::BAD_GATEWAY);
    };
    let _ = service.set_nodelay(true);
    if request.method() == Method::CONNECT {
        counts.tunnels.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(carry(request, service));
        return bare(StatusCode::OK);
    }
    counts.forwarded.fetch_add(1, Ordering::Relaxed);
    forwarded(request, &to, service).await.unwrap_or_else(|_| bare(StatusCode::BAD_GATEWAY))
}

/// Both ways, until either end closes.
async fn carry(request: Request<Incoming>, mut service: TcpStream) {
    if let Ok(client) = hyper::upgrade::on(request).await {
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut service).await;
    }
}

/// As the service expects it: with the path alone, and without what was for the proxy.
async fn forwarded(
    mut request: Request<Incoming>,
    to: &str,
    service: TcpStream,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().remove(PROXY_AUTHORIZATION);
    request.headers_mut().remove(HeaderName::from_static("proxy-connection"));
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, HeaderValue::from_str(to)?);
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(service)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(Either::Left))
}
