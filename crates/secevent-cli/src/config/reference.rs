//! The rows of the table: every setting there is.

use super::table::{Kind, Section, Setting};

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

const fn seconds(max: u64) -> Kind {
    Kind::Amount { unit: "seconds", min: 1, max }
}

const fn count(max: u64) -> Kind {
    Kind::Amount { unit: "", min: 1, max }
}

/// Every table of the file, in the order in which one reads it.
pub(crate) const SECTIONS: &[Section] = &[
    Section::one("server", "Where the server listens, and what others call it.", SERVER),
    Section::one("store", "Where everything is remembered.", STORE),
    Section::one("secrets", "What keeps secrets secret.", SECRETS),
    Section::one("keys", "How long the keys that issuers sign with are published, before and after.", KEYS),
    Section::one(
        "outgoing",
        "Whom the server may connect to: receivers, and the keys and metadata of others. Without this section: https \
         to port 443 of public addresses, and nothing else.",
        OUTGOING,
    ),
    Section::one("delivery", "How SETs are delivered, how long is tried, and how much is kept.", DELIVERY),
    Section::one("subjects", "How many subjects streams may have, and where they are held.", SUBJECTS),
    Section::one("retention", "How long traces are kept beside what [delivery] says of events.", RETENTION),
    Section::one("limits", "How often each client may ask, where its own `limits` say nothing else.", LIMITS),
    Section::one("authorization", "Who gives access tokens.", AUTHORIZATION),
    Section::many(
        "authorization_server",
        "An authorization server elsewhere whose access tokens (RFC 9068) are taken.",
        AUTHORIZATION_SERVER,
    ),
    Section::many(
        "event_type",
        "An event type of your own. Its events are checked against a JSON Schema when they are told.",
        EVENT_TYPE,
    ),
    Section::many(
        "issuer",
        "An issuer that the server speaks for. Each has endpoints, keys and streams of its own. Without --dev there has \
         to be one.",
        ISSUER,
    ),
    Section::many(
        "client",
        "Who may call: a receiver, a producer of events, or an operator from elsewhere.",
        CLIENT,
    ),
    Section::many(
        "push_credential",
        "What a receiver wants to see of a push beyond the header that it has stated itself: an access token, or a \
         certificate.",
        PUSH_CREDENTIAL,
    ),
    Section::many(
        "stream",
        "A stream that the server sees to itself: made at start if it is not there, changed where this changed. Its \
         receiver finds it, may pause and verify it, and cannot change or delete it.",
        STREAM,
    ),
];

