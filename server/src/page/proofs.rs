//! Proofs: certificates, to be downloaded, read, and checked in the browser.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use keyfall::engine::Plan;
use keyfall::{Error, ErrorKind};
use maud::{Markup, html};

use super::awaited::settle;
use super::card::{ENDED, by_file, place_of, proof_card};
use super::desk::Session;
use super::drafts::lost;
use super::frame::{Icon, PROOFS, heading, icon};
use super::inside::{missing, page, unshown};
use super::judge::{Judge, Whose};
use super::kept::{PROOF_TYPE, gone, text};
use super::outcome::Outcome;
use super::scopes::erase_words;
use super::visit::{Visit, cookie};
use super::when::When;
use crate::app::App;

/// Lists the proofs that are kept, and those of this session.
pub(crate) async fn list(State(app): State<App>, visit: Visit) -> Response {
    settle(&app, &visit).await;
    let (user, words, when) = (visit.user().clone(), visit.words(), visit.when());
    let (about, whose) = (visit.about(), Whose::of(&app, &visit.session));
    let read = app.engine().run(move |engine| {
        let plans = match engine.plans(&user).list() {
            Err(e) if gone(&e) => Vec::new(),
            plans => plans?,
        };
        Ok((Judge::new(engine, &whose)?.kept(engine)?, plans))
    });
    let (kept, mut plans) = match read.await {
        Ok(read) => read,
        Err(e) => return unshown(&visit, &e),
    };
    plans.retain(|plan| plan.erase.certified_for().is_some());
    let title = words.say("proofs-title");
    // Where everything was erased, this session alone knows its proof.
    let session = if kept.is_empty() { visit.session.outcomes() } else { Vec::new() };
    let awaited = visit.session.outcomes().into_iter().filter(Outcome::waits);
    let awaited: Vec<_> = awaited.map(|outcome| outcome.what).collect();
    let body = html! {
        (heading(&title))
        p.lead { (words.say("proofs-lead")) }
        @let none = kept.is_empty() && session.iter().all(|outcome| outcome.proofs.is_empty());
        @if none && plans.is_empty() && awaited.is_empty() { p.card { (words.say("proofs-none")) } }
        @for (number, outcome) in session.iter().enumerate() {
            @for (n, proof) in outcome.proofs.iter().enumerate() {
                (proof_card(words, proof, &place_of(&format!("{number}-{n}")), &about))
            }
        }
        @if !kept.is_empty() {
            section.card { ul { @for info in &kept { li {
                @let number = visit.session.number_of(info.id);
                a href=(format!("/page/proofs/{number}.erased")) download {
                    (words.with("proof-of", [("when", when.moment(info.created).into())]))
                }
            } } } }
        }
        @if !(plans.is_empty() && awaited.is_empty()) { section.card { ul.to-come {
            @for what in &awaited { li { (icon(Icon::Clock)) span {
                (words.with("proof-awaited", [("what", what.clone().into())]))
            } } }
            @for plan in &plans { (to_come(plan, &when)) }
        } } }
        div.actions { a.button href="/page/check" { (words.say("check-title")) } }
    };
    page(&visit, PROOFS, &title, &body)
}

/// That the proof of a planned erase comes.
fn to_come(plan: &Plan, when: &When<'_>) -> Markup {
    let (what, at) = (erase_words(&plan.erase, when), when.moment(plan.due));
    let said = when.words.with("proof-to-come", [("what", what.into()), ("when", at.into())]);
    html! { li { (icon(Icon::Clock)) span { (said) } } }
}

/// Gives a proof as a file.
pub(crate) async fn download(
    State(app): State<App>,
    visit: Result<Visit, Response>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    let name = name.trim_end_matches(".erased").to_owned();
    let visit = match visit {
        Ok(visit) => visit,
        Err(ended) => return of_ended(&app, &headers, &name).await.map_or(ended, file),
    };
    if let Some(text) = of_session(&visit.session, &name) {
        return file(text);
    }
    let handle = visit.session.grant.handle;
    let (named, whose) = (visit.session.record(&name), Whose::of(&app, &visit.session));
    let read = app.engine().run(move |engine| {
        let absent = || Error::new(ErrorKind::Absent, "no page of this session names it");
        let id = named.ok_or_else(absent)?;
        let info = engine.info(&id)?;
        if id.handle() != handle || !Judge::new(engine, &whose)?.is_proof(engine, &info)? {
            return Err(Error::new(ErrorKind::Absent, "it is no proof of this person's"));
        }
        text(engine, &id)?.ok_or_else(|| Error::new(ErrorKind::Absent, "it is no text"))
    });
    match read.await {
        Ok(text) => file(text),
        Err(_) => missing(&visit),
    }
}

/// A proof of what this session erased.
fn of_session(session: &Session, name: &str) -> Option<String> {
    let (number, n) = name.split_once('-')?;
    let outcome = session.outcome(number.parse().ok()?)?;
    outcome.proofs.get(n.parse::<usize>().ok()?).map(|proof| proof.text.clone())
}

/// A proof of a session that ended before it could be kept, or whose person was erased.
async fn of_ended(app: &App, headers: &HeaderMap, name: &str) -> Option<String> {
    let token = cookie(headers)?;
    if let Some(text) = app.desk().session(&token).and_then(|it| of_session(&it, name)) {
        return Some(text);
    }
    let number: usize = name.strip_prefix(ENDED)?.parse().ok()?;
    let found = lost(app, &token).await;
    found.into_iter().nth(number).map(|found| found.proof.text)
}

/// A proof as a file.
pub(super) fn file(text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, PROOF_TYPE),
        (CONTENT_DISPOSITION, "attachment; filename=\"proof.erased\""),
    ];
    (headers, text).into_response()
}

/// A page on which any proof can be checked.
pub(crate) async fn check(State(app): State<App>, visit: Visit) -> Response {
    let key = match app.engine().run(|engine| engine.log().key()).await {
        Ok(key) => key.to_string(),
        Err(e) => return unshown(&visit, &e),
    };
    let words = visit.words();
    let title = words.say("check-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("check-lead")) }
        noscript { p.note.wait { (words.say("check-noscript")) } }
        (by_file(words, &key, &visit.about()))
    };
    page(&visit, PROOFS, &title, &body)
}
