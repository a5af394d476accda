//! Who asks: the session of a cookie, and forms that are its own.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use keyfall::{Timestamp, UserId};
use maud::html;

use super::card::{ENDED, place_of, proof_card};
use super::desk::{Role, Session};
use super::drafts::lost;
use super::frame::{BY_CODE, Icon, heading, icon, notice, now, respond, whole};
use super::when::When;
use super::words::Words;
use crate::app::App;

/// Over TLS the cookie has a name that browsers take from its own host alone.
const SECURE: &str = "__Host-keyfall-page";
const PLAIN: &str = "keyfall-page";

/// A request of somebody who was let in.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) session: Arc<Session>,
    pub(crate) words: &'static Words,
    pub(crate) token: String,
    now: Timestamp,
}

impl Visit {
    /// Whose page it is.
    pub(crate) fn user(&self) -> &UserId {
        &self.session.grant.user
    }

    /// What times are said with.
    pub(crate) fn when(&self) -> When<'_> {
        When { words: self.words, zone: &self.session.grant.zone, now: self.now }
    }

    /// On whose authority something is erased, as certificates have it: at most 80 bytes.
    pub(crate) fn authority(&self) -> String {
        let mut authority = match &self.session.grant.role {
            Role::Own | Role::Child => "the person, on their page".to_owned(),
            Role::Guardian(name) => format!("guardian: {name}"),
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
        let Some(session) = app.desk().session(&token) else {
            return Err(ended(app, words(&parts.headers), &token).await);
        };
        let words = session.grant.words.unwrap_or_else(|| words(&parts.headers));
        Ok(Visit { session, words, token, now: now() })
    }
}

/// Says that a session ended, and shows what it did and could not show any more.
async fn ended(app: &App, words: &Words, token: &str) -> Response {
    let found = if token.is_empty() { Vec::new() } else { lost(app, token).await };
    if found.is_empty() {
        return over(words, StatusCode::UNAUTHORIZED);
    }
    let title = words.say("ended-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("ended-lead")) }
        div.note.good { (icon(Icon::Check)) p { (words.say("ended-proofs")) } }
        @for (number, found) in found.iter().enumerate() {
            (proof_card(words, &found.proof, &place_of(&format!("{ENDED}{number}"))))
        }
    };
    let page = whole(words, &title, &html! {}, &body, &html! {});
    respond(StatusCode::UNAUTHORIZED, &page)
}

/// Says that a link or a session ended; a code that was told works all the same.
pub(super) fn over(words: &Words, status: StatusCode) -> Response {
    let title = words.say("ended-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("ended-lead")) }
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
            || notice(visit.words, StatusCode::FORBIDDEN, "gone-page-title", "ended-lead");
        let from = parts.headers.get("sec-fetch-site").map(|value| value.as_bytes());
        if from.is_some_and(|from| from != b"same-origin" && from != b"none") {
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
pub(crate) fn words(headers: &HeaderMap) -> &'static Words {
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
    let name = if is_loopback(headers) { PLAIN } else { SECURE };
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value.to_owned())
}

/// Whether the browser asked this machine itself, where there is no TLS.
pub(crate) fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = if let Some(rest) = host.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    ["localhost", "127.0.0.1", "::1"].contains(&name)
}
