//! Both listeners over TLS, and what is shown to receivers, with certificates that are renewed while the server is at
//! work.

use crate::program::Place;
use crate::serve::{CONFIG, runtime};
use bytes::Bytes;
use http::Request;
use rcgen::generate_simple_self_signed;
use secevent_http::{Client, ClientConfig, Ports, TlsConfig};
use secevent_ssf::{Transport as _, TransportError};
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

const TLS: &str = r#"
[server]
tls = { certificate = "public.pem", key = "public.key", reload_seconds = 86400 }
admin_tls = { certificate = "admin.pem", key = "admin.key", reload_seconds = 86400 }
"#;

const SHOWN: &str = r#"
[[push_credential]]
client = "shop"
certificate = "shown.pem"
key = "shown.key"
reload_seconds = 86400
"#;

struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    address: String,
}

impl Server {
    fn start(place: &Place) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secevent"))
            .args(["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"])
            .current_dir(place.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut server = Self { child, lines, address: String::new() };
        let ready = server.log_until("The transmitter is ready");
        server.address = ready.split("listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        server
    }

    /// Waits until the server logs this.
    fn log_until(&mut self, told: &str) -> String {
        let found = self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(told));
        found.unwrap_or_else(|| panic!("the server never says: {told}"))
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// What a client sees that trusts this certificate.
    fn fetch(&self, certificate: &str) -> Result<String, TransportError> {
        let config = ClientConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ports: Ports::Any,
            tls: TlsConfig { extra_ca_pem: certificate.to_owned(), ..TlsConfig::default() },
            ..ClientConfig::default()
        };
        runtime().block_on(async {
            let url = format!("https://{}/.well-known/ssf-configuration", self.address);
            let request = Request::get(url).body(Bytes::new()).unwrap();
            let response = Client::new(config).unwrap().send(request).await?;
            Ok(String::from_utf8(response.into_body().to_vec()).unwrap())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a new certificate for loopback, or for some name, and returns it.
fn write_certificate(place: &Place, name: &str, of: &str) -> String {
    let pair = generate_simple_self_signed([of.to_owned()]).unwrap();
    place.write(&format!("{name}.pem"), pair.cert.pem());
    place.write(&format!("{name}.key"), pair.signing_key.serialize_pem());
    pair.cert.pem()
}

// spec: INTEROP-01
#[test]
fn certificates_are_renewed_without_a_restart_and_commands_find_the_server() {
    let place = Place::new().with("secevent.toml", format!("{TLS}{CONFIG}{SHOWN}"));
    write_certificate(&place, "shown", "secevent");
    let first = write_certificate(&place, "public", "127.0.0.1");
    write_certificate(&place, "admin", "secevent.internal");
    let mut server = Server::start(&place);
    let metadata = server.fetch(&first).unwrap();
    assert!(metadata.contains(&format!("https://{}", server.address)), "{metadata}");
    // Commands take the very certificate that the server has told them of.
    let streams = ["streams", "--json"];
    assert_eq!(place.run(&streams).code, 0);

    // SIGHUP asks to look at the files now.
    let second = write_certificate(&place, "public", "127.0.0.1");
    server.signal("-HUP");
    server.log_until("A new certificate is in use");
    assert!(server.fetch(&second).is_ok());
    assert!(matches!(server.fetch(&first), Err(TransportError::Tls(_))));

    // What is no certificate is told, and changes nothing.
    place.write("public.pem", "half of a certi");
    server.signal("-HUP");
    server.log_until("The new certificate cannot be used");
    assert!(server.fetch(&second).is_ok());

    // The same goes for the other listener.
    write_certificate(&place, "admin", "secevent.internal");
    server.signal("-HUP");
    server.log_until("A new certificate is in use");
    let listed = place.run(&streams);
    assert_eq!(listed.code, 0, "{listed:?}");
    let entrance = place.text("events.db.admin");
    assert!(entrance.contains("https://") && !entrance.contains("PRIVATE"), "{entrance}");

    // And for what is shown to receivers.
    write_certificate(&place, "shown", "secevent");
    server.signal("-HUP");
    assert!(server.log_until("A new certificate is in use").contains("shown.pem"));
    place.write("shown.key", place.text("admin.key"));
    server.signal("-HUP");
    assert!(server.log_until("The new certificate cannot be used").contains("shown.pem"));
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
}

// finding: C15
#[test]
fn a_server_is_tried_before_its_name_resolves() {
    let url = "https://events.secevent.invalid";
    let config = TLS.replacen("[server]", &format!("[server]\npublic_url = \"{url}\""), 1) + CONFIG;
    let place = Place::new().with("secevent.toml", config);
    write_certificate(&place, "public", "events.secevent.invalid");
    write_certificate(&place, "admin", "secevent.internal");
    let server = Server::start(&place);
    let ran = place.run(&[
        "stream",
        "metadata",
        url,
        "--json",
        "--ca",
        "public.pem",
        "--connect-to",
        &server.address,
    ]);
    assert_eq!(ran.json()["metadata"]["issuer"], url);
    // The name in the certificate is still the one of the URL.
    let other = "https://other.secevent.invalid";
    let ran =
        place.run(&["stream", "metadata", other, "--ca", "public.pem", "--connect-to", &server.address]);
    assert!(ran.code == 1 && ran.stderr.contains("TLS failed"), "{ran:?}");
    assert!(ran.stderr.contains("fix:"), "{ran:?}");
    let ran = place.run(&["stream", "metadata", url, "--connect-to", "localhost"]);
    assert!(ran.code == 2 && ran.stderr.contains("is not a host and a port"), "{ran:?}");
}

#[test]
fn an_operator_elsewhere_names_the_authority_of_the_admin_listener() {
    let names = "[server]\nadmin_names = [\"secevent.internal\"]";
    let place = Place::new().with("secevent.toml", TLS.replacen("[server]", names, 1) + CONFIG);
    write_certificate(&place, "public", "127.0.0.1");
    write_certificate(&place, "admin", "secevent.internal");
    let _server = Server::start(&place);
    let (url, token) = crate::admin::entrance(&place);
    let address = url.strip_prefix("https://").unwrap();
    let url = format!("https://secevent.internal:{}", address.rsplit(':').next().unwrap());
    let run = |more: &[&str]| {
        let args = [&["streams", "--admin", &url, "--connect-to", address], more].concat();
        place.run_in(&[("SECEVENT_ADMIN_TOKEN", &token)], &args)
    };
    assert_eq!(run(&["--ca", "admin.pem"]).ok(), "there are no streams\n");
    let ran = run(&[]);
    assert!(ran.code == 1 && ran.stderr.contains("--ca"), "{ran:?}");
    let ran = run(&["--ca", "public.pem"]);
    assert!(ran.code == 1 && ran.stderr.contains("TLS failed"), "{ran:?}");
    let ran = run(&["--ca", "absent.pem"]);
    assert!(ran.code == 2 && ran.stderr.contains("absent.pem"), "{ran:?}");
}

#[test]
fn a_server_without_its_certificate_does_not_start() {
    let place = Place::new().with("secevent.toml", format!("{TLS}{CONFIG}"));
    write_certificate(&place, "admin", "secevent.internal");
    let serve = ["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"];
    let ran = place.run(&serve);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("server.tls: cannot read public.pem"), "{ran:?}");
    write_certificate(&place, "public", "127.0.0.1");
    place.write("public.key", place.text("admin.key"));
    let ran = place.run(&serve);
    assert!(ran.stderr.contains("server.tls: public.pem with public.key"), "{ran:?}");
}
