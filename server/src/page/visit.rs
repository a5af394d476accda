//! Who asks: the session of a cookie, and forms that are its own.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use keyfall::{Engine, Error, ErrorKind, Timestamp, UserId};
use maud::html;

use super::card::{About, ENDED, place_of, proof_card};
use super::desk::{Grant, Role, Session};
use super::drafts::lost;
use super::entry::{self, from_elsewhere, is_loopback};
use super::frame::{BY_CODE, Icon, heading, icon, notice, now, respond, whole};
use super::kept::gone;
use super::when::When;
use super::words::Words;
use crate::app::App;

/// Over TLS the cookie has a name that browsers take from its own host alone.
const SECURE: &str = "__Host-keyfall-page";
const PLAIN: &str = "keyfall-page";

/// As whom a person does something on their page, as certificates and reports have it.
pub(super) const PERSON: &str = "the person, on their page";
/// What stands before a guardian's name there.
pub(super) const GUARDIAN: &str = "guardian: ";
/// What things are opened for on the page.
pub(super) const PURPOSE: &str = "to hear or read it on the page";

/// A request of somebody who was let in.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) session: Arc<Session>,
    /// The words of its language, which speak to nobody yet.
    plain: Words<'static>,
    pub(crate) token: String,
    now: Timestamp,
}

impl Visit {
    /// Whose page it is.
    pub(crate) fn user(&self) -> &UserId {
        &self.session.grant.user
    }

    /// The words of its language, as they are spoken to nobody in particular.
    pub(crate) fn plain(&self) -> Words<'static> {
        self.plain
    }

    /// The words of its language, to whoever sees it.
    pub(crate) fn words(&self) -> Words<'_> {
        self.session.grant.spoken(self.plain)
    }

    /// Whom its proofs have to be about.
    pub(crate) fn about(&self) -> About<'_> {
        About::Page(self.user().as_str(), &self.session.grant.zone_name)
    }

    /// What times are said with.
    pub(crate) fn when(&self) -> When<'_> {
        When { words: self.words(), zone: &self.session.grant.zone, now: self.now }
    }

    /// On whose authority something is erased, as certificates have it: at most 80 bytes.
    pub(crate) fn authority(&self) -> String {
        let mut authority = match &self.session.grant.role {
            Role::Own | Role::Child => PERSON.to_owned(),
            Role::Guardian(name) => format!("{GUARDIAN}{name}"),
        };
        while authority.len() > 80 {
            authority.pop();
        }
        authority
    }
}

impl FromRequestParts<App> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let token = cookie(&parts.headers).unwrap_or_default();
        let session = app.desk().session(&token);
        let stands = |grant: &Grant| app.book().stands(&grant.credential, now());
        let Some(session) = session.filter(|session| stands(&session.grant)) else {
            return Err(ended(app, words(&parts.headers), &token).await);
        };
        let words = session.grant.words.unwrap_or_else(|| words(&parts.headers));
        if life(app, &session.grant).await == Life::Another {
            return Err(ended(app, words, &token).await);
        }
        Ok(Visit { session, plain: words, token, now: now() })
    }
}

/// Whether the person of a link or a session is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// That very one.
    Here,
    /// Nobody of this name, since they were erased.
    Gone,
    /// The store cannot say now; whatever is asked of it then says so itself.
    Unknown,
    /// One of the same name who came after they were erased: nothing of that is theirs.
    Another,
}

/// Whether the person of a link or a session is here.
pub(super) async fn life(app: &App, grant: &Grant) -> Life {
    let (user, handle) = (grant.user.clone(), grant.handle);
    match app.engine().run(move |engine| engine.handle(&user)).await {
        Ok(here) if here == handle => Life::Here,
        Ok(_) => Life::Another,
        Err(e) if gone(&e) => Life::Gone,
        Err(_) => Life::Unknown,
    }
}

