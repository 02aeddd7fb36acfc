//! `secevent set sign`: claims become a compact token.

use super::{profile_for, story, written_profile};
use crate::input;
use crate::output::{Failure, note, print, print_json};
use secevent::{Claims, Profile, json};
use secevent_jose::{Algorithm, KeyError, SecretText, Signer, SigningKey};
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem
  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out public.pem   # the public half, for `set verify --jwks`

  secevent set new caep:session-revoked --subject alice@example.com \\
    --issuer https://idp.example.com --audience https://rp.example.com \\
    | secevent set sign --key key.pem > token.txt

  secevent set sign --key key.pem --kid 2026-01 claims.json
  secevent set sign --key key.pem --no-check '{\"iss\":\"a broken token, for tests\"}'

JSON: {token, alg, kid, typ, profile}; profile is null with --no-check.

Exit codes: 0 signed; 1 the claims break a rule of the profile; 2 misuse.";

/// Sign claims: print the compact token.
///
/// The claims are proved first, as `secevent set new` does; --no-check signs whatever it is given, byte for
/// byte. The private key is read from a PEM file (PKCS#8, PKCS#1, SEC 1), a JWK or a JWK Set, and never printed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The private key: PEM, a JWK, or a JWK Set
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The algorithm, such as RS256, ES256, EdDSA [default: the key's own]
    #[arg(long)]
    alg: Option<Algorithm>,
    /// The key's name in the header [default: the key's own, or its thumbprint]; it chooses from a JWK Set
    #[arg(long)]
    kid: Option<String>,
    /// The type in the header [default: secevent+jwt, for logout tokens logout+jwt]
    #[arg(long)]
    typ: Option<String>,
    /// The rules the claims must follow [default: scim and logout for events of that name, else ssf]
    #[arg(long, value_parser = written_profile())]
    profile: Option<Profile>,
    /// Sign whatever it is: for tests of receivers
    #[arg(long, conflicts_with = "profile")]
    no_check: bool,
    /// Print JSON: the token, and what its header says
    #[arg(long)]
    pub(super) json: bool,
    /// The claims: JSON, a file, or - for standard input
    #[arg(value_name = "CLAIMS|FILE|-")]
    claims: Option<String>,
}

#[derive(Serialize)]
struct Signed<'a> {
    token: &'a str,
    alg: &'static str,
    kid: &'a str,
    typ: &'a str,
    /// The profile that the claims were proved by, if they were.
    profile: Option<&'static str>,
}

