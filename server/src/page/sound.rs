//! What is heard, read and downloaded, by the cookie: the handlers of the API, for a caller who may
//! read one user's records.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::visit::Visit;
use crate::api::{content, export as archive};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::credential::{Credential, Proof, Users};
use crate::problem::Answer;

/// What a person opens their own records for.
const PURPOSE: &str = "to hear or read it on the page";

/// A record, whole or a part of it.
pub(crate) async fn get(
    State(app): State<App>,
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let opened = content::get_record(
        State(app.clone()),
        caller(&visit, false),
        Path(id.clone()),
        headers.clone(),
    );
    match opened.await {
        // A policy wants every reader to be recorded: also the person.
        Err(e) if e.kind == "forbidden" => recorded(&app, &visit, &id, &headers).await,
        opened => opened,
    }
}

/// The same, with one line in the report for as long as an opening lasts.
async fn recorded(app: &App, visit: &Visit, id: &str, headers: &HeaderMap) -> Answer<Response> {
    let caller = caller(visit, true);
    let info = content::readable(app, &caller, id).await?;
    let opening = match visit.session.opening(&info.id) {
        Some(opening) => opening,
        None => {
            let opened = content::open_as(app, &caller, &info.id, PURPOSE).await?;
            visit.session.opened(opened.clone());
            opened
        }
    };
    content::served(headers, &info, async { Ok(opening.reader().await?) }).await
}

/// A record's headers: how the page sees that it was erased.
pub(crate) async fn head(
    State(app): State<App>,
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    content::head_record(State(app), caller(&visit, false), Path(id), headers).await
}

/// Everything, as one file.
pub(crate) async fn export(State(app): State<App>, visit: Visit) -> Answer<Response> {
    let handle = visit.session.grant.handle.to_string();
    archive::export(State(app), caller(&visit, true), Path(handle)).await
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
        proof: Proof::Elsewhere,
    };
    Caller::new(credential, None)
}