/// Fails if another person has the name now.
///
/// # Errors
/// `Erased`.
pub(super) fn theirs(engine: &Engine, grant: &Grant) -> Result<(), Error> {
    match engine.handle(&grant.user) {
        Ok(handle) if handle != grant.handle => Err(erased()),
        // Of somebody who was erased there is nothing; what is damaged is erased all the same.
        _ => Ok(()),
    }
}

/// Fails unless the very person of a link or a session is here: a put would begin a new life of a
/// name that was erased.
///
/// # Errors
/// `Erased`; as [`Engine::handle`].
pub(super) fn here(engine: &Engine, grant: &Grant) -> Result<(), Error> {
    match engine.handle(&grant.user) {
        Ok(handle) if handle == grant.handle => Ok(()),
        Err(e) if !gone(&e) => Err(e),
        _ => Err(erased()),
    }
}

fn erased() -> Error {
    Error::new(ErrorKind::Erased, "whose page it is was erased")
}

/// Says that a session ended, and shows what it did and could not show any more.
async fn ended(app: &App, words: Words<'_>, token: &str) -> Response {
    let found = if token.is_empty() { Vec::new() } else { lost(app, token).await };
    if found.is_empty() {
        let (title, lead) = match token.is_empty() {
            true => ("closed-title", "closed-lead"),
            false => ("ended-title", "ended-lead"),
        };
        return shut(words, StatusCode::UNAUTHORIZED, title, lead);
    }
    let title = words.say("ended-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("ended-lead")) }
        div.note.good { (icon(Icon::Check)) p { (words.say("ended-proofs")) } }
        @for (number, found) in found.iter().enumerate() {
            (proof_card(words, &found.proof, &place_of(&format!("{ENDED}{number}")), &About::Any))
        }
    };
    let page = whole(words, &title, &html! {}, &body, &html! {});
    respond(StatusCode::UNAUTHORIZED, &page)
}

/// Says that a link or a session ended; a code that was told works all the same.
pub(super) fn over(words: Words<'_>, status: StatusCode) -> Response {
    shut(words, status, "ended-title", "ended-lead")
}

fn shut(words: Words<'_>, status: StatusCode, title: &str, lead: &str) -> Response {
    let title = words.say(title);
    let body = html! {
        (heading(&title))
        p.lead { (words.say(lead)) }
        p.soft { a href=(BY_CODE) { (words.say("code-have")) } }
    };
    respond(status, &whole(words, &title, &html! {}, &body, &html! {}))
}

/// A form that this session gave, sent back.
pub(crate) struct Filled {
    pub(crate) visit: Visit,
    pub(crate) fields: Vec<(String, String)>,
}

impl Filled {
    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<App> for Filled {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, app).await?;
        let refused =
            || notice(visit.words(), StatusCode::FORBIDDEN, "gone-page-title", "ended-lead");
        if from_elsewhere(&parts.headers) {
            return Err(refused());
        }
        let request = Request::from_parts(parts, body);
        let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
        let Ok(Form(fields)) = form else { return Err(refused()) };
        let filled = Filled { visit: visit.clone(), fields };
        if filled.field("csrf").is_some_and(|csrf| visit.session.gave(csrf)) {
            return Ok(filled);
        }
        Err(refused())
    }
}

/// The words of the browser's language.
pub(crate) fn words(headers: &HeaderMap) -> Words<'static> {
    let languages = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Words::of(languages.unwrap_or_default())
}

/// A header's value that sets the cookie of a session, or ends it.
pub(crate) fn set_cookie(headers: &HeaderMap, token: Option<&str>) -> String {
    let (name, secure) = if is_loopback(headers) { (PLAIN, "") } else { (SECURE, "; Secure") };
    let (value, age) = match token {
        Some(token) => (token, super::desk::SESSION_LASTS.as_secs()),
        None => ("", 0),
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// The token of the session that a browser was given, also of one that ended.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<String> {
    entry::cookie(headers, [SECURE, PLAIN])
}
