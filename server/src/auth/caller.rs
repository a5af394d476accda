//! The caller of a request: its credential, and the purpose that it names.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use keyfall::{ErrorKind, RecordId, Timestamp, UserHandle, UserId};
use sha2::{Digest, Sha256};

use super::credential::{Credential, Proof, Users};
use super::jwt::Reach;
use crate::app::{App, User};
use crate::config::Config;
use crate::peer::{CertificateName, Peer};
use crate::problem::{Answer, Problem};
use crate::words::now;

/// The header that names what a record is read for.
const PURPOSE: &str = "keyfall-purpose";

/// What a request showed of its caller: nothing of it is kept, and it cannot be guessed, or stands
/// for a certificate that was proved.
#[derive(Clone, Default)]
pub(crate) struct Shown(pub(crate) Arc<[[u8; 32]]>);

impl Shown {
    fn of<'t>(what: impl IntoIterator<Item = &'t str>) -> Self {
        let hashed = |text: &str| {
            let mut hash = Sha256::new();
            hash.update(b"keyfalld/shown/v1\0");
            hash.update(text.as_bytes());
            hash.finalize().into()
        };
        Shown(what.into_iter().map(hashed).collect())
    }
}

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

    /// The name of the credential.
    pub(crate) fn credential(&self) -> &str {
        &self.credential.id
    }

    /// Whether the credential ends when the users end that it is for.
    pub(crate) fn ends_with_its_users(&self) -> bool {
        let of_the_book = !matches!(self.credential.proof, Proof::Elsewhere | Proof::Issued { .. });
        of_the_book && matches!(self.credential.users, Users::List(_))
    }

    /// How long what is begun now may last: no longer than the token of an issuer is in force, which
    /// nobody looks at again. A credential of the book is looked up each time.
    pub(crate) fn lasting(&self, asked: Duration, now: Timestamp) -> Duration {
        match self.credential.proof {
            Proof::Issued { ends, .. } => {
                let left = ends.as_millis().saturating_sub(now.as_millis());
                asked.min(Duration::from_millis(left))
            }
            _ => asked,
        }
    }

    /// Whether the credential is for the user of a record.
    pub(crate) fn reaches(&self, id: &RecordId) -> bool {
        self.credential.users.has(&id.handle())
    }

    /// Most bytes of a record that it may put.
    pub(crate) fn most_bytes(&self, config: &Config) -> u64 {
        let own = self.credential.max_record_bytes.unwrap_or(u64::MAX);
        own.min(config.max_record_bytes)
    }

    /// Who acts, for what is kept and counted of each: the principal of a token is another one than
    /// that of a credential with the same name.
    pub(crate) fn who(&self) -> &str {
        match &self.credential.proof {
            Proof::Issued { who, .. } => who,
            _ => &self.credential.principal,
        }
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
        let lacks = format!("the credential does not have the scope that this needs: {act}");
        Err(Problem::forbidden(lacks))
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

    /// Fails unless the credential allows reading, of some class at least.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn may_read(&self) -> Answer<()> {
        match self.credential.reads() {
            true => Ok(()),
            false => self.may("read"),
        }
    }

    /// Fails unless the credential is for all users.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn may_with_anybody(&self) -> Answer<()> {
        match self.credential.users {
            Users::Any(_) => Ok(()),
            Users::List(_) => Err(Problem::forbidden("the credential is not for all users")),
        }
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
            Problem::new(StatusCode::NOT_FOUND, "absent", detail)
        })?;
        if self.reaches(&id) {
            return Ok(id);
        }
        Err(Problem::forbidden("the credential is not for the user of this record"))
    }

    /// What the request is for: what it names, or what its credential is for by default.
    ///
    /// # Errors
    /// 403 for a purpose that is not the credential's.
    pub(crate) fn purpose(&self) -> Answer<Option<&str>> {
        self.purpose_or(None)
    }

    /// The same, with a purpose that the body of the request names.
    ///
    /// # Errors
    /// 403 for a purpose that is not the credential's.
    pub(crate) fn purpose_or<'p>(&'p self, named: Option<&'p str>) -> Answer<Option<&'p str>> {
        let purpose =
            named.or(self.named.as_deref()).or(self.credential.default_purpose.as_deref());
        if purpose.is_none_or(|purpose| self.credential.serves(purpose)) {
            return Ok(purpose);
        }
        Err(Problem::forbidden("the credential is not for this purpose"))
    }

    /// Whether the credential names the purpose; else it may give any.
    pub(crate) fn lists(&self, purpose: &str) -> bool {
        self.credential.purposes.iter().any(|listed| listed == purpose)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::unauthorized)
    }
}

