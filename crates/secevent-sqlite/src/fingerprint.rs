//! SipHash-2-4: fingerprints of names that strangers choose, under a key that they do not know.
//!
//! Fingerprints are stored, so the algorithm must never change, as that of the standard library may.

/// The key of all fingerprints of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FingerprintKey(pub(crate) u64, pub(crate) u64);

impl FingerprintKey {
    /// The fingerprint of a name within a scope. No text holds the byte between them.
    pub(crate) fn of(self, scope: &str, name: &str) -> u64 {
        self.of_bytes(scope.bytes().chain([0xff]).chain(name.bytes()))
    }

    /// The fingerprint of a migration or the like.
    pub(crate) fn of_bytes(self, bytes: impl Iterator<Item = u8>) -> u64 {
        let mut state = State([
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]);
        let (mut word, mut length) = (0_u64, 0_u64);
        for byte in bytes {
            word |= u64::from(byte) << (8 * (length % 8));
            length += 1;
            if length.is_multiple_of(8) {
                state.absorb(word);
                word = 0;
            }
        }
        state.absorb(word | length << 56);
        state.finish()
    }
}

struct State([u64; 4]);

impl State {
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the paper and of its reference implementation.
    #[test]
    fn fingerprints_are_siphash_2_4() {
        let key = FingerprintKey(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] {
            assert_eq!(key.of_bytes(0..length), expected, "{length} bytes");
        }
    }

    #[test]
    fn the_border_between_scope_and_name_counts() {
        let key = FingerprintKey(1, 2);
        assert_ne!(key.of("ab", "c"), key.of("a", "bc"));
        assert_ne!(key.of("ab", ""), key.of("", "ab"));
    }
}
