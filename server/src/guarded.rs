//! An answer that is whole before it goes out, and tells of one user.

use std::task::Poll;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use keyfall::sealed::Live;
use serde::Serialize;

use crate::outlet::{PIECE, cut};
use crate::problem::Problem;

/// JSON that goes out piece by piece, as long as this says: of what its caller takes slowly nothing
/// follows the erase of something that it tells of.
pub(crate) fn json(live: Live, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => whole(live, "application/json", text),
        Err(_) => Problem::internal().into_response(),
    }
}

/// A text that goes out so.
pub(crate) fn whole(live: Live, media_type: &'static str, text: String) -> Response {
    let mut rest = Bytes::from(text);
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
    ([(CONTENT_TYPE, media_type)], body).into_response()
}
