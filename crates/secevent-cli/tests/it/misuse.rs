//! Commands that are used wrongly: one form of errors, as text and as JSON.

use crate::program::Place;
use serde_json::Value;

// finding: B22
#[test]
fn misuse_is_json_where_json_is_asked_for() {
    let place = Place::new();
    for (args, told, fix) in [
        (
            &["streams", "pause", "--json"][..],
            "required arguments were not provided: <STREAM>",
            "secevent streams pause",
        ),
        (&["dead", "list", "--json", "--limt", "3"], "unexpected argument '--limt'", "--limit"),
        (&["set", "lint", "--json", "--profile", "x", "y"], "invalid value 'x'", "secevent set lint"),
        (&["streems", "--json"], "unrecognized subcommand 'streems'", "streams"),
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        let error: Value =
            serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(error["error"]["code"], "misuse", "{ran:?}");
        assert!(error["error"]["message"].as_str().unwrap().contains(told), "{ran:?}");
        assert!(error["error"]["fix"].as_str().unwrap().contains(fix), "{ran:?}");
        // Without --json the same is text, in the form of all errors.
        let args: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--json").collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("\n  fix: "), "{ran:?}");
    }
    // Behind `--` it is no flag.
    let ran = place.run(&["set", "decode", "--nonsense", "--", "--json"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("error: "), "{ran:?}");
}

// finding: C16
#[test]
fn what_the_environment_gives_is_not_shown_as_required() {
    let place = Place::new();
    let environment = [("SECEVENT_ISSUER", "https://environment.example"), ("SECEVENT_CLIENT", "shop")];
    let ran = place.run_in(&environment, &["stream", "show"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("secevent stream show [OPTIONS] <STREAM>"), "{ran:?}");
    assert!(!ran.stderr.contains("--issuer") && !ran.stderr.contains("--client"), "{ran:?}");
    let help = place.run_in(&environment, &["stream", "show", "--help"]).ok();
    assert!(help.contains("[env: SECEVENT_ISSUER]") && !help.contains("environment.example"), "{help}");
}

// finding: C16
#[test]
fn a_server_that_is_not_reached_is_named_once_and_comes_with_a_fix() {
    let place = Place::new();
    for args in [
        &["stream", "list", "--issuer", "http://127.0.0.1:1"][..],
        &["streams", "--admin", "http://127.0.0.1:1"],
    ] {
        let ran = place.run_in(&[("SECEVENT_ADMIN_TOKEN", "t")], args);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("  fix: check that the server is running"), "{ran:?}");
        assert!(!ran.stderr.contains("127.0.0.1:1: 127.0.0.1:1"), "{ran:?}");
    }
}

// finding: C12
#[test]
fn a_log_filter_with_a_slip_is_an_error() {
    let place = Place::new();
    for filter in ["inof", "secevent=debgu"] {
        let ran = place.run_in(&[("SECEVENT_LOG", filter)], &["serve", "--dev", "--listen", "127.0.0.1:0"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("SECEVENT_LOG") && ran.stderr.contains("fix: use a level"), "{ran:?}");
    }
}
