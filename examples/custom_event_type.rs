//! An event type of your own, on equal terms with those of the standards.
//!
//! Run it with `cargo run -p examples --example custom_event_type`.

use secevent::{Claims, Definition, EventType, Member, Profile, Set, Shape, Subject, Timestamp, Vocabulary};
use serde::{Deserialize, Serialize};

/// Somebody opened a door.
#[derive(Debug, Serialize, Deserialize)]
struct DoorOpened {
    door: String,
    with: String,
}

impl EventType for DoorOpened {
    const URI: &'static str = "https://doors.example.com/event/opened";
    const NAME: &'static str = "doors:opened";
    const ABOUT: &'static str = "Somebody opened a door.";
    // What every payload is checked for, with the names of your own requirements.
    const MEMBERS: &'static [Member] = &[
        Member::required("door", Shape::Text, "DOORS-1"),
        Member::required("with", Shape::OneOf(&["badge", "key"]), "DOORS-2"),
    ];
}

fn main() -> anyhow::Result<()> {
    let vocabulary = Vocabulary::standard().with(Definition::of::<DoorOpened>())?;
    let known = vocabulary.find("doors:opened").expect("it was just added");
    println!("This program knows {} event types.", vocabulary.iter().count());
    println!("One of them is {} ({}): {}", known.name(), known.uri(), known.about());

    let mut claims =
        Claims::new("https://doors.example.com", "token-1", Timestamp::from_seconds(1_900_000_000));
    claims.aud = Some("https://guard.example.com".into());
    claims.sub_id = Some(Subject::opaque("badge-4711")?);
    let event = DoorOpened { door: "vault".to_owned(), with: "badge".to_owned() };
    let made = claims.clone().with_event(&event)?.prove_with(Profile::Ssf, &vocabulary)?;
    println!("\nThe door says:\n  {}", made.as_json());

    // Readers who know the type get a value of it; all others pass the payload on as it came.
    let read = Set::read(made.as_json().as_bytes(), Profile::Ssf)?;
    let opened = read.events().get::<DoorOpened>()?.expect("the event is there");
    println!("\nThe guard reads: {opened:?}");

    // A payload that breaks the definition is refused, by name of member and requirement.
    claims.events.add_raw(DoorOpened::URI, r#"{"door":"vault","with":"crowbar"}"#)?;
    let refusal = claims.prove_with(Profile::Ssf, &vocabulary).expect_err("no crowbars");
    println!("\nNobody opens a door with a crowbar, so that is refused:\n  {refusal}");
    Ok(())
}
