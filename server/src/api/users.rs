//! Users, by handle.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::{ErrorKind, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::report::{ReportJson, report_of};
use super::reported::Form;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::guarded;
use crate::problem::{Answer, Problem};
use crate::take::JsonBody;

/// A user to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// The name that the application gives; no address and no log has it.
    #[schema(min_length = 1, max_length = 512)]
    name: String,
}

/// The handle of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Handle {
    /// What names the user in addresses.
    handle: String,
}

/// Creates a user, or finds one
///
/// Gives the handle. A user who was erased is created again, with another handle.
#[utoipa::path(
    post, path = "/v1/users", tag = "users",
    request_body(content = NewUser, example = json!({"name": "ada"})),
    responses(
        (status = 200, description = "The user existed", body = Handle,
            headers(("Location" = String, description = "The address of the user"))),
        (status = 201, description = "The user was created", body = Handle,
            headers(("Location" = String, description = "The address of the user")),
        example = json!({"handle": "u_c5q6asr1dlqmqtb5e8n6ur3bg"})),
    )
)]
pub(crate) async fn create_user(
    State(app): State<App>,
    caller: Caller,
    JsonBody(new): JsonBody<NewUser>,
) -> Answer<Response> {
    caller.may("put")?;
    let user = UserId::new(new.name)?;
    let asked = user.clone();
    let found = match app.engine().run(move |engine| engine.handle(&asked)).await {
        Ok(handle) => Some(handle),
        Err(e) if matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased) => None,
        Err(e) => return Err(e.into()),
    };
    let (status, handle) = match found {
        Some(handle) => {
            if let Err(problem) = caller.may_with("put", &handle) {
                // In the same words whether the user is there or not.
                caller.may_with_anybody()?;
                return Err(problem);
            }
            (StatusCode::OK, handle)
        }
        None => {
            caller.may_with_anybody()?;
            let handle = app.engine().run(move |engine| {
                engine.create_user(&user)?;
                engine.handle(&user)
            });
            (StatusCode::CREATED, handle.await?)
        }
    };
    let location = format!("/v1/users/{handle}");
    let handle = Json(Handle { handle: handle.to_string() });
    Ok((status, [(LOCATION, location)], handle).into_response())
}

/// A user, in short.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserJson {
    /// The handle.
    handle: String,
    /// When the user was created.
    #[schema(format = DateTime)]
    created: String,
    /// Which life of the name this is, from 1.
    life: u16,
    /// How many records of each class there are.
    classes: Vec<ClassCount>,
}

/// Records of a class.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClassCount {
    /// The class.
    pub(crate) class: String,
    /// How many.
    pub(crate) records: u64,
}

/// A user, in short
///
/// Since when there is such a user, and how many records of each class.
#[utoipa::path(
    get, path = "/v1/users/{handle}", tag = "users",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The user", body = UserJson))
)]
pub(crate) async fn get_user(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<UserJson>> {
    let user = caller.user(&app, "report", &handle).await?;
    let id = user.id;
    let report = app.engine().run(move |engine| engine.report(&id)).await?;
    let counted = |(class, records): &(keyfall::Class, u64)| ClassCount {
        class: class.to_string(),
        records: *records,
    };
    Ok(Json(UserJson {
        handle: user.handle.to_string(),
        created: report.created.to_string(),
        life: report.life,
        classes: report.classes.iter().map(counted).collect(),
    }))
}

/// Everything that is kept about a user
///
/// The records are in it by their metadata, with the readers that opened them. `Accept` says in
/// which form: JSON, the same with a `@context` (`application/ld+json`), or a page for people
/// (`text/html`), complete in itself.
#[utoipa::path(
    get, path = "/v1/users/{handle}/report", tag = "users",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The report", content(
        (ReportJson = "application/json"),
        (ReportJson = "application/ld+json"),
        (String = "text/html"),
    )))
)]
pub(crate) async fn get_report(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let user = caller.user(&app, "report", &handle).await?;
    let (report, live) = app.engine().run(move |engine| report_of(engine, &user)).await?;
    // Something of it may have been erased while it was written.
    if !live.is_live() {
        return Err(Problem {
            retry_after: Some(1),
            ..Problem::new(
                StatusCode::CONFLICT,
                "refused",
                "something of this user was erased while the report was written; ask again",
            )
        });
    }
    let form = Form::wanted(&headers);
    let text = form.text(&report).map_err(|_| Problem::internal())?;
    let mut response = guarded::whole(live, form.media_type(), text);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if form == Form::Page {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
                      sandbox";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    Ok(response)
}
