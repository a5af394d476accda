//! An answer that is whole before it goes out, and tells of one user.

use std::task::Poll;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use keyfall::sealed::Live;
use serde_json::Value;

use crate::outlet::{PIECE, cut};

/// JSON that goes out piece by piece, as long as this says: of what its caller takes slowly nothing
/// follows the erase of something that it tells of.
pub(crate) fn json(live: Live, value: &Value) -> Response {
    let mut rest = Bytes::from(value.to_string());
    let body = match rest.len() {
        0..=PIECE => Body::from(rest),
        _ => Body::from_stream(stream::poll_fn(move |_| {
            let piece = rest.split_to(rest.len().min(PIECE));
            Poll::Ready(match live.is_live() {
                _ if piece.is_empty() => None,
                true => Some(Ok(piece)),
                false => {
                    rest.clear();
                    Some(Err(cut()))
                }
            })
        })),
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
