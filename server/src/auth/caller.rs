//! The caller of a request: its credential, and the purpose that it names.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use keyfall::{RecordId, UserHandle};

use super::credential::Credential;
use crate::app::{App, User};
use crate::problem::{Answer, Problem};

/// The header that names what a record is read for.
pub(crate) const PURPOSE: &str = "keyfall-purpose";

/// A caller with a credential.
#[derive(Clone)]
pub(crate) struct Caller {
    credential: Credential,
    /// What the request says it is for.
    named: Option<String>,
}

impl Caller {
    /// The caller with this credential, for a purpose or for none.
    pub(crate) fn new(credential: Credential, named: Option<String>) -> Self {
        Caller { credential, named }
    }

    /// Who acts, as the reports of users have it.
    pub(crate) fn principal(&self) -> &str {
        &self.credential.principal
    }

    /// Fails unless the credential allows an act.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn may(&self, act: &str) -> Answer<()> {
        if self.credential.allows(act) {
            return Ok(());
        }
        Err(Problem::forbidden("the credential does not have the scope that this needs"))
    }

    /// Fails unless the credential allows an act on a user's records.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn may_with(&self, act: &str, handle: &UserHandle) -> Answer<()> {
        self.may(act)?;
        if self.credential.users.has(handle) {
            return Ok(());
        }
        Err(Problem::forbidden("the credential is not for this user"))
    }

    /// The user of a handle in a path, if the credential allows an act on their records. Whether
    /// there is such a user is not told to anybody else.
    ///
    /// # Errors
    /// 403, 404, 410.
    pub(crate) async fn user(&self, app: &App, act: &str, handle: &str) -> Answer<User> {
        match handle.parse() {
            Ok(parsed) => self.may_with(act, &parsed)?,
            Err(_) => self.may(act)?,
        }
        app.user(handle).await
    }

    /// A record's id as it stands in a path, if the credential is for its user.
    ///
    /// # Errors
    /// 403, 404.
    pub(crate) fn record(&self, id: &str) -> Answer<RecordId> {
        let id: RecordId = id.parse().map_err(|_| {
            let detail = "there is no such record here: take the id that the put gave";
            Problem::new(axum::http::StatusCode::NOT_FOUND, "absent", detail)
        })?;
        if self.credential.users.has(&id.handle()) {
            return Ok(id);
        }
        Err(Problem::forbidden("the credential is not for the user of this record"))
    }

    /// What the request is for: what it names, or what its credential is for by default.
    ///
    /// # Errors
    /// 403 for a purpose that is not the credential's.
    pub(crate) fn purpose(&self) -> Answer<Option<&str>> {
        let purpose = self.named.as_deref().or(self.credential.default_purpose.as_deref());
        if purpose.is_none_or(|purpose| self.credential.serves(purpose)) {
            return Ok(purpose);
        }
        Err(Problem::forbidden("the credential is not for this purpose"))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(bearer).ok_or_else(Problem::unauthorized)?;
        let credential = app.book().find(token, now()).ok_or_else(Problem::unauthorized)?;
        let named = match parts.headers.get(PURPOSE) {
            None => None,
            Some(value) => Some(text(value.as_bytes())?),
        };
        Ok(Caller::new(credential, named))
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A header's value as text: UTF-8, as it is.
fn text(value: &[u8]) -> Answer<String> {
    String::from_utf8(value.to_vec())
        .map_err(|_| Problem::invalid("a header's value is not UTF-8; write it as UTF-8"))
}

/// The time by which credentials end.
#[expect(clippy::disallowed_methods, reason = "the engine's own clock is not for credentials")]
fn now() -> keyfall::Timestamp {
    keyfall::Timestamp::now()
}