const SERVER: &[Setting] = &[
    Setting::new("listen", Kind::Text("address"), "Where receivers and producers are listened to.")
        .default("\"127.0.0.1:8080\"")
        .given("--listen", "SECEVENT_LISTEN"),
    Setting::new(
        "public_url",
        Kind::Text("https URL"),
        "The URL under which others see the server: metadata and access tokens name it. It may be left out while the \
         server listens on loopback: then it is that address, with https if there is `tls`, or else http.",
    )
    .example("\"https://events.example.com\"")
    .given("--public-url", "SECEVENT_PUBLIC_URL"),
    Setting::new(
        "admin_listen",
        Kind::Text("address, or \"off\""),
        "Where operators are listened to. If it is left out and the default is taken, any free port of loopback is \
         used: the command line finds it.",
    )
    .default("\"127.0.0.1:8081\"")
    .given("--admin-listen", "SECEVENT_ADMIN_LISTEN"),
    Setting::new(
        "admin_names",
        Kind::Texts("host name"),
        "More names under which the admin listener may be addressed. Requests to other names get 421, so that no web \
         page reaches it by a name of its own.",
    )
    .default("[]")
    .example("[\"secevent.internal\"]"),
    Setting::new(
        "metrics",
        Kind::Choice(&["token", "open", "off"]),
        "Who may read /metrics on the admin listener: who has a token, everybody, or nobody.",
    )
    .default("\"token\""),
    Setting::new(
        "tls",
        Kind::Table(TLS),
        "The certificate of the public listener. Without it the listener is plain http, for loopback or behind a proxy \
         that speaks TLS.",
    )
    .instead()
    .example("{ certificate = \"/etc/secevent/tls.pem\", key = \"/etc/secevent/tls.key\" }"),
    Setting::new("admin_tls", Kind::Table(TLS), "The certificate of the admin listener.")
        .instead()
        .example("{ certificate = \"/etc/secevent/admin.pem\", key = \"/etc/secevent/admin.key\" }"),
    Setting::new(
        "trusted_proxies",
        Kind::Texts("network"),
        "Networks of proxies whose Forwarded and X-Forwarded-For headers are believed. From others they are not.",
    )
    .default("[]")
    .example("[\"10.0.0.0/8\"]"),
    Setting::new(
        "connections_max",
        count(1_000_000),
        "Connections of the public listener at once. The limit of open files may allow fewer: the server raises it as \
         far as it may, logs what is left at start-up, and `secevent doctor` reports it. At the limit, connections that \
         do nothing are closed for new ones.",
    )
    .default("16384"),
    Setting::new(
        "first_head_seconds",
        seconds(75),
        "How long the first request head on a connection may take. Slower connections are closed.",
    )
    .default("10"),
    Setting::new(
        "bodies_bytes_max",
        Kind::Amount { unit: "bytes", min: 8 << 20, max: 64 << 30 },
        "Request bodies that one listener holds in memory. Requests without an accepted token may take a quarter of it. At \
         the limit, the request that has waited longest for the rest of its body is answered with 503.",
    )
    .default("33554432"),
    Setting::new(
        "public_health",
        Kind::Switch,
        "Whether the public listener serves /healthz and /readyz too, to anybody, for load balancers that cannot reach \
         the admin listener.",
    )
    .default("false"),
];

const TLS: &[Setting] = &[
    Setting::new(
        "certificate",
        Kind::Text("name of a PEM file"),
        "The chain, the server's own certificate first.",
    )
    .required()
    .example("\"/etc/secevent/tls.pem\""),
    Setting::new("key", Kind::Text("name of a PEM file"), "Its private key.")
        .required()
        .example("\"/etc/secevent/tls.key\""),
    Setting::new(
        "reload_seconds",
        seconds(DAY),
        "How often to look whether the files are new; SIGHUP has them looked at now.",
    )
    .default("60"),
];

const STORE: &[Setting] = &[
    Setting::new("url", Kind::Text("sqlite: and the path of a file"), "The file of the store. It is made if it is not there.")
        .default("\"sqlite:secevent.db\"")
        .given("--store", "SECEVENT_STORE"),
    Setting::new(
        "log_pages_max",
        Kind::Amount { unit: "pages of 4 KiB", min: 100, max: 1_000_000 },
        "How long the store's log may get before it is carried into the database. More saves writing, less saves disk \
         space and time at a start after a crash.",
    )
    .default("8192"),
    Setting::new(
        "bytes_max",
        Kind::Amount { unit: "bytes", min: 1 << 20, max: 1 << 50 },
        "What the store may hold. At the bound nothing new is accepted (503) until there is room again.",
    )
    .default("68719476736"),
    Setting::new(
        "reserve_bytes",
        Kind::Amount { unit: "bytes", min: 0, max: 1 << 40 },
        "Disk space that is kept back in a file beside the store, in addition to the length of the store's log. When the \
         disk is full, new events are rejected (503, not ready), and this space serves to settle what was accepted and to \
         start the server.",
    )
    .default("16777216"),
];

const SECRETS: &[Setting] = &[
    Setting::new(
    "key",
    Kind::Secret,
    "The master key, 64 hexadecimal digits as `openssl rand -hex 32` prints them. It seals private keys and receivers' \
     credentials in the store: without it, a copy of the store tells no secret, and cannot be used. Keep it elsewhere.",
)
.usual()
.example("{ env = \"SECEVENT_MASTER_KEY\" }"),
    Setting::new(
        "keys",
        Kind::Secrets,
        "Several master keys, in the place of `key`: the first one seals, all open. After `secevent key rewrap` the \
         others can go.",
    )
    .instead()
    .example("[{ env = \"SECEVENT_MASTER_KEY\" }, { env = \"SECEVENT_OLD_MASTER_KEY\" }]"),
];

