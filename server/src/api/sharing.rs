//! Grants, by which third parties open records; and the inbox, into which they are sealed.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::engine::{Grant, KeyDestroyed};
use keyfall::sealed::{PublicKey, Ticket};
use keyfall::{Class, Error, ErrorKind, UserHandle};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::octets::Octets;
use super::records::not_of_proofs;
use super::told::GrantJson;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::intake::Intake;
use crate::outlet::written;
use crate::problem::{Answer, Problem};
use crate::take::{Bytes, JsonBody};
use crate::words::{self, number, read_number};

/// A grant to be given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGrant {
    /// The grantee's public key, as `keyfall key` makes it.
    to: String,
    /// The grantee's name, for the user's report.
    name: String,
    /// What the records may be used for.
    purpose: String,
    /// Only records of this class.
    #[serde(default)]
    class: Option<String>,
    /// When it ends.
    #[serde(default)]
    until: Option<String>,
}

/// A grant that was given.
#[derive(Serialize, ToSchema)]
pub(crate) struct GrantGiven {
    /// Its number, 16 hexadecimal digits.
    number: Option<String>,
    /// The ticket, which the grantee asks with. It is not a secret.
    ticket: String,
}

/// Gives a grant
///
/// Its purpose must be one of the credential's.
#[utoipa::path(
    post, path = "/v1/users/{handle}/grants", tag = "sharing",
    request_body(content = NewGrant, example = json!({
        "to": "keyfall-public-1:EXAMPLE", "name": "Speech lab", "purpose": "research",
        "class": "transcript", "until": "2027-06-30"
    })),
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 201, description = "The grant stands", body = GrantGiven,
        example = json!({"number": "0000000000000004", "ticket": "keyfall-ticket 1 EXAMPLE"})))
)]
pub(crate) async fn add_grant(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    JsonBody(new): JsonBody<NewGrant>,
) -> Answer<Response> {
    let user = caller.user(&app, "rules", &handle).await?;
    // Whoever holds the grant reads for this purpose.
    caller.purpose_or(Some(&new.purpose))?;
    let to = public_key(&new.to)?;
    let mut grant = Grant::new(&to, new.name, new.purpose);
    grant.class = words::class(new.class.as_deref())?;
    grant.until = new.until.as_deref().map(words::point_to_come).transpose()?;
    let ticket = app.engine().run(move |engine| engine.grants(&user.id).add(grant)).await?;
    let given = GrantGiven { number: ticket.grant().map(number), ticket: ticket.to_string() };
    Ok((StatusCode::CREATED, Json(given)).into_response())
}

/// Lists the grants on a user's records
///
/// Those that stand; revoked ones are in the history of the report.
#[utoipa::path(
    get, path = "/v1/users/{handle}/grants", tag = "sharing",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The grants", body = Vec<GrantJson>))
)]
pub(crate) async fn list_grants(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<Vec<GrantJson>>> {
    let user = caller.user(&app, "report", &handle).await?;
    let grants = app.engine().run(move |engine| engine.grants(&user.id).list()).await?;
    Ok(Json(grants.iter().map(GrantJson::from).collect()))
}

/// Revokes a grant
///
/// What the grantee took before is out of reach.
#[utoipa::path(
    delete, path = "/v1/users/{handle}/grants/{number}", tag = "sharing",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("number" = String, Path, description = "The number of the grant"),
    ),
    responses((status = 204, description = "It opens nothing any more"))
)]
pub(crate) async fn revoke_grant(
    State(app): State<App>,
    caller: Caller,
    Path((handle, id)): Path<(String, String)>,
) -> Answer<StatusCode> {
    let user = caller.user(&app, "rules", &handle).await?;
    let id = read_number(&id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "absent", "there is no such grant; the list has all")
    })?;
    app.engine().run(move |engine| engine.grants(&user.id).revoke(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a public key.
///
/// # Errors
/// 400.
pub(super) fn public_key(text: &str) -> Answer<PublicKey> {
    text.trim().parse().map_err(|_| {
        Problem::invalid("that is no public key; `keyfall key` makes one beside the private key")
    })
}

/// Most bytes of a grantee's request.
const REQUEST_MAX: usize = 64 << 10;

/// Opens what a grantee asks for
///
/// The body is a request that the grantee signed, the answer a parcel sealed to it. A request is
/// its own credential; each opening is in the user's report before the first byte is sent.
#[utoipa::path(
    post, path = "/v1/requests", tag = "sharing", security(()),
    request_body(content = Octets, content_type = "application/octet-stream"),
    responses((status = 200, description = "The parcel", body = Octets, content_type = "application/octet-stream"))
)]
pub(crate) async fn open_request(State(app): State<App>, Bytes(body): Bytes) -> Answer<Response> {
    if body.len() > REQUEST_MAX {
        return Err(crate::intake::too_large());
    }
    // What fails before the first byte is said with a status; what fails later cuts the body.
    let no_request =
        |_| Problem::invalid("that is not a grantee's request; `keyfall ask` makes one");
    let whose = asker(&Ticket::asked_by(&body).map_err(no_request)?);
    let parcel = written(&app, &whose, move |engine, out| {
        engine.open_request(&body, out).map(drop).map_err(of_request)
    });
    let parcel = parcel.await?;
    let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, parcel).into_response())
}

