//! Who an event is about: when two subjects name one principal, and what that decides.
//!
//! Run it with `cargo run -p examples --example subject_match`.

use secevent::{Identifier, Subject};

fn main() -> anyhow::Result<()> {
    let email = Subject::email("alice@example.com")?;
    let account = Subject::iss_sub("https://idp.example.com", "u-1")?;
    let aliases = Subject::from(Identifier::aliases([
        Identifier::email("alice@example.com")?,
        Identifier::iss_sub("https://idp.example.com", "u-1")?,
    ])?);
    println!("Alice has an e-mail address and an account. Names that are equal match, others do not:");
    show("her address, her address", &email, &email);
    show("her address, her account", &email, &account);
    println!("\nAn alias list stands for each of its names:");
    show("her address, both names", &email, &aliases);
    show("both names, her account", &aliases, &account);

    let alice = || Identifier::email("alice@example.com");
    let anywhere = Subject::complex([("user", alice()?)])?;
    let on_laptop = Subject::complex([("user", alice()?), ("device", Identifier::opaque("laptop-7")?)])?;
    let on_phone = Subject::complex([("user", alice()?), ("device", Identifier::opaque("phone-2")?)])?;
    println!("\nA complex subject sees a principal from several sides; a side that is not told is any:");
    show("Alice, Alice on the laptop", &anywhere, &on_laptop);
    show("Alice on the laptop, on the phone", &on_laptop, &on_phone);

    // A stream hands out an event if one of its subjects matches the event's.
    let wanted = [anywhere, Subject::email("bob@example.com")?];
    let is_wanted = |subject: &Subject| wanted.iter().any(|one| one.matches(subject));
    println!(
        "\nA receiver asked for Alice and Bob. An event about Alice on the phone is for it: {}.",
        is_wanted(&on_phone)
    );

    // Events that share a lane are delivered in order; others may overtake each other.
    println!("\nThe lanes of Alice on the laptop, in which her events keep their order:");
    for lane in on_laptop.lanes() {
        println!("  {}", lane.as_str());
    }
    Ok(())
}

fn show(what: &str, one: &Subject, another: &Subject) {
    println!("  {what:<34} {}", if one.matches(another) { "match" } else { "do not match" });
}
