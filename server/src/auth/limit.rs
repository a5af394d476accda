//! How often one principal may ask.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::caller::Caller;
use crate::address::Address;
use crate::app::App;
use crate::config::Config;
use crate::problem::Problem;

/// Limits how often each credential asks, and each address without one.
pub(crate) fn limited(router: Router<App>, config: &Config) -> Router<App> {
    let pace = Duration::from_secs(1) / config.requests_per_second.max(1);
    let limits = GovernorConfigBuilder::default()
        .period(pace)
        .burst_size(config.burst.max(1))
        .key_extractor(ByCaller::default())
        .finish();
    match limits {
        Some(limits) => router.layer(GovernorLayer::new(limits).error_handler(|e| {
            let wait = match e {
                GovernorError::TooManyRequests { wait_time, .. } => wait_time.max(1),
                _ => 1,
            };
            let detail = "this credential, or this address without one, asks too often; wait as long as \
                          Retry-After says";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail);
            Problem { retry_after: Some(wait), ..problem }.into_response()
        })),
        None => router,
    }
}

/// Most paces of addresses: with more, some share one.
const ADDRESSES: u64 = 1 << 17;

/// One limit for each credential, and for each address without one.
#[derive(Clone, Default)]
struct ByCaller {
    /// Nobody knows which addresses share a pace.
    drawn: RandomState,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Credential(String),
    Address(u64),
}

impl KeyExtractor for ByCaller {
    type Key = Whose;

    fn extract<T>(&self, request: &Request<T>) -> Result<Whose, GovernorError> {
        if let Some(caller) = request.extensions().get::<Caller>() {
            return Ok(Whose::Credential(caller.credential().to_owned()));
        }
        let address = request.extensions().get::<Address>().copied().unwrap_or(Address(None));
        Ok(Whose::Address(self.drawn.hash_one(address) % ADDRESSES))
    }
}
