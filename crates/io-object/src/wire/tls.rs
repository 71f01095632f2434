//! TLS: with the certificates that the system trusts, or with those that somebody named.

use crate::network::Trust;
use crate::{Failure, Network};
use forebay_io::{Error, Kind, Result, Retry};
use rustls_platform_verifier::BuilderVerifierExt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

pub(super) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// What to look at where the service is not believed.
    trusted: String,
}

impl Connector {
    pub(super) fn new(host: &str, network: &Network) -> Result<Self> {
        let invalid = |what: &str, error: &dyn std::error::Error| {
            Error::invalid(format!("no TLS to {host:?}: {what}: {error}"))
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| invalid("not a name", &error))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("the versions of TLS", &error))?;
        let (config, trusted) = match network.trust() {
            Trust::System => {
                let config = builder.with_platform_verifier();
                let config = config.map_err(|error| invalid("the system's certificates", &error))?;
                (
                    config,
                    "the system's certificates do not vouch for it; name those that do with ca_bundle".into(),
                )
            }
            trust @ Trust::These { by, .. } => {
                let trusted = format!("the certificates that {by} names do not vouch for it");
                (builder.with_root_certificates(roots(trust)?), trusted)
            }
        };
        let config = Arc::new(config.with_no_client_auth());
        Ok(Connector { connector: TlsConnector::from(config), name, trusted })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| {
            let failure = Failure::unavailable("no TLS", &error);
            if is_about_the_certificate(&error) {
                let said = format!("{}; {}", failure.said, self.trusted);
                // It will not be another one the next time.
                return Failure { kind: Kind::InvalidConfig, said, ..failure }.with_retry(Retry::Never);
            }
            failure
        })
    }
}

fn is_about_the_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    matches!(inner, Some(TlsError::InvalidCertificate(_)))
}

/// The certificates that somebody named, all of which must be readable.
fn roots(trust: &Trust) -> Result<RootCertStore> {
    let Trust::These { file, folder, by } = trust else { return Ok(RootCertStore::empty()) };
    let path = file.as_ref().or(folder.as_ref()).map(|path| path.display().to_string()).unwrap_or_default();
    let invalid = |what: String| Error::invalid(format!("{by} {path:?}: {what}"));
    let found = rustls_native_certs::load_certs_from_paths(file.as_deref(), folder.as_deref());
    if let Some(error) = found.errors.first() {
        return Err(invalid(error.to_string()));
    }
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        return Err(invalid(
            "there is no certificate in it (PEM, between -----BEGIN CERTIFICATE----- and END)".into(),
        ));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpOptions, Surroundings};
    use std::path::Path;

    fn connector(bundle: &Path) -> Result<Connector> {
        let options = HttpOptions { ca_bundle: Some(bundle.to_owned()), ..HttpOptions::default() };
        let around = Surroundings::new([], || std::time::SystemTime::UNIX_EPOCH);
        Connector::new("s3.example.org", &Network::new(&options, &around, None).unwrap())
    }

    #[test]
    fn a_bundle_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        for (path, needle) in [(&missing, "missing.pem"), (&empty, "no certificate")] {
            let error = connector(path).err().unwrap();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            let text = error.to_string();
            assert!(text.contains("ca_bundle") && text.contains(needle), "{text}");
        }
    }
}
