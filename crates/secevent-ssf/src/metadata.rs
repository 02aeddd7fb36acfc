//! What a transmitter says of itself (SSF 1.0 section 7).

mod spec_version;
mod well_known;

pub use spec_version::SpecVersion;
pub use well_known::{Placement, WellKnown, WellKnownPath, issuer_path_of, well_known_url};

use crate::members::{Members, missing};
use crate::{Endpoint, Method, Tolerance};
use secevent::{Invalid, Issuer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// The document at a transmitter's [well-known URL](well_known_url): who it is, where its keys and endpoints
/// are, what it can do.
///
/// ```
/// use secevent_ssf::{Tolerance, TransmitterMetadata};
///
/// let body = br#"{"spec_version":"1_0","issuer":"https://tr.example.com","jwks_uri":"https://tr.example.com/jwks"}"#;
/// let metadata = TransmitterMetadata::read(body, Tolerance::NONE)?;
/// // Nothing of a document may be used whose issuer is not the one that was asked for.
/// metadata.check_issuer(&"https://tr.example.com".parse()?)?;
/// assert!(metadata.check_issuer(&"https://tr.example.com/".parse()?).is_err());
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransmitterMetadata {
    /// The version of SSF that the transmitter speaks; see [`TransmitterMetadata::version`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_version: Option<SpecVersion>,
    /// The transmitter's name: the `iss` of its SETs.
    #[serde(serialize_with = "as_text")]
    pub issuer: Issuer,
    /// Where its signing keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Endpoint>,
    /// The methods of delivery that it takes, by name: the URNs of [`Method`], older names, unknown ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delivery_methods_supported: Vec<String>,
    /// Where streams are created, read, updated, replaced and deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_endpoint: Option<Endpoint>,
    /// Where the status of a stream is read and set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_endpoint: Option<Endpoint>,
    /// Where subjects are added to a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_subject_endpoint: Option<Endpoint>,
    /// Where subjects are removed from a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_subject_endpoint: Option<Endpoint>,
    /// Where a verification event is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_endpoint: Option<Endpoint>,
    /// Members of complex subjects that a receiver has to understand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical_subject_members: Vec<String>,
    /// How callers of the endpoints prove who they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_schemes: Vec<AuthorizationScheme>,
    /// Which subjects a new stream has; absent says nothing (E-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_subjects: Option<DefaultSubjects>,
}

impl TransmitterMetadata {
    /// Metadata that names its issuer and nothing else, to be filled in.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            spec_version: None,
            issuer,
            jwks_uri: None,
            delivery_methods_supported: Vec::new(),
            configuration_endpoint: None,
            status_endpoint: None,
            add_subject_endpoint: None,
            remove_subject_endpoint: None,
            verification_endpoint: None,
            critical_subject_members: Vec::new(),
            authorization_schemes: Vec::new(),
            default_subjects: None,
        }
    }

    /// Reads a transmitter's document. Members that SSF does not define are ignored (SSF-46).
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-44")?;
        let endpoint = |name: &str, rule: &'static str| {
            let Some(url) = members.text(name, rule)? else { return Ok(None) };
            Endpoint::parse(&url, rule, tolerance).map(Some).map_err(|breach| breach.within(name))
        };
        let issuer = members.issuer("issuer", "SSF-47", tolerance)?;
        Ok(Self {
            spec_version: spec_version(&members, tolerance)?,
            issuer: issuer.ok_or_else(|| missing("issuer", "SSF-47"))?,
            jwks_uri: endpoint("jwks_uri", "SSF-51")?,
            delivery_methods_supported: members
                .texts("delivery_methods_supported", "SSF-52")?
                .unwrap_or_default(),
            configuration_endpoint: endpoint("configuration_endpoint", "SSF-53")?,
            status_endpoint: endpoint("status_endpoint", "SSF-53")?,
            add_subject_endpoint: endpoint("add_subject_endpoint", "SSF-53")?,
            remove_subject_endpoint: endpoint("remove_subject_endpoint", "SSF-53")?,
            verification_endpoint: endpoint("verification_endpoint", "SSF-53")?,
            critical_subject_members: members
                .texts("critical_subject_members", "SSF-54")?
                .unwrap_or_default(),
            authorization_schemes: authorization_schemes(&members)?,
            default_subjects: default_subjects(&members)?,
        })
    }

    /// The document as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings are always JSON")
    }

    /// Checks that the document is of the issuer that it was asked for. If not, nothing of it may be used
    /// (SSF-48).
    pub fn check_issuer(&self, expected: &Issuer) -> Result<(), Invalid> {
        if self.issuer == *expected {
            return Ok(());
        }
        let problem = format!("must be {expected}, whose metadata this is, not {}", self.issuer);
        Err(Invalid::new("issuer", "SSF-48", problem))
    }

    /// The version of SSF that the transmitter speaks: the first draft, if it does not say (SSF-50).
    pub fn version(&self) -> SpecVersion {
        self.spec_version.unwrap_or(SpecVersion::FIRST_DRAFT)
    }

    /// Whether the transmitter lists `method`, under its URN or its older name.
    pub fn supports(&self, method: Method) -> bool {
        self.delivery_methods_supported.iter().any(|name| name == method.urn() || name == method.risc_url())
    }

    /// What the CAEP Interoperability Profile asks of metadata (its section 2.3) and this does not have.
    pub fn interop_breaches(&self) -> Vec<Invalid> {
        let oauth =
            self.authorization_schemes.iter().any(|scheme| scheme.spec_urn == AuthorizationScheme::OAUTH);
        let asked = [
            ("spec_version", "INTEROP-04", "must be 1_0 or later", self.version() >= SpecVersion::V1_0),
            (
                "delivery_methods_supported",
                "INTEROP-05",
                "must be there and not empty",
                !self.delivery_methods_supported.is_empty(),
            ),
            ("jwks_uri", "INTEROP-06", "must be there", self.jwks_uri.is_some()),
            ("configuration_endpoint", "INTEROP-07", "must be there", self.configuration_endpoint.is_some()),
            ("status_endpoint", "INTEROP-08", "must be there", self.status_endpoint.is_some()),
            ("verification_endpoint", "INTEROP-10", "must be there", self.verification_endpoint.is_some()),
            ("authorization_schemes", "INTEROP-11", "must have {\"spec_urn\":\"urn:ietf:rfc:6749\"}", oauth),
        ];
        let broken = asked.into_iter().filter(|(.., kept)| !kept);
        broken.map(|(name, rule, problem, _)| Invalid::new(name, rule, problem)).collect()
    }
}