const KEYS: &[Setting] = &[
    Setting::new(
        "publish_ahead_seconds",
        Kind::Amount { unit: "seconds", min: 360, max: 90 * DAY },
        "How long a new key is published before it signs: longer than anybody keeps the keys that he has fetched.",
    )
    .default("86400"),
    Setting::new(
        "keep_behind_seconds",
        Kind::Amount { unit: "seconds", min: 3600, max: 366 * DAY },
        "How long a key is published after it has signed last: as long as what it signed may be on its way.",
    )
    .default("691200"),
];

const SUBJECTS: &[Setting] = &[
    Setting::new("per_stream_max", count(1_000_000_000), "Subjects that one stream may have.").default("5000000"),
    Setting::new(
        "in_memory_max",
        count(1_000_000_000),
        "Subjects of all streams together that are held in memory, with about 40 bytes each. A stream for whose subjects \
         there is no room has them looked up in the store, once for each request of a producer.",
    )
    .default("4000000"),
    Setting::new(
        "removal_grace_seconds",
        Kind::Amount { unit: "seconds", min: 0, max: YEAR },
        "How long events about a removed subject are still sent (SSF 1.0 section 9.3). 0: not at all.",
    )
    .default("0"),
];

const RETENTION: &[Setting] = &[Setting::new(
    "audit_days",
    Kind::Amount { unit: "days", min: 1, max: 4000 },
    "How long the log of changes is kept: who changed what (`secevent audit`).",
)
.default("365")];

const LIMITS: &[Setting] = &[
    Setting::new(
        "requests_per_second",
        count(1_000_000),
        "Requests that manage streams, and polls, in a second.",
    )
    .default("500"),
    Setting::new("requests_burst", count(1_000_000), "And at once.").default("1000"),
    Setting::new("tokens_per_second", count(1_000_000), "Requests for access tokens in a second.")
        .default("10"),
    Setting::new("tokens_burst", count(1_000_000), "And at once.").default("100"),
    Setting::new(
        "events_per_second",
        count(1_000_000),
        "Events in a second. Without it: as many as there are.",
    )
    .example("1000"),
    Setting::new("events_burst", count(1_000_000), "And at once. Without it: as many as in a second.")
        .instead()
        .example("2000"),
];

const AUTHORIZATION: &[Setting] = &[Setting::new(
    "built_in",
    Kind::Switch,
    "Whether the server gives access tokens itself, for secrets and signed assertions. If not, there has to be an \
     [[authorization_server]].",
)
.default("true")];

const AUTHORIZATION_SERVER: &[Setting] = &[
    Setting::new("issuer", Kind::Text("https URL"), "Its name: the `iss` of its tokens.")
        .required()
        .example("\"https://login.example.com\""),
    Setting::new("audience", Kind::Text("text"), "What this server is called in the `aud` of its tokens.")
        .required()
        .example("\"https://events.example.com\""),
    Setting::new(
        "jwks_uri",
        Kind::Text("https URL"),
        "Where its keys are. Without it: as its metadata says.",
    )
    .example("\"https://login.example.com/jwks.json\""),
    Setting::new(
        "algorithms",
        Kind::Choices(ALGORITHMS),
        "What it may sign with. Without it: RS256, ES256, ES384, ES512 and EdDSA.",
    )
    .example("[\"RS256\"]"),
    Setting::new(
        "untyped_tokens",
        Kind::Switch,
        "Whether access tokens of the type JWT, or of none, are taken beside at+jwt: for servers from before RFC 9068, and \
         for Keycloak as it comes.",
    )
    .default("false"),
    Setting::new("client_claim", Kind::Text("name of a claim"), "The claim that names the client.")
        .default("\"client_id\""),
    Setting::new(
        "scopes",
        Kind::Free("its scopes, each with the scope of this server that it stands for"),
        "What its scopes mean here. Without it: what they are called.",
    )
    .example("{ \"events-reader\" = \"ssf.read\" }"),
    Setting::new("clients", Kind::Texts("client.id"), "The clients that it may speak for. Without it: all.")
        .example("[\"billing\"]"),
];