/// Whose places a request takes: those of its ticket. Each grantee has tickets of its own, so that
/// one who reads slowly keeps no other waiting.
fn asker(ticket: &Ticket) -> String {
    format!("\nrequests with {ticket}")
}

/// The error of a request: one that is none is the caller's, not the store's.
fn of_request(error: Error) -> Error {
    match error.kind() == ErrorKind::Corrupt && error.to_string().starts_with("this is no ") {
        true => Error::new(ErrorKind::Invalid, error.to_string()),
        false => error,
    }
}

/// The public key of an inbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct InboxAnswer {
    /// The key, one line; a new one is given out each week and after an erase.
    key: String,
}

/// The public key of a user's inbox
///
/// A device seals an envelope to it, which `POST /v1/inbox` takes.
#[utoipa::path(
    get, path = "/v1/users/{handle}/inbox", tag = "sharing",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The key", body = InboxAnswer))
)]
pub(crate) async fn get_inbox(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<InboxAnswer>> {
    let user = caller.user(&app, "inbox", &handle).await?;
    let key = app.engine().run(move |engine| engine.inbox(&user.id).key()).await?;
    Ok(Json(InboxAnswer { key: key.to_string() }))
}

/// What an envelope became.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcceptedAnswer {
    /// The id of the record.
    id: String,
    /// Whether the envelope had been accepted before.
    again: bool,
}

/// Takes in a sealed envelope
///
/// The body was sealed to a user's inbox. Nothing but the engine sees what is in it. The credential
/// must be for that user, and for the user of each record that it was derived from.
#[utoipa::path(
    post, path = "/v1/inbox", tag = "sharing",
    request_body(content = Octets, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It had been accepted before", body = AcceptedAnswer, headers(("Location" = String, description = "The address of the record"))),
        (status = 201, description = "It is a record now", body = AcceptedAnswer, headers(("Location" = String, description = "The address of the record"))),
    )
)]
pub(crate) async fn accept(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    caller.may("inbox")?;
    let intake = Intake::new(body, caller.most_bytes(app.config()));
    let mut intake = intake.placed(&app, &caller, &headers).await;
    let refused = Arc::new(OnceLock::new());
    let (told, of) = (Arc::clone(&refused), caller.clone());
    let may = move |user: &UserHandle, class: Option<&Class>| {
        let may = of.may_with("inbox", user).and_then(|()| class.map_or(Ok(()), not_of_proofs));
        may.map_err(|problem| {
            let _ = told.set(problem);
            Error::new(ErrorKind::Refused, "the credential does not allow this envelope")
        })
    };
    let accepted = app.engine().accept_by(&mut intake, may).await;
    let accepted = accepted.map_err(|e| match (refused.get(), e.kind()) {
        (Some(problem), _) => problem.clone(),
        (None, ErrorKind::Corrupt) if !intake.is_envelope() => {
            Problem::invalid("this is no envelope; `keyfall seal` makes one; nothing was stored")
        }
        // An envelope that was changed is the caller's, not the store's.
        (None, ErrorKind::Corrupt) => {
            Problem::invalid("the envelope was changed, or cut short; nothing was stored")
        }
        (None, ErrorKind::Refused) if has_no_key(&e) => {
            Problem::new(StatusCode::CONFLICT, "refused", NO_KEY)
        }
        _ => intake.problem().unwrap_or_else(|| e.into()),
    })?;
    let status = if accepted.again { StatusCode::OK } else { StatusCode::CREATED };
    let id = accepted.id.to_string();
    let location = [(LOCATION, format!("/v1/records/{id}"))];
    let answer = Json(AcceptedAnswer { id, again: accepted.again });
    Ok((status, location, answer).into_response())
}

const NO_KEY: &str = "the inbox key of this envelope was destroyed, on schedule or by an erase of \
                      the user's: nothing opens it any more; fetch the user's inbox key again and \
                      seal the record to it, if it is to be kept";

/// Whether an envelope was refused since its inbox key is gone.
fn has_no_key(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<KeyDestroyed>())
}
