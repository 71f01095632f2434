//! S3 and Azure Blob from memory, at the price of hyper alone; and of TLS, where it is asked for.
//!
//! Both dialects serve the same objects, each on a port of its own; a bucket is a container, and of S3 it may stand
//! in front of the host `localhost`. Signatures are not looked at; tokens are, where [`check_tokens`] says so. What is there: get, head, ranges, `If-Match` and `If-None-Match`, listings with pages,
//! prefixes and delimiters, puts (conditional, copied, in parts or blocks), deletes, batches of deletes.
//!
//! [`check_tokens`]: FastServer::check_tokens
//!
//! All else is answered with 501 (S3) or 400 (Azure), never with a guess.

// A refusal is an answer like any other, and returned by value as those are.
#![allow(clippy::result_large_err)]

mod aws_chunked;
mod azure;
mod azure_batch;
mod conditions;
mod listing;
mod objects;
mod range;
mod reply;
mod request;
mod s3;
mod s3_parts;
mod uploads;

use super::certificates::Certificates;
use super::serving::Serving;
use super::tokens::Tokens;
use crate::data::{self, Tree};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use objects::Objects;
use parking_lot::Mutex;
use request::Request;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use uploads::Uploads;

/// Everything that both dialects share.
#[derive(Debug, Default)]
struct State {
    objects: Objects,
    uploads: Uploads,
    requests: AtomicU64,
    /// Those whose bucket stood in front of the host.
    by_host: AtomicU64,
    /// Who knows which tokens are good; without, all are.
    tokens: Mutex<Option<Arc<Tokens>>>,
    /// How long a page of a listing is waited for.
    page_delay: Mutex<Duration>,
}

/// See the module's words. Stops when it is dropped.
#[derive(Debug)]
pub struct FastServer {
    s3: Serving,
    azure: Serving,
    state: Arc<State>,
    scheme: &'static str,
}

impl FastServer {
    /// The bucket and container that is there from the beginning, empty.
    pub const BUCKET: &'static str = "forebay-test";
    /// The Azure account, which is the first part of each path, as emulators have it. Any other will do.
    pub const ACCOUNT: &'static str = "devstoreaccount1";

    /// Starts one; each dialect is served by this many threads, 0 and 1 being one.
    ///
    /// # Errors
    /// The system gives no port or thread.
    pub fn start(threads: usize) -> io::Result<Self> {
        Self::start_over(threads, None)
    }