const OUTGOING: &[Setting] = &[
    Setting::new(
        "extra_ca",
        Kind::Text("name of a PEM file"),
        "Certificate authorities to trust beside the system's.",
    )
    .example("\"/etc/secevent/internal-ca.pem\""),
    Setting::new(
        "allow_networks",
        Kind::Texts("network"),
        "Networks that may be connected to although they are not public. Whoever may set the URL of a stream reaches \
         everything in them that listens on an allowed port.",
    )
    .default("[]")
    .example("[\"10.1.0.0/16\"]"),
    Setting::new(
        "allow_ports",
        Kind::Amounts { min: 0, max: 65_535 },
        "The ports that may be connected to.",
    )
    .default("[443]")
    .example("[443, 8443]"),
    Setting::new(
        "allow_plain_http",
        Kind::Switch,
        "Whether receivers may have http URLs. SETs name people, and requests carry credentials: for development only.",
    )
    .default("false"),
    Setting::new(
        "proxy",
        Kind::Text("http URL"),
        "A proxy by which the server goes out (HTTP CONNECT). Addresses are looked up and judged here all the same.",
    )
    .instead()
    .example("\"http://proxy.internal:3128\""),
    Setting::new("proxy_credential", Kind::Secret, "Name and password for the proxy, as `name:password`.")
        .instead()
        .example("{ env = \"SECEVENT_PROXY_CREDENTIAL\" }"),
    Setting::new(
        "proxy_resolves",
        Kind::Switch,
        "Whether the proxy looks up names, and so judges addresses in the place of this server.",
    )
    .default("false"),
    Setting::new("no_proxy", Kind::Texts("host name, .domain, address or network"), "What is reached without the proxy.")
        .default("[]")
        .instead()
        .example("[\".internal\"]"),
];

const DELIVERY: &[Setting] = &[
    Setting::new("pushes_max", count(100_000), "Pushes on their way at once, to all receivers together.").default("512"),
    Setting::new("pushes_per_stream_max", count(10_000), "Pushes on their way at once to one receiver, each on a connection of its own where it does not speak HTTP/2. They become that many only if that makes the receiver faster.").default("64"),
    Setting::new("push_timeout_seconds", seconds(300), "How long a receiver may take to answer a push.").default("10"),
    Setting::new(
        "retry_delay_first_seconds",
        seconds(3600),
        "The longest first pause of a stream whose receiver fails; each later one is about twice as long. A SET that fails while others are delivered waits alone, at first for a hundredth of this.",
    )
    .default("1"),
    Setting::new("retry_delay_max_seconds", seconds(DAY), "The longest pause between two pushes.").default("300"),
    Setting::new(
        "suspend_after_failures",
        count(1_000),
        "Failures in a row, without a success between them, that suspend a stream: one push at a time then tries whether the receiver is back. If more pushes were under way at the first failure, those have to fail too, up to 16.",
    )
    .default("3"),
    Setting::new(
        "age_max_seconds",
        seconds(YEAR),
        "How old a SET may get: then it is given up, and dead (see `secevent dead`).",
    )
    .default("604800"),
    Setting::new("poll_wait_max_seconds", seconds(600), "How long a poll waits for something to deliver.").default("30"),
    Setting::new("poll_sets_max", count(1_000), "SETs in one poll's answer at most.").default("100"),
    Setting::new(
        "poll_visibility_seconds",
        seconds(DAY),
        "How long a poller has to acknowledge a SET before it is handed out again. Until then it is hidden, and so is \
         what waits for it. A short time brings back soon what a receiver lost with an answer; it must be longer than the \
         receiver takes to acknowledge, or each SET comes twice.",
    )
    .default("60"),
    Setting::new("streams_per_client_max", count(100_000), "Streams that one client may have of one issuer.").default("10"),
    Setting::new(
        "history_seconds",
        seconds(YEAR),
        "How long a delivered event is kept: so far back it can be replayed, and a repeat with its idempotency key is \
         known.",
    )
    .default("86400"),
    Setting::new("backlog_deliveries_max", count(1_000_000_000), "SETs that one stream may be owed.").default("1000000"),
    Setting::new(
        "backlog_bytes_max",
        Kind::Amount { unit: "bytes", min: 1, max: 1 << 50 },
        "Bytes of events that one stream may be owed.",
    )
    .default("1073741824"),
    Setting::new(
        "overflow",
        Kind::Choice(&["pause", "drop"]),
        "What happens to a stream at one of these bounds: it is paused and everything is kept, or it is owed nothing \
         new, which is counted.",
    )
    .default("\"pause\""),
    Setting::new(
        "pause_after_seconds",
        seconds(YEAR),
        "How long a receiver may be in trouble until its stream is paused.",
    )
    .default("259200"),
    Setting::new(
        "poll_interval_min_milliseconds",
        Kind::Amount { unit: "milliseconds", min: 0, max: 60_000 },
        "The time between polls that do not wait and get nothing; who polls more often is asked to come later (429). 0 \
         is no bound.",
    )
    .default("100"),
    Setting::new(
        "poll_order",
        Kind::Choice(&["per-subject", "batched"]),
        "What one poll's answer may hold about one subject: one SET, so that the order holds whatever the receiver \
         does, or as many as there are, and the receiver keeps them in order.",
    )
    .default("\"per-subject\""),
    Setting::new("dead_kept_seconds", seconds(YEAR), "How long a dead letter is kept.").default("2592000"),
    Setting::new(
        "housekeeping_seconds",
        seconds(DAY),
        "How often what is too old is given up or forgotten.",
    )
    .default("60"),
    Setting::new(
        "verification_interval_min_seconds",
        seconds(DAY),
        "The time between two verification events that a receiver asks for; who asks sooner is asked to come later (429). \
         Without it: none.",
    )
    .example("60"),
    Setting::new(
        "heartbeat_seconds",
        seconds(YEAR),
        "How often an enabled stream gets a verification event unasked, so that its receiver knows silence from trouble. \
         Without it: never.",
    )
    .example("3600"),
    Setting::new(
        "inactivity_timeout_seconds",
        seconds(YEAR),
        "How long nothing may be heard of a receiver: no request about its stream, no poll, no answer to a push. Without \
         it: for ever.",
    )
    .example("2592000"),
    Setting::new(
        "inactivity_then",
        Kind::Choice(&["pause", "disable", "delete"]),
        "What becomes of its stream then: it is paused and keeps what it is owed, which is so if nothing is said; or \
         disabled; or disabled and deleted once its receiver is told. One that the file declares is not deleted.",
    )
    .example("\"pause\""),
];

