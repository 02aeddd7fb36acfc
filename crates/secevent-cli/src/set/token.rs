//! A token taken apart with no judgement: even those that no verifier would look at can be shown and linted.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use secevent::Invalid;

/// The parts of a compact token, decoded.
pub(crate) struct Parts {
    /// The header's bytes.
    pub(crate) header: Vec<u8>,
    /// The claims' bytes.
    pub(crate) payload: Vec<u8>,
    /// How long the signature is; 0 for none.
    pub(crate) signature_bytes: usize,
}

impl Parts {
    /// Takes a token apart. Padding and unused bits are forgiven here: the linter tells of them.
    pub(crate) fn of(token: &[u8]) -> Result<Self, Invalid> {
        let parts: Vec<&[u8]> = token.split(|&byte| byte == b'.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(match parts.len() {
                5 => Invalid::new(
                    "",
                    "JWTBCP-05",
                    "is an encrypted token (JWE), which cannot be read without its key",
                ),
                found => Invalid::new(
                    "",
                    "SET-01",
                    format!("must be three parts with dots between them, not {found}"),
                ),
            });
        };
        Ok(Self {
            header: decode("header", header)?,
            payload: decode("payload", payload)?,
            signature_bytes: decode("signature", signature)?.len(),
        })
    }
}

fn decode(part: &str, text: &[u8]) -> Result<Vec<u8>, Invalid> {
    const FORGIVING: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&URL_SAFE, FORGIVING).decode(text);
    bytes.map_err(|_| Invalid::new(part, "JWTBCP-21", "must be base64url"))
}
