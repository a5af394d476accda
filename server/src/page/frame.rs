//! What is around every page: its top, its foot, its headers.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use keyfall::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::words::Words;

const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The pages that the top of each leads to.
pub(crate) const KEPT: &str = "/page";
pub(crate) const HOW_LONG: &str = "/page/keep";
pub(crate) const PROOFS: &str = "/page/proofs";
pub(crate) const SURE: &str = "/page/sure";
/// Where a code is told that opens a proof.
pub(super) const BY_CODE: &str = "/page/receipt";

/// A page that says one thing, to whoever asked.
pub(crate) fn notice(words: Words<'_>, status: StatusCode, title: &str, lead: &str) -> Response {
    let title = words.say(title);
    let body = html! { (heading(&title)) p.lead { (words.say(lead)) } };
    respond(status, &whole(words, &title, &html! {}, &body, &html! {}))
}

/// The document.
pub(crate) fn whole(
    words: Words<'_>,
    title: &str,
    top: &Markup,
    body: &Markup,
    foot: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(words.tag()) dir=(words.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/page/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page/assets/page.css";
                script src="/page/assets/verify.js" defer {}
                script src="/page/assets/page.js" defer {}
            }
            body {
                a.skip href="#main" { (words.say("to-content")) }
                div.page { (top) main #main { (body) } (foot) }
            }
        }
    }
}

/// What a page begins with: there the focus is led, so that no step loses it, with scripts or
/// without.
pub(crate) fn heading(title: &str) -> Markup {
    html! { h1 tabindex="-1" autofocus { (title) } }
}

/// A page as an answer.
pub(crate) fn respond(status: StatusCode, markup: &Markup) -> Response {
    let mut response = Response::new(Body::from(markup.0.clone()));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

/// Says in every answer what a browser may do with it.
pub(crate) fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        // What a record says of itself is narrower, and stays.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a browser shows what is of this media type: sound, and plain text. All else is saved as
/// a file, for what an application stores may be a page with scripts.
pub(super) fn opens(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "text/plain" || kind.starts_with("audio/")
}

/// The time by which pages go.
#[expect(clippy::disallowed_methods, reason = "the engine's own clock is not for pages")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A small picture that says nothing more than the words beside it.
#[derive(Clone, Copy)]
pub(crate) enum Icon {
    Arrow,
    Check,
    Clock,
    Info,
    Trash,
    Wave,
}

/// A picture, as it stands in a page.
pub(crate) fn icon(icon: Icon) -> Markup {
    let path = match icon {
        Icon::Arrow => "M5 6v6a3 3 0 0 0 3 3h11m-4-4 4 4-4 4",
        Icon::Check => "m5 12.5 4.5 4.5L19 7.5",
        Icon::Clock => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m0 4v5l3 2",
        Icon::Info => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m0 8v5m0-8v.01",
        Icon::Trash => "M4 7h16M10 11v6m4-6v6M6 7l1 13h10l1-13M9 7V4h6v3",
        Icon::Wave => "M4 10v4m4-7v10m4-13v16m4-13v10m4-7v4",
    };
    html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} } }
}
