//! The method of an upload's request, where a network lets few methods through (tus 1.0.0,
//! `X-HTTP-Method-Override`).

use std::task::{Context, Poll};

use axum::http::{HeaderName, Method, Request};
use tower::Service;

const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// A service that takes the method of a request for uploads from that header, before it is routed.
/// No other path looks at it.
#[derive(Clone)]
pub(crate) struct Overriding<S>(pub(crate) S);

impl<B, S: Service<Request<B>>> Service<Request<B>> for Overriding<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(named) = request.headers().get(OVERRIDE)
            && is_of_uploads(request.uri().path())
        {
            // What is no method is one that no path knows.
            let method = Method::from_bytes(named.as_bytes()).unwrap_or(Method::CONNECT);
            *request.method_mut() = method;
        }
        self.0.call(request)
    }
}

fn is_of_uploads(path: &str) -> bool {
    path.starts_with("/v1/uploads/") || path.starts_with("/v1/users/") && path.ends_with("/uploads")
}
