//! A subject as the index sees it: fingerprints under the store's key.

use aws_lc_rs::hmac;
use secevent::{Identifier, Invalid, Subject};
use secevent_store::{StoreKey, SubjectFingerprint};

/// Makes fingerprints. Without the key nobody can tell or choose them, so they spread evenly and do not collide.
pub(crate) struct Fingerprinting(hmac::Key);

/// A subject's fingerprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// Of the subject as one value.
    pub(crate) whole: SubjectFingerprint,
    pub(crate) form: Form,
}

/// What it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One identifier: the fingerprint of the whole is its own.
    Simple,
    /// Identifiers of one entity, by their own fingerprints.
    Aliases(Box<[SubjectFingerprint]>),
    /// Members by name, in the order of names. The fingerprint of a member is of its name and its value.
    Complex(Box<[Member]>),
}

/// A member of a complex subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) print: SubjectFingerprint,
}

/// Identifiers in one alias list, members in one complex subject, that a receiver may add or remove. Nobody has more
/// names or more sides, and each is indexed.
const PARTS_MAX: usize = 16;

impl Fingerprinting {
    /// Under the key of a store, which never changes.
    pub(crate) fn new(key: &StoreKey) -> Self {
        let store = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let own = hmac::sign(&store, b"fingerprints of subjects");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    pub(crate) fn of(&self, subject: &Subject) -> Print {
        let whole = self.digest(&[subject.key().as_bytes()]);
        let form = match subject {
            Subject::Simple(Identifier::Aliases { identifiers, .. }) => {
                Form::Aliases(identifiers.iter().map(|one| self.identifier(one)).collect())
            }
            Subject::Simple(_) => Form::Simple,
            Subject::Complex(complex) => {
                let member = |(name, identifier): (&str, &Identifier)| Member {
                    name: name.into(),
                    print: self.member(name, self.identifier(identifier)),
                };
                Form::Complex(complex.iter().map(member).collect())
            }
        };
        Print { whole, form }
    }

    fn identifier(&self, identifier: &Identifier) -> SubjectFingerprint {
        self.digest(&[identifier.key().as_bytes()])
    }

    /// The member of this name whose value has this fingerprint.
    pub(crate) fn member(&self, name: &str, value: SubjectFingerprint) -> SubjectFingerprint {
        // A canonical form begins with a brace, so this is none.
        self.digest(&[&value.0, name.as_bytes()])
    }

    fn digest(&self, parts: &[&[u8]]) -> SubjectFingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        // Only one of them is not of a known length.
        parts.iter().for_each(|part| context.update(part));
        let tag = context.sign();
        SubjectFingerprint(tag.as_ref()[..16].try_into().expect("SHA-256 gives 32 bytes"))
    }
}

impl std::fmt::Debug for Fingerprinting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprinting(..)")
    }
}

impl Print {
    /// Whether it matches other subjects than itself.
    pub(crate) fn is_compound(&self) -> bool {
        self.form != Form::Simple
    }

    /// The identifiers that it stands for, unless it is complex.
    pub(crate) fn identifiers(&self) -> &[SubjectFingerprint] {
        match &self.form {
            Form::Simple => std::slice::from_ref(&self.whole),
            Form::Aliases(identifiers) => identifiers,
            Form::Complex(_) => &[],
        }
    }

    /// Whether a receiver may name a subject that has so many parts.
    pub(crate) fn check_size(&self) -> Result<(), Invalid> {
        let (parts, what) = match &self.form {
            Form::Simple => return Ok(()),
            Form::Aliases(identifiers) => (identifiers.len(), "identifiers"),
            Form::Complex(members) => (members.len(), "members"),
        };
        if parts > PARTS_MAX {
            let problem = format!("must not have more than {PARTS_MAX} {what}");
            return Err(Invalid::new("subject", "SSF-144", problem));
        }
        Ok(())
    }
}
