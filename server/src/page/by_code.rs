//! A code that somebody was told, and the proof that it opens: the way to the proof of an erase that
//! took everything.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Form, State};
use axum::http::header::{HOST, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::card::{About, Place, proof_card};
use super::frame::{BY_CODE, Icon, heading, icon, respond, whole};
use super::kept::Proof;
use super::planned::PRINCIPAL;
use super::proofs::file;
use super::visit::{cookie, words};
use super::words::Words;
use crate::address::Address;
use crate::app::App;
use crate::receipts::{Found, Secret};

/// Letters of a code that stand together.
const GROUP: usize = 5;

/// The code of what is planned, for the person to keep.
pub(super) fn told(words: Words<'_>, code: &str, place: &str) -> Markup {
    html! {
        section.card {
            h2 { (words.say("code-title")) }
            p { (words.say("code-lead")) }
            p.code { code dir="ltr" { (grouped(code)) } }
            p { (words.say("code-where")) " " a.place href=(BY_CODE) dir="ltr" { (place) } }
        }
    }
}

/// Where a code is entered, as it is typed into a browser: it is on paper as well.
pub(super) fn place_of_codes(app: &App, headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let base = app.config().public_url.as_deref().unwrap_or(host);
    format!("{}{BY_CODE}", base.trim_end_matches('/'))
}

/// The words of a session that this browser has; of the browser's language, if it has none.
pub(super) fn known(app: &App, headers: &HeaderMap) -> Words<'static> {
    let session = cookie(headers).and_then(|token| app.desk().session(&token));
    session.and_then(|session| session.grant.words).unwrap_or_else(|| words(headers))
}

/// A code in groups, as people read and write it.
fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// What somebody typed, as a code.
fn typed(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).take(64).collect()
}

/// A code that somebody has, and which of its files is wanted.
#[derive(Deserialize)]
pub(crate) struct Told {
    code: String,
    file: Option<usize>,
}

/// Asks for a code: whoever has one needs no session.
pub(crate) async fn ask(State(app): State<App>, headers: HeaderMap) -> Response {
    asking(known(&app, &headers), StatusCode::OK, None)
}

fn asking(words: Words<'_>, status: StatusCode, wrong: Option<&str>) -> Response {
    let title = words.say("code-ask-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("code-ask-lead")) }
        @if let Some(wrong) = wrong {
            div.note.bad role="alert" { (icon(Icon::Info)) p { (words.say(wrong)) } }
        }
        form.card method="post" action=(BY_CODE) {
            p { label for="code" { strong { (words.say("code-label")) } } }
            p { input #code name="code" required autocomplete="off" autocapitalize="none"
                spellcheck="false" dir="ltr" size="34"; }
            div.actions { button.main { (words.say("code-button")) } }
        }
    };
    respond(status, &whole(words, &title, &html! {}, &body, &html! {}))
}

/// Shows the proofs of a code, or gives one as a file.
pub(crate) async fn show(
    State(app): State<App>,
    from: Address,
    headers: HeaderMap,
    Form(told): Form<Told>,
) -> Response {
    let words = known(&app, &headers);
    if let Err(wait) = app.desk().codes().take(from, Instant::now()) {
        let mut response = asking(words, StatusCode::TOO_MANY_REQUESTS, Some("code-pace"));
        let wait = HeaderValue::from(wait.as_secs() + 1);
        response.headers_mut().insert(RETRY_AFTER, wait);
        return response;
    }
    let code = typed(&told.code);
    let receipts = Arc::clone(app.receipts());
    let of = code.clone();
    let found = app.engine().run(move |engine| {
        let key = engine.log().key()?.to_string();
        let found = receipts.find(engine, &Secret::of(PRINCIPAL, &of)?)?;
        let proof = |found: &Found| Proof { text: found.certificate.to_string(), key: key.clone() };
        Ok(found.iter().map(proof).collect::<Vec<_>>())
    });
    let Ok(proofs) = found.await else {
        return asking(words, StatusCode::SERVICE_UNAVAILABLE, Some("failed-other"));
    };
    if proofs.is_empty() {
        return asking(words, StatusCode::NOT_FOUND, Some("code-none"));
    }
    if let Some(proof) = told.file.and_then(|n| proofs.get(n)) {
        return file(proof.text.clone());
    }
    let title = words.say(if proofs.len() == 1 { "proof-title" } else { "proofs-several" });
    let body = html! {
        (heading(&title))
        @for (number, proof) in proofs.iter().enumerate() {
            (proof_card(words, proof, &Place::ByCode(&code, number), &About::Any))
        }
    };
    respond(StatusCode::OK, &whole(words, &title, &html! {}, &body, &html! {}))
}
