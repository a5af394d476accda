//! Errors as callers see them: `application/problem+json` (RFC 9457).
//!
//! A problem names nothing that its caller did not send: no user, no record, no purpose. What the
//! engine says is passed on only where it speaks of the request itself.

use std::borrow::Cow;
use std::io;
use std::sync::OnceLock;

use axum::Json;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::{Error, ErrorKind};
use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::private::random;

/// Where `/docs` is, if the service knows its public address.
static BASE: OnceLock<String> = OnceLock::new();

/// Has the kinds of problems named by whole addresses.
pub(crate) fn lie_at(public_url: &str) {
    // There is one for each process.
    let _ = BASE.set(public_url.trim_end_matches('/').to_owned());
}

/// What a fallible handler gives.
pub(crate) type Answer<T> = Result<T, Problem>;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// An error, on its way to a caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// What the caller can do about it, as the documentation lists it.
    pub(crate) kind: &'static str,
    pub(crate) detail: Cow<'static, str>,
    /// Seconds until it is worth asking again.
    pub(crate) retry_after: Option<u64>,
    /// Numbers of the holds that refuse an erase.
    pub(crate) holds: Vec<String>,
}

/// The body of a problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// Where the kind is explained.
    r#type: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, and what to do about it.
    detail: String,
    /// This answer; the log names it too.
    instance: String,
    /// The kind, for programs.
    #[schema(value_type = Kind)]
    kind: &'static str,
    /// Numbers of the holds that refuse an erase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holds: Vec<String>,
}

/// The kinds of problems, as the document has them.
struct Kind;

impl PartialSchema for Kind {
    fn schema() -> RefOr<Schema> {
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds));
        text.description(Some("The kind of a problem")).into()
    }
}

impl ToSchema for Kind {}

impl Problem {
    /// A problem of a kind; the detail says what happened, and what to do about it.
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Problem { status, kind, detail: detail.into(), retry_after: None, holds: Vec::new() }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// No credential, or none that is known.
    pub(crate) fn unauthorized() -> Self {
        let detail = "this needs a credential that has not ended: send its token as \
                      `Authorization: Bearer TOKEN`, or show its client certificate";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// A credential that does not allow this.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Not now.
    pub(crate) fn later(kind: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail);
        Problem { retry_after: Some(5), ..problem }
    }

