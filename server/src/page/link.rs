//! The way in: a link that the application asks for, which works once, and the cookie after it.

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::time::Zone;
use maud::html;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desk::{Grant, LINK_LASTS, Role};
use super::drafts::adopt;
use super::entry::{Entry, forget, from_elsewhere};
use super::frame::{Icon, KEPT, heading, icon, notice, respond, whole};
use super::planned::come;
use super::visit::{Filled, Life, cookie, life, over, set_cookie, words};
use super::words::Words;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::{Answer, Problem};
use crate::take::JsonBody;
use crate::words::now;

/// How a page is to be shown, and as whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPageLink {
    /// Who opens it: `self`, `child` (cannot have more kept) or `guardian`.
    #[serde(default)]
    #[schema(value_type = Option<RoleName>)]
    role: Option<String>,
    /// The guardian's name, which certificates give as the authority.
    #[serde(default)]
    #[schema(max_length = 60)]
    guardian: Option<String>,
    /// The time zone of days and times, by its name in the IANA database.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// The language; the browser's unless it is given.
    #[serde(default)]
    #[schema(example = "de")]
    language: Option<String>,
}

/// Who opens a page.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "lowercase")]
#[expect(dead_code, reason = "it is what the documentation says; a wrong one is told in words")]
enum RoleName {
    #[schema(rename = "self")]
    Own,
    Child,
    Guardian,
}

/// A link to a user's page.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageLink {
    /// Where the browser goes: absolute if the service knows its public address.
    url: String,
    /// For how many seconds it works, once.
    expires_in: u64,
}

/// Makes a link to a user's page
///
/// The link works once and for ten minutes. The application, which knows its user, sends the
/// browser there; there are no passwords.
#[utoipa::path(
    post, path = "/v1/users/{handle}/page-links", tag = "page",
    request_body(content = NewPageLink, example = json!({
        "role": "self", "zone": "Europe/Berlin", "language": "de"
    })),
    params(("handle" = String, Path, description = "The user's handle")),
    responses((status = 201, description = "The link", body = PageLink,
        example = json!({"url": "https://voice.example/page/enter/EXAMPLE", "expires_in": 600})))
)]
pub(crate) async fn create_page_link(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    JsonBody(new): JsonBody<NewPageLink>,
) -> Answer<Response> {
    let user = caller.user(&app, "page", &handle).await?;
    let role = match (new.role.as_deref().unwrap_or("self"), new.guardian) {
        ("self", None) => Role::Own,
        ("child", None) => Role::Child,
        ("guardian", Some(name)) if !name.trim().is_empty() && name.len() <= 60 => {
            Role::Guardian(name)
        }
        _ => {
            return Err(Problem::invalid(
                "role is self or child, or guardian with a name of 1 to 60 bytes in guardian",
            ));
        }
    };
    let zone_name = new.zone.unwrap_or_else(|| "UTC".to_owned());
    let zone: Zone = zone_name.parse()?;
    let words = new.language.as_deref().map(Words::of);
    let credential = caller.credential().to_owned();
    let (user, handle) = (user.id, user.handle);
    let grant = Grant { credential, user, handle, role, zone, zone_name, words };
    let token = app.desk().link(grant).map_err(|_| Problem::internal())?;
    let base = app.config().public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let url = format!("{base}/page/enter/{token}");
    let link = PageLink { url, expires_in: LINK_LASTS.as_secs() };
    Ok((StatusCode::CREATED, Json(link)).into_response())
}

/// Shows that a link works. What looks at links ahead of people, or without them, does not use it
/// up; and the cookie is set on a request of this page's own, as a strict one has to be.
pub(crate) async fn ask(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    match opens(&app, &token).await {
        Some(grant) => asking(&grant, &token, &headers, StatusCode::OK),
        None => over(words(&headers), StatusCode::GONE),
    }
}

/// What a link opens: nothing once its credential has ended, nor once the person was erased, whoever
/// has the name since.
async fn opens(app: &App, token: &str) -> Option<Grant> {
    let grant = app.desk().opens(token)?;
    if !app.book().stands(&grant.credential, now()) {
        return None;
    }
    matches!(life(app, &grant).await, Life::Here | Life::Unknown).then_some(grant)
}

