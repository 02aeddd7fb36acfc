//! SETs that a poll brought: whether they are to be believed, and what they say.

use crate::clock::SystemClock;
use crate::link::Link;
use crate::output::{BAD, BOLD, DIM, GOOD, WARNING, message, note, pretty, safe, utc};
use crate::set::story;
use secevent::{Clock, Profile, Set};
use secevent_jose::{Compact, VerifyError};
use secevent_receiver::{JwksCache, ReceiveError, SetVerifier, Source};
use secevent_ssf::{DeliveryRequest, StreamConfiguration};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Judges the SETs of one stream by the keys that its transmitter publishes.
pub(super) struct Judge(SetVerifier, Profile);

/// A SET that was judged.
pub(super) struct Judged {
    /// The `jti` under which it came.
    pub(super) jti: String,
    token: String,
    profile: Profile,
    pub(super) verdict: Result<Set, ReceiveError>,
}

impl Judge {
    /// `audiences` are the names by which SETs mean us; none of them means those of the stream's configuration.
    pub(super) fn new(link: &Link, stream: &StreamConfiguration, audiences: &[String]) -> Self {
        let mut source = Source::new("stream", link.peer.issuer.clone(), DeliveryRequest::poll());
        source.peer = link.peer.clone();
        source.keys_at = link.metadata().jwks_uri.clone();
        source.audiences = match audiences {
            [] => stream.aud.iter().map(str::to_owned).collect(),
            named => named.to_vec(),
        };
        if source.audiences.is_empty() {
            note(
                "the stream's configuration names no audience: name ours with --audience, or no SET is valid",
            );
        }
        if link.peer.tolerance.legacy {
            source.profile = Profile::Legacy;
        }
        let profile = source.profile;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = Arc::new(JwksCache::new(&source, Arc::clone(&link.transport), Arc::clone(&clock)));
        Self(SetVerifier::new(Arc::new(source), keys, clock), profile)
    }

    pub(super) async fn judge(&self, (jti, token): (String, String)) -> Judged {
        let verdict = self.0.verify(token.as_bytes()).await.and_then(|verified| {
            // What stands under another name than its own must not be acknowledged (E-96).
            if verified.set.jti() == jti { Ok(verified.set) } else { Err(ReceiveError::ForeignJti) }
        });
        Judged { jti, token, profile: self.1, verdict }
    }
}

impl Judged {
    /// Whether it cannot be judged at the moment, which says nothing against it.
    pub(super) fn is_open(&self) -> bool {
        self.verdict.as_ref().is_err_and(ReceiveError::is_open)
    }

    /// What to try where it is refused as a SET of SSF 1.0, and would pass as one of an older transmitter.
    fn hint(&self) -> Option<&'static str> {
        let Err(ReceiveError::Token(VerifyError::Malformed(_) | VerifyError::Typ { .. })) = &self.verdict
        else {
            return None;
        };
        let compact = Compact::parse(&self.token).ok()?;
        let other = story::other_profile(compact.unverified_payload(), self.profile)?;
        (other == Profile::Legacy).then_some("if its transmitter is older than SSF 1.0, add --legacy")
    }

    pub(super) fn to_json(&self) -> Value {
        let valid = if self.is_open() { Value::Null } else { self.verdict.is_ok().into() };
        let mut told = json!({ "jti": self.jti, "valid": valid });
        match &self.verdict {
            Ok(set) => {
                let claims: Option<&RawValue> = serde_json::from_str(set.as_json().trim()).ok();
                told["events"] = json!(story::events(set.events()));
                told["claims"] = json!(claims);
            }
            Err(error) => {
                let fault = error.fault().filter(|_| !error.is_open());
                let code = fault.map_or("unavailable", |fault| fault.code());
                told["error"] = json!({ "code": code, "message": error.to_string() });
                if let Some(hint) = self.hint() {
                    told["error"]["fix"] = hint.into();
                }
            }
        }
        told["token"] = self.token.as_str().into();
        told
    }

    pub(super) fn write(&self, text: &mut String) {
        let set = match &self.verdict {
            Ok(set) => set,
            Err(error) => {
                let (style, word) =
                    if self.is_open() { (WARNING, "cannot be judged now") } else { (BAD, "not valid") };
                let (jti, why) = (safe(&self.jti), message(&error.to_string()));
                let _ = writeln!(text, "{BOLD}{jti}{BOLD:#}  {style}{word}{style:#}: {why}");
                if let Some(hint) = self.hint() {
                    let _ = writeln!(text, "  fix: {hint}");
                }
                return;
            }
        };
        let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {GOOD}valid{GOOD:#}", safe(&self.jti));
        if let Some(subject) = set.subject() {
            let _ = writeln!(text, "  about   {}", story::subject(&subject));
        }
        let claims = set.claims();
        if let Some(issued) = claims.iat {
            let _ = writeln!(text, "  issued  {}", utc(issued));
        }
        if let Some(txn) = &claims.txn {
            let _ = writeln!(text, "  txn     {}", safe(txn));
        }
        for (event, (uri, payload)) in story::events(set.events()).iter().zip(set.events().iter()) {
            let name = event.name.unwrap_or(uri);
            let about = event.about.map(|about| format!("  {DIM}{}{DIM:#}", safe(about))).unwrap_or_default();
            let _ = writeln!(text, "  event   {BOLD}{}{BOLD:#}{about}", safe(name));
            if payload.trim() != "{}" {
                let _ = writeln!(text, "          {}", pretty(payload, 10));
            }
        }
    }
}
