//! An issuer's public keys: from a file, from a URL, or found through the issuer's metadata.

use crate::input;
use crate::network::{PRIVATE_NETWORKS, Trust, is_loopback};
use crate::output::{Failure, progress};
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode, Uri};
use secevent::Issuer;
use secevent::json::without_bom;
use secevent_http::{Client, ClientConfig, ConnectTo, Ports};
use secevent_jose::{Jwk, JwkSet, KeyError};
use secevent_ssf::metadata::well_known_url;
use secevent_ssf::{ResponseLimit, Tolerance, TransmitterMetadata, Transport as _, TransportError};
use std::collections::BTreeSet;
use std::path::Path;

/// Keys, and where they are from.
pub(crate) struct Keys {
    /// The keys themselves.
    pub(crate) set: JwkSet,
    /// For people: a file's name or a URL.
    pub(crate) source: String,
}

/// Reads the keys at `place`, a file or a URL; without one, those that the issuer's metadata names. A lone
/// key without a name is taken for the one that the token names.
pub(crate) fn load(
    place: Option<&str>,
    issuer: Option<&str>,
    kid: Option<&str>,
    private: bool,
    trust: &Trust,
) -> Result<Keys, Failure> {
    match (place, issuer) {
        (Some(url), _) if is_url(url) => fetch(url, private, trust, async |network| network.keys(url).await),
        (Some(path), _) => from_file(path, kid),
        (None, Some(issuer)) => fetch(issuer, private, trust, async |network| network.keys_of(issuer).await),
        (None, None) => Err(Failure::misuse("the issuer's keys are missing").fix("add --jwks or --issuer")),
    }
}

fn is_url(place: &str) -> bool {
    let starts_with =
        |scheme: &str| place.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    starts_with("https://") || starts_with("http://")
}

fn from_file(path: &str, kid: Option<&str>) -> Result<Keys, Failure> {
    let bytes = input::file(Path::new(path), "the issuer's keys")?;
    let wrong = |why: String| Failure::misuse(format!("the keys in {path} cannot be used: {why}"));
    let lone = |key: Jwk| match (key.kid(), kid) {
        (None, Some(kid)) => key.with_kid(kid).map(|key| JwkSet::new([key])),
        _ => Ok(JwkSet::new([key])),
    };
    let read = if input::is_json(&bytes) {
        match JwkSet::from_json(&bytes) {
            Err(KeyError::Malformed { part: "jwks", .. }) => Jwk::from_json(&bytes).and_then(lone),
            read => read,
        }
    } else {
        let text =
            std::str::from_utf8(&bytes).map_err(|_| wrong("they are neither JSON nor PEM".to_owned()))?;
        Jwk::from_pem(text).and_then(lone)
    };
    let set = read.map_err(|error| {
        let is_private =
            matches!(&error, KeyError::UnsupportedType { name } if name.to_string().contains("PRIVATE KEY"));
        match is_private {
            true => wrong("that is a private key".to_owned())
                .fix(format!("give the public half: openssl pkey -in {path} -pubout -out public.pem")),
            false => wrong(error.to_string()).fix("give a JWK Set, a JWK or a PEM public key"),
        }
    })?;
    Ok(Keys { set, source: path.to_owned() })
}

/// Starts a runtime for one exchange with the place that the user named.
fn fetch(
    url: &str,
    private: bool,
    trust: &Trust,
    exchange: impl AsyncFnOnce(Network) -> Result<Keys, Failure>,
) -> Result<Keys, Failure> {
    let network = Network::new(url, private, trust)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?.block_on(exchange(network))
}

struct Network {
    client: Client,
    private: bool,
}

impl Network {
    /// A client for the host that the user named, and for the usual port of others that it may refer to.
    fn new(url: &str, private: bool, trust: &Trust) -> Result<Self, Failure> {
        let named: Option<u16> = url.parse::<Uri>().ok().and_then(|uri| uri.port_u16());
        let connect_to = trust.connect.of(url)?;
        let mut config = ClientConfig {
            ports: Ports::Only(BTreeSet::from_iter(
                [443].into_iter().chain(named).chain(connect_to.as_ref().map(ConnectTo::port)),
            )),
            connect_to,
            tls: trust.tls()?,
            ..ClientConfig::default()
        };
        if private {
            let networks = PRIVATE_NETWORKS.iter().map(|network| network.parse().expect("a network"));
            config.allow_networks = networks.collect();
            config.allow_plain_http = true;
            config.ports = Ports::Any;
        }
        let client = Client::new(config).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { client, private })
    }

    /// The keys that the issuer's metadata points to.
    async fn keys_of(&self, issuer: &str) -> Result<Keys, Failure> {
        let wrong = |breach: secevent::Invalid| {
            Failure::misuse(format!("--issuer {issuer} {}", breach.problem())).about(&breach)
        };
        let issuer: Issuer = match self.private {
            true => Issuer::parse_insecure(issuer),
            false => issuer.parse(),
        }
        .map_err(wrong)?;
        let url = well_known_url(&issuer);
        let body = self.get(&url, "application/json").await?;
        let tolerance = Tolerance { plain_http: self.private, ..Tolerance::NONE };
        let metadata = TransmitterMetadata::read(without_bom(&body), tolerance)
            .and_then(|metadata| metadata.check_issuer(&issuer).map(|()| metadata))
            .map_err(|breach| {
                Failure::failed(format!("the metadata at {url} cannot be used: {breach}"))
                    .about(&breach)
                    .fix("name the issuer as it names itself, letter by letter, or give the keys with --jwks")
            })?;
        let place = metadata.jwks_uri.ok_or_else(|| {
            Failure::failed(format!("the metadata at {url} has no `jwks_uri`"))
                .fix("give the keys with --jwks")
        })?;
        self.keys(place.as_str()).await
    }

    /// The keys at this URL.
    async fn keys(&self, url: &str) -> Result<Keys, Failure> {
        let body = self.get(url, "application/jwk-set+json, application/json").await?;
        let set = JwkSet::published(&body).map_err(|error| {
            Failure::failed(format!("the keys at {url} cannot be used: {error}"))
                .fix("check the URL: it must serve a JWK Set with the issuer's signing keys")
        })?;
        Ok(Keys { set, source: url.to_owned() })
    }

    async fn get(&self, url: &str, accept: &'static str) -> Result<Bytes, Failure> {
        let uri: Uri = url.parse().map_err(|_| Failure::misuse(format!("{url} is not a URL")))?;
        // SETs name people, and keys decide what is believed: without TLS only this very machine will do.
        if uri.scheme_str() != Some("https") && !(self.private && is_loopback(&uri)) {
            return Err(Failure::misuse(format!("{url} must be an https URL"))
                .fix("http is for loopback only, and needs --allow-private-network"));
        }
        progress(&format!("fetching {url}"));
        let request =
            Request::get(uri).header(ACCEPT, accept).extension(ResponseLimit(JwkSet::JSON_BYTES_MAX));
        let request = request.body(Bytes::new()).expect("the URL was parsed");
        let answer = self.client.send(request).await.map_err(|error| {
            let failure = Failure::failed(format!("{url} cannot be fetched: {error}"));
            match error {
                TransportError::AddressRefused(_) if !self.private => {
                    failure.fix("for a server of your own in a private network add --allow-private-network")
                }
                TransportError::Tls(_) => {
                    failure.fix("check the server's certificate, name its authority with --ca, or give the keys in a file")
                }
                _ => failure.fix("try again later, or give the keys in a file"),
            }
        })?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(Failure::failed(format!("{url} answered {status}")).fix("check the URL")),
        }
    }
}
