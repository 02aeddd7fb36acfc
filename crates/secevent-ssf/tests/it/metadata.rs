//! A transmitter's metadata.

use super::{LEGACY, json, refused};
use secevent_ssf::metadata::{Placement, issuer_path_of};
use secevent_ssf::{
    AuthorizationScheme, DefaultSubjects, Method, SpecVersion, Tolerance, TransmitterMetadata, WellKnown,
};

fn with(members: &str) -> Result<TransmitterMetadata, secevent::Invalid> {
    let body = format!(r#"{{"issuer":"https://tr.example"{members}}}"#);
    TransmitterMetadata::read(body.as_bytes(), Tolerance::NONE)
}

fn version(text: &str) -> SpecVersion {
    text.parse().unwrap()
}

// spec: SSF-49, SSF-54, SSF-55, SSF-57, SSF-61
#[test]
fn malformed_metadata_is_refused_whole() {
    for (members, member, rule) in [
        (r#","spec_version":"1.0""#, "spec_version", "SSF-50"),
        (r#","spec_version":1"#, "spec_version", "SSF-50"),
        (r#","jwks_uri":"http://tr.example/jwks""#, "jwks_uri", "SSF-51"),
        (r#","delivery_methods_supported":"urn:ietf:rfc:8935""#, "delivery_methods_supported", "SSF-52"),
        (r#","configuration_endpoint":"/ssf/stream""#, "configuration_endpoint", "SSF-53"),
        (r#","status_endpoint":"http://tr.example/s""#, "status_endpoint", "SSF-53"),
        (r#","add_subject_endpoint":[]"#, "add_subject_endpoint", "SSF-53"),
        (r#","remove_subject_endpoint":"https://tr.example/#x""#, "remove_subject_endpoint", "SSF-53"),
        (r#","verification_endpoint":"https://u:p@tr.example""#, "verification_endpoint", "SSF-53"),
        (r#","critical_subject_members":["user",1]"#, "critical_subject_members", "SSF-54"),
        (r#","authorization_schemes":{}"#, "authorization_schemes", "SSF-55"),
        (r#","authorization_schemes":["urn:ietf:rfc:6749"]"#, "authorization_schemes[0]", "SSF-55"),
        (r#","authorization_schemes":[{"spec_urn":"a"},{}]"#, "authorization_schemes[1].spec_urn", "SSF-55"),
        (r#","default_subjects":"all""#, "default_subjects", "SSF-57"),
        (r#","default_subjects":"SOME""#, "default_subjects", "SSF-57"),
        (r#","issuer":"https://tr.example""#, "issuer", "E-33"),
    ] {
        assert_eq!(refused(with(members)), (member.to_owned(), rule), "{members}");
    }
    for (body, member, rule) in [
        ("[]", "", "SSF-44"),
        ("<html>", "", "SSF-44"),
        ("{}", "issuer", "SSF-47"),
        (r#"{"issuer":"http://tr.example"}"#, "issuer", "SSF-47"),
        (r#"{"issuer":"https://tr.example?a"}"#, "issuer", "SSF-47"),
    ] {
        let read = TransmitterMetadata::read(body.as_bytes(), Tolerance::NONE);
        assert_eq!(refused(read), (member.to_owned(), rule), "{body}");
    }
    let plain = Tolerance { plain_http: true, ..Tolerance::NONE };
    let body = br#"{"issuer":"http://127.0.0.1:8080","jwks_uri":"http://127.0.0.1:8080/jwks"}"#;
    assert!(TransmitterMetadata::read(body, plain).is_ok());
}

// spec: SSF-45
#[test]
fn empty_lists_are_left_out() {
    let metadata =
        with(r#","delivery_methods_supported":[],"critical_subject_members":[],"authorization_schemes":[]"#);
    assert_eq!(metadata.unwrap().to_json(), r#"{"issuer":"https://tr.example"}"#);
}

// spec: SSF-46
#[test]
fn further_members_are_ignored() {
    let further = with(r#","delivery":[{"x":1}],"claims_supported":["a"],"jwks_uri":null"#).unwrap();
    assert_eq!(further, with("").unwrap());
}

// spec: SSF-48
#[test]
fn an_issuer_is_compared_to_the_letter() {
    let metadata = with("").unwrap();
    assert_eq!(metadata.check_issuer(&"https://tr.example".parse().unwrap()), Ok(()));
    for other in
        ["https://tr.example/", "https://TR.example", "https://tr.example:443", "https://evil.example"]
    {
        let breach = metadata.check_issuer(&other.parse().unwrap()).unwrap_err();
        assert_eq!((breach.member(), breach.rule()), ("issuer", "SSF-48"), "{other}");
    }
}

// spec: SSF-50, E-28
#[test]
fn versions_have_an_order() {
    assert_eq!(with("").unwrap().version(), version("1_0-ID1"));
    let ordered = ["0_9", "1_0-ID1", "1_0-ID2", "1_0-ID10", "1_0", "1_1-ID1", "1_1", "2_0"].map(version);
    assert!(ordered.is_sorted());
    assert!(ordered.iter().all(|one| version(&one.to_string()) == *one));
    for text in [
        "", "1", "1.0", "1_", "_0", "01_0", "1_0-", "1_0-ID", "1_0-id1", "1_0-ID01", "+1_0", "1_0 ",
        "1_99999",
    ] {
        assert!(text.parse::<SpecVersion>().is_err(), "{text}");
    }
    let body = br#"{"issuer":"https://tr.example","spec_version":"1.0"}"#;
    assert_eq!(TransmitterMetadata::read(body, LEGACY).unwrap().spec_version, None);
}

// spec: INTEROP-04, INTEROP-05, INTEROP-11
#[test]
fn the_interoperability_profile_asks_for_more() {
    let rules = |metadata: &TransmitterMetadata| -> Vec<_> {
        metadata.interop_breaches().iter().map(secevent::Invalid::rule).collect()
    };
    let mut metadata = TransmitterMetadata::new("https://tr.example".parse().unwrap());
    let all =
        ["INTEROP-04", "INTEROP-05", "INTEROP-06", "INTEROP-07", "INTEROP-08", "INTEROP-10", "INTEROP-11"];
    assert_eq!(rules(&metadata), all);

    let endpoint = || Some("https://tr.example/x".parse().unwrap());
    metadata.jwks_uri = endpoint();
    metadata.configuration_endpoint = endpoint();
    metadata.status_endpoint = endpoint();
    metadata.verification_endpoint = endpoint();
    metadata.delivery_methods_supported = vec![Method::Push.urn().to_owned()];
    metadata.authorization_schemes = vec![AuthorizationScheme::new(AuthorizationScheme::OAUTH)];
    metadata.default_subjects = Some(DefaultSubjects::All);
    metadata.spec_version = Some(version("1_0"));
    assert_eq!(rules(&metadata), [""; 0]);
    assert!(metadata.supports(Method::Push) && !metadata.supports(Method::Poll));
    assert_eq!(json(&metadata.to_json())["default_subjects"], "ALL");

    metadata.spec_version = Some(version("1_0-ID1"));
    assert_eq!(rules(&metadata), ["INTEROP-04"]);
    metadata.spec_version = None;
    assert_eq!(rules(&metadata), ["INTEROP-04"]);
}

#[test]
fn well_known_urls_and_their_inverse() {
    for (issuer, path) in [
        ("https://tr.example", ""),
        ("https://tr.example/", ""),
        ("https://tr.example:8443/a", "/a"),
        ("https://tr.example/a/b/", "/a/b"),
        ("https://tr.example/a//", "/a/"),
    ] {
        for well_known in WellKnown::ALL {
            for placement in [Placement::Inserted, Placement::Appended] {
                let issuer: secevent::Issuer = issuer.parse().unwrap();
                let url = well_known.url(&issuer, placement);
                let asked = issuer_path_of(url.strip_prefix(issuer.origin()).unwrap()).unwrap();
                assert_eq!(asked.well_known, well_known);
                if path.is_empty() || path.ends_with('/') {
                    continue; // both placements look alike, or a second slash is dropped by the server
                }
                assert_eq!((asked.issuer_path.as_str(), asked.placement), (path, placement), "{url}");
            }
        }
    }
    for path in [
        "",
        "/",
        "/.well-known/",
        "/.well-known/jwks.json",
        "/.well-known/ssf-configurationx",
        "/ssf-configuration",
        "/a/.well-known/ssf-configuration/b",
        "/.well-known/ssf-configuration%2Fa",
    ] {
        assert_eq!(issuer_path_of(path), None, "{path}");
    }
    assert_eq!(issuer_path_of("/.well-known/ssf-configuration/").unwrap().issuer_path, "");
}
