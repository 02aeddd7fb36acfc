//! Identifiers decode to their place, for their own stream only (SEM-1).

use proptest::prelude::*;
use secevent_store::{Epoch, Jti, JtiCodec, Sequence, StoreKey, StreamNumber};

fn place() -> impl Strategy<Value = Jti> {
    (any::<u32>(), 0..1_u64 << 48, any::<u32>(), any::<u16>()).prop_map(
        |(epoch, sequence, stream, generation)| Jti {
            epoch: Epoch(epoch),
            sequence: Sequence(sequence),
            stream: StreamNumber(stream),
            generation,
        },
    )
}

proptest! {
    #[test]
    fn an_identifier_decodes_to_its_place(key: [u8; 16], place in place()) {
        let codec = JtiCodec::new(&StoreKey::new(key));
        let jti = codec.encode(place);
        prop_assert_eq!(jti.len(), 22);
        prop_assert!(jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert!(jti.starts_with(['A', 'B', 'C', 'D']), "{}", jti);
        prop_assert_eq!(codec.decode(&jti, place.stream), Some(place));
    }

    #[test]
    fn another_stream_does_not_know_it(key: [u8; 16], place in place(), other: u32) {
        prop_assume!(other != place.stream.0);
        let codec = JtiCodec::new(&StoreKey::new(key));
        prop_assert_eq!(codec.decode(&codec.encode(place), StreamNumber(other)), None);
    }

    #[test]
    fn another_store_does_not_know_it(key: [u8; 16], other: [u8; 16], place in place()) {
        prop_assume!(key != other);
        let jti = JtiCodec::new(&StoreKey::new(key)).encode(place);
        prop_assert_ne!(JtiCodec::new(&StoreKey::new(other)).decode(&jti, place.stream), Some(place));
    }

    #[test]
    fn no_two_places_share_one(key: [u8; 16], one in place(), two in place()) {
        prop_assume!(one != two);
        let codec = JtiCodec::new(&StoreKey::new(key));
        prop_assert_ne!(codec.encode(one), codec.encode(two));
    }

    #[test]
    fn neighbours_do_not_share_one(key: [u8; 16], place in place(), field in 0..4) {
        let mut next = place;
        match field {
            0 => next.epoch.0 ^= 1,
            1 => next.sequence.0 ^= 1,
            2 => next.stream.0 ^= 1,
            _ => next.generation ^= 1,
        }
        let codec = JtiCodec::new(&StoreKey::new(key));
        prop_assert_ne!(codec.encode(place), codec.encode(next));
    }

    #[test]
    fn inventions_are_unknown(key: [u8; 16], invented in ".{0,40}", stream: u32) {
        let codec = JtiCodec::new(&StoreKey::new(key));
        // Whoever invents 22 characters hits a stream's number once in four thousand million times.
        prop_assert_eq!(codec.decode(&invented, StreamNumber(stream)), None);
    }

    #[test]
    fn a_changed_character_makes_it_unknown(key: [u8; 16], place in place(), at in 0_usize..22, to in "[A-Za-z0-9_-]") {
        let codec = JtiCodec::new(&StoreKey::new(key));
        let jti = codec.encode(place);
        let changed = format!("{}{to}{}", &jti[..at], &jti[at + 1..]);
        prop_assume!(changed != jti);
        prop_assert_eq!(codec.decode(&changed, place.stream), None);
    }
}

#[test]
fn other_spellings_are_unknown() {
    let codec = JtiCodec::new(&StoreKey::new([7; 16]));
    let place = Jti { epoch: Epoch(1), sequence: Sequence(2), stream: StreamNumber(3), generation: 0 };
    let jti = codec.encode(place);
    let spellings =
        [format!("{jti}=="), format!("{jti}="), format!(" {jti}"), format!("{jti}A"), jti[..21].to_owned()];
    for spelling in spellings {
        assert_eq!(codec.decode(&spelling, place.stream), None, "{spelling}");
    }
}
