//! The recipient's side: what has to be true before a token is believed, and what is answered when it is not.
//!
//! Run it with `cargo run -p examples --example check_a_token`.

use secevent::risc::{AccountDisabled, DisabledReason};
use secevent::{Claims, Profile, Subject, Timestamp};
use secevent_jose::{Algorithm, Compact, Expected, IssuerKeys, JwkSet, Signer, SigningKey, VerifyError};

fn main() -> anyhow::Result<()> {
    // Somewhere else a token was made; the example make_a_token shows how.
    let now = Timestamp::from_seconds(1_900_000_000);
    let signer = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
    let token = account_disabled(&signer, "https://shop.example.com", now)?;
    let jwks = JwkSet::new([signer.key().public().clone()]).to_json();

    // The recipient has fetched the issuer's public keys, and knows what it expects.
    let issuer = IssuerKeys::new("https://idp.example.com", JwkSet::from_json(&jwks)?);
    let expected = Expected::new(Profile::Ssf).audience("https://shop.example.com");
    let check = |token: &str| issuer.verify_set(&Compact::parse(token)?, &expected, now);

    let set = check(&token)?;
    let subject = set.subject().expect("SSF asks for a subject");
    println!("A token of {} came, and its signature is good.", set.iss());
    println!("It is about {}.", subject.to_value());
    // The payload is read as the type that it is expected to be; events of other types give none.
    if let Some(disabled) = set.events().get::<AccountDisabled>()? {
        println!("The account was disabled, for this reason: {:?}.", disabled.reason);
    }

    println!("\nThese are refused, each with the code that the transmitter is told:");
    let middle = token.len() / 2;
    let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
    refused("one letter changed", &check(&forged).expect_err("it is forged"));
    let elsewhere = account_disabled(&signer, "https://bank.example.com", now)?;
    refused("for somebody else", &check(&elsewhere).expect_err("it is for a bank"));
    let stranger = Signer::new(SigningKey::generate(Algorithm::Es256)?, Signer::SECURITY_EVENT);
    let strange = account_disabled(&stranger, "https://shop.example.com", now)?;
    refused("signed by a stranger", &check(&strange).expect_err("nobody knows the key"));
    Ok(())
}

fn account_disabled(signer: &Signer, recipient: &str, now: Timestamp) -> anyhow::Result<String> {
    let mut claims = Claims::new("https://idp.example.com", "token-1", now);
    claims.aud = Some(recipient.into());
    claims.sub_id = Some(Subject::email("alice@example.com")?);
    let event = AccountDisabled { reason: Some(DisabledReason::Hijacking) };
    let set = claims.with_event(&event)?.prove(Profile::Ssf)?;
    Ok(signer.sign(set.as_json().as_bytes())?)
}

fn refused(what: &str, error: &VerifyError) {
    println!("  {what:<21} {:<17} {error}", error.fault().code());
}