const EVENT_TYPE: &[Setting] = &[
    Setting::new("uri", Kind::Text("URI"), "The event identifier: the name under `events` in SETs.")
        .required()
        .example("\"https://example.com/events/badge-lost\""),
    Setting::new(
        "name",
        Kind::Text("vocabulary:event"),
        "A short name for people, for `emit`, and for patterns such as \"example:*\".",
    )
    .required()
    .example("\"example:badge-lost\""),
    Setting::new(
        "schema",
        Kind::FileOrTable,
        "The JSON Schema (draft 2020-12) of the event's data. It has to stand for itself: a reference to another \
         document is refused, never fetched.",
    )
    .required()
    .example("{ type = \"object\", required = [\"door\"], properties = { door = { type = \"string\" } } }"),
    Setting::new("about", Kind::Text("text"), "One sentence that says what such an event tells.")
        .example("\"A badge was lost.\""),
    Setting::new(
        "subject_formats",
        Kind::Texts("format of a subject identifier"),
        "Whom such an event may be about. Without it: any subject.",
    )
    .example("[\"email\", \"opaque\"]"),
];

const ISSUER: &[Setting] = &[
    Setting::new("url", Kind::Text("https URL"), "The `iss` of its SETs, and the base of its endpoints.")
        .required()
        .example("\"https://events.example.com\""),
    Setting::new(
        "algorithm",
        Kind::Choice(ALGORITHMS),
        "What it signs with. RS256 is what the interoperability profile asks for.",
    )
    .default("\"RS256\""),
    Setting::new(
        "default_subjects",
        Kind::Choice(&["ALL", "NONE"]),
        "Whom a new stream hears of: everybody, or nobody until subjects are added.",
    )
    .required()
    .example("\"ALL\""),
    Setting::new(
        "events",
        Kind::Texts("event type: a URI, a short name, or a pattern"),
        "The event types that its streams can carry. Without it: all of CAEP and RISC, and the [[event_type]]s of this \
         file.",
    )
    .example("[\"caep:*\", \"risc:account-disabled\"]"),
    Setting::new(
        "legacy",
        Kind::Switch,
        "Whether its receivers are from before SSF 1.0: their forms are taken, and metadata is found under its older \
         names. Other receivers get another issuer.",
    )
    .default("false"),
    Setting::new(
        "rotate_every_days",
        Kind::Amount { unit: "days", min: 1, max: 3650 },
        "How long a key signs until the next one takes its place. Without it: until `secevent key rotate`.",
    )
    .example("90"),
];

