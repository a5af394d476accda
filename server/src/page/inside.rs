//! Pages of somebody who was let in: what leads from each to the others, and whose they are.

use axum::http::StatusCode;
use axum::response::Response;
use keyfall::{Error, ErrorKind, Timestamp};
use maud::{Markup, html};

use super::desk::Role;
use super::frame::{HOW_LONG, Icon, KEPT, PROOFS, SURE, heading, icon, now, respond, whole};
use super::visit::Visit;

/// A page of somebody who was let in; `here` is the one of the top that it belongs to.
pub(crate) fn page(visit: &Visit, here: &str, title: &str, body: &Markup) -> Response {
    let words = visit.words();
    let link = |to: &'static str, id: &str| {
        html! { a href=(to) aria-current=[(to == here).then_some("page")] { (words.say(id)) } }
    };
    let top = html! {
        nav.bar aria-label=(words.say("nav-label")) {
            (link(KEPT, "nav-kept")) (link(HOW_LONG, "nav-how-long"))
            (link(PROOFS, "nav-proofs")) (link(SURE, "nav-sure"))
            form method="post" action="/page/leave" {
                (csrf(visit))
                button.quiet { (words.say("sign-out")) }
            }
        }
    };
    let foot = html! { footer { p { (signed_in(visit)) } } };
    respond(StatusCode::OK, &whole(words, title, &top, body, &foot))
}

/// Who sees whose page, until when.
fn signed_in(visit: &Visit) -> String {
    let grant = &visit.session.grant;
    let ends = now().0.saturating_add(visit.session.left().as_millis() as u64);
    let until = visit.when().time(Timestamp(ends));
    let id = match grant.role {
        Role::Guardian(_) => "signed-in-guardian",
        Role::Own | Role::Child => "signed-in",
    };
    let (name, zone) = (grant.user.to_string(), grant.zone_name.replace('_', " "));
    visit.words().with(id, [("name", name.into()), ("until", until.into()), ("zone", zone.into())])
}

/// A page that says why something could not be done.
pub(crate) fn failed(visit: &Visit, error: &Error) -> Response {
    let (status, title, lead) = match error.kind() {
        ErrorKind::Held => (StatusCode::LOCKED, "failed-nothing-title", "failed-held"),
        ErrorKind::Erased => (StatusCode::GONE, "gone-page-title", "gone-page-lead"),
        ErrorKind::Absent | ErrorKind::Invalid => {
            (StatusCode::NOT_FOUND, "gone-page-title", "gone-page-lead")
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "failed-nothing-title", "failed-other"),
    };
    bad(visit, status, title, lead)
}

/// A page that says why something could not be shown.
pub(crate) fn unshown(visit: &Visit, error: &Error) -> Response {
    match error.kind() {
        ErrorKind::Erased | ErrorKind::Absent | ErrorKind::Invalid => failed(visit, error),
        _ => bad(visit, StatusCode::SERVICE_UNAVAILABLE, "unshown-title", "unshown-lead"),
    }
}

/// The same, of what a form asked for: it may have been done all the same.
pub(crate) fn undone(visit: &Visit, error: &Error) -> Response {
    match error.may_have_happened() {
        true => bad(visit, StatusCode::SERVICE_UNAVAILABLE, "unsure-title", "unsure-lead"),
        false => failed(visit, error),
    }
}

fn bad(visit: &Visit, status: StatusCode, title: &str, lead: &str) -> Response {
    let title = visit.words().say(title);
    let body = html! {
        div.result.bad role="alert" {
            (icon(Icon::Info))
            div { (heading(&title)) p.lead { (visit.words().say(lead)) } }
        }
        div.actions { a.button href=(KEPT) { (visit.words().say("back-list")) } }
    };
    let mut response = page(visit, KEPT, &title, &body);
    *response.status_mut() = status;
    response
}

/// A page for an address at which there is nothing, to somebody who was let in.
pub(crate) fn missing(visit: &Visit) -> Response {
    let title = visit.words().say("gone-page-title");
    let body = html! {
        (heading(&title))
        p.lead { (visit.words().say("gone-page-lead")) }
        div.actions { a.button href=(KEPT) { (visit.words().say("back-list")) } }
    };
    let mut response = page(visit, KEPT, &title, &body);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// What every form bears.
pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.session.csrf()); }
}
