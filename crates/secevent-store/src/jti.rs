//! A delivery's identifier: it decodes to its place, needs no index and tells a receiver nothing.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

use crate::{Sequence, StreamNumber};

/// The key under which identifiers are made. It belongs to the store and never changes, or identifiers that
/// are on their way could not be read any more.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey([u8; 16]);

impl StoreKey {
    /// A key of these random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, to be stored.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// A random number drawn whenever a writer starts and stored with its first batch: a store that was restored
/// from an older backup gives sequences again, and must not give identifiers again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

/// What an identifier stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Jti {
    /// In which life of the writer the event was recorded.
    pub epoch: Epoch,
    /// The event's place.
    pub sequence: Sequence,
    /// The stream; number 0 means the event itself.
    pub stream: StreamNumber,
    /// Zero for the delivery itself; counted up where a new SET tells of the same delivery.
    pub generation: u16,
}

/// Makes and reads identifiers: one AES block (SEM-1) as 22 digits of the base64url alphabet, the first of which is a
/// letter, so that a command line does not take an identifier for an option.
///
/// ```
/// use secevent_store::{Epoch, Jti, JtiCodec, Sequence, StoreKey, StreamNumber};
///
/// let codec = JtiCodec::new(&StoreKey::new([7; 16]));
/// let place = Jti { epoch: Epoch(1), sequence: Sequence(42), stream: StreamNumber(3), generation: 0 };
/// let jti = codec.encode(place);
/// assert_eq!(jti.len(), 22);
/// assert_eq!(codec.decode(&jti, StreamNumber(3)), Some(place));
/// assert_eq!(codec.decode(&jti, StreamNumber(4)), None);
/// ```
#[derive(Clone)]
pub struct JtiCodec {
    cipher: Aes128,
}

impl JtiCodec {
    const SEQUENCE_BITS: u32 = 48;
    /// What is put before a block, so that the bits that are left over are the first and not the last ones. It ends
    /// in the middle of a digit: what is left of it can only be one of four letters.
    const PAD_BYTES: usize = 2;
    /// The digits that hold nothing else.
    const PAD: &str = "AA";

    /// A codec under the store's key.
    pub fn new(key: &StoreKey) -> Self {
        Self { cipher: Aes128::new(&Array::from(key.0)) }
    }

    /// The identifier of a place.
    pub fn encode(&self, jti: Jti) -> String {
        debug_assert!(jti.sequence.0 < 1 << Self::SEQUENCE_BITS, "sequences have 48 bits");
        let mut block = [0; 16];
        block[..4].copy_from_slice(&jti.epoch.0.to_be_bytes());
        block[4..10].copy_from_slice(&jti.sequence.0.to_be_bytes()[2..]);
        block[10..14].copy_from_slice(&jti.stream.0.to_be_bytes());
        block[14..].copy_from_slice(&jti.generation.to_be_bytes());
        let mut block = Array::from(block);
        self.cipher.encrypt_block(&mut block);
        let mut padded = [0; Self::PAD_BYTES + 16];
        padded[Self::PAD_BYTES..].copy_from_slice(&block);
        URL_SAFE_NO_PAD.encode(padded).split_off(Self::PAD.len())
    }

    /// The place of an identifier, if it is one of this store's for `stream`. Anything else is unknown: another
    /// stream's identifier, somebody's invention, another store's.
    pub fn decode(&self, jti: &str, stream: StreamNumber) -> Option<Jti> {
        if jti.len() != 22 {
            return None;
        }
        let padded = URL_SAFE_NO_PAD.decode([Self::PAD, jti].concat()).ok()?;
        let block: [u8; 16] = padded.strip_prefix(&[0; Self::PAD_BYTES])?.try_into().ok()?;
        let mut block = Array::from(block);
        self.cipher.decrypt_block(&mut block);
        let block: [u8; 16] = block.into();
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let half = |bytes: &[u8]| u32::try_from(number(bytes)).expect("four bytes");
        let place = Jti {
            epoch: Epoch(half(&block[..4])),
            sequence: Sequence(number(&block[4..10])),
            stream: StreamNumber(half(&block[10..14])),
            generation: u16::from_be_bytes([block[14], block[15]]),
        };
        (place.stream == stream).then_some(place)
    }
}

impl fmt::Debug for JtiCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JtiCodec(..)")
    }
}