const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

const CLIENT: &[Setting] = &[
    Setting::new("id", Kind::Text("text"), "Its name: the client_id of OAuth.")
        .required()
        .example("\"billing\""),
    Setting::new("secret", Kind::Secret, "What it proves itself with, 16 characters or more.")
        .usual()
        .example("{ env = \"BILLING_SECRET\" }"),
    Setting::new(
        "jwks",
        Kind::Free("a JWK Set"),
        "Its public keys, in the place of a secret: it signs what it asks for tokens with (private_key_jwt).",
    )
    .instead()
    .example("{ keys = [{ kty = \"OKP\", crv = \"Ed25519\", x = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\" }] }"),
    Setting::new("jwks_uri", Kind::Text("https URL"), "Where it publishes them, in the place of `jwks`.")
        .instead()
        .example("\"https://billing.example.com/jwks.json\""),
    Setting::new(
        "algorithms",
        Kind::Choices(ALGORITHMS),
        "What it may sign with then. Without it: RS256, ES256, ES384, ES512 and EdDSA.",
    )
    .instead()
    .example("[\"ES256\"]"),
    Setting::new(
        "scopes",
        Kind::Choices(&["ssf.read", "ssf.manage", "events.write", "admin"]),
        "What it may do: read streams and poll, change streams too, tell events, or administer the server.",
    )
    .required()
    .example("[\"ssf.manage\"]"),
    Setting::new(
        "audience",
        Kind::TextOrTexts("text"),
        "What it is called in the `aud` of its SETs. Only who receives nothing can do without.",
    )
    .example("\"https://billing.example.com\""),
    Setting::new("issuers", Kind::Texts("issuer.url"), "The issuers that are there for it. Without it: all.")
        .example("[\"https://events.example.com\"]"),
    Setting::new(
        "events",
        Kind::Texts("event type: a URI, a short name, or a pattern"),
        "The event types that it may send and be sent. Without it: all.",
    )
    .example("[\"caep:*\"]"),
    Setting::new(
        "subjects",
        Kind::Table(CLIENT_SUBJECTS),
        "About whom it may send events. Without it: about everybody.",
    )
    .example("{ email_domains = [\"example.com\"] }"),
    Setting::new("token_lifetime_seconds", seconds(3600), "How long its access tokens are good for.")
        .default("600"),
    Setting::new("limits", Kind::Table(LIMITS), "How often it may ask. Without it: as [limits] says.")
        .example("{ requests_per_second = 50 }"),
    Setting::new(
        "algorithm",
        Kind::Choice(ALGORITHMS),
        "What its SETs are signed with. Without it: what their issuer signs with.",
    )
    .example("\"ES256\""),
    Setting::new(
        "poll_visibility_seconds",
        seconds(DAY),
        "How long it has to acknowledge a polled SET before that is handed out again. Without it: as [delivery] says.",
    )
    .example("10"),
    Setting::new(
        "poll_order",
        Kind::Choice(&["per-subject", "batched"]),
        "What one of its polls may get about one subject. Without it: as [delivery] says.",
    )
    .example("\"batched\""),
];

const CLIENT_SUBJECTS: &[Setting] = &[
    Setting::new(
        "email_domains",
        Kind::Texts("domain"),
        "The domains of e-mail addresses and of `acct:` accounts.",
    )
    .default("[]")
    .example("[\"example.com\"]"),
    Setting::new(
        "issuers",
        Kind::Texts("URL"),
        "The issuers of `iss_sub`, `jwt_id` and `saml_assertion_id`.",
    )
    .default("[]")
    .example("[\"https://idp.example.com\"]"),
];