/// Signs and prints the token.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let key = read_key(&args.key, args.alg, args.kid.as_deref())?;
    let claims = input::read(args.claims.as_deref(), "the claims")?;
    let (payload, profile) = match args.no_check {
        true => (claims, None),
        false => proved(&claims, args.profile).map(|(payload, profile)| (payload, Some(profile)))?,
    };
    if profile.is_none() {
        note("the claims were not checked");
    }
    let typ = args.typ.as_deref().unwrap_or_else(|| profile.map_or(Signer::SECURITY_EVENT, Profile::typ));
    let signer = Signer::new(key, typ);
    let token = signer.sign(&payload).map_err(|error| Failure::failed(error.to_string()))?;
    if args.json {
        let (alg, kid) = (signer.key().algorithm().as_str(), signer.key().kid());
        print_json(&Signed { token: &token, alg, kid, typ, profile: profile.map(Profile::name) })?;
    } else {
        print(&format!("{token}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn proved(bytes: &[u8], profile: Option<Profile>) -> Result<(Vec<u8>, Profile), Failure> {
    let guessed = || {
        let claims = Claims::read(bytes).ok()?;
        claims.events.iter().next().map(|(uri, _)| profile_for(uri))
    };
    let profile = profile.or_else(guessed).unwrap_or(Profile::Ssf);
    let refused = |breach| story::refusal(&breach, bytes, profile);
    json::check(bytes, json::Limits::TOKEN).map_err(refused)?;
    let set = Claims::read(bytes).and_then(|claims| claims.prove(profile)).map_err(refused)?;
    Ok((set.as_json().as_bytes().to_vec(), profile))
}

/// The private key in a file: PEM, a JWK or a JWK Set.
pub(crate) fn read_key(
    path: &Path,
    algorithm: Option<Algorithm>,
    kid: Option<&str>,
) -> Result<SigningKey, Failure> {
    let bytes = input::file(path, "the private key")?;
    let wrong =
        |why: &str| Failure::misuse(format!("the private key in {} cannot be used: {why}", path.display()));
    let text = String::from_utf8(bytes).map(SecretText::from).map_err(|_| {
        wrong("it is neither PEM nor JSON").fix("convert it: openssl pkey -inform DER -in KEY -out key.pem")
    })?;
    let text = text.expose();
    let refused =
        |error: KeyError| match error {
            KeyError::Encrypted => wrong(&error.to_string())
                .fix("write it without a passphrase: openssl pkey -in KEY -out key.pem"),
            KeyError::AlgorithmMismatch { key_type, .. } => wrong(&error.to_string())
                .fix(format!("leave --alg out, or use {}", key_type.default_algorithm())),
            KeyError::Malformed { part: "d", .. } => {
                wrong("it is a public key").fix("name the file with the private key")
            }
            error => wrong(&error.to_string()),
        };
    if !input::is_json(text.as_bytes()) {
        let key = from_pem(text, algorithm).map_err(refused)?;
        return named(key, kid).map_err(refused);
    }
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        keys: Option<Vec<&'a RawValue>>,
    }
    let document: Document<'_> =
        serde_json::from_str(text).map_err(|_| wrong("it is neither a JWK nor a JWK Set"))?;
    let Some(members) = document.keys else {
        return SigningKey::from_json(text)
            .and_then(|key| with_algorithm(key, algorithm))
            .and_then(|key| named(key, kid))
            .map_err(refused);
    };
    let keys: Vec<SigningKey> =
        members.iter().filter_map(|member| SigningKey::from_json(member.get()).ok()).collect();
    let names = || keys.iter().map(SigningKey::kid).collect::<Vec<_>>().join(", ");
    let mut fitting = keys
        .iter()
        .filter(|key| kid.is_none_or(|kid| key.kid() == kid))
        .filter(|key| algorithm.is_none_or(|algorithm| algorithm.key_type() == key.algorithm().key_type()));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => with_algorithm(key.clone(), algorithm).map_err(refused),
        (Some(_), Some(_)) => {
            Err(wrong("the set has several").fix(format!("choose one with --kid: {}", names())))
        }
        (None, _) if keys.is_empty() => Err(wrong("the set has no private key that can be read")),
        (None, _) => {
            Err(wrong("the set has no such private key").fix(format!("choose one with --kid: {}", names())))
        }
    }
}

/// PEM does not say which algorithm a key is for: the usual one of its type, unless told.
fn from_pem(pem: &str, algorithm: Option<Algorithm>) -> Result<SigningKey, KeyError> {
    match SigningKey::from_pem(pem, algorithm.unwrap_or(Algorithm::Rs256)) {
        Err(KeyError::AlgorithmMismatch { key_type, .. }) if algorithm.is_none() => {
            SigningKey::from_pem(pem, key_type.default_algorithm())
        }
        read => read,
    }
}

fn with_algorithm(key: SigningKey, algorithm: Option<Algorithm>) -> Result<SigningKey, KeyError> {
    match algorithm {
        Some(algorithm) if algorithm != key.algorithm() => {
            SigningKey::from_pem(key.to_pem_secret().expose(), algorithm)?.with_kid(key.kid())
        }
        _ => Ok(key),
    }
}

fn named(key: SigningKey, kid: Option<&str>) -> Result<SigningKey, KeyError> {
    match kid {
        Some(kid) => key.with_kid(kid),
        None => Ok(key),
    }
}
