//! Whom we trust to be who they are: the TLS settings of every outgoing connection.

use crate::config::ConfigError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secevent_ssf::Secret;
use std::sync::Arc;

/// Trust in certificates, as the contents of PEM files.
///
/// Certificates are checked by the platform's verifier against the system's roots and `extra_ca_pem`: chain, dates, purpose
/// and the host name of the URL. There is no setting that switches this off.
///
/// TLS 1.2 and 1.3 are spoken, with forward secrecy and authenticated encryption only, without early data and
/// without renegotiation (RFC 9325).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// More certificate authorities to trust beside the system's. Default: none (an empty text).
    pub extra_ca_pem: String,
    /// Certificate revocation lists. A certificate that one of them names is refused; one that none of them speaks for
    /// is accepted, and a list past its next update still counts: yesterday's list is better than none, and than no
    /// delivery. Default: none.
    ///
    /// Outside of this setting, revocation is what the platform does by itself: macOS and Windows look it up,
    /// Linux does not. With lists set, the system's roots are used with rustls' own verifier on every platform.
    pub revocation_lists_pem: String,
    /// The only certificate that is accepted, whatever its name, dates and authority are: for a server of our own that
    /// has told us its certificate in another way. Default: none (an empty text).
    pub only_pem: String,
    /// Who we say we are to servers that ask for a certificate (mutual TLS). Default: nobody.
    pub identity: Option<Identity>,
}

/// A certificate of ours with its key, as the contents of PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and the chain that belongs to it.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: Secret<String>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.certificate_pem == other.certificate_pem && self.key_pem.expose() == other.key_pem.expose()
    }
}

impl Eq for Identity {}

impl TlsConfig {
    /// The rustls settings these become.
    pub fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions")
            .dangerous() // rustls' word for "a verifier of your own"; ours is one of its two verifiers
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = parse("certificate", "certificates", &identity.certificate_pem)?;
                let refuse =
                    |reason: String| ConfigError::Pem { setting: "key", kind: "a private key", reason };
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes());
                let key = key.map_err(|error| refuse(error.to_string()))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| refuse(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        if let Some(only) = parse("only_pem", "certificates", &self.only_pem)?.into_iter().next() {
            let algorithms = provider.signature_verification_algorithms;
            return Ok(Arc::new(Only { certificate: only, algorithms }));
        }
        let extra = parse::<CertificateDer<'static>>("extra_ca_pem", "certificates", &self.extra_ca_pem)?;
        let lists = parse::<CertificateRevocationListDer<'static>>(
            "revocation_lists_pem",
            "certificate revocation lists",
            &self.revocation_lists_pem,
        )?;
        let no_trust = |error: &dyn std::error::Error| ConfigError::NoTrust(error.to_string());
        if lists.is_empty() {
            return rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(provider))
                .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
                .map_err(|error| no_trust(&error));
        }

        let mut roots = RootCertStore::empty();
        // A certificate of the system that does not parse is the system's affair: it verifies nothing.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in extra {
            roots.add(certificate).map_err(|error| no_trust(&error))?;
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists)
            .allow_unknown_revocation_status()
            .build()
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
            .map_err(|error| no_trust(&error))
    }
}

/// Accepts one certificate, if the other end has its key.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *certificate == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse<T: PemObject>(setting: &'static str, kind: &'static str, pem: &str) -> Result<Vec<T>, ConfigError> {
    if pem.trim().is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |reason: String| ConfigError::Pem { setting, kind, reason };
    let items = T::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<T>, _>>();
    match items.map_err(|error| refuse(error.to_string()))? {
        items if items.is_empty() => Err(refuse("it holds none".to_owned())),
        items => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        let config = TlsConfig { extra_ca_pem: "not PEM".to_owned(), ..TlsConfig::default() };
        let error = config.client_config().unwrap_err().to_string();
        assert_eq!(error, "`extra_ca_pem` is not a PEM bundle of certificates: it holds none");
    }

    #[test]
    fn forward_secrecy_both_protocols_no_early_data() {
        let config = TlsConfig::default().client_config().unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(!config.enable_early_data);
        assert!(config.enable_sni);
        for suite in &config.crypto_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(name.contains("GCM") || name.contains("CHACHA20_POLY1305"), "{name}");
        }
    }
}
