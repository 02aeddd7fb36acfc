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
    Section::one(
        "outgoing",
        "Whom the server may connect to: receivers, and the keys and metadata of others. Without this section: https \
         to port 443 of public addresses, and nothing else.",
        OUTGOING,
    ),
    Section::one("delivery", "How SETs are delivered, how long is tried, and how much is kept.", DELIVERY),
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
         server listens on loopback, where it is http and that address.",
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
        "More names under which the admin listener may be addressed. Others are turned away, so that no web page \
         reaches it by a name of its own.",
    )
    .default("[]")
    .example("[\"secevent.internal\"]"),
    Setting::new(
        "metrics",
        Kind::Choice(&["token", "open", "off"]),
        "Who may read /metrics on the admin listener: who has a token, everybody, or nobody.",
    )
    .default("\"token\""),
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
];

const SECRETS: &[Setting] = &[Setting::new(
    "key",
    Kind::Secret,
    "The master key, 64 hexadecimal digits as `openssl rand -hex 32` prints them. It seals private keys and receivers' \
     credentials in the store: without it, a copy of the store tells no secret, and cannot be used. Keep it elsewhere.",
)
.required()
.example("{ env = \"SECEVENT_MASTER_KEY\" }")];

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
];

const DELIVERY: &[Setting] = &[
    Setting::new("pushes_max", count(100_000), "Pushes on their way at once, to all receivers together.").default("512"),
    Setting::new("pushes_per_stream_max", count(10_000), "Pushes on their way at once to one receiver.").default("64"),
    Setting::new("push_timeout_seconds", seconds(300), "How long a receiver may take to answer a push.").default("10"),
    Setting::new(
        "retry_delay_first_seconds",
        seconds(3600),
        "The pause after the first push that fails. Each later one is about twice as long.",
    )
    .default("1"),
    Setting::new("retry_delay_max_seconds", seconds(DAY), "The longest pause between two pushes.").default("300"),
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
        "How long a poller has to acknowledge a SET before it is handed out again.",
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
        Kind::Choice(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]),
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
];

const CLIENT: &[Setting] = &[
    Setting::new("id", Kind::Text("text"), "Its name: the client_id of OAuth.")
        .required()
        .example("\"billing\""),
    Setting::new("secret", Kind::Secret, "What it proves itself with, 16 characters or more.")
        .required()
        .example("{ env = \"BILLING_SECRET\" }"),
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
];
