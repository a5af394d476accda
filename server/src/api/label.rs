//! What an application calls a record and says of it: names, preconditions on them, metadata.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use keyfall::{ErrorKind, Put, PutMode, RecordId, RecordInfo, UserHandle};

use crate::auth::caller::{Caller, text};
use crate::problem::{Answer, Problem};

/// The header of a record's name.
const NAME: HeaderName = HeaderName::from_static("keyfall-name");
/// The header of one key and its value, `key=value`; once for each.
const META: HeaderName = HeaderName::from_static("keyfall-meta");
/// The header of what a record's bytes hash to (RFC 9530).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a request says of a record: name, metadata, and the precondition of its put.
pub(crate) struct Label {
    name: Option<String>,
    meta: Vec<(String, String)>,
    mode: PutMode,
}

impl Label {
    /// What headers say. A put that may replace a record erases it, so the caller needs that scope
    /// too.
    ///
    /// # Errors
    /// 400 for headers that are wrong, 403.
    pub(crate) fn read(headers: &HeaderMap, caller: &Caller, of: &UserHandle) -> Answer<Self> {
        let mut meta = Vec::new();
        for pair in headers.get_all(META) {
            let pair = text(pair.as_bytes())?;
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Problem::invalid("Keyfall-Meta is key=value, once for each key"));
            };
            meta.push((key.to_owned(), value.to_owned()));
        }
        let (absent, is) = (headers.get(IF_NONE_MATCH), headers.get(IF_MATCH));
        let Some(name) = headers.get(NAME) else {
            return match (absent, is) {
                (None, None) => Ok(Label { name: None, meta, mode: PutMode::Replace }),
                _ => Err(Problem::invalid(
                    "a precondition of a put is about the record with its name; send Keyfall-Name \
                     too",
                )),
            };
        };
        let name = Some(text(name.as_bytes())?);
        let mode = match (absent, is) {
            (Some(tag), None) if tag == "*" => {
                return Ok(Label { name, meta, mode: PutMode::IfAbsent });
            }
            (None, Some(tag)) => PutMode::IfIs(record(tag)?),
            (None, None) => PutMode::Replace,
            _ => {
                return Err(Problem::invalid(
                    "a put takes If-None-Match: *, or If-Match with one entity tag, not both",
                ));
            }
        };
        caller.may_with("erase", of)?;
        Ok(Label { name, meta, mode })
    }

    /// The record's name, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Adds a mark by which a record without a name is found.
    pub(super) fn mark(&mut self, key: &str, value: &str) {
        if self.name.is_none() {
            self.meta.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Adds it to a put.
    pub(crate) fn on(self, put: Put) -> Put {
        let put = self.meta.into_iter().fold(put, |put, (key, value)| put.meta(key, value));
        match self.name {
            Some(name) => put.name(name).mode(self.mode),
            None => put,
        }
    }
}

/// The problem of a put that its precondition refused.
pub(crate) fn refused(error: keyfall::Error) -> Problem {
    match error.kind() {
        // Only If-None-Match has a put fail so.
        ErrorKind::Exists => {
            let detail = "another record of this user has this name";
            let status = axum::http::StatusCode::PRECONDITION_FAILED;
            Problem::new(status, "precondition", detail)
        }
        _ => error.into(),
    }
}

/// Adds what a record is called, what is said of it, and what its bytes hash to.
pub(crate) fn add(headers: &mut HeaderMap, info: &RecordInfo) {
    if let Some(name) = info.name.as_deref().and_then(said) {
        headers.insert(NAME, name);
    }
    for (key, value) in &info.meta {
        if let Some(pair) = said(&format!("{key}={value}")) {
            headers.append(META, pair);
        }
    }
    let digest = info.digest.map(|digest| digest_value(&digest));
    if let Some(Ok(digest)) = digest.map(HeaderValue::try_from) {
        headers.insert(REPR_DIGEST, digest);
    }
}

/// The value of `Repr-Digest`.
pub(crate) fn digest_value(digest: &[u8; 32]) -> String {
    format!("sha-256=:{}:", data_encoding::BASE64.encode(digest))
}

/// A text as a header's value; `None` for one that would not arrive as it is. The listing has it.
fn said(text: &str) -> Option<HeaderValue> {
    (text.trim() == text).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten()
}

/// The record of an entity tag.
fn record(tag: &HeaderValue) -> Answer<RecordId> {
    let tag = text(tag.as_bytes())?;
    let id = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    id.and_then(|id| id.parse().ok()).ok_or_else(|| {
        Problem::invalid("If-Match of a put is the entity tag that it replaces: the id, quoted")
    })
}
