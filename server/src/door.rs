//! What requests come to: the service once its engine is open, and before that, where it stands
//! by, what says so.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::get;
use axum::{BoxError, Json, Router};
use serde_json::json;
use tower::Service;

use crate::api::health::healthz;
use crate::overriding::Overriding;
use crate::problem::Problem;

/// Leads to the service, from the moment that there is one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    before: Router,
    service: Arc<OnceLock<Router>>,
    why: Why,
}

/// Why the service does not take requests yet.
#[derive(Clone, Default)]
struct Why(Arc<Mutex<&'static str>>);

impl Door {
    /// A door that leads to no service yet.
    pub(crate) fn shut() -> Self {
        let why = Why::default();
        let before = Router::new()
            .route("/healthz", get(healthz))
            .route("/livez", get(healthz))
            .route("/readyz", get(waits))
            .fallback(elsewhere)
            .with_state(why.clone());
        Door { before, service: Arc::default(), why }
    }

    /// Says why it is shut.
    pub(crate) fn says(&self, why: &'static str) {
        *self.why.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Leads to the service from now on.
    pub(crate) fn open(&self, service: Router) {
        // It is opened once.
        let _ = self.service.set(service);
    }
}

/// As the service's own readiness: nothing in it names a place.
async fn waits(State(Why(why)): State<Why>) -> Response {
    let why = *why.lock().unwrap_or_else(PoisonError::into_inner);
    let body = Json(json!({ "ready": false, "checks": { "service": why } }));
    let headers = [(CACHE_CONTROL, "no-store"), (RETRY_AFTER, "5")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response()
}

/// Every other request is for the one that serves the store.
async fn elsewhere() -> Response {
    let detail = "this service stands by, and another one serves the store; ask that one";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "locked", detail);
    Problem { retry_after: Some(5), ..problem }.answer("")
}

impl<B> Service<Request<B>> for Door
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.service.get() {
            Some(service) => Overriding(service.clone()).call(request),
            None => self.before.call(request),
        }
    }
}
