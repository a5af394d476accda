//! Where there is nothing: a browser is shown a page that says so, and programs a problem.

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::by_code::known;
use super::frame::{KEPT, heading, respond, whole};
use crate::app::App;

/// Whether somebody looks with a browser.
fn is_browser(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

/// The root: it leads to what a program, and what a person, looks for.
pub(crate) async fn root(State(app): State<App>, headers: HeaderMap) -> Response {
    if !is_browser(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let words = known(&app, &headers);
    let title = words.say("root-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("root-lead")) }
        div.actions {
            a.button href=(KEPT) { (words.say("root-page")) }
            a.button href="/docs" { (words.say("root-docs")) }
        }
    };
    respond(StatusCode::OK, &whole(words, &title, &html! {}, &body, &html! {}))
}

/// An address below that of the page.
pub(crate) async fn missing(State(app): State<App>, headers: HeaderMap) -> Response {
    if !is_browser(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let words = known(&app, &headers);
    let title = words.say("gone-page-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("gone-page-lead")) }
        div.actions { a.button href=(KEPT) { (words.say("back-list")) } }
    };
    respond(StatusCode::NOT_FOUND, &whole(words, &title, &html! {}, &body, &html! {}))
}
