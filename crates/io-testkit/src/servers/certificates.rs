//! A certificate that nobody has heard of, and who vouches for it: for servers that speak TLS on loopback.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The names and addresses that it is good for. Names in front of `localhost` are buckets.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "forebay-test.localhost"];

/// See the module's words. Keys are made anew each time and are nowhere but in memory.
pub struct Certificates {
    bundle: PathBuf,
    config: Arc<ServerConfig>,
    _folder: TempDir,
}

impl Certificates {
    /// Makes one, and who vouches for it.
    ///
    /// # Errors
    /// No folder for the bundle, or what the libraries say.
    pub fn new() -> io::Result<Self> {
        let mut root = CertificateParams::default();
        // Two of them must not be taken for one.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("forebay test root {}", MADE.fetch_add(1, Ordering::Relaxed));
        root.distinguished_name.push(DnType::CommonName, name);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().map_err(io::Error::other)?);
        let root = root.map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = CertificateParams::new(NAMES.map(str::to_owned)).map_err(io::Error::other)?;
        let leaf = leaf.signed_by(&key, &root).map_err(io::Error::other)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private)
            })
            .map_err(io::Error::other)?;
        let folder = tempfile::Builder::new().prefix("forebay-ca-").tempdir()?;
        let bundle = folder.path().join("bundle.pem");
        std::fs::write(&bundle, root.pem())?;
        Ok(Certificates { bundle, config: Arc::new(config), _folder: folder })
    }

    /// A file in PEM with who vouches for it. Gone when this is dropped.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("bundle", &self.bundle).finish_non_exhaustive()
    }
}