impl FromRequestParts<App> for Shown {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        Ok(parts.extensions.get::<Shown>().cloned().unwrap_or_default())
    }
}

/// Finds the caller of a request, for the handler and for what lies between. A handler that takes
/// no [`Caller`] is open to everybody.
///
/// # Errors
/// 401 for a token that opens nothing, 400 for a header that is not text.
pub(crate) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let headers = request.headers();
    let repeats = is_erase(&request) && headers.contains_key("idempotency-key");
    let named = headers.get(PURPOSE).map(|value| text(value.as_bytes())).transpose()?;
    let (credential, shown) = match headers.get(AUTHORIZATION) {
        Some(header) => {
            let token = header.to_str().ok().and_then(bearer).ok_or_else(Problem::unauthorized)?;
            let shown = Shown::of([token]);
            match of_token(&app, token).await {
                // An erase may have ended it: its caller may ask what became of that.
                Err(problem) if repeats && problem.status == StatusCode::UNAUTHORIZED => {
                    (None, shown)
                }
                credential => (Some(credential?), shown),
            }
        }
        None => {
            let peer = request.extensions().get::<Peer>();
            let names = peer.map(Peer::names).unwrap_or_default();
            (app.book().find_certificate(names, now()), Shown::of(names.iter().map(text_of)))
        }
    };
    request.extensions_mut().insert(shown);
    if let Some(credential) = credential {
        let named = named.filter(|purpose| !purpose.is_empty());
        request.extensions_mut().insert(Caller::new(credential, named));
    }
    Ok(next.run(request).await)
}

/// Whether a request is for an erase, or for what became of one.
fn is_erase(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match *request.method() {
        Method::POST => path == Some("/v1/erasures"),
        Method::GET => path == Some("/v1/erasures/{id}"),
        _ => false,
    }
}

fn text_of(name: &CertificateName) -> &str {
    match name {
        CertificateName::Uri(text) | CertificateName::Sha256(text) => text,
    }
}

/// The credential of a token: of this service, or of the issuer.
async fn of_token(app: &App, token: &str) -> Answer<Credential> {
    if let Some(credential) = app.book().find(token, now()) {
        return Ok(credential);
    }
    let issued = app
        .jwt()
        .and_then(|jwt| jwt.read(token, app.book().at_least(now())))
        .ok_or_else(Problem::unauthorized)?;
    let users = match issued.users {
        Reach::Users(users) => users,
        Reach::Own => own(app, &issued.principal, issued.issued).await?,
    };
    Ok(Credential { users, ..issued.credential })
}

/// The user with a name, as the users of a credential: none where there is no such user, nor where
/// the user was erased and created again since the token was issued.
async fn own(app: &App, name: &str, issued: Timestamp) -> Answer<Users> {
    let Ok(user) = UserId::new(name) else { return Ok(Users::List(Vec::new())) };
    let found = app.engine().run(move |engine| {
        let handle = engine.handle(&user)?;
        let before = handle.life() > 1 && issued < engine.report(&user)?.created;
        Ok((handle, before))
    });
    match found.await {
        Ok((_, true)) => Ok(Users::List(Vec::new())),
        Ok((handle, false)) => Ok(Users::List(vec![handle.to_string()])),
        Err(e) if matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased) => {
            Ok(Users::List(Vec::new()))
        }
        Err(e) => Err(e.into()),
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A header's value as text: UTF-8, as it is.
pub(crate) fn text(value: &[u8]) -> Answer<String> {
    String::from_utf8(value.to_vec())
        .map_err(|_| Problem::invalid("a header's value is not UTF-8; write it as UTF-8"))
}
