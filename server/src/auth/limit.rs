//! How often one principal may ask.

use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::caller::Caller;
use crate::app::App;
use crate::config::Config;
use crate::problem::Problem;

/// Limits how often each credential asks; callers without one share a limit.
pub(crate) fn limited(router: Router<App>, config: &Config) -> Router<App> {
    let pace = Duration::from_secs(1) / config.requests_per_second.max(1);
    let limits = GovernorConfigBuilder::default()
        .period(pace)
        .burst_size(config.burst.max(1))
        .key_extractor(ByCredential)
        .finish();
    match limits {
        Some(limits) => router.layer(GovernorLayer::new(limits).error_handler(|e| {
            let wait = match e {
                GovernorError::TooManyRequests { wait_time, .. } => wait_time.max(1),
                _ => 1,
            };
            let detail = "this credential asks too often; wait as long as Retry-After says";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail);
            Problem { retry_after: Some(wait), ..problem }.into_response()
        })),
        None => router,
    }
}

/// One limit for each credential.
#[derive(Clone)]
struct ByCredential;

impl KeyExtractor for ByCredential {
    type Key = String;

    fn extract<T>(&self, request: &Request<T>) -> Result<String, GovernorError> {
        let caller = request.extensions().get::<Caller>();
        Ok(caller.map_or_else(String::new, |caller| caller.credential().to_owned()))
    }
}
