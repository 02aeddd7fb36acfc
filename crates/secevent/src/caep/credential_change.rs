//! `credential-change`: a credential was created, changed, revoked or deleted (CAEP 1.0 section 3.3).

use super::{INITIATING_ENTITY, InitiatingEntity, REASON_ADMIN, REASON_USER, event_timestamp};
use crate::text_enum::text_enum;
use crate::{ByLanguage, EventType, Member, Shape, Timestamp};
use serde::{Deserialize, Serialize};

/// A credential of the subject was created, changed, revoked or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialChange {
    /// The kind of credential.
    pub credential_type: CredentialType,
    /// What happened to it.
    pub change_type: ChangeType,
    /// The name that its user gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// The issuer of an X.509 certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_issuer: Option<String>,
    /// The serial number of an X.509 certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_serial: Option<String>,
    /// The model of a FIDO2 authenticator, as its AAGUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fido2_aaguid: Option<String>,
    /// When the credential changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_timestamp: Option<Timestamp>,
    /// Who set it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiating_entity: Option<InitiatingEntity>,
    /// The reason, for logs and auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<ByLanguage>,
    /// The reason, for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<ByLanguage>,
}

impl CredentialChange {
    /// The event with its required members alone.
    pub fn new(credential_type: CredentialType, change_type: ChangeType) -> Self {
        Self {
            credential_type,
            change_type,
            friendly_name: None,
            x509_issuer: None,
            x509_serial: None,
            fido2_aaguid: None,
            event_timestamp: None,
            initiating_entity: None,
            reason_admin: None,
            reason_user: None,
        }
    }
}

impl EventType for CredentialChange {
    const URI: &'static str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
    const NAME: &'static str = "caep:credential-change";
    const ABOUT: &'static str = "A credential was created, changed, revoked or deleted.";
    const MEMBERS: &'static [Member] = &[
        Member::required("credential_type", Shape::Suggested(CredentialType::KNOWN), "CAEP-15"),
        Member::required("change_type", Shape::OneOf(ChangeType::KNOWN), "CAEP-16"),
        Member::optional("friendly_name", Shape::Text, "CAEP-17"),
        Member::optional("x509_issuer", Shape::Text, "CAEP-17"),
        Member::optional("x509_serial", Shape::Text, "CAEP-17"),
        Member::optional("fido2_aaguid", Shape::Text, "CAEP-17"),
        event_timestamp("CAEP-18"),
        INITIATING_ENTITY,
        REASON_ADMIN,
        REASON_USER,
    ];
}

text_enum! {
    /// A kind of credential (CAEP 1.0 section 3.3.1). The two parties may agree on more.
    CredentialType {
        /// A password.
        Password = "password",
        /// A personal identification number.
        Pin = "pin",
        /// An X.509 certificate.
        X509 = "x509",
        /// A FIDO2 authenticator built into a device.
        Fido2Platform = "fido2-platform",
        /// A FIDO2 authenticator that goes from device to device.
        Fido2Roaming = "fido2-roaming",
        /// A FIDO U2F authenticator.
        FidoU2f = "fido-u2f",
        /// A verifiable credential.
        VerifiableCredential = "verifiable-credential",
        /// A telephone number that is called.
        PhoneVoice = "phone-voice",
        /// A telephone number that gets text messages.
        PhoneSms = "phone-sms",
        /// A mobile app.
        App = "app",
    }
}

text_enum! {
    /// What happened to a credential (CAEP 1.0 section 3.3.1).
    ChangeType {
        /// It was created.
        Create = "create",
        /// It was revoked.
        Revoke = "revoke",
        /// It was changed.
        Update = "update",
        /// It was deleted.
        Delete = "delete",
    }
}
