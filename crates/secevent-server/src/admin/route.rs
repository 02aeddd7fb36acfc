//! A route and what it does, said in one place: whoever adds one says what it answers, and the OpenAPI document has it.

use super::Admin;
use crate::clients::Scope;
use crate::problem::Problem;
use axum::routing::MethodRouter;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};

/// A path that is served, and each of its methods.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) methods: MethodRouter<Arc<Admin>>,
    pub(crate) operations: Vec<Operation>,
}

impl Route {
    pub(crate) fn new<const N: usize>(
        path: &'static str,
        methods: MethodRouter<Arc<Admin>>,
        operations: [Operation; N],
    ) -> Self {
        Self { path, methods, operations: operations.into() }
    }
}

/// One method of a path, as the OpenAPI document of its listener shows it.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    /// The bodies that are read, by media type.
    body: Option<Map<String, Value>>,
    responses: BTreeMap<u16, Value>,
    /// Whether everybody may ask.
    open: bool,
    /// What a token must have, where that is not the same for the whole listener.
    security: Option<Value>,
    /// Schemas that are written as JSON, by name.
    pub(crate) components: Vec<(&'static str, Value)>,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Operation {
    pub(crate) fn new(method: Method, id: &'static str, summary: &'static str) -> Self {
        let (parameters, body, responses, schemas) = (Vec::new(), None, BTreeMap::new(), Vec::new());
        let (open, security, components) = (false, None, Vec::new());
        Self { method, id, summary, parameters, body, responses, open, security, components, schemas }
    }

    pub(crate) fn get(id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, id, summary)
    }

    pub(crate) fn post(id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, id, summary)
    }

    /// Whoever reaches the listener may ask, and is told nothing of anybody.
    pub(crate) fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// A part of the path.
    pub(crate) fn path(self, name: &str, what: &str) -> Self {
        self.parameter("path", name, what, &json!({ "type": "string" }))
    }

    /// The part `{stream}` of the path.
    pub(crate) fn stream(self) -> Self {
        let what = "The stream: its identifier, the name that configuration gives it, or 4 and more characters with \
                    which its identifier alone begins. An identifier wins over a name, and a name over a beginning";
        self.path("stream", what)
            .problem(StatusCode::NOT_FOUND, "There is no such stream")
            .problem(StatusCode::CONFLICT, "Several streams are named so; the detail lists some")
    }

    /// A parameter of the query, which may be left out.
    pub(crate) fn query(self, name: &str, what: &str, schema: &Value) -> Self {
        self.parameter("query", name, what, schema)
    }

    /// How long a page is and where it begins.
    pub(crate) fn paged(self) -> Self {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 100 });
        self.query("after", "The `next` of an earlier answer: the page behind it", &text())
            .query("limit", "How many entries the page may have", &limit)
            .problem(StatusCode::BAD_REQUEST, "A parameter is wrong")
    }

    pub(crate) fn parameter(self, place: &str, name: &str, what: &str, schema: &Value) -> Self {
        self.parameter_that(place, name, what, schema, place == "path")
    }

    pub(crate) fn parameter_that(
        mut self,
        place: &str,
        name: &str,
        what: &str,
        schema: &Value,
        required: bool,
    ) -> Self {
        let parameter =
            json!({ "name": name, "in": place, "required": required, "description": what, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// The version that a change is about.
    pub(crate) fn if_match(self) -> Self {
        let what = "The ETag of what is to be changed: nothing is if it was changed meanwhile";
        self.parameter("header", "If-Match", what, &text())
            .problem(StatusCode::PRECONDITION_FAILED, "It was changed meanwhile")
    }

    /// The body that is read: an object with these members, of which some must be there.
    pub(crate) fn body(mut self, required: &[&str], members: &Value) -> Self {
        let schema = json!({
            "type": "object",
            "properties": members,
            "required": required,
            "additionalProperties": false,
        });
        self.body = Some(Map::from_iter([("application/json".to_owned(), json!({ "schema": schema }))]));
        self.problem(StatusCode::BAD_REQUEST, "The body is not valid")
            .problem(StatusCode::PAYLOAD_TOO_LARGE, "The body is too long")
            .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is no JSON")
    }

    /// What is answered.
    pub(crate) fn answers<T: ToSchema>(mut self, status: StatusCode, what: &str) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        let schema = json!(Ref::from_schema_name(T::name()));
        self.answers_with(status, what, "application/json", &schema)
    }

    /// That nothing is answered but the status.
    pub(crate) fn answers_nothing(mut self, status: StatusCode, what: &str) -> Self {
        self.responses.insert(status.as_u16(), json!({ "description": what }));
        self
    }

    /// The same for a text.
    pub(crate) fn answers_text(self, status: StatusCode, what: &str) -> Self {
        self.answers_with(status, what, "text/plain", &text())
    }

    /// The answer has this header.
    pub(crate) fn with_etag(mut self) -> Self {
        for response in self.responses.values_mut() {
            if response["content"].get("application/json").is_some() {
                response["headers"] =
                    json!({ "ETag": { "description": "The version that this is", "schema": text() } });
            }
        }
        self
    }

    /// A caller needs a token with this scope.
    pub(crate) fn needs(mut self, scope: Scope) -> Self {
        self.security = Some(json!([{ "token": [scope.name()] }]));
        self
    }

    /// How callers show who they are, where it is another way.
    pub(crate) fn secured_by(mut self, security: Value) -> Self {
        self.security = Some(security);
        self
    }

    /// A body of this media type is read.
    pub(crate) fn takes(mut self, kind: &str, schema: &Value, example: &Value) -> Self {
        let content = json!({ "schema": schema, "examples": { "usual": { "value": example } } });
        self.body.get_or_insert_default().insert(kind.to_owned(), content);
        self
    }

    /// The schema of this name is part of the document.
    pub(crate) fn component(mut self, name: &'static str, schema: Value) -> Self {
        self.components.push((name, schema));
        self
    }

    /// What is answered, with an example.
    pub(crate) fn gives(mut self, status: StatusCode, what: &str, schema: &Value, example: &Value) -> Self {
        self = self.answers_with(status, what, "application/json", schema);
        self.responses.entry(status.as_u16()).and_modify(|response| {
            response["content"]["application/json"]["examples"] = json!({ "usual": { "value": example } });
        });
        self
    }

    /// The answer has this header.
    pub(crate) fn with_header(mut self, status: StatusCode, name: &str, what: &str) -> Self {
        self.responses.entry(status.as_u16()).and_modify(|response| {
            response["headers"][name] = json!({ "description": what, "schema": text() });
        });
        self
    }

    /// A problem that handlers answer with, as they make it, and when they do.
    pub(crate) fn refuses(mut self, problem: &Problem, when: &str) -> Self {
        let status = problem.status();
        self = self.problem(status, when);
        self.responses.entry(status.as_u16()).and_modify(|response| {
            let kind = "application/problem+json";
            let examples = &mut response["content"][kind]["examples"];
            let count = examples.as_object().map_or(0, Map::len);
            let name = format!("{}-{}", problem.err(), count + 1);
            examples[name] = json!({ "summary": when, "value": problem });
            let known = response["description"].as_str().unwrap_or_default();
            if !known.contains(when) {
                response["description"] = format!("{known}. {when}").into();
            }
        });
        for (name, what) in problem.headers() {
            self = self.with_header(status, name, what);
        }
        self
    }

    /// A problem that it may be answered with.
    pub(crate) fn problem(self, status: StatusCode, what: &str) -> Self {
        self.answers_with(status, what, "application/problem+json", &json!(Ref::from_schema_name("Problem")))
    }

    fn answers_with(mut self, status: StatusCode, what: &str, kind: &str, schema: &Value) -> Self {
        let response = json!({ "description": what, "content": { kind: { "schema": schema } } });
        match self.responses.get_mut(&status.as_u16()) {
            // Two ways to answer alike.
            Some(known) if known["content"].get(kind).is_some_and(|known| known["schema"] != *schema) => {
                let one_of = known["content"][kind]["schema"].take();
                known["content"][kind]["schema"] = json!({ "oneOf": [one_of, schema] });
                let both = format!("{} {what}", known["description"].as_str().unwrap_or_default());
                known["description"] = both.into();
            }
            Some(_) => {}
            None => drop(self.responses.insert(status.as_u16(), response)),
        }
        self
    }

    /// It, with what every operation of the admin listener may be answered with.
    pub(crate) fn into_value(mut self) -> Value {
        self = self
            .problem(StatusCode::BAD_REQUEST, "The request has no Host header, or has two")
            .problem(
                StatusCode::FORBIDDEN,
                "The page of another site asks, or the token has not the scope `admin`",
            )
            .problem(StatusCode::MISDIRECTED_REQUEST, "It is addressed to another server");
        if !self.open {
            self = self
                .problem(StatusCode::UNAUTHORIZED, "There is no token, or it is not valid")
                .problem(StatusCode::CONFLICT, "It was changed by somebody else at this moment")
                .problem(StatusCode::SERVICE_UNAVAILABLE, "The store does not answer, or has too much to do");
        }
        self.into_plain_value()
    }

    /// It, as it stands in a document.
    pub(crate) fn into_plain_value(self) -> Value {
        let responses: Map<String, Value> =
            self.responses.into_iter().map(|(status, response)| (status.to_string(), response)).collect();
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters,
            "responses": responses,
        });
        if let Some(content) = self.body {
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
        if let Some(security) = self.security {
            operation["security"] = security;
        }
        if self.open {
            operation["security"] = json!([]);
        }
        operation
    }
}

/// Any text.
pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

/// A text, or nothing.
pub(crate) fn optional_text() -> Value {
    json!({ "type": ["string", "null"] })
}

/// A time, or nothing.
pub(crate) fn optional_time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

/// Yes or no, or nothing, which means no.
pub(crate) fn optional_flag() -> Value {
    json!({ "type": ["boolean", "null"] })
}

/// A subject identifier.
pub(crate) fn subject() -> Value {
    json!({
        "type": "object",
        "description": "A subject identifier (RFC 9493)",
        "properties": { "format": { "type": "string" } },
        "required": ["format"],
        "example": { "format": "email", "email": "alice@example.com" },
    })
}
