//! TLS at a listener: versions 1.2 and 1.3, and a certificate that can be renewed while it is in use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// TLS at a listener. Clones share the certificate.
///
/// TLS 1.2 and 1.3 are spoken, with forward secrecy and authenticated encryption only (RFC 9325); who offers nothing
/// newer than TLS 1.1 gets the alert `protocol_version`.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
}

/// Why a certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// The certificate is none.
    #[error("the certificate is no PEM text with certificates: {0}")]
    Certificate(String),
    /// The key is none.
    #[error("the key is no PEM text with a private key: {0}")]
    Key(String),
    /// They do not fit together, or are of a kind that is not supported.
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(String),
}

impl ServerTls {
    /// TLS with this certificate, with the chain that belongs to it, and its key; both as PEM texts.
    pub fn new(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, ServerTlsError> {
        let pair = Arc::new(read(certificate_pem, key_pem)?);
        let certificate = Arc::new(Certificate(RwLock::new(pair)));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// Uses another certificate from now on. One that cannot be used changes nothing.
    pub fn renew(&self, certificate_pem: &[u8], key_pem: &[u8]) -> Result<(), ServerTlsError> {
        let pair = Arc::new(read(certificate_pem, key_pem)?);
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = pair;
        Ok(())
    }

    /// The certificate that is in use, as PEM text: for those who are told in this way which one to expect.
    pub fn certificate_pem(&self) -> String {
        let pair = self.certificate.pair();
        let der = pair.cert.first().map(AsRef::as_ref).unwrap_or_default();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    fn pair(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair())
    }
}

fn read(certificate_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, ServerTlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| ServerTlsError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(ServerTlsError::Certificate("it holds none".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem);
    let key = key.map_err(|error| ServerTlsError::Key(error.to_string()))?;
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    pair.map_err(|error| ServerTlsError::Pair(error.to_string()))
}
