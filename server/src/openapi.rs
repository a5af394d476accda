//! The document that describes the service (OpenAPI 3.1), and the page that shows it.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
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
            `application/problem+json` (RFC 9457).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(crate::api::log::tile),
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

/// What may become of any operation that wants a credential.
const ERRORS: &[(&str, &str)] = &[
    ("400", "The request is wrong"),
    ("401", "There is no credential, or none that opens anything"),
    ("403", "The credential does not allow this"),
    ("404", "It is not here"),
    ("405", "This path does not know the method"),
    ("409", "It exists; or the state of the store, a policy or a limit forbids it"),
    ("410", "It was erased"),
    ("413", "The body is longer than this service takes"),
    ("415", "The body has another Content-Type than this takes"),
    ("423", "It is under a legal hold"),
    ("429", "The credential, or the address without one, asks too often"),
    ("500", "The service failed, or stored bytes are damaged"),
    ("503", "Not now; ask again"),
    ("507", "There is no space left"),
];

/// The document.
fn built() -> utoipa::openapi::OpenApi {
    let mut document = router().to_openapi();
    let shown = ["token", "certificate"]
        .map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.head,
            &mut item.patch,
            &mut item.options,
        ];
        for operation in operations.into_iter().flatten() {
            add_errors(operation);
            if operation.security.is_none() {
                operation.security = Some(shown.to_vec());
            }
        }
    }
    document
}

fn add_errors(operation: &mut Operation) {
    for (status, description) in ERRORS {
        let schema = Ref::from_schema_name("ProblemBody");
        let content = ContentBuilder::new().schema(Some(RefOr::Ref(schema))).build();
        let response = ResponseBuilder::new()
            .description(*description)
            .content("application/problem+json", content)
            .build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(RefOr::T(response));
    }
}

/// The document as text, as it is committed.
pub(crate) fn text() -> String {
    built().to_pretty_json().unwrap_or_default() + "\n"
}

/// The document.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(built())
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
