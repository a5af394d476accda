//! What is heard, read and downloaded, by the cookie: the handlers of the API, for a caller who may
//! read one user's records.

use axum::extract::{Path, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::frame::opens;
use super::visit::{PURPOSE, Visit};
use crate::api::content;
use crate::api::export::{self as archive, Look};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::credential::{Credential, Proof, Users};
use crate::problem::{Answer, Problem};

/// A record, whole or a part of it.
pub(crate) async fn get(
    State(app): State<App>,
    visit: Visit,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let id = named(&visit, &number)?;
    let headers = asked(headers, &number, &id);
    let opened = content::get_record(
        State(app.clone()),
        caller(&visit, false),
        Path(id.clone()),
        headers.clone(),
    );
    let opened = match opened.await {
        // A policy wants every reader to be recorded: also the person.
        Err(e) if e.kind == "forbidden" => recorded(&app, &visit, &id, &headers).await,
        opened => opened,
    };
    opened.map(|response| answered(response, &number))
}

/// The same, with one line in the report for as long as an opening lasts.
async fn recorded(app: &App, visit: &Visit, id: &str, headers: &HeaderMap) -> Answer<Response> {
    let caller = caller(visit, true);
    let info = content::readable(app, &caller, id).await?;
    // One at a time: two ranges that are asked for at once are one line as well.
    let turn = visit.session.opens().await;
    let opening = match visit.session.opening(&info.id) {
        Some(opening) => opening,
        None => {
            let opened = content::open_as(app, &caller, &info.id, PURPOSE).await?;
            visit.session.opened(opened.clone());
            opened
        }
    };
    drop(turn);
    content::served(headers, &info, async { Ok(opening.reader().await?) }).await
}

/// A record's headers: how the page sees that it was erased.
pub(crate) async fn head(
    State(app): State<App>,
    visit: Visit,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let id = named(&visit, &number)?;
    let headers = asked(headers, &number, &id);
    let head = content::head_record(State(app), caller(&visit, false), Path(id), headers).await?;
    Ok(answered(head, &number))
}

/// The id of the record that this session calls so.
fn named(visit: &Visit, number: &str) -> Answer<String> {
    let absent = || Problem::new(StatusCode::NOT_FOUND, "absent", "no page of yours names it");
    Ok(visit.session.record(number).ok_or_else(absent)?.to_string())
}

/// The conditions of a request, by the id: the page's tag of a record is its number.
fn asked(mut headers: HeaderMap, number: &str, id: &str) -> HeaderMap {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_RANGE] {
        let value = headers.get(&name).and_then(|value| value.to_str().ok());
        let value = value.map(|tags| tags.replace(&tag(number), &tag(id)));
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// An answer without what names the record: a browser keeps the tag of a file that it saves. What
/// is no sound and no plain text is such a file.
fn answered(mut response: Response, number: &str) -> Response {
    let headers = response.headers_mut();
    let names: Vec<_> = headers.keys().filter(|n| n.as_str().starts_with("keyfall-")).collect();
    for name in names.into_iter().cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    if let Ok(tag) = HeaderValue::try_from(tag(number)) {
        headers.insert(ETAG, tag);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(opens) {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    response
}

fn tag(name: &str) -> String {
    format!("\"{name}\"")
}

/// Everything, as one file.
pub(crate) async fn export(State(app): State<App>, visit: Visit) -> Answer<Response> {
    let handle = visit.session.grant.handle.to_string();
    let caller = caller(&visit, true);
    let user = caller.user(&app, "read", &handle).await?;
    let zone = visit.session.grant.zone.clone();
    archive::archive(&app, &caller, user, Look { words: visit.plain(), zone }).await
}

fn caller(visit: &Visit, named: bool) -> Caller {
    let credential = Credential {
        id: "page".to_owned(),
        principal: visit.authority(),
        scopes: vec!["read".to_owned(), "report".to_owned()],
        users: Users::List(vec![visit.session.grant.handle.to_string()]),
        purposes: vec![PURPOSE.to_owned()],
        default_purpose: named.then(|| PURPOSE.to_owned()),
        until: None,
        over: false,
        max_record_bytes: None,
        proof: Proof::Elsewhere,
    };
    Caller::new(credential, None)
}
