//! The files that pages are made with: compiled in, nothing is fetched from elsewhere.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const ASSETS: &[(&str, &str, &str)] = &[
    ("page.css", "text/css; charset=utf-8", keyfall_page::STYLE),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../assets/page.js")),
    ("verify.js", "text/javascript; charset=utf-8", include_str!("../../assets/verify.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// A file by its name. It says nothing of anybody, so a browser may keep it for a while.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(n, ..)| *n == name) {
        Some((_, media_type, text)) => {
            ([(CONTENT_TYPE, *media_type), (CACHE_CONTROL, "max-age=300")], *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