const PUSH_CREDENTIAL: &[Setting] = &[
    Setting::new("client", Kind::Text("client.id"), "The receiver to whose streams it belongs.")
        .example("\"billing\""),
    Setting::new("endpoint", Kind::Text("https URL"), "The endpoint that it is for, and what lies below.")
        .example("\"https://billing.example.com/\""),
    Setting::new("oauth", Kind::Table(PUSH_OAUTH), "An access token, got with client credentials.").example(
        "{ token_url = \"https://as.billing.example.com/token\", client_id = \"events\", secret = { env = \
         \"BILLING_TOKEN_SECRET\" } }",
    ),
    Setting::new(
        "certificate",
        Kind::Text("name of a PEM file"),
        "A certificate for mutual TLS, in the place of `oauth`.",
    )
    .instead()
    .example("\"/etc/secevent/billing.pem\""),
    Setting::new("key", Kind::Text("name of a PEM file"), "Its private key.")
        .instead()
        .example("\"/etc/secevent/billing.key\""),
    Setting::new(
        "reload_seconds",
        seconds(DAY),
        "How often to look whether the files are new; SIGHUP has them looked at now.",
    )
    .instead()
    .default("60"),
];

const PUSH_OAUTH: &[Setting] = &[
    Setting::new("token_url", Kind::Text("https URL"), "Where access tokens are given.")
        .required()
        .example("\"https://as.billing.example.com/token\""),
    Setting::new("client_id", Kind::Text("text"), "What this server is called there.")
        .required()
        .example("\"events\""),
    Setting::new("secret", Kind::Secret, "What it proves itself with there.")
        .required()
        .example("{ env = \"BILLING_TOKEN_SECRET\" }"),
    Setting::new("scope", Kind::Text("text"), "The scope to ask for.").example("\"events\""),
    Setting::new("auth", Kind::Choice(&["basic", "post"]), "How the secret is shown.").default("\"basic\""),
];

const STREAM: &[Setting] = &[
    Setting::new(
        "name",
        Kind::Text("text"),
        "What it is called in this file; there the stream is known by it.",
    )
    .required()
    .example("\"billing-main\""),
    Setting::new("client", Kind::Text("client.id"), "The receiver that it belongs to.")
        .required()
        .example("\"billing\""),
    Setting::new(
        "issuer",
        Kind::Text("issuer.url"),
        "The issuer whose events it carries. Needed where there are several.",
    )
    .example("\"https://events.example.com\""),
    Setting::new(
        "events",
        Kind::Texts("event type: a URI, a short name, or a pattern"),
        "The event types that it carries, as far as its issuer has them.",
    )
    .required()
    .example("[\"caep:*\"]"),
    Setting::new("delivery", Kind::Table(STREAM_DELIVERY), "How its SETs are delivered.")
        .required()
        .example("{ method = \"poll\" }"),
    Setting::new("description", Kind::Text("text"), "Words about it, which its receiver sees.")
        .example("\"what billing hears\""),
];

const STREAM_DELIVERY: &[Setting] = &[
    Setting::new("method", Kind::Choice(&["push", "poll"]), "Pushed to the receiver, or fetched by it.")
        .required()
        .example("\"push\""),
    Setting::new("endpoint_url", Kind::Text("https URL"), "Where to push to.")
        .example("\"https://billing.example.com/events\""),
    Setting::new("authorization", Kind::Secret, "The whole value of the Authorization header of each push.")
        .example("{ env = \"BILLING_AUTHORIZATION\" }"),
    Setting::new(
        "poll_visibility_seconds",
        seconds(DAY),
        "How long its receiver has to acknowledge a polled SET before that is handed out again. Without it: as its client \
         or [delivery] says.",
    )
    .instead()
    .example("10"),
    Setting::new(
        "poll_order",
        Kind::Choice(&["per-subject", "batched"]),
        "What one poll may get about one subject. Without it: as its client or [delivery] says.",
    )
    .instead()
    .example("\"batched\""),
];
