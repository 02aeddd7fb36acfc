//! Requests to the server, as its producers and receivers make them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use secevent_http::{Client, ClientConfig, Ports};
use secevent_ssf::{ResponseLimit, Transport as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// No answer came: the server is gone, and nobody knows what it had done.
#[derive(Clone, Debug)]
pub(crate) struct Gone(pub(crate) String);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As {
    Producer,
    Receiver,
    Operator,
}

/// A way to a server in one of its lives.
#[derive(Clone)]
pub(crate) struct Caller {
    client: Client,
    origin: String,
    producer: String,
    receiver: String,
    /// Where operators are listened to, and what lets them in.
    admin: (String, String),
}

impl Caller {
    /// Gets the access tokens that everything else needs, the operator's from the file beside the store.
    pub(crate) async fn meet(address: SocketAddr, directory: &Path) -> Result<Self, Gone> {
        let entrance = std::fs::read(directory.join("events.db.admin")).unwrap();
        let entrance: Value = serde_json::from_slice(&entrance).unwrap();
        let text = |name: &str| entrance[name].as_str().unwrap().to_owned();
        let config = ClientConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ports: Ports::Any,
            allow_plain_http: true,
            ..ClientConfig::default()
        };
        let client = Client::new(config).unwrap();
        let mut caller = Self {
            client,
            origin: format!("http://{address}"),
            producer: String::new(),
            receiver: String::new(),
            admin: (text("url"), text("token")),
        };
        caller.producer = caller.token("idp", "a+secret+of+the+idp").await?;
        caller.receiver = caller.token("shop", "a+secret+of+the+shop").await?;
        Ok(caller)
    }

    async fn token(&self, client: &str, secret: &str) -> Result<String, Gone> {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let request = Request::post(format!("{}/oauth/token", self.origin))
            .header("content-type", "application/x-www-form-urlencoded");
        let (status, answer) = self.send(request, form).await?;
        assert_eq!(status, 200, "{answer}");
        Ok(answer["access_token"].as_str().unwrap().to_owned())
    }

    /// Posts an event, or lines of them, under an idempotency key.
    pub(crate) async fn events(&self, key: &str, body: String, many: bool) -> Result<(u16, Value), Gone> {
        let kind = if many { "application/x-ndjson" } else { "application/json" };
        let request = self.request(&Method::POST, "/events", As::Producer);
        self.send(request.header("content-type", kind).header("idempotency-key", key), body).await
    }

    /// Asks for something of the management or poll API.
    pub(crate) async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Gone> {
        self.ask_as(As::Receiver, method, path, body).await
    }

    /// Asks for something of the operators' API.
    pub(crate) async fn operate(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Gone> {
        self.ask_as(As::Operator, method, &format!("/admin/v1{path}"), body).await
    }

    /// What the server says of its readiness.
    pub(crate) async fn ready(&self) -> Result<(u16, Value), Gone> {
        self.ask_as(As::Operator, &Method::GET, "/readyz", None).await
    }

    async fn ask_as(
        &self,
        who: As,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Gone> {
        let request = self.request(method, path, who);
        match body {
            Some(body) => {
                self.send(request.header("content-type", "application/json"), body.to_string()).await
            }
            None => self.send(request, String::new()).await,
        }
    }

    /// Polls a stream: acknowledges, and gets SETs with their claims.
    pub(crate) async fn poll(&self, stream: &str, body: Value) -> Result<Vec<(String, String)>, Gone> {
        let (status, answer) = self.ask(&Method::POST, &format!("/poll/{stream}"), Some(&body)).await?;
        assert_eq!(status, 200, "{answer}");
        let sets = answer["sets"].as_object().unwrap().iter();
        Ok(sets.map(|(jti, token)| (jti.clone(), claims_of(token.as_str().unwrap()))).collect())
    }

    fn request(&self, method: &Method, path: &str, who: As) -> http::request::Builder {
        let (origin, token) = match who {
            As::Producer => (&self.origin, &self.producer),
            As::Receiver => (&self.origin, &self.receiver),
            As::Operator => (&self.admin.0, &self.admin.1),
        };
        let request =
            Request::builder().method(method).uri(format!("{}{path}", origin.trim_end_matches('/')));
        request.header("authorization", format!("Bearer {token}"))
    }

    async fn send(&self, request: http::request::Builder, body: String) -> Result<(u16, Value), Gone> {
        // A hundred SETs are more than a client expects unless it says so.
        let request = request.extension(ResponseLimit(4 << 20)).body(Bytes::from(body)).unwrap();
        let response = self.client.send(request).await.map_err(|error| Gone(error.to_string()))?;
        let body = serde_json::from_slice(response.body()).unwrap_or_else(|_| json!(null));
        Ok((response.status().as_u16(), body))
    }
}

/// The claims of a SET as they were signed. Whether the signature is right is not the question here.
pub(crate) fn claims_of(token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
