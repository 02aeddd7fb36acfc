//! The issuer's side: say that Alice's sessions have ended, and sign it.
//!
//! Run it with `cargo run -p examples --example make_a_token`.

use secevent::caep::{InitiatingEntity, SessionRevoked};
use secevent::{ByLanguage, Claims, Profile, Subject, Timestamp};
use secevent_jose::{Algorithm, Signer, SigningKey};

fn main() -> anyhow::Result<()> {
    // A program takes the time from a clock and a new `jti` for each token; here both are fixed, so that each run
    // prints the same claims.
    let now = Timestamp::from_seconds(1_900_000_000);
    let mut claims = Claims::new("https://idp.example.com", "token-1", now);
    claims.aud = Some("https://shop.example.com".into());
    claims.sub_id = Some(Subject::email("alice@example.com")?);
    let event = SessionRevoked {
        initiating_entity: Some(InitiatingEntity::Admin),
        reason_admin: Some(ByLanguage::english("the laptop was stolen")),
        ..SessionRevoked::default()
    };
    println!("Alice's laptop was stolen, so idp.example.com ends her sessions and tells shop.example.com.");

    // Claims become a SET once a profile has proved them. What breaks a rule of it is refused, and named.
    let refusal = claims.clone().prove(Profile::Ssf).expect_err("no event");
    println!("\nClaims without an event are no SET:\n  {refusal}");
    let set = claims.with_event(&event)?.prove(Profile::Ssf)?;
    println!("\nWith one they are:\n  {}", set.as_json());

    // A signature makes the SET a token. The key would come from a file; see also the example key_rotation.
    let signer = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
    let token = signer.sign(set.as_json().as_bytes())?;
    println!("\nSigned with the {} key {}:\n  {token}", signer.key().algorithm(), signer.key().kid());
    println!("\nThat text is what travels. The example check_a_token shows who may believe it.");
    Ok(())
}
