//! Which path leads to which handler, and what lies around all of them.

use std::cell::LazyCell;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::address::Address;
use crate::api::health::{healthz, readyz};
use crate::api::uploads::RESUMABLE;
use crate::app::App;
use crate::auth::caller::authenticate;
use crate::auth::limit::limited;
use crate::problem::{Problem, instance};
use crate::socket::Traffic;
use crate::{heads, metering, openapi, page, patience};

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// The service.
pub(crate) fn router(app: App) -> Router {
    let (api, _) = openapi::router().split_for_parts();
    let documents = Router::new()
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::docs));
    limited(api.merge(documents), app.config())
        .layer(from_fn_with_state(app.clone(), authenticate))
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .merge(page::router())
        .layer(from_fn(heads::checked))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// Numbers the answer, writes its problem if it is one, and logs it: method, route, status and
/// time, nothing that a caller sent.
async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = metering::known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let resumable = request.headers().get(RESUMABLE).is_some();
    let under_way = request.extensions().get::<Traffic>().map(Traffic::begin);
    let config = app.config();
    let proxies = config.trusted_proxies.as_ref();
    let address = Address::of_request(&request, proxies, config.proxy_header);
    request.extensions_mut().insert(address);
    let response = next.run(patience::hurried(request, app.config().idle())).await;
    // Drawn where it is written down: most answers are no problem, and are logged nowhere.
    let instance: LazyCell<String> = LazyCell::new(instance);
    let mut response = problems(response, &instance);
    if resumable {
        response.headers_mut().entry(RESUMABLE).or_insert(HeaderValue::from_static("1.0.0"));
    }
    response.headers_mut().entry(NOSNIFF).or_insert(HeaderValue::from_static("nosniff"));
    let (took, status) = (began.elapsed(), response.status().as_u16());
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metering::answered(method, route, status, took);
    tracing::info!(
        target: "keyfalld::http",
        method, route, status, ms = took.as_secs_f64() * 1e3,
        instance = instance.as_str()
    );
    patience::under_way(response, under_way)
}

/// Writes the body of a problem, and leaves the other headers. What axum itself refused becomes a
/// problem here.
fn problems(response: Response, instance: &LazyCell<String>) -> Response {
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None if is_refusal(&response) => refusal(response.status()),
        None => return response,
    };
    let mut answer = problem.answer(instance);
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH && !answer.headers().contains_key(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// Whether an answer is axum's own word that it does not take a request.
fn is_refusal(response: &Response) -> bool {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    (status.is_client_error() || status.is_server_error())
        && kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn refusal(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(
            status,
            "absent",
            "there is nothing at this path; /docs shows what there is",
        ),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            status,
            "method",
            "this path does not take this method; Allow says which it takes, and /docs what for",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too-large", "the body is longer than this service takes")
        }
        StatusCode::INTERNAL_SERVER_ERROR => Problem::internal(),
        _ => Problem::invalid("the request is not what this path takes; /docs describes it"),
    }
}

/// The answer of a handler that panicked.
fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    use axum::response::IntoResponse;
    tracing::error!("a handler panicked");
    Problem::internal().into_response()
}
