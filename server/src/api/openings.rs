//! Openings: one line in the report for a record that is read in many parts.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE32_DNSSEC;
use keyfall::{AsyncOpening, ErrorKind, RecordInfo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::content::{headed, open_as, readable, served};
use super::octets::Octets;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::openings::over;
use crate::private::random;
use crate::problem::{Answer, Problem};
use crate::take::JsonBody;
use crate::words::now;

/// Openings of one credential at a time.
const MOST: usize = 8;
/// How long an opening lasts unless it is said, and at most.
const LASTS: Duration = Duration::from_secs(10 * 60);

/// What a record is opened for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenRequest {
    /// A purpose of the credential; that of `Keyfall-Purpose` or the credential's own, if none is
    /// given.
    purpose: Option<String>,
    /// Seconds until it is over: 600 if they are not given, and at most.
    seconds: Option<u64>,
}

/// An opening.
#[derive(Serialize, ToSchema)]
pub(crate) struct Opened {
    /// Its address: whoever has it reads the record. No credential is needed.
    opening: String,
    /// Seconds until it is over.
    seconds: u64,
}

/// Opens a record for a while
///
/// One line in the user's report, for any number of readers and ranges until it is over: when it
/// is closed, after ten minutes, or when the record falls or the credential or the token of an issuer
/// ends. For players, which seek.
#[utoipa::path(
    post, path = "/v1/records/{id}/openings", tag = "records",
    params(
        ("id" = String, Path, description = "The id of the record"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "What it is read for: a purpose of the credential"),
    ),
    request_body(content = OpenRequest, example = json!({"purpose": "support case", "seconds": 60})),
    responses((status = 201, description = "It is open", body = Opened,
        headers(("Location" = String, description = "The address of the opening")),
        example = json!({"opening": "/v1/openings/EXAMPLE", "seconds": 60})))
)]
pub(crate) async fn open_record(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(asked): JsonBody<OpenRequest>,
) -> Answer<Response> {
    let info = readable(&app, &caller, &id).await?;
    let purpose = caller.purpose_or(asked.purpose.as_deref())?.ok_or_else(|| {
        Problem::invalid("say what the record is opened for: a purpose of the credential")
    })?;
    let lasts = asked.seconds.map_or(LASTS, Duration::from_secs);
    if lasts.is_zero() || lasts > LASTS {
        return Err(Problem::invalid("an opening lasts 1 to 600 seconds"));
    }
    let lasts = caller.lasting(lasts, app.book().at_least(now()));
    let place = || app.openings().reserve(caller.credential(), MOST);
    let reserved = match place() {
        None => {
            close_fallen(&app, caller.credential()).await;
            place()
        }
        there => there,
    };
    let reserved = reserved.ok_or_else(|| {
        let detail = "this credential has 8 openings; close one, or wait until one is over";
        Problem::new(StatusCode::CONFLICT, "limit", detail)
    })?;
    let opening = open_as(&app, &caller, &info.id, purpose).await?;
    let opening = opening.lasting(lasts);
    let token = BASE32_DNSSEC.encode(&random::<20>().map_err(Problem::of_io)?);
    reserved.keep(&token, opening);
    let address = format!("/v1/openings/{token}");
    let opened = Opened { opening: address.clone(), seconds: lasts.as_secs() };
    let headers = [(LOCATION, address), (CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(opened)).into_response())
}

/// Reads an opened record
///
/// As `GET /v1/records/{id}`, without a credential and without another line in the report.
#[utoipa::path(
    get, path = "/v1/openings/{token}", tag = "records", security(()),
    params(
        ("token" = String, Path, description = "The opening, as its creation gave it"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "The entity tag for which the range is meant"),
    ),
    responses(
        (status = 200, description = "The record", body = Octets, content_type = "*/*"),
        (status = 206, description = "A part of it", body = Octets, content_type = "*/*"),
        (status = 304, description = "The caller has it"),
        (status = 412, description = "It is not what the caller means"),
        (status = 416, description = "It has no such range"),
    )
)]
pub(crate) async fn get_opening(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (opening, info) = there(&app, &token).await?;
    let answer = served(&headers, &info, async { Ok(opening.reader().await?) });
    answer.await.map_err(|problem| match problem.kind == "erased" || opening.left().is_err() {
        true => over(),
        false => problem,
    })
}

/// An opened record's headers
///
/// As `HEAD /v1/records/{id}`, without a credential.
#[utoipa::path(
    head, path = "/v1/openings/{token}", tag = "records", security(()),
    params(("token" = String, Path, description = "The opening, as its creation gave it")),
    responses(
        (status = 200, description = "The headers of the record"),
        (status = 304, description = "The caller has it"),
        (status = 412, description = "It is not what the caller means"),
    )
)]
pub(crate) async fn head_opening(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (_, info) = there(&app, &token).await?;
    headed(&headers, &info)
}

/// The opening of a token and its record, if neither is over: what fell is not spoken of.
async fn there(app: &App, token: &str) -> Answer<(AsyncOpening, RecordInfo)> {
    let (opening, credential) = app.openings().find(token)?;
    if !app.book().stands(&credential, now()) {
        close_of(app, &credential).await;
        return Err(over());
    }
    match app.engine().info(opening.id()).await {
        Ok(info) => Ok((opening, info)),
        Err(e) => {
            if e.kind() != ErrorKind::Erased {
                return Err(e.into());
            }
            if let Ok(held) = app.openings().take(token) {
                // Where the service ends, everything is over.
                let _ = held.opening.close().await;
            }
            Err(over())
        }
    }
}

/// Closes what a credential has open of records that have fallen: they take no place any more.
async fn close_fallen(app: &App, credential: &str) {
    for (token, id) in app.openings().held_by(credential) {
        let fell = matches!(app.engine().info(&id).await, Err(e) if e.kind() == ErrorKind::Erased);
        if fell && let Some(opening) = app.openings().take_hashed(&token) {
            let _ = opening.close().await;
        }
    }
}

/// Closes what a credential that ended had opened.
pub(super) async fn close_of(app: &App, credential: &str) {
    for opening in app.openings().take_of(credential) {
        // Where the service ends, everything is over.
        let _ = opening.close().await;
    }
}

/// Closes an opening
///
/// Nobody reads another byte of the record by it.
#[utoipa::path(
    delete, path = "/v1/openings/{token}", tag = "records", security(()),
    params(("token" = String, Path, description = "The opening, as its creation gave it")),
    responses((status = 204, description = "It is over"))
)]
pub(crate) async fn close_opening(
    State(app): State<App>,
    Path(token): Path<String>,
) -> Answer<StatusCode> {
    let held = app.openings().take(&token)?;
    held.opening.close().await?;
    Ok(StatusCode::NO_CONTENT)
}
