//! Versions of SSF.

use secevent::Invalid;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A version of SSF: `1_0`, or one of its drafts such as `1_0-ID2`. Drafts come before what they became
/// (E-28).
///
/// ```
/// use secevent_ssf::SpecVersion;
///
/// let draft: SpecVersion = "1_0-ID3".parse()?;
/// assert!(SpecVersion::FIRST_DRAFT < draft && draft < SpecVersion::V1_0);
/// assert_eq!(SpecVersion::V1_0.to_string(), "1_0");
/// assert!("1.0".parse::<SpecVersion>().is_err());
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecVersion {
    major: u16,
    minor: u16,
    stage: Stage,
}

/// The order of the variants is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Draft(u16),
    Final,
}

impl SpecVersion {
    /// The final SSF 1.0.
    pub const V1_0: Self = Self { major: 1, minor: 0, stage: Stage::Final };

    /// The first implementer's draft: what a transmitter speaks that does not say.
    pub const FIRST_DRAFT: Self = Self { major: 1, minor: 0, stage: Stage::Draft(1) };
}

impl FromStr for SpecVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text).ok_or_else(|| Invalid::new("", "SSF-50", "must be a version such as 1_0 or 1_0-ID2"))
    }
}

fn read(text: &str) -> Option<SpecVersion> {
    let (version, stage) = match text.split_once("-ID") {
        Some((version, draft)) => (version, Stage::Draft(number(draft)?)),
        None => (text, Stage::Final),
    };
    let (major, minor) = version.split_once('_')?;
    Some(SpecVersion { major: number(major)?, minor: number(minor)?, stage })
}

/// Digits only, and as they would be written: what is parsed prints the same.
fn number(digits: &str) -> Option<u16> {
    let number: u16 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.major, self.minor)?;
        match self.stage {
            Stage::Draft(number) => write!(f, "-ID{number}"),
            Stage::Final => Ok(()),
        }
    }
}

impl Serialize for SpecVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