    /// The service itself failed.
    pub(crate) fn internal() -> Self {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "io",
            "the service failed; its log says why",
        )
    }

    /// There is no space.
    pub(crate) fn full() -> Self {
        let detail = "there is no space left; ask again once there is room: erase something, or \
                      have the disk cleared";
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", detail)
    }

    /// The system failed the service; the log has the kind alone, for a text could name a place.
    pub(crate) fn of_io(error: io::Error) -> Self {
        tracing::error!(system = %error.kind(), "a request failed");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::full(),
            _ => Problem::internal(),
        }
    }

    /// The body, for the answer with this number.
    pub(crate) fn body(&self, instance: &str) -> ProblemBody {
        ProblemBody {
            r#type: format!("{}/docs#{}", BASE.get().map_or("", String::as_str), self.kind),
            title: title(self.kind),
            status: self.status.as_u16(),
            detail: self.detail.clone().into_owned(),
            instance: instance.to_owned(),
            kind: self.kind,
            holds: self.holds.clone(),
        }
    }

    /// The whole answer, with this number.
    pub(crate) fn answer(&self, instance: &str) -> Response {
        let mut response = (self.status, Json(self.body(instance))).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.status {
            StatusCode::GONE => {
                headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Problem {
    /// The problem itself goes in the extensions: the layer around all handlers writes the body,
    /// since it knows the number of the answer.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        use StatusCode as S;
        let own = || Cow::Owned(error.to_string());
        match error.kind() {
            _ if error.wants_keyholders() => Problem::later("keyholders", of_keyholders(&error)),
            // These two speak of the request alone.
            ErrorKind::Invalid => Problem::new(S::BAD_REQUEST, "invalid", own()),
            ErrorKind::Limit => Problem::new(S::CONFLICT, "limit", own()),
            ErrorKind::Erased => {
                Problem::new(S::GONE, "erased", "this was erased; it does not come back")
            }
            ErrorKind::Absent => {
                Problem::new(S::NOT_FOUND, "absent", "there is no such thing here")
            }
            ErrorKind::Held => Problem::new(
                S::LOCKED,
                "held",
                "some of this, or what was derived from it, is under a legal hold; nothing was \
                 erased; only lifting the hold helps",
            ),
            ErrorKind::Exists => {
                Problem::new(S::CONFLICT, "exists", "this exists; name something else")
            }
            ErrorKind::Changed => {
                let detail = "another record has this name, or none; look at what has it now";
                Problem::new(S::PRECONDITION_FAILED, "precondition", detail)
            }
            ErrorKind::Fenced => {
                Problem::later("locked", "another service has taken the store over; ask that one")
            }
            ErrorKind::Refused | ErrorKind::Mismatch => {
                let detail = "the state of the store, a policy or somebody's rights forbid this";
                Problem::new(S::CONFLICT, "refused", detail)
            }
            ErrorKind::Poisoned => Problem::later(
                "poisoned",
                "a write failed with an unknown outcome, and nothing is done until it is known; ask \
                 again; where that does not help, the service must be started again",
            ),
            ErrorKind::Locked => Problem::later("locked", "the store is in use; ask again"),
            ErrorKind::Copy if error.may_have_happened() => Problem::later("copy", MISSED),
            ErrorKind::Copy => Problem::later("copy", AWAY),
            ErrorKind::Full => Problem::full(),
            ErrorKind::Corrupt => Problem::new(
                S::INTERNAL_SERVER_ERROR,
                "corrupt",
                "stored bytes are missing, torn or changed; they must be restored from a copy",
            ),
            _ => {
                tell(&error);
                of_system(&error)
            }
        }
    }
}

const AWAY: &str = "a copy that must be in step is away, and nothing was changed; ask again once \
                    it is back";
const MISSED: &str = "a copy that must be in step did not take this, and it may be stored here all \
                      the same; look before you repeat it, once the copy is back";

fn of_keyholders(error: &Error) -> &'static str {
    match error.may_have_happened() {
        true => {
            "too few keyholders answered to say that it is done, and it may take effect all the \
             same; look before you repeat it, once they are back"
        }
        false => {
            "too few keyholders are within reach, and nothing was changed; ask again once they \
             are back"
        }
    }
}

/// A failure of the system, or of the place of the store, which may answer later.
fn of_system(error: &Error) -> Problem {
    match (said_by_a_place(error), error.may_have_happened()) {
        (Some(_), true) => Problem::later("io", UNANSWERED),
        (Some(_), false) => Problem::later("io", SILENT),
        (None, true) => Problem { detail: FAILED.into(), ..Problem::internal() },
        (None, false) => Problem::internal(),
    }
}

const UNANSWERED: &str = "the place of the store does not answer, or refuses, and this may take \
                          effect all the same; look before you repeat it, once it answers; the log \
                          says what it said";
const SILENT: &str = "the place of the store does not answer, or refuses, and nothing was changed; \
                      ask again once it does; the log says what it said";
const FAILED: &str = "the service failed, and this may take effect all the same; look before you \
                      repeat it; its log says why";

/// Writes to the log what failed: kinds alone, for a text could name a place, a user or a record.
/// What a store on objects said names an object, which says nothing of anybody.
fn tell(error: &Error) {
    let source = std::error::Error::source(error);
    let system = source.and_then(|source| source.downcast_ref::<io::Error>());
    let system = system.map(|e| e.kind().to_string()).or_else(|| said_by_a_place(error));
    tracing::error!(kind = ?error.kind(), system = system.unwrap_or_default(), "a request failed");
}

/// What the place of a store on objects said, if it is that which failed.
fn said_by_a_place(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error).filter(|_| error.kind() == ErrorKind::Io)?;
    let said = (!source.is::<io::Error>()).then(|| source.to_string())?;
    said.contains("://").then_some(said)
}

/// The kinds, with their titles.
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("invalid", "The request is wrong"),
    ("cut", "The body was cut short"),
    ("unauthorized", "No credential"),
    ("forbidden", "The credential does not allow this"),
    ("absent", "Not here"),
    ("method", "Not by this method"),
    ("exists", "It exists"),
    ("refused", "Refused"),
    ("limit", "A limit is reached"),
    ("erased", "Erased"),
    ("precondition", "A precondition does not hold"),
    ("too-large", "Too large"),
    ("range", "No such range"),
    ("held", "Under a legal hold"),
    ("offset", "The upload ends elsewhere"),
    ("media-type", "Of another media type"),
    ("coding", "An unknown transfer coding"),
    ("checksum", "Not the bytes that were meant"),
    ("key-used", "The Idempotency-Key was used"),
    ("rate", "Too many requests"),
    ("io", "The service failed"),
    ("corrupt", "Stored bytes are damaged"),
    ("poisoned", "Opening again"),
    ("locked", "In use"),
    ("copy", "A copy is away"),
    ("keyholders", "Too few keyholders"),
    ("stopping", "The service stops"),
    ("full", "No space left"),
];

fn title(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).map_or("An error", |(_, title)| title)
}

/// A number for an answer, which log and problem share.
pub(crate) fn instance() -> String {
    let number = random::<12>().unwrap_or_default();
    format!("/answers/{}", data_encoding::BASE32_DNSSEC.encode(&number))
}
