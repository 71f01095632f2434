//! s3s-fs as a server of its own: an S3 that checks signatures and keeps its objects as files.
//!
//! It serves ranges, pages of ListObjectsV2, multipart uploads and conditional puts. It ignores
//! `If-Match` on GET, answers 500 to a suffix range longer than the object, and streams 4 KiB at a time: it
//! proves correctness and says nothing about speed.

use super::serving::Serving;
use crate::data::Tree;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::S3ServiceBuilder;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// See the module's words. Stops, and its objects are gone, when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    // Dropped first: nothing is written to the folder while that is removed.
    serving: Serving,
    folder: TempDir,
    buckets: AtomicU64,
}

impl S3Server {
    /// The one access key that is let in.
    pub const ACCESS_KEY: &'static str = "FOREBAYTESTKEY";
    /// Its secret.
    pub const SECRET_KEY: &'static str = "forebay/test+secret/with=signs";
    /// What signatures are made for; any region is accepted.
    pub const REGION: &'static str = "us-east-1";
    /// The bucket that is there from the beginning, empty.
    pub const BUCKET: &'static str = "forebay-test";

    /// Starts one that lets nobody in without a signature by [`ACCESS_KEY`](Self::ACCESS_KEY).
    ///
    /// # Errors
    /// The system gives no folder, port or thread.
    pub fn start() -> io::Result<Self> {
        Self::with_auth(Some(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY)))
    }

    /// Starts one that serves unsigned requests, and refuses signed ones.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_public() -> io::Result<Self> {
        Self::with_auth(None)
    }

    fn with_auth(auth: Option<SimpleAuth>) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("forebay-s3-").tempdir()?;
        std::fs::create_dir(folder.path().join(Self::BUCKET))?;
        let files = s3s_fs::FileSystem::new(folder.path()).map_err(|e| io::Error::other(format!("{e:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        if let Some(auth) = auth {
            service.set_auth(auth);
        }
        service.set_host(InFront);
        let service = service.build();
        let serving = Serving::start("s3-server", 1, move |stream| {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            async move {
                // A client that went away is that client's affair.
                let _ = connection.await;
            }
        })?;
        Ok(S3Server { serving, folder, buckets: AtomicU64::new(0) })
    }

    /// `http://127.0.0.1:PORT`, for path-style requests.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.serving.address())
    }

    /// `http://localhost:PORT`: a bucket may stand in front of this host.
    pub fn endpoint_by_name(&self) -> String {
        format!("http://localhost:{}", self.serving.address().port())
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.serving.address()
    }

    /// The name of [`BUCKET`](Self::BUCKET).
    pub fn bucket(&self) -> &str {
        Self::BUCKET
    }

    /// Makes another bucket, empty, and names it.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn new_bucket(&self) -> io::Result<String> {
        let name = format!("forebay-test-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.folder.path().join(&name))?;
        Ok(name)
    }

    /// Puts a tree's objects into `bucket` beneath `prefix`, past the server: no request is counted.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn seed(&self, bucket: &str, prefix: &str, tree: &Tree) -> io::Result<()> {
        tree.write(&self.files(bucket).join(prefix))
    }

    /// The folder where a bucket's objects are files.
    pub fn files(&self, bucket: &str) -> std::path::PathBuf {
        let folder: &Path = self.folder.path();
        folder.join(bucket)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.serving.connections()
    }
}

/// Buckets may stand in front of `localhost`, on any port.
struct InFront;

impl S3Host for InFront {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> s3s::S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Ok(match name.strip_suffix(".localhost") {
            Some(bucket) => VirtualHost::new("localhost").with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}