    /// Starts one that speaks TLS.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_tls(threads: usize, certificates: &Certificates) -> io::Result<Self> {
        Self::start_over(threads, Some(certificates))
    }

    fn start_over(threads: usize, certificates: Option<&Certificates>) -> io::Result<Self> {
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let acceptor = certificates.map(Certificates::acceptor);
        let state = Arc::new(State::default());
        state.objects.make_bucket(Self::BUCKET);
        let s3 = serve("fast-s3", threads, state.clone(), acceptor.clone(), s3::answer)?;
        let azure = serve("fast-azure", threads, state.clone(), acceptor, azure::answer)?;
        Ok(FastServer { s3, azure, state, scheme })
    }

    /// `http://127.0.0.1:PORT`, for path-style requests.
    pub fn s3_endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.s3.address())
    }

    /// `http://localhost:PORT`: a bucket may stand in front of this host.
    pub fn s3_endpoint_by_name(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.s3.address().port())
    }

    /// From now on only those are let in who show a token of these: S3's session token, Azure's bearer token.
    pub fn check_tokens(&self, tokens: &Arc<Tokens>) {
        *self.state.tokens.lock() = Some(tokens.clone());
    }

    /// From now on each page of a listing takes this long besides what it costs: a service far away, or one that
    /// looks its keys up. Pages that are asked for side by side are waited for side by side.
    pub fn delay_pages(&self, by: Duration) {
        *self.state.page_delay.lock() = by;
    }

    /// Requests of S3 whose bucket stood in front of the host.
    pub fn named_by_host(&self) -> u64 {
        self.state.by_host.load(Ordering::Relaxed)
    }

    /// `http://127.0.0.1:PORT/devstoreaccount1`.
    pub fn azure_endpoint(&self) -> String {
        format!("{}://{}/{}", self.scheme, self.azure.address(), Self::ACCOUNT)
    }

    /// Where S3 is spoken.
    pub fn s3_address(&self) -> SocketAddr {
        self.s3.address()
    }

    /// Where Azure Blob is spoken.
    pub fn azure_address(&self) -> SocketAddr {
        self.azure.address()
    }

    /// The name of [`BUCKET`](Self::BUCKET).
    pub fn bucket(&self) -> &str {
        Self::BUCKET
    }

    /// Makes a bucket unless it is there.
    pub fn make_bucket(&self, name: &str) {
        self.state.objects.make_bucket(name);
    }

    /// Puts one object, past the protocols, with the CRC32C that S3 tells to those who ask; makes the bucket
    /// where it is missing.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        use base64::Engine as _;
        let (bucket, content) = (self.state.objects.make_bucket(bucket), content.into());
        let sum = base64::engine::general_purpose::STANDARD.encode(crc32c::crc32c(&content).to_be_bytes());
        let sum = HeaderValue::from_str(&sum).expect("base64");
        self.state.objects.put(&bucket, key, content, vec![(HeaderName::from_static(s3::CRC32C), sum)]);
    }

    /// Puts a tree's objects into `bucket` beneath `prefix`.
    ///
    /// # Errors
    /// A key is not UTF-8.
    pub fn seed(&self, bucket: &str, prefix: &str, tree: &Tree) -> io::Result<()> {
        for (key, content) in tree.iter() {
            let key = std::str::from_utf8(key).map_err(io::Error::other)?;
            self.put(bucket, &format!("{prefix}{key}"), content.clone());
        }
        Ok(())
    }

    /// `count` objects `{prefix}{number, 8 digits}` of `len` bytes each. They are windows into the same random
    /// bytes, so that any number of them costs the memory of one, and neighbours differ. They have no checksum.
    pub fn fill(&self, bucket: &str, prefix: &str, count: u64, len: usize) {
        /// So many different objects.
        const WINDOWS: u64 = 4096;
        let windows = if len == 0 { 0 } else { WINDOWS as usize };
        let random = Bytes::from(data::bytes(len as u64, len + windows));
        let bucket = self.state.objects.make_bucket(bucket);
        for number in 0..count {
            let from = if len == 0 { 0 } else { (number % WINDOWS) as usize };
            let key = format!("{prefix}{number:08}");
            self.state.objects.put(&bucket, &key, random.slice(from..from + len), Vec::new());
        }
    }

    /// `count` empty objects beneath `prefix`, shared evenly among so many folders: `{prefix}{folder, 4 digits}/`
    /// and the number, 8 digits.
    pub fn fill_folders(&self, bucket: &str, prefix: &str, folders: NonZeroU64, count: u64) {
        let bucket = self.state.objects.make_bucket(bucket);
        for number in 0..count {
            let key = format!("{prefix}{:04}/{number:08}", number % folders);
            self.state.objects.put(&bucket, &key, Bytes::new(), Vec::new());
        }
    }

    /// What an object holds, past the protocols.
    pub fn content(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let held = self.state.objects.bucket(bucket)?.read().get(key).cloned();
        held.map(|held| held.content.clone())
    }

    /// Connections accepted so far, in both dialects.
    pub fn connections(&self) -> u64 {
        self.s3.connections() + self.azure.connections()
    }

    /// Requests answered so far, in both dialects.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Uploads in parts or blocks that were begun and neither finished nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state.uploads.open()
    }
}

fn serve<F, Fut>(
    name: &str,
    threads: usize,
    state: Arc<State>,
    acceptor: Option<TlsAcceptor>,
    answer: F,
) -> io::Result<Serving>
where
    F: Fn(Arc<State>, Request) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = reply::Reply> + Send + 'static,
{
    Serving::start(name, threads, move |stream| {
        let state = state.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let state = state.clone();
            async move {
                state.requests.fetch_add(1, Ordering::Relaxed);
                // An upload that breaks off is never answered, and never put.
                let request = Request::read(request).await?;
                if request.is_listing() {
                    let delay = *state.page_delay.lock();
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                }
                Ok::<_, hyper::Error>(answer(state, request).await)
            }
        });
        let acceptor = acceptor.clone();
        async move {
            // A client that went away, or trusts nobody here, is that client's affair.
            let builder = http1::Builder::new();
            match acceptor {
                None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(builder.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        }
    })
}
