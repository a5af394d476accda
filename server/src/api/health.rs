//! Whether the service lives, and whether it can take requests.

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::problem::{Answer, Problem};

/// The process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The service takes requests: it does not stop, and its engine can write.
pub(crate) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    let not_ready = |kind, detail: &'static str| Problem {
        retry_after: Some(5),
        ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail)
    };
    if app.stopping() {
        return Err(not_ready("stopping", "the service stops; ask another one"));
    }
    if app.engine().engine().is_poisoned() {
        return Err(not_ready("poisoned", "a write failed; the service must be started again"));
    }
    Ok("ready\n")
}
