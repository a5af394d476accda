//! The document that describes the service (OpenAPI 3.1), and the page that shows it.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use utoipa::ToSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, ServerBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::api;
use crate::app::App;
use crate::problem::{KINDS, ProblemBody};

/// What the document begins with.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Keyfall",
        version = "1",
        description = "A storage service whose erase reaches every copy. Errors are \
            `application/problem+json` (RFC 9457); `kind` says which it is. A header that stands \
            once is refused if it comes twice. Bodies come as they are kept: `Content-Encoding` is \
            refused.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "The service that gave this document")),
    tags(
        (name = "users", description = "Users, each by a handle: no address has a name in it."),
        (name = "records", description = "Records: put, listed, read whole or in part."),
        (name = "uploads", description = "Uploads that go on after a break: tus 1.0.0. Of requests \
            for uploads the method is that of the header `X-HTTP-Method-Override`, if they have it: \
            `POST /v1/uploads/{id}` with `PATCH` or `DELETE` in it, where a network lets few \
            methods through."),
        (name = "erasures", description = "Erasing: now, at a time to come, or only seeing what it \
            would take."),
        (name = "rules", description = "What is kept for how long, and what must not be erased."),
        (name = "sharing", description = "Third parties that open records, and devices that seal \
            them."),
        (name = "log", description = "The public log of erases, and certificates. No credential is \
            needed."),
        (name = "page", description = "The page on which people hear and erase what is kept of \
            them."),
        (name = "credentials", description = "Who may do what, with whom, for which purposes."),
        (name = "operations", description = "What operators look at."),
        (name = "health", description = "Whether the service lives and takes requests; and this \
            document. No credential is needed."),
    ),
    paths(
        crate::api::log::tile,
        crate::api::health::healthz,
        crate::api::health::readyz,
        document
    ),
    components(schemas(ProblemBody))
)]
struct Document;

/// The routes that the document describes, and the document.
pub(crate) fn router() -> OpenApiRouter<App> {
    let mut document = <Document as utoipa::OpenApi>::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of this service, or a JSON Web Token of the issuer it was told"))
        .build();
    let certificate = SecurityScheme::MutualTls {
        description: Some("A client certificate that a credential is for".to_owned()),
        deprecated: None,
        extensions: None,
    };
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components.add_security_scheme("certificate", certificate);
    api::router(document)
}

/// An operation, and what decides what may become of it.
struct Asked<'d> {
    method: &'static str,
    path: &'d str,
    id: String,
    /// Whether a credential is needed.
    closed: bool,
    /// Whether it takes a body, and whether that is JSON.
    body: Option<bool>,
}

impl Asked<'_> {
    fn is(&self, ids: &[&str]) -> bool {
        ids.contains(&self.id.as_str())
    }

    /// Whether it only looks.
    fn looks(&self) -> bool {
        ["get", "head", "options"].contains(&self.method)
    }

    /// Whether it may write to the store or to what the service keeps: a reader is noted before
    /// the first byte is sent, a key of an inbox is made when it is asked for.
    fn writes(&self) -> bool {
        let also = ["get_record", "get_opening", "export", "get_inbox", "head_upload"];
        self.is(&also) || !self.looks() && !self.is(&["verify", "close_opening"])
    }

    /// Whether its path or its body names something that may not be there.
    fn names(&self) -> bool {
        let by_body = ["erase", "accept", "open_request", "unset_policy"];
        self.path.contains('{') && !self.is(&["describe_uploads"]) || self.is(&by_body)
    }

    /// Whether that may have been erased.
    fn may_be_erased(&self) -> bool {
        let others = ["tile", "end_credential", "renew_credential", "unset_policy"];
        self.names() && !self.is(&others) && !self.path.starts_with("/v1/openings/")
    }
}

