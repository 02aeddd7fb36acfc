//! RFC 9967, at the level of a token.

use super::{
    claims_for, definition, emit, emit_about, identifiers_are_exact, is_empty, payload_of, read, received,
    refusal, subject_of, write,
};
use secevent::scim::{
    AsyncResponse, FeedAdd, FeedRemove, ProvActivate, ProvCreateFull, ProvCreateNotice, ProvDeactivate,
    ProvDelete, ProvPatchFull, ProvPatchNotice, ProvPutFull, ProvPutNotice, ScimMethod, bulk_txn,
};
use secevent::{EventType, Identifier, Profile, Set, Strictness, Subject, Vocabulary};
use serde_json::{Map, Value, json};

const FULL: [&str; 3] = [ProvCreateFull::NAME, ProvPatchFull::NAME, ProvPutFull::NAME];
const NOTICE: [&str; 3] = [ProvCreateNotice::NAME, ProvPatchNotice::NAME, ProvPutNotice::NAME];

/// A body that suits every `data`.
fn data() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": "nickName"}],
    })
}

// spec: SCIM-01
#[test]
fn identifiers() {
    identifiers_are_exact("scim:*", "urn:ietf:params:scim:event:", 12);
    for definition in Vocabulary::standard().matching("scim:*") {
        let class =
            definition.uri().trim_start_matches("urn:ietf:params:scim:event:").split(':').next().unwrap();
        assert!(["feed", "prov", "misc"].contains(&class), "{class}");
    }
    for unknown in ["sig:authMethod", "prov:delete:full", "create"] {
        let uri = format!("urn:ietf:params:scim:event:{unknown}");
        let mut claims = claims_for(definition(FeedAdd::NAME));
        claims.events.add_raw(&uri, "{}").unwrap();
        assert_eq!(claims.prove(Profile::Scim).unwrap_err().rule(), "SCIM-01", "{uri}");
    }
}

// spec: SCIM-02
#[test]
fn upper_case_identifiers_are_read_and_not_sent() {
    let set = emit(&ProvDelete {}).unwrap();
    assert!(set.as_json().contains("urn:ietf:params:scim:event:prov:delete"));
    let upper = set.as_json().replace("params:scim:", "params:SCIM:");
    let upper = Set::read(upper.as_bytes(), Profile::Scim).unwrap();
    assert_eq!(upper.events().get::<ProvDelete>().unwrap(), Some(ProvDelete {}));
    for definition in Vocabulary::standard().matching("scim:*") {
        let alias = definition.uri().replace(":scim:", ":SCIM:");
        assert_eq!(Vocabulary::standard().find(&alias).unwrap().uri(), definition.uri());
    }
    assert_eq!(upper.claims().clone().prove(Profile::Scim).unwrap_err().rule(), "SCIM-01");
}

// spec: SCIM-03, SCIM-04, SCIM-05
#[test]
fn the_subject_is_a_scim_resource_at_the_top() {
    let added = || claims_for(definition(FeedAdd::NAME)).with_event(&FeedAdd {}).unwrap();
    assert_eq!(added().prove(Profile::Scim).unwrap().subject().unwrap().format(), "scim");
    let mut nobody = added();
    nobody.sub_id = None;
    let mut plain = added();
    plain.sub = Some("alice".to_owned());
    let mut mail = added();
    mail.sub_id = Some(subject_of("email"));
    for (claims, member, rule) in
        [(nobody, "sub_id", "SCIM-03"), (plain, "sub", "SCIM-04"), (mail, "sub_id.format", "SCIM-05")]
    {
        let error = claims.prove(Profile::Scim).unwrap_err();
        assert_eq!((error.member(), error.rule()), (member, rule));
    }
    for definition in Vocabulary::standard().matching("scim:*") {
        let mut payload = json!({
            "data": data(), "attributes": ["x"], "method": "PUT", "status": "200",
            "sub_id": {"format": "scim", "uri": "/Users/1"},
        });
        let members = payload.as_object_mut().unwrap();
        if !definition.name().ends_with(":full") {
            members.remove("data");
        }
        if !definition.name().ends_with(":notice") {
            members.remove("attributes");
        }
        assert_eq!(
            refusal(definition.name(), &payload),
            ("sub_id".to_owned(), "SCIM-03"),
            "{}",
            definition.name()
        );
    }
}

// spec: SCIM-06, SCIM-07
#[test]
fn a_resource_is_named_by_its_path() {
    let strict = |value: Value| Subject::from_value(value, Strictness::Strict);
    let full = json!({
        "format": "scim", "uri": "/Users/2b2f880a", "externalId": "jdoe", "id": "2b2f880a",
        "userName": "jdoe",
    });
    let set = emit_about(&FeedAdd {}, Some(strict(full.clone()).unwrap())).unwrap();
    assert_eq!(serde_json::to_value(set.claims()).unwrap()["sub_id"], full);
    for wrong in
        ["Users/2b2f880a", "https://scim.example.com/Users/2b2f880a", "//scim.example.com/Users/1", "/", ""]
    {
        let error = strict(json!({"format": "scim", "uri": wrong})).unwrap_err();
        assert_eq!((error.member(), error.rule()), ("uri", "SCIM-06"), "{wrong}");
    }
    assert_eq!(strict(json!({"format": "scim", "id": "2b2f880a"})).unwrap_err().rule(), "SCIM-06");
}

