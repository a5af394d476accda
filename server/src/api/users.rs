//! Users, by handle.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use keyfall::{ErrorKind, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::report::report_json;
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
    #[schema(min_length = 1, max_length = 512, example = "ada")]
    name: String,
}

/// The handle of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Handle {
    /// What names the user in addresses.
    #[schema(example = "u_c5q6asr1dlqmqtb5e8n6ur3bg")]
    handle: String,
}

/// Creates a user, or finds one
///
/// Gives the handle. A user who was erased is created again, with another handle.
#[utoipa::path(
    post, path = "/v1/users", tag = "users", request_body = NewUser,
    responses(
        (status = 200, description = "The user existed", body = Handle,
            headers(("Location" = String))),
        (status = 201, description = "The user was created", body = Handle,
            headers(("Location" = String))),
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
/// The records are in it by their metadata, with the readers that opened them.
#[utoipa::path(
    get, path = "/v1/users/{handle}/report", tag = "users",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The report", body = Value))
)]
pub(crate) async fn get_report(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Response> {
    let user = caller.user(&app, "report", &handle).await?;
    let (report, live) = app.engine().run(move |engine| report_json(engine, &user)).await?;
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
    let private = [("cache-control", "no-store")];
    Ok((private, guarded::json(live, &report)).into_response())
}