/// One way in which callers of a transmitter's endpoints prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizationScheme {
    /// The URN of the specification that says how.
    pub spec_urn: String,
}

impl AuthorizationScheme {
    /// OAuth 2.0: what the CAEP Interoperability Profile asks for.
    pub const OAUTH: &'static str = "urn:ietf:rfc:6749";

    /// The scheme with this URN.
    pub fn new(spec_urn: impl Into<String>) -> Self {
        Self { spec_urn: spec_urn.into() }
    }
}

/// Which subjects a new stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DefaultSubjects {
    /// Every subject that fits; some may be removed.
    All,
    /// No subject; some may be added.
    None,
}

fn spec_version(members: &Members<'_>, tolerance: Tolerance) -> Result<Option<SpecVersion>, Invalid> {
    let Some(text) = members.text("spec_version", "SSF-50")? else { return Ok(None) };
    match text.parse() {
        Ok(version) => Ok(Some(version)),
        Err(_) if tolerance.legacy => Ok(None),
        Err(breach) => Err(breach.within("spec_version")),
    }
}

fn authorization_schemes(members: &Members<'_>) -> Result<Vec<AuthorizationScheme>, Invalid> {
    let name = "authorization_schemes";
    let schemes: Option<Vec<&RawValue>> = members.optional(name, "SSF-55", "must be an array of objects")?;
    let read = |(place, scheme): (usize, &RawValue)| {
        Members::of(scheme, "SSF-55")
            .and_then(|scheme| {
                scheme.text("spec_urn", "SSF-55")?.ok_or_else(|| missing("spec_urn", "SSF-55"))
            })
            .map(AuthorizationScheme::new)
            .map_err(|breach| breach.within(&format!("[{place}]")).within(name))
    };
    schemes.unwrap_or_default().into_iter().enumerate().map(read).collect()
}

fn default_subjects(members: &Members<'_>) -> Result<Option<DefaultSubjects>, Invalid> {
    match members.text("default_subjects", "SSF-57")?.as_deref() {
        None => Ok(None),
        Some("ALL") => Ok(Some(DefaultSubjects::All)),
        Some("NONE") => Ok(Some(DefaultSubjects::None)),
        Some(_) => Err(Invalid::new("default_subjects", "SSF-57", "must be ALL or NONE")),
    }
}

fn as_text<S: Serializer>(issuer: &Issuer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(issuer.as_str())
}
