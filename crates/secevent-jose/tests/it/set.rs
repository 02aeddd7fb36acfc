//! From a token to a proved SET, step by step.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::caep::SessionRevoked;
use secevent::{Claims, EventType as _, Fault, Identifier, Profile, Set, Subject, Timestamp, scim::FeedAdd};
use secevent_jose::{Algorithm, Compact, Expected, IssuerKeys, JwkSet, Signer, SigningKey, VerifyError};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example";
const NOW: Timestamp = Timestamp::from_seconds(1_900_000_000);

struct Party {
    signer: Signer,
    issuer: IssuerKeys,
}

impl Party {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let issuer = IssuerKeys::new(ISSUER, JwkSet::new([key.public().clone()]));
        Self { signer: Signer::new(key, Signer::SECURITY_EVENT), issuer }
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.sign(claims.to_string().as_bytes()).unwrap()
    }

    fn verify(&self, token: &str) -> Result<Set, VerifyError> {
        let expected = Expected::new(Profile::Ssf).audience("https://rp.example");
        self.issuer.verify_set(&Compact::parse(token)?, &expected, NOW)
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "jti": "1", "iat": NOW.as_seconds(), "aud": "https://rp.example", "txn": "t",
        "sub_id": {"format": "email", "email": "alice@example.com"},
        "events": {SessionRevoked::URI: {}},
    })
}

/// Every step that a recipient takes before it believes a SET has a token that fails at it, and at no other.
// spec: SET-40, SSF-22, JWTBCP-13, LEGACY-30
#[test]
fn each_step_refuses_what_fails_it() {
    let party = Party::new();
    assert_eq!(party.verify(&party.sign(&claims())).unwrap().jti(), "1");

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        party.sign(&claims)
    };
    let without = |name: &'static str| changed(&|claims| drop(claims.as_object_mut().unwrap().remove(name)));
    let stranger = Party::new();
    let access_token = Signer::new(SigningKey::generate(Algorithm::Es256).unwrap(), "at+jwt");
    let steps: [(&str, String, Fault); 13] = [
        ("it is a compact token", "abc".to_owned(), Fault::InvalidRequest),
        (
            "its type is that of a SET",
            access_token.sign(claims().to_string().as_bytes()).unwrap(),
            Fault::InvalidRequest,
        ),
        ("the issuer's key signed it", stranger.sign(&claims()), Fault::InvalidKey),
        (
            "it is JSON that is read in one way",
            party.signer.sign(br#"{"iss":1,"iss":2}"#).unwrap(),
            Fault::InvalidRequest,
        ),
        ("it has events", without("events"), Fault::InvalidRequest),
        ("it has an identifier", without("jti"), Fault::InvalidRequest),
        ("it has a subject", without("sub_id"), Fault::InvalidRequest),
        ("it does not expire", changed(&|claims| claims["exp"] = json!(1)), Fault::InvalidRequest),
        ("it has no sub", changed(&|claims| claims["sub"] = json!("alice")), Fault::InvalidRequest),
        (
            "its issuer is whose key it is",
            changed(&|claims| claims["iss"] = json!("https://idp.example/")),
            Fault::InvalidIssuer,
        ),
        (
            "it is for us",
            changed(&|claims| claims["aud"] = json!(["https://other.example"])),
            Fault::InvalidAudience,
        ),
        (
            "it is not from the future",
            changed(&|claims| claims["iat"] = json!(NOW.as_seconds() + 86_400)),
            Fault::InvalidRequest,
        ),
        ("it has an audience", without("aud"), Fault::InvalidAudience),
    ];
    for (step, token, fault) in steps {
        let error = party.verify(&token).expect_err(step);
        assert_eq!(error.fault(), fault, "{step}: {error}");
    }
    let half_a_minute_ahead = changed(&|claims| claims["iat"] = json!(NOW.as_seconds() + 30));
    let a_year_old = changed(&|claims| claims["iat"] = json!(NOW.as_seconds() - 31_536_000));
    for token in [half_a_minute_ahead, a_year_old] {
        assert!(party.verify(&token).is_ok());
    }
}

/// A SCIM event that came through a relay is believed for its signature, not for who brought it.
// spec: SCIM-42
#[test]
fn an_unsigned_scim_event_is_refused() {
    let party = Party::new();
    let mut claims = Claims::new(ISSUER, "1", NOW);
    claims.aud = Some("https://rp.example".into());
    claims.sub_id = Some(Identifier::scim("/Users/44f6142d").unwrap().into());
    let set = claims.with_event(&FeedAdd {}).unwrap().prove(Profile::Scim).unwrap();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"secevent+jwt"}"#);
    let unsigned = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(set.as_json()));
    let expected = Expected::new(Profile::Scim).audience("https://rp.example");
    let verify = |token: &str| {
        Compact::parse(token).and_then(|token| party.issuer.verify_set(&token, &expected, NOW).map(drop))
    };
    assert!(verify(&unsigned).is_err());
    assert!(verify(&party.signer.sign(set.as_json().as_bytes()).unwrap()).is_ok());
}

/// A logout token ends, a SET does not; and neither passes for the other.
// spec: BCL-46, BCL-47
#[test]
fn logout_tokens_and_sets_do_not_pass_for_each_other() {
    let party = Party::new();
    let logout = json!({
        "iss": ISSUER, "aud": "rp", "iat": NOW.as_seconds(), "exp": NOW.as_seconds() + 120, "jti": "1", "sid": "s",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    let as_logout = Signer::new(party.signer.key().clone(), Signer::LOGOUT_TOKEN);
    let logout = as_logout.sign(logout.to_string().as_bytes()).unwrap();
    let set = party.sign(&claims());
    let verify = |token: &str, profile, now| {
        party.issuer.verify_set(&Compact::parse(token)?, &Expected::new(profile), now).map(drop)
    };
    assert!(verify(&logout, Profile::Logout, NOW).is_ok());
    assert!(verify(&logout, Profile::Ssf, NOW).is_err());
    assert!(verify(&set, Profile::Logout, NOW).is_err());
    let much_later = Timestamp::from_seconds(NOW.as_seconds() + 3600);
    assert!(verify(&logout, Profile::Logout, much_later).is_err(), "it has expired");
    assert!(verify(&set, Profile::Ssf, much_later).is_ok());
}

/// The subject is the one of the verified claims.
#[test]
fn the_proved_set_tells_its_subject() {
    let party = Party::new();
    let set = party.verify(&party.sign(&claims())).unwrap();
    assert_eq!(set.subject().unwrap().into_owned(), Subject::email("alice@example.com").unwrap());
}
