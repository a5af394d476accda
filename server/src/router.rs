//! Which path leads to which handler, and what lies around all of them.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::health::{healthz, readyz};
use crate::app::App;
use crate::page;
use crate::private::random;
use crate::problem::Problem;

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// The service.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(page::router(&app))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(around))
        .with_state(app)
}

/// Numbers each answer, writes its problem if it is one, and logs it: method, route, status and
/// time, nothing that a caller sent.
async fn around(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let instance = instance();
    let mut response = problems(next.run(request).await, &instance);
    response.headers_mut().entry(NOSNIFF).or_insert(HeaderValue::from_static("nosniff"));
    let took = began.elapsed();
    tracing::info!(
        target: "keyfalld::http",
        %method, route, status = response.status().as_u16(), ms = took.as_secs_f64() * 1e3, instance
    );
    response
}

/// A number for an answer, which log and problem share.
fn instance() -> String {
    let number = random::<12>().unwrap_or_default();
    format!("/answers/{}", data_encoding::BASE32_DNSSEC.encode(&number))
}

/// Writes the body of a problem. What axum itself refused becomes one here.
fn problems(response: Response, instance: &str) -> Response {
    if let Some(problem) = response.extensions().get::<Problem>() {
        return problem.answer(instance);
    }
    let status = response.status();
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    if !(plain && (status.is_client_error() || status.is_server_error())) {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(status, "absent", "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method", "this path does not know the method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too-large", "the body is longer than this service takes")
        }
        StatusCode::INTERNAL_SERVER_ERROR => Problem::internal(),
        _ => Problem::invalid("the request is not what this path takes; /docs describes it"),
    };
    let mut answer = problem.answer(instance);
    if let Some(allow) = response.headers().get(axum::http::header::ALLOW) {
        answer.headers_mut().insert(axum::http::header::ALLOW, allow.clone());
    }
    answer
}

/// The answer of a handler that panicked.
fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    use axum::response::IntoResponse;
    tracing::error!("a handler panicked");
    Problem::internal().into_response()
}
