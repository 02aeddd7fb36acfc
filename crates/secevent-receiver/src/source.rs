//! Where events come from: one transmitter, and what is taken from it.

use crate::{Authority, Credentials};
use secevent::{Issuer, Profile, Set, Strictness, Subject, Vocabulary};
use secevent_jose::{Algorithms, Compact};
use secevent_ssf::metadata::Placement;
use secevent_ssf::{
    Change, CreateStream, DeliverBy, DeliveryRequest, Endpoint, Secret, Tolerance, WellKnown,
};
use std::borrow::Cow;
use std::time::Duration;

/// A transmitter: who it is, where it says so, and how it is talked to.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name, to the letter: what its metadata, its streams and its SETs must say.
    pub issuer: Issuer,
    /// The name under which its metadata is found. Default: `ssf-configuration`.
    pub well_known: WellKnown,
    /// Where that name stands. Default: between host and path.
    pub placement: Placement,
    /// Where its metadata is, if it is at an address of the transmitter's own choosing. Default: under that name.
    pub metadata_at: Option<Endpoint>,
    /// What is forgiven in its messages. Default: nothing.
    pub tolerance: Tolerance,
    /// How we prove to it who we are. Default: not at all.
    pub credentials: Credentials,
    /// Whether at most one request to it is on its way at any time, polls included: some transmitters answer one after
    /// another. A poll is then not held open. Default: no.
    pub one_request_at_a_time: bool,
}

impl Peer {
    /// A transmitter of SSF 1.0 that asks for no credentials.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            well_known: WellKnown::Ssf,
            placement: Placement::Inserted,
            metadata_at: None,
            tolerance: Tolerance::NONE,
            credentials: Credentials::None,
            one_request_at_a_time: false,
        }
    }
}

/// A source of events: one transmitter, and what is taken from it.
///
/// ```
/// use secevent_receiver::Source;
/// use secevent_ssf::DeliveryRequest;
///
/// let mut source = Source::new("idp", "https://idp.example".parse()?, DeliveryRequest::poll());
/// source.audiences = vec!["https://rp.example".to_owned()];
/// assert!(source.algorithms.contains(secevent_jose::Algorithm::Rs256));
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    /// What we call it: in the inbox, in logs, in the path of its push endpoint.
    pub name: String,
    /// The transmitter.
    pub peer: Peer,
    /// How its SETs come. For push, the `authorization_header` in here is what each push must carry.
    pub delivery: DeliveryRequest,
    /// Whether polls ask for an answer at once and come again after [`crate::PollSettings::empty_pause`], for networks
    /// and transmitters that do not let a request wait. Default: no, a poll waits for something to happen.
    pub short_polls: bool,
    /// The names by which its SETs may mean us. Default: none, which means those that the transmitter gives
    /// to the stream on [`crate::Receiver::subscribe`]; until then every SET is refused.
    pub audiences: Vec<String>,
    /// The rules that its SETs follow. Default: SSF.
    pub profile: Profile,
    /// The signatures that are taken. Default: [`Algorithms::DEFAULT`].
    pub algorithms: Algorithms,
    /// The event types whose payloads are checked. Default: those of the standards.
    pub vocabulary: Cow<'static, Vocabulary>,
    /// How payloads of known types are checked. Default: leniently, so that a SET is taken although a payload breaks its
    /// definition; the log says so, and the handler gets the payload as it is. A strict check refuses the SET.
    pub payloads: Strictness,
    /// Where its keys are. Default: where its metadata says.
    pub keys_at: Option<Endpoint>,
    /// The event types to ask for. Default: none, which leaves it to the transmitter.
    pub events_requested: Vec<String>,
    /// What to call the stream. Default: nothing.
    pub description: Option<String>,
    /// About whom it may speak. Default: about everybody.
    pub authority: Authority,
    /// The members of complex subjects that the application understands. A SET with another one that the
    /// transmitter calls critical is not handed on (SSF-17). Default: those of SSF 1.0.
    pub subject_members_understood: Vec<String>,
    /// The longest token that is read. Default: 64 KiB.
    pub token_bytes_max: usize,
    /// How far an `iat` may be ahead of our clock; how far behind never matters (LEGACY-30). Default: 60 s.
    pub clock_skew_max: Duration,
}

impl Source {
    /// A source with the defaults, and nothing asked for.
    pub fn new(name: impl Into<String>, issuer: Issuer, delivery: DeliveryRequest) -> Self {
        Self {
            name: name.into(),
            peer: Peer::new(issuer),
            delivery,
            short_polls: false,
            audiences: Vec::new(),
            profile: Profile::Ssf,
            algorithms: Algorithms::DEFAULT,
            vocabulary: Cow::Borrowed(Vocabulary::standard()),
            payloads: Strictness::Lenient,
            keys_at: None,
            events_requested: Vec::new(),
            description: None,
            authority: Authority::Anybody,
            subject_members_understood: COMPLEX_MEMBERS.map(str::to_owned).to_vec(),
            token_bytes_max: Compact::TOKEN_BYTES_MAX,
            clock_skew_max: Duration::from_secs(60),
        }
    }

    /// The stream that is asked for.
    pub(crate) fn wanted(&self) -> CreateStream {
        CreateStream {
            delivery: Some(self.delivery.clone()),
            events_requested: (!self.events_requested.is_empty()).then(|| self.events_requested.clone()),
            description: self.description.clone(),
            ..CreateStream::default()
        }
    }

    /// Whether polls wait for something to happen.
    pub(crate) fn holds_polls(&self) -> bool {
        !self.short_polls && !self.peer.one_request_at_a_time
    }

    /// What each push must carry as `Authorization`, if anything.
    pub(crate) fn push_authorization(&self) -> Option<&Secret<http::HeaderValue>> {
        match &self.delivery.by {
            DeliverBy::Push { authorization_header: Change::Set(authorization), .. } => Some(authorization),
            _ => None,
        }
    }

    /// Why this SET is not handed on although it is acknowledged; none if it is.
    pub(crate) fn objection(&self, set: &Set, critical_members: &[String]) -> Option<&'static str> {
        if let Some(Subject::Complex(complex)) = set.subject().as_deref() {
            let foreign = |name: &str| !self.subject_members_understood.iter().any(|known| known == name);
            let critical = |name: &str| critical_members.iter().any(|critical| critical == name);
            if complex.iter().any(|(name, _)| critical(name) && foreign(name)) {
                return Some("its subject has a critical member that is not understood");
            }
        }
        (!self.authority.covers_set(set)).then_some("the source may not speak about its subject")
    }
}

const COMPLEX_MEMBERS: [&str; 7] =
    ["user", "device", "session", "application", "tenant", "org_unit", "group"];
