//! What is taken from a request: its JSON, its query and its bytes. What cannot be read is a
//! problem that says what is wrong and what to send.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::intake::too_large;
use crate::problem::{Answer, Problem};

/// A body of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(read)) => Ok(JsonBody(read)),
            Err(refused) => Err(of_json(&refused)),
        }
    }
}

fn of_json(refused: &JsonRejection) -> Problem {
    match refused {
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "this takes JSON; send `Content-Type: application/json`",
        ),
        JsonRejection::BytesRejection(cut) => of_bytes(cut.status()),
        JsonRejection::JsonSyntaxError(e) => {
            Problem::invalid(format!("the body is not JSON: {}; correct it", cause(e)))
        }
        JsonRejection::JsonDataError(e) => Problem::invalid(format!(
            "the body is not what this path takes: {}; /docs says what it takes",
            cause(e)
        )),
        _ => Problem::invalid("the body is not JSON that this path takes; /docs says what it is"),
    }
}

/// What is wrong, in the words of the one who found it: they have of the request what was sent.
fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The problem of a body that could not be read.
fn of_bytes(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::invalid("the body was cut short, and nothing was done; send it again"),
    }
}

/// A query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(read)) => Ok(Query(read)),
            Err(e) => Err(Problem::invalid(format!(
                "the query is not what this path takes: {}; /docs says what it takes",
                cause(&e)
            ))),
        }
    }
}

/// A body of bytes, short enough to be held.
pub(crate) struct Bytes(pub(crate) bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let read = bytes::Bytes::from_request(request, state).await;
        read.map(Bytes).map_err(|e| of_bytes(e.status()))
    }
}
