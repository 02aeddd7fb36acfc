//! From a token to a proved SET: signature, profile, issuer, audience and time, in the order that costs least.

use crate::{Compact, IssuerKeys, TypRule, VerifyError};
use secevent::{Profile, Set, Timestamp};
use std::time::Duration;

/// What a recipient expects of a SET, beyond a good signature.
///
/// ```
/// use secevent::{Claims, Profile, Subject, Timestamp, risc::AccountDisabled};
/// use secevent_jose::{Algorithm, Compact, Expected, IssuerKeys, JwkSet, Signer, SigningKey};
///
/// let now = Timestamp::from_seconds(1_900_000_000);
/// let mut claims = Claims::new("https://idp.example", "1", now);
/// claims.aud = Some("https://rp.example".into());
/// claims.sub_id = Some(Subject::email("alice@example.com")?);
/// let set = claims.with_event(&AccountDisabled::default())?.prove(Profile::Ssf)?;
/// let signer = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
/// let token = signer.sign(set.as_json().as_bytes())?;
///
/// let issuer = IssuerKeys::new("https://idp.example", JwkSet::new([signer.key().public().clone()]));
/// let expected = Expected::new(Profile::Ssf).audience("https://rp.example");
/// let verified = issuer.verify_set(&Compact::parse(&token)?, &expected, now)?;
/// assert_eq!(verified.jti(), "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    profile: Profile,
    audience: Vec<String>,
    clock_skew_max: Duration,
}

impl Expected {
    /// A SET of this profile, for any audience, with an `iat` at most a minute ahead.
    pub fn new(profile: Profile) -> Self {
        Self { profile, audience: Vec::new(), clock_skew_max: Duration::from_secs(60) }
    }

    /// Accept SETs for this recipient; with several calls, for any of them. A SET without `aud` is then
    /// refused.
    #[must_use]
    pub fn audience(mut self, name: impl Into<String>) -> Self {
        self.audience.push(name.into());
        self
    }

    /// How far ahead of the recipient's clock an `iat` may be.
    #[must_use]
    pub fn clock_skew_max(mut self, skew: Duration) -> Self {
        self.clock_skew_max = skew;
        self
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Proves the claims of a token that the keys of `issuer` signed: profile, issuer, audience, times. SETs do
    /// not age, so there is no lower bound of `iat`; `exp` counts where the profile asks for it.
    pub fn prove(&self, payload: &[u8], issuer: &str, now: Timestamp) -> Result<Set, VerifyError> {
        let set = Set::read(payload, self.profile).map_err(VerifyError::Malformed)?;
        if set.iss() != issuer {
            return Err(VerifyError::ForeignKey { issuer: set.iss().into() });
        }
        let named = |name: &String| set.aud().is_some_and(|aud| aud.contains(name));
        if !self.audience.is_empty() && !self.audience.iter().any(named) {
            return Err(VerifyError::Audience);
        }
        if set.iat() > now.plus(self.clock_skew_max) {
            return Err(VerifyError::Malformed(secevent::Invalid::new(
                "iat",
                "LEGACY-30",
                "is in the future",
            )));
        }
        let over = |exp: Timestamp| exp.plus(self.clock_skew_max) <= now;
        if self.profile == Profile::Logout && set.claims().exp.is_some_and(over) {
            return Err(VerifyError::Malformed(secevent::Invalid::new("exp", "BCL-29", "has passed")));
        }
        Ok(set)
    }
}

/// The rule of [`Profile::accepts_typ`].
impl From<Profile> for TypRule {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Logout => Self::LogoutTokenOrUntyped,
            Profile::Legacy | Profile::Rfc8417 => Self::SecurityEventOrUntyped,
            Profile::Plain | Profile::Ssf | Profile::Scim => Self::SecurityEvent,
        }
    }
}

impl IssuerKeys {
    /// Verifies a token and proves its claims: everything that a recipient checks before it believes a SET,
    /// but for what only the recipient's own memory tells (whether it came before).
    pub fn verify_set(
        &self,
        token: &Compact<'_>,
        expected: &Expected,
        now: Timestamp,
    ) -> Result<Set, VerifyError> {
        let verified = self.verify(token, expected.profile.into())?;
        expected.prove(verified.payload(), self.issuer(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_admitted_as_the_profiles_say() {
        for profile in Profile::ALL {
            for typ in [None, Some("JWT"), Some("secevent+jwt"), Some("Logout+JWT"), Some("at+jwt"), Some("")]
            {
                assert_eq!(TypRule::from(profile).admits(typ), profile.accepts_typ(typ), "{profile} {typ:?}");
            }
        }
    }
}