// spec: SCIM-09
#[test]
fn one_set_may_tell_two_things_of_one_resource() {
    let created = ProvCreateFull { data: data().as_object().unwrap().clone(), version: None };
    let claims =
        claims_for(definition(FeedAdd::NAME)).with_event(&FeedAdd {}).unwrap().with_event(&created).unwrap();
    let set = claims.prove(Profile::Scim).unwrap();
    assert_eq!(set.events().len(), 2);
    assert_eq!(set.events().get::<FeedAdd>().unwrap(), Some(FeedAdd {}));
    assert_eq!(set.events().get::<ProvCreateFull>().unwrap(), Some(created));
    assert_eq!(
        set.subject().as_deref(),
        Some(&Subject::from(Identifier::scim("/Users/2b2f880af6674ac284bae9381673d462").unwrap()))
    );
    assert_eq!(set.claims().txn.as_deref(), Some("8675309"), "one transaction");
}

// spec: SCIM-10
#[test]
fn an_asynchronous_response_has_a_txn() {
    let done = AsyncResponse::new(ScimMethod::Put, 200);
    let claims = |jti: &str, txn: Option<&str>| {
        let mut claims = claims_for(definition(AsyncResponse::NAME)).with_event(&done).unwrap();
        (claims.jti, claims.txn) = (Some(jti.to_owned()), txn.map(str::to_owned));
        claims
    };
    let error = claims("a", None).prove(Profile::Scim).unwrap_err();
    assert_eq!((error.member(), error.rule()), ("txn", "SCIM-10"));
    let to_two = ["a", "b"].map(|jti| claims(jti, Some("734f0614")).prove(Profile::Scim).unwrap());
    assert_ne!(to_two[0].jti(), to_two[1].jti());
    assert_eq!(to_two[0].claims().txn, to_two[1].claims().txn);
}

// spec: SCIM-11, SCIM-12, SCIM-13
#[test]
fn version_data_and_attributes_have_their_types() {
    for (name, rule, wrong) in [
        ("version", "SCIM-11", json!({"data": {}, "version": 7})),
        ("data", "SCIM-14", json!({"data": []})),
        ("data", "SCIM-14", json!({"data": "text"})),
    ] {
        assert_eq!(refusal(ProvCreateFull::NAME, &wrong), (name.to_owned(), rule), "{wrong}");
    }
    for wrong in
        [json!({"attributes": "name"}), json!({"attributes": ["name", 7]}), json!({"attributes": {}})]
    {
        assert_eq!(refusal(ProvPutNotice::NAME, &wrong), ("attributes".to_owned(), "SCIM-14"), "{wrong}");
    }
    let notice = ProvPatchNotice {
        attributes: vec!["name.familyName".to_owned()],
        version: Some("W/\"1\"".to_owned()),
    };
    assert_eq!(
        payload_of::<ProvPatchNotice>(&emit(&notice).unwrap()),
        json!({"attributes": ["name.familyName"], "version": "W/\"1\""})
    );
}

// spec: SCIM-14
#[test]
fn full_carries_data_and_notice_carries_attributes() {
    let (with_data, with_names) = (json!({"data": data()}), json!({"attributes": ["members"]}));
    let both = json!({"data": data(), "attributes": ["members"]});
    for (names, right, wrong, required, forbidden) in [
        (FULL, &with_data, &with_names, "data", "attributes"),
        (NOTICE, &with_names, &with_data, "attributes", "data"),
    ] {
        for name in names {
            assert!(write(name, right).is_ok(), "{name}");
            for neither in [&json!({}), wrong] {
                assert_eq!(refusal(name, neither), (required.to_owned(), "SCIM-14"), "{name} {neither}");
                assert!(read(name, neither).is_err(), "{name} {neither}");
            }
            assert_eq!(refusal(name, &both), (forbidden.to_owned(), "SCIM-14"), "{name}");
            assert!(read(name, &both).is_ok(), "a reader of {name} takes what it asked for");
        }
    }
}

// spec: SCIM-15, SCIM-16, SCIM-21, SCIM-22
#[test]
fn the_other_events_carry_neither() {
    is_empty::<FeedAdd>();
    is_empty::<FeedRemove>();
    is_empty::<ProvDelete>();
    is_empty::<ProvActivate>();
    is_empty::<ProvDeactivate>();
    for (name, rule) in [
        (FeedAdd::NAME, "SCIM-15"),
        (FeedRemove::NAME, "SCIM-16"),
        (ProvDelete::NAME, "SCIM-21"),
        (ProvActivate::NAME, "SCIM-22"),
        (ProvDeactivate::NAME, "SCIM-22"),
    ] {
        assert_eq!(refusal(name, &json!({"data": {}})), ("data".to_owned(), rule));
        assert_eq!(refusal(name, &json!({"attributes": []})), ("attributes".to_owned(), rule));
    }
    for suffix in ["full", "notice"] {
        assert!(Vocabulary::standard().find(&format!("{}:{suffix}", ProvDelete::URI)).is_none());
    }
}