/// What may become of an operation beside what it says itself.
type Fault = (&'static str, &'static str, fn(&Asked<'_>) -> bool);

const FAULTS: &[Fault] = &[
    ("400", "The request is wrong", |_| true),
    ("401", "There is no credential, or none that opens anything", |_| true),
    ("403", "The credential does not allow this", |asked| asked.closed),
    ("404", "It is not here", |asked| asked.names()),
    ("409", "It exists; or the state of the store, a policy or a limit forbids it", |asked| {
        asked.writes() || asked.is(&["get_report"])
    }),
    ("410", "It was erased", |asked| asked.may_be_erased()),
    ("413", "The body is longer than this service takes", |asked| asked.body.is_some()),
    ("415", "The body has another Content-Type or a Content-Encoding", |asked| {
        asked.body.is_some()
    }),
    ("423", "What it would erase is under a legal hold", |asked| {
        asked.is(&["erase", "put_record", "create_upload", "head_upload", "append_upload"])
    }),
    ("429", "The credential, or the address without one, asks too often", |_| true),
    ("500", "The service failed, or stored bytes are damaged", |_| true),
    ("501", "A transfer coding that is not known", |asked| asked.body.is_some()),
    ("503", "Not now; ask again", |_| true),
    ("507", "There is no space left", |asked| asked.writes()),
];

/// The document.
fn built() -> utoipa::openapi::OpenApi {
    let mut document = router().to_openapi();
    let shown = ["token", "certificate"]
        .map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("head", &mut item.head),
            ("patch", &mut item.patch),
            ("options", &mut item.options),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            // What lies before credentials and limits fails in no way of theirs.
            let asks_for_health = operation.tags.as_ref().is_some_and(|tags| tags == &["health"]);
            if !asks_for_health || path == "/openapi.json" {
                add_faults(operation, method, path);
            }
            if operation.security.is_none() {
                operation.security = Some(shown.to_vec());
            }
        }
    }
    document
}

fn add_faults(operation: &mut Operation, method: &'static str, path: &str) {
    let body = match &operation.request_body {
        Some(RefOr::T(body)) => Some(body.content.contains_key("application/json")),
        _ => None,
    };
    let id = operation.operation_id.clone().unwrap_or_default();
    let asked = Asked { method, path, id, closed: operation.security.is_none(), body };
    let responses = &mut operation.responses.responses;
    for (status, description, may_be) in FAULTS {
        if may_be(&asked) {
            let fault = ResponseBuilder::new().description(*description).build();
            responses.entry((*status).to_owned()).or_insert(RefOr::T(fault));
        }
    }
    if method == "head" {
        return;
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let schema = RefOr::Ref(Ref::from_schema_name("ProblemBody"));
            let problem = ContentBuilder::new().schema(Some(schema)).build();
            response.content.insert("application/problem+json".to_owned(), RefOr::T(problem));
        }
    }
}

/// The document as text, as it is committed.
pub(crate) fn text() -> String {
    built().to_pretty_json().unwrap_or_default() + "\n"
}

/// This document
///
/// OpenAPI 3.1. `servers` has the service's public address, if it knows one.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health", security(()),
    responses((status = 200, description = "The document", body = Described))
)]
pub(crate) async fn document(State(app): State<App>) -> Response {
    // One for all answers: it is long, and anybody may ask for it without reading it.
    static WRITTEN: OnceLock<Bytes> = OnceLock::new();
    let written = WRITTEN.get_or_init(|| written(app.config().public_url.as_deref()));
    ([(CONTENT_TYPE, "application/json")], written.clone()).into_response()
}

/// The document as it is served at an address.
fn written(public_url: Option<&str>) -> Bytes {
    let mut document = built();
    if let Some(url) = public_url {
        let server = ServerBuilder::new().url(url.trim_end_matches('/'));
        document.servers = Some(vec![server.description(Some("This service")).build()]);
    }
    document.to_json().unwrap_or_default().into()
}

/// A document of OpenAPI, as its specification has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is what the documentation says")]
struct Described {
    /// The version of OpenAPI.
    #[schema(example = "3.1.0")]
    openapi: String,
}

/// The page that shows the document and lets each operation be tried. It fetches nothing but from
/// this service.
pub(crate) async fn docs() -> Response {
    let kinds: String = KINDS
        .iter()
        .map(|(kind, title)| format!("<dt id=\"{kind}\"><code>{kind}</code></dt><dd>{title}</dd>"))
        .collect();
    let page = include_str!("docs.html").replace("<!-- kinds -->", &kinds);
    let policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src \
                  'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-cache")];
    (headers, Html(page)).into_response()
}
