//! From a stored delivery to the claims of its SET. The claims follow from what is stored and from nothing
//! else, so that they are the same at every attempt (I2).

use secevent::{Audience, escape};
use secevent_store::{Delivery, Epoch, Jti, JtiCodec, Sequence, StreamNumber};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How events become SETs for one stream. It never changes: other settings make a new one, with the next
/// number, and deliveries that were recorded before keep theirs (SEM-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedAs {
    /// The `iss` of the SETs.
    pub iss: String,
    /// Their `aud`.
    pub aud: Audience,
    /// Whether they name their subject inside the event too, as before SSF 1.0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
}

/// The identifier of the delivery's SET.
pub(crate) fn jti(delivery: &Delivery, codec: &JtiCodec) -> String {
    codec.encode(Jti {
        epoch: delivery.epoch,
        sequence: delivery.sequence,
        stream: delivery.stream,
        generation: delivery.generation,
    })
}

/// The event's own identifier: the `txn` of every SET that it becomes, unless the producer named one (SEM-2).
pub(crate) fn event_id(epoch: Epoch, sequence: Sequence, codec: &JtiCodec) -> String {
    codec.encode(Jti { epoch, sequence, stream: StreamNumber(0), generation: 0 })
}

/// What people find an event by, as it may be logged: escaped and bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventNames {
    pub(crate) txn: String,
    /// The URI of the event's type.
    pub(crate) event_type: String,
}

/// The names of the event that a delivery is about.
pub(crate) fn event_names(delivery: &Delivery, codec: &JtiCodec) -> EventNames {
    #[derive(Default, Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        txn: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        events: BTreeMap<Cow<'a, str>, &'a RawValue>,
    }
    let whole = [b"{", &delivery.body[..], b"}"].concat();
    let body: Body<'_> = serde_json::from_slice(&whole).unwrap_or_default();
    let shown = |text: &str| escape(text, 200).to_string();
    let own = || event_id(delivery.epoch, delivery.sequence, codec);
    EventNames {
        txn: body.txn.map_or_else(own, |txn| shown(&txn)),
        event_type: body.events.keys().next().map(|uri| shown(uri)).unwrap_or_default(),
    }
}

/// The claims of the delivery's SET as JSON text.
pub(crate) fn claims(delivery: &Delivery, rendered_as: &RenderedAs, jti: &str, codec: &JtiCodec) -> Vec<u8> {
    let mut json = Vec::with_capacity(delivery.body.len() + 256);
    json.extend_from_slice(b"{\"iss\":");
    write(&mut json, &rendered_as.iss);
    json.extend_from_slice(b",\"jti\":");
    write(&mut json, &jti);
    json.extend_from_slice(b",\"iat\":");
    write(&mut json, &delivery.accepted_at.as_seconds());
    json.extend_from_slice(b",\"aud\":");
    write(&mut json, &rendered_as.aud);
    if !delivery.body.starts_with(b"\"txn\":") {
        json.extend_from_slice(b",\"txn\":");
        write(&mut json, &event_id(delivery.epoch, delivery.sequence, codec));
    }
    json.push(b',');
    match rendered_as.legacy.then(|| with_inner_subject(&delivery.body)).flatten() {
        Some(body) => json.extend_from_slice(body.as_bytes()),
        None => json.extend_from_slice(&delivery.body),
    }
    json.push(b'}');
    json
}

/// A body whose event names the subject too, under `subject`, unless it has something there already (LEGACY-14).
fn with_inner_subject(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        sub_id: &'a RawValue,
        #[serde(borrow)]
        events: BTreeMap<Cow<'a, str>, &'a RawValue>,
    }
    let body = std::str::from_utf8(body).ok()?;
    let whole = format!("{{{body}}}");
    let read: Body<'_> = serde_json::from_str(&whole).ok()?;
    let event = read.events.values().next()?.get();
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(event).ok()?;
    if members.contains_key("subject") {
        return None;
    }
    // The event is the last thing in the body, and closes behind it.
    let inside = body.strip_suffix('}')?.strip_suffix(event)?;
    let rest = event.strip_prefix('{')?;
    let comma = if members.is_empty() { "" } else { "," };
    Some(format!("{inside}{{\"subject\":{}{comma}{rest}}}", read.sub_id))
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).expect("strings and numbers are JSON, and memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use secevent::{Profile, Set, Timestamp};
    use secevent_store::{Queue, Rendering, StoreKey};

    // spec: LEGACY-14
    #[test]
    fn the_subject_is_named_in_the_old_place_too() {
        let sub_id = r#""sub_id":{"format":"opaque","id":"a"}"#;
        for (event, expected) in [
            ("{}", r#"{"subject":{"format":"opaque","id":"a"}}"#),
            (r#"{"a":1.50}"#, r#"{"subject":{"format":"opaque","id":"a"},"a":1.50}"#),
        ] {
            let body =
                |event: &str| format!(r#""txn":"t",{sub_id},"events":{{"https://x.example/e":{event}}}"#);
            assert_eq!(with_inner_subject(body(event).as_bytes()), Some(body(expected)));
            assert_eq!(with_inner_subject(body(expected).as_bytes()), None, "it is there");
        }
    }

    #[test]
    fn claims_are_a_set_and_stay_the_same() {
        let codec = JtiCodec::new(&StoreKey::new([1; 16]));
        let body = r#""sub_id":{"format":"opaque","id":"a"},"events":{"https://x.example/e":{}}"#;
        let mut delivery = Delivery {
            epoch: Epoch(1),
            sequence: Sequence(5),
            stream: StreamNumber(2),
            queue: Queue::Regular,
            rendering: Rendering(1),
            accepted_at: Timestamp::from_millis(1_999),
            body: Bytes::from_static(body.as_bytes()),
            lanes: [].into(),
            generation: 0,
            attempts: 0,
            due_at: Timestamp::default(),
            signed: None,
        };
        let rendered_as = RenderedAs {
            iss: "https://tr.example".to_owned(),
            aud: "https://rp.example".into(),
            legacy: false,
        };
        let render = |delivery: &Delivery| claims(delivery, &rendered_as, &jti(delivery, &codec), &codec);
        let first = render(&delivery);
        let set = Set::read(&first, Profile::Ssf).unwrap();
        assert_eq!((set.iss(), set.iat().as_seconds()), ("https://tr.example", 1));
        assert_eq!(set.claims().txn, Some(event_id(Epoch(1), Sequence(5), &codec)));
        assert_ne!(Some(set.jti()), set.claims().txn.as_deref());

        delivery.attempts = 7;
        assert_eq!(render(&delivery), first);

        delivery.generation = 1;
        let anew = render(&delivery);
        let anew = Set::read(&anew, Profile::Ssf).unwrap();
        assert_ne!(anew.jti(), set.jti(), "a new SET");
        assert_eq!(anew.claims().txn, set.claims().txn, "of the same event");
        delivery.generation = 0;

        delivery.body = Bytes::from(format!("\"txn\":\"mine\",{body}"));
        assert_eq!(
            Set::read(&render(&delivery), Profile::Ssf).unwrap().claims().txn.as_deref(),
            Some("mine")
        );
    }
}
