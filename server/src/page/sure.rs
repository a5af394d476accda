//! How sure "gone" is, in plain words, and what was done with somebody's things.

use axum::extract::State;
use axum::response::Response;
use keyfall::engine::{Fact, Report};
use maud::{Markup, html};

use super::frame::{SURE, heading};
use super::inside::{page, unshown};
use super::kept::gone;
use super::scopes::kind;
use super::spoken::exact;
use super::visit::Visit;
use crate::app::App;

/// Says what is promised, and what is not.
pub(crate) async fn sure(State(app): State<App>, visit: Visit) -> Response {
    let user = visit.user().clone();
    let read = app.engine().run(move |engine| {
        let report = match engine.report(&user) {
            Err(e) if gone(&e) => None,
            report => Some(report?),
        };
        Ok((engine.promise(), engine.copies().list().len(), report))
    });
    let (promise, copies, report) = match read.await {
        Ok(read) => read,
        Err(e) => return unshown(&visit, &e),
    };
    let words = visit.words();
    let title = words.say("sure-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("sure-lead")) }
        section.card { h2 { (words.say("sure-how-title")) } p { (words.say("sure-how")) } }
        section.card {
            h2 { (words.say("sure-key-title")) }
            p { (words.with("sure-key", [("kind", promise.kind.into())])) }
            p { (words.say(&format!("level-{}", promise.level.name()))) }
            p { (words.with("sure-copies", [("n", copies.into())])) }
            (exact(words, &[promise.statement.clone(), promise.level.words().to_owned()]))
        }
        section.card {
            h2 { (words.say("sure-not-title")) }
            ul {
                @for id in ["sure-not-1", "sure-not-2", "sure-not-3"] { li { (words.say(id)) } }
            }
            p { (words.say("sure-proof")) }
        }
        @if let Some(report) = &report { (past(&visit, report)) (shared(&visit, report)) }
    };
    page(&visit, SURE, &title, &body)
}

fn past(visit: &Visit, report: &Report) -> Markup {
    let when = visit.when();
    html! {
        section.card {
            h2 { (visit.words().say("history-title")) }
            @if report.history.is_empty() { p { (visit.words().say("history-none")) } } @else {
                dl.facts { @for (at, fact) in &report.history {
                    dt { (when.moment(*at)) } dd { (told(visit, fact)) }
                } }
            }
        }
    }
}

fn told(visit: &Visit, fact: &Fact) -> String {
    let words = visit.words();
    match fact {
        Fact::Kept { class, reason, .. } => {
            let what = class.as_ref().map_or("…".to_owned(), |class| kind(words, class.as_str()));
            words.with("history-kept", [("what", what.into()), ("reason", reason.clone().into())])
        }
        Fact::Held { reason, authority, .. } => words.with(
            "history-held",
            [("reason", reason.clone().into()), ("authority", authority.clone().into())],
        ),
        Fact::Lifted { reason, authority, .. } => words.with(
            "history-lifted",
            [("reason", reason.clone().into()), ("authority", authority.clone().into())],
        ),
        Fact::Refused { times, .. } => words.with("history-refused", [("n", (*times).into())]),
        Fact::Planned { due, .. } => {
            words.with("history-planned", [("when", visit.when().moment(*due).into())])
        }
        Fact::Cancelled { .. } => words.say("history-cancelled"),
        Fact::Failed { .. } => words.say("history-failed"),
        Fact::Detached { reason, .. } => {
            words.with("history-detached", [("reason", reason.clone().into())])
        }
        other => words.with("history-other", [("what", format!("{other:?}").into())]),
    }
}

fn shared(visit: &Visit, report: &Report) -> Markup {
    let words = visit.words();
    html! {
        section.card {
            h2 { (words.say("shared-title")) }
            @if report.grants.is_empty() { p { (words.say("shared-none")) } } @else {
                ul { @for (_, grant) in &report.grants {
                    li { (words.with("shared-row", [
                        ("who", grant.name.clone().into()),
                        ("why", grant.purpose.clone().into()),
                    ])) }
                } }
            }
        }
    }
}
