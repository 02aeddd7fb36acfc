//! The keys of an issuer over time: a new key is published before it signs, an old one stays until its tokens have
//! arrived, and one that leaked goes at once.
//!
//! Run it with `cargo run -p examples --example key_rotation`.

use secevent::Timestamp;
use secevent_jose::{Algorithm, Compact, IssuerKeys, KeyRing, RotationTimes, Signer, SigningKey, TypRule};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn main() -> anyhow::Result<()> {
    let times = RotationTimes::default();
    let monday = Timestamp::from_seconds(1_900_000_000);
    let mut ring = KeyRing::new(key("spring")?);
    let early = ring.signer(Signer::SECURITY_EVENT).sign(b"{}")?;
    tell("Monday: one key signs, and its public half is published.", &ring);

    let promoted_at = ring.schedule(key("summer")?, monday, times)?;
    tell("A second key is scheduled. Receivers fetch it while the first one still signs.", &ring);

    // The ring has no clock: a program calls `rotate` now and then, and stores the ring when something changed.
    assert!(!ring.rotate(monday.plus(DAY / 2), times), "half a day later nothing is due");
    assert!(ring.rotate(promoted_at, times));
    tell("A day later the second key signs. The first is kept for tokens on their way.", &ring);
    println!("  a token of Monday is {}", verdict(&ring, &early));

    assert!(ring.rotate(promoted_at.plus(times.keep_behind), times));
    tell("Eight days later the first key is gone.", &ring);
    println!("  a token of Monday is {}", verdict(&ring, &early));

    let late = ring.signer(Signer::SECURITY_EVENT).sign(b"{}")?;
    ring.schedule(key("autumn")?, promoted_at.plus(DAY * 30), times)?;
    ring.withdraw("summer", promoted_at.plus(DAY * 30))?;
    tell("The second key leaked: it is withdrawn, and the third takes its place at once.", &ring);
    println!("  a token that it signed is {}", verdict(&ring, &late));
    println!("  was it withdrawn? {}: what it signed must be signed anew", ring.is_withdrawn("summer"));
    Ok(())
}

fn key(name: &str) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::generate(Algorithm::EdDsa)?.with_kid(name)?)
}

fn tell(what: &str, ring: &KeyRing) {
    let published: Vec<_> =
        ring.public_keys().keys().iter().filter_map(|key| key.kid().map(str::to_owned)).collect();
    println!("{what}\n  signs: {}, published: {}", ring.current().kid(), published.join(", "));
}

/// What a receiver says who has just fetched the issuer's keys.
fn verdict(ring: &KeyRing, token: &str) -> String {
    let issuer = IssuerKeys::new("https://idp.example.com", ring.public_keys());
    let verified =
        Compact::parse(token).and_then(|token| issuer.verify(&token, TypRule::SecurityEvent).map(drop));
    match verified {
        Ok(()) => "accepted".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}
