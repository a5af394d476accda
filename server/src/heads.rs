//! What no request may have in its headers, whatever it asks for: a field that stands once and
//! comes twice, for which of them counts a proxy may see otherwise; and bodies that are packed,
//! which are kept as they come.

use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, IF_RANGE,
    RANGE, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::{Answer, Problem};

const fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// Fields that stand once. `Keyfall-From` and `Keyfall-Meta` may come again, and preconditions are
/// lists.
const ONCE: [HeaderName; 24] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    IF_RANGE,
    RANGE,
    named("idempotency-key"),
    named("keyfall-class"),
    named("keyfall-created"),
    named("keyfall-interaction"),
    named("keyfall-name"),
    named("keyfall-purpose"),
    named("tus-resumable"),
    named("upload-checksum"),
    named("upload-defer-length"),
    named("upload-expires"),
    named("upload-length"),
    named("upload-metadata"),
    named("upload-offset"),
    named("x-http-method-override"),
    named("origin"),
    named("sec-fetch-site"),
];

/// Where the names of this service's own fields begin, and all that a request may have: another one
/// is a slip, as of a source, that would go unseen.
const OWN: &str = "keyfall-";
const OWN_NAMES: [&str; 7] = [
    "keyfall-class",
    "keyfall-created",
    "keyfall-from",
    "keyfall-interaction",
    "keyfall-meta",
    "keyfall-name",
    "keyfall-purpose",
];

/// Passes on what has none of it.
///
/// # Errors
/// 400 for a field that comes twice, or is none of this service's own; 415 for a packed body, 501 for another transfer coding.
pub(crate) async fn checked(request: Request, next: Next) -> Answer<Response> {
    look(request.headers())?;
    Ok(next.run(request).await)
}

fn look(headers: &HeaderMap) -> Answer<()> {
    // Most requests have no field twice.
    if headers.len() != headers.keys_len() {
        let twice = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
        if let Some(name) = ONCE.iter().find(twice) {
            let detail = format!("the header {name} came more than once; send it once");
            return Err(Problem::invalid(detail));
        }
    }
    let own = |name: &&HeaderName| name.as_str().starts_with(OWN);
    let unknown = |name: &&HeaderName| !OWN_NAMES.contains(&name.as_str());
    if let Some(name) = headers.keys().filter(own).find(unknown) {
        let known = OWN_NAMES.join(", ");
        let detail = format!("there is no header {name}; those of this service are {known}");
        return Err(Problem::invalid(detail));
    }
    let plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !plain(coding.as_bytes())) {
        let detail = "a body is kept as it comes: send it unpacked, without Content-Encoding, or \
                      say in Content-Type what it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
    }
    let chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if codings.any(|coding| !chunked(coding.as_bytes())) {
        let detail = "the only transfer coding that is known here is chunked";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "coding", detail));
    }
    Ok(())
}