/// Asks whether to go in.
fn asking(grant: &Grant, token: &str, headers: &HeaderMap, status: StatusCode) -> Response {
    let words = grant.spoken(grant.words.unwrap_or_else(|| words(headers)));
    let Ok(entry) = Entry::new() else {
        return notice(
            words,
            StatusCode::SERVICE_UNAVAILABLE,
            "failed-nothing-title",
            "failed-other",
        );
    };
    let title = words.say("enter-title");
    let body = html! {
        (heading(&title))
        p.lead { (words.say("enter-lead")) }
        @if status == StatusCode::FORBIDDEN {
            div.note.wait role="alert" { (icon(Icon::Info)) p { (words.say("enter-again")) } }
        }
        form.actions method="post" {
            input type="hidden" name="entry" value=(entry.on(token));
            button.main { (words.say("enter-button")) }
        }
        p.soft.small { (words.say("enter-once")) }
    };
    let mut response = respond(status, &whole(words, &title, &html! {}, &body, &html! {}));
    response.headers_mut().extend(entry.cookie(headers).map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// Asks whether another page is to be shown than the one that this browser shows.
fn switching(of: &Grant, grant: &Grant, words: Words<'_>, entry: &str) -> Response {
    let title = words.say("switch-title");
    let (now, then) = (of.user.to_string(), grant.user.to_string());
    let body = html! {
        (heading(&title))
        p.lead { (words.with("switch-lead", [("now", now.into()), ("then", then.into())])) }
        form.actions method="post" {
            input type="hidden" name="entry" value=(entry);
            button.main name="switch" value="1" { (words.say("switch-button")) }
            a.button.quiet href=(KEPT) { (words.say("switch-back")) }
        }
    };
    respond(StatusCode::OK, &whole(words, &title, &html! {}, &body, &html! {}))
}

/// What the form of a link bears.
#[derive(Default, Deserialize)]
pub(crate) struct Pressed {
    #[serde(default)]
    entry: String,
    /// That another page is to be shown than before.
    switch: Option<String>,
}

/// Uses a link up, and lets in whoever has it.
pub(crate) async fn enter(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    pressed: Result<Form<Pressed>, FormRejection>,
) -> Response {
    let Some(grant) = opens(&app, &token).await else {
        return over(words(&headers), StatusCode::GONE);
    };
    let Form(pressed) = pressed.unwrap_or_default();
    let own = Entry::of(&headers).is_some_and(|entry| entry.gave(&token, &pressed.entry));
    if !own || from_elsewhere(&headers) {
        return asking(&grant, &token, &headers, StatusCode::FORBIDDEN);
    }
    let before = cookie(&headers);
    let shown = before.as_deref().and_then(|before| app.desk().session(before));
    if let Some(shown) = shown.filter(|_| pressed.switch.is_none())
        && (&shown.grant.user, &shown.grant.role) != (&grant.user, &grant.role)
    {
        let words = grant.words.unwrap_or_else(|| words(&headers));
        return switching(&shown.grant, &grant, words, &pressed.entry);
    }
    let entered = app.desk().enter(&token).ok().flatten().unwrap_or_default();
    let Some(begun) = app.desk().session(&entered) else {
        return over(words(&headers), StatusCode::GONE);
    };
    if let Some(before) = before {
        // Where a session before ended in the middle of an erase, its proof is not lost.
        adopt(&app, &before, &begun.grant).await;
        app.desk().leave(&before);
    }
    // Nor is that of what was planned, where the service ended in the middle of it.
    come(&app, begun.grant.user.clone()).await;
    let mut response = see([], KEPT);
    let session = HeaderValue::from_str(&set_cookie(&headers, Some(&entered))).ok();
    for cookie in session.into_iter().chain(forget(&headers)) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Ends a session.
pub(crate) async fn leave(State(app): State<App>, headers: HeaderMap, form: Filled) -> Response {
    app.desk().leave(&form.visit.token);
    let mut response = notice(form.visit.words(), StatusCode::OK, "left-title", "left-lead");
    if let Ok(cookie) = HeaderValue::from_str(&set_cookie(&headers, None)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    clear(&mut response);
    response
}

/// Sends the browser on.
pub(crate) fn see<const N: usize>(headers: [(HeaderName, HeaderValue); N], to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().extend(headers);
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// Has the browser forget what it keeps of these pages.
pub(crate) fn clear(response: &mut Response) {
    let name = HeaderName::from_static("clear-site-data");
    response.headers_mut().insert(name, HeaderValue::from_static("\"cache\", \"storage\""));
}
