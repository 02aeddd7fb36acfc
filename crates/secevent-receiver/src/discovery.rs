//! Finding a transmitter: where its metadata is, and that it is its own (SSF 1.0 section 7).

use crate::ClientError;
use crate::source::Peer;
use crate::transmitter::get;
use bytes::Bytes;
use http::Uri;
use secevent::Invalid;
use secevent::json::without_bom;
use secevent_ssf::metadata::Placement;
use secevent_ssf::{TransmitterMetadata, Transport, WellKnown};

/// A transmitter that was found.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The transmitter, with the name and the place under which its metadata was found.
    pub peer: Peer,
    /// Where its metadata is.
    pub url: String,
    /// The metadata as it was served, with the members that nobody here knows.
    pub document: Bytes,
    /// What is known of it.
    pub metadata: TransmitterMetadata,
}

impl Discovery {
    /// Reads a transmitter's metadata. If it is not the peer's own, nothing of it is used (SSF-48, SSF-61).
    ///
    /// A peer that is forgiven older dialects is looked for under their names too, after its own one: they
    /// had others, and stood elsewhere (E-31).
    ///
    /// ```no_run
    /// # async fn story(transport: &dyn secevent_ssf::Transport) -> Result<(), Box<dyn std::error::Error>> {
    /// use secevent_receiver::{Discovery, Peer};
    ///
    /// let mut peer = Peer::new("https://tr.example".parse()?);
    /// peer.tolerance.legacy = true;
    /// let found = Discovery::of(&peer, transport).await?;
    /// println!("{} tells of itself at {}", peer.issuer, found.url);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn of(peer: &Peer, transport: &dyn Transport) -> Result<Self, ClientError> {
        if let Some(endpoint) = &peer.metadata_at {
            return Self::at(peer.clone(), endpoint.as_str().to_owned(), transport).await;
        }
        let own = (peer.well_known, peer.placement);
        let first = match Self::under(peer, own, transport).await {
            Err(error) if peer.tolerance.legacy && may_be_elsewhere(&error) => error,
            found => return found,
        };
        let names = WellKnown::ALL.into_iter();
        let places = names.flat_map(|name| [(name, Placement::Inserted), (name, Placement::Appended)]);
        // Where the issuer has no path, between host and path is behind it too.
        let has_path = peer.issuer.path().len() > 1;
        let others = places.filter(|place| *place != own && (has_path || place.1 == Placement::Inserted));
        for place in others {
            match Self::under(peer, place, transport).await {
                Err(error) if may_be_elsewhere(&error) => {}
                found => return found,
            }
        }
        Err(first)
    }

    async fn under(
        peer: &Peer,
        (well_known, placement): (WellKnown, Placement),
        transport: &dyn Transport,
    ) -> Result<Self, ClientError> {
        let peer = Peer { well_known, placement, ..peer.clone() };
        let url = well_known.url(&peer.issuer, placement);
        Self::at(peer, url, transport).await
    }

    async fn at(peer: Peer, url: String, transport: &dyn Transport) -> Result<Self, ClientError> {
        let uri: Uri = url
            .parse()
            .map_err(|_| ClientError::Malformed(Invalid::new("issuer", "SSF-47", "must be a URL")))?;
        let response = transport.send(get(uri)).await?;
        if !response.status().is_success() {
            return Err(ClientError::refused(&response));
        }
        let metadata = TransmitterMetadata::read(without_bom(response.body()), peer.tolerance)
            .map_err(ClientError::Malformed)?;
        metadata.check_issuer(&peer.issuer).map_err(ClientError::Issuer)?;
        Ok(Self { peer, url, document: response.into_body(), metadata })
    }
}

/// Whether another name is worth a try. What does not answer here does not answer there either; and a page of
/// somebody's web site stands under any name.
fn may_be_elsewhere(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { .. } | ClientError::Malformed(_) | ClientError::Issuer(_))
}