// spec: SCIM-17, SCIM-19, SCIM-20
#[test]
fn what_data_is() {
    let schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"];
    let user = json!({"schemas": schemas, "userName": "jdoe", "id": "44f6142d"});
    let user: &Map<String, Value> = user.as_object().unwrap();
    let created = ProvCreateFull { data: user.clone(), version: None };
    assert_eq!(received::<ProvCreateFull>(&payload_of::<ProvCreateFull>(&emit(&created).unwrap())), created);
    let noticed = ProvCreateNotice { attributes: vec!["userName".to_owned()], version: None };
    assert_eq!(
        received::<ProvCreateNotice>(&payload_of::<ProvCreateNotice>(&emit(&noticed).unwrap())),
        noticed
    );
    let put = ProvPutFull { data: user.clone(), version: None };
    assert_eq!(received::<ProvPutFull>(&payload_of::<ProvPutFull>(&emit(&put).unwrap())), put);

    let patched = ProvPatchFull { data: data().as_object().unwrap().clone(), version: None };
    assert_eq!(received::<ProvPatchFull>(&payload_of::<ProvPatchFull>(&emit(&patched).unwrap())), patched);
    let resource = json!({"data": user});
    assert_eq!(refusal(ProvPatchFull::NAME, &resource), ("data.Operations".to_owned(), "SCIM-19"));
    assert_eq!(received::<ProvPatchFull>(&resource).data, *user, "the other reading of section 2.4 (E-123)");
}

// spec: SCIM-33
#[test]
fn operations_of_a_bulk_request_count_from_zero() {
    let txns: Vec<String> = (0..3).map(|index| bulk_txn("2d80e537a3f64622b0347b641ebc8f44", index)).collect();
    assert_eq!(
        txns,
        [
            "2d80e537a3f64622b0347b641ebc8f44:0",
            "2d80e537a3f64622b0347b641ebc8f44:1",
            "2d80e537a3f64622b0347b641ebc8f44:2",
        ]
    );
}

// spec: SCIM-34
#[test]
fn an_asynchronous_response_is_one_bulk_operation() {
    let done = AsyncResponse {
        bulk_id: Some("qwerty".to_owned()),
        version: Some("W/\"oY4m4wn58tkVjJxK\"".to_owned()),
        location: Some("https://scim.example.com/v2/Users/92b725cd".to_owned()),
        ..AsyncResponse::new(ScimMethod::Post, 201)
    };
    assert!(done.succeeded());
    let payload = payload_of::<AsyncResponse>(&emit(&done).unwrap());
    let told = json!({
        "method": "POST", "status": "201", "bulkId": "qwerty", "version": "W/\"oY4m4wn58tkVjJxK\"",
        "location": "https://scim.example.com/v2/Users/92b725cd",
    });
    assert_eq!(payload, told);
    assert_eq!(received::<AsyncResponse>(&told), done);
    for (name, wrong) in [
        ("method", json!({"status": "200"})),
        ("method", json!({"method": "GET", "status": "200"})),
        ("status", json!({"method": "PUT"})),
        ("status", json!({"method": "PUT", "status": 200})),
        ("status", json!({"method": "PUT", "status": "OK"})),
        ("bulkId", json!({"method": "PUT", "status": "200", "bulkId": 1})),
        ("location", json!({"method": "PUT", "status": "200", "location": 1})),
        ("data", json!({"method": "PUT", "status": "200", "data": {}})),
    ] {
        assert_eq!(refusal(AsyncResponse::NAME, &wrong), (name.to_owned(), "SCIM-34"), "{wrong}");
    }
}

// spec: SCIM-35
#[test]
fn a_failure_says_what_failed() {
    let error = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400",
        "scimType": "invalidSyntax",
        "detail": "Request is unparsable",
    });
    let failed = AsyncResponse {
        response: Some(error.as_object().unwrap().clone()),
        ..AsyncResponse::new(ScimMethod::Patch, 400)
    };
    assert!(!failed.succeeded());
    assert_eq!(payload_of::<AsyncResponse>(&emit(&failed).unwrap())["response"], error);
    for status in ["302", "400", "500"] {
        let silent = json!({"method": "PATCH", "status": status});
        assert_eq!(refusal(AsyncResponse::NAME, &silent), ("response".to_owned(), "SCIM-35"));
        assert!(!received::<AsyncResponse>(&silent).succeeded(), "a reader knows enough");
    }
    for (name, response) in [
        ("response", json!("no")),
        ("response.schemas", json!({"status": "400"})),
        ("response.status", json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"]})),
    ] {
        let wrong = json!({"method": "PATCH", "status": "400", "response": response});
        assert_eq!(refusal(AsyncResponse::NAME, &wrong), (name.to_owned(), "SCIM-35"), "{wrong}");
    }
}
