//! Erasing: now, at a time to come, or only seeing what it would take.

mod asked;
mod name;
mod outcome;
mod perform;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use self::asked::Requests;
use self::name::Name;
use self::outcome::{Erasure, OneOfList, Outcomes};
use self::perform::{Asking, Done, after, perform};
use super::told::PlanJson;
use crate::app::{App, User};
use crate::auth::caller::{Caller, Shown, text};
use crate::problem::{Answer, Problem, instance};
use crate::take::{JsonBody, Query};

/// How an erase is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    /// Erases nothing, and says what would fall.
    #[serde(default)]
    dry_run: bool,
}

/// Erases
///
/// When the answer is 200, it is complete: what is named is noise in the store, in every copy and
/// in every old backup. A list of erases is answered by a list, each with its status.
#[utoipa::path(
    post, path = "/v1/erasures", tag = "erasures",
    params(How,
        ("Idempotency-Key" = Option<String>, Header, description = "A random key of 16 to 255 characters: the same request with the same key gets the same answer, with the same certificate, for a day; also if the service died before it answered"),
    ),
    request_body(content = Requests, examples(
        ("a class of a user" = (value = json!({
            "scope": {"user": "u_c5q6asr1dlqmqtb5e8n6ur3bg", "class": "audio"},
            "authority": "the user", "ground": "GDPR Article 17"
        }))),
        ("everything but actions, in 30 days" = (value = json!({
            "scope": {"user": "u_c5q6asr1dlqmqtb5e8n6ur3bg"},
            "keep": ["action"], "reason": "accounting", "in": "30d"
        }))),
        ("two at once" = (value = json!([
            {"scope": {"user": "u_c5q6asr1dlqmqtb5e8n6ur3bg", "class": "audio"}},
            {"scope": {"user": "u_c5q6asr1dlqmqtb5e8n6ur3bg", "before": "2026-01-01"}}
        ]))),
    )),
    responses(
        (status = 200, description = "Complete; or, of a dry run, what would fall", body = Outcomes,
            example = json!({
                "id": "e_0000000000000007", "state": "complete", "epoch": 7, "records": 12,
                "derived": 3, "following": false, "already": false,
                "completed": "2026-11-28T09:30:00.000Z"
            })),
        (status = 202, description = "Pending or planned", body = Erasure,
            headers(("Location" = String, description = "Where it is asked how far it is"))),
        (status = 207, description = "Of a list, not all are complete", body = Outcomes),
        (status = 422, description = "The Idempotency-Key was used for another request"),
    )
)]
pub(crate) async fn erase(
    State(app): State<App>,
    caller: Answer<Caller>,
    shown: Shown,
    Query(how): Query<How>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer<Response> {
    let key = headers.get("idempotency-key").map(|value| text(value.as_bytes())).transpose()?;
    match &caller {
        Ok(caller) => caller.may("erase")?,
        // Only what was asked for before is answered.
        Err(refused) if key.is_none() => return Err(refused.clone()),
        Err(_) => {}
    }
    let asking = Asking { caller, shown };
    // A task of its own: a caller who goes away does not leave a request half done, which the same
    // request would meet.
    let one = |body: Value, key: Option<String>| {
        let (app, asking) = (app.clone(), asking.clone());
        let task = async move { perform(&app, &asking, body, key, how.dry_run).await };
        let task = tokio::spawn(task);
        async move { task.await.unwrap_or_else(|_| Err(Problem::internal())) }
    };
    let Value::Array(bodies) = body else {
        return one(body, key).await.map(answer);
    };
    if bodies.is_empty() || bodies.len() > 1000 {
        return Err(Problem::invalid("a list has 1 to 1000 erases"));
    }
    let keyed = bodies.into_iter().enumerate().map(|(n, body)| {
        let key = key.as_ref().map(|key| format!("{key}#{n}"));
        one(body, key)
    });
    let outcomes = join_all(keyed).await;
    match &asking.caller {
        // Nothing of it was asked for before.
        Err(refused) if outcomes.iter().all(Answer::is_err) => return Err(refused.clone()),
        _ => {}
    }
    let complete = |one: &Answer<Done>| matches!(one, Ok(done) if done.status == StatusCode::OK);
    let status = match outcomes.iter().all(complete) {
        true => StatusCode::OK,
        false => StatusCode::MULTI_STATUS,
    };
    let outcomes: Vec<OneOfList> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Ok(done) => OneOfList::done(done.status.as_u16(), done.body),
            Err(problem) => {
                let (status, instance) = (problem.status.as_u16(), instance());
                tracing::info!(target: "keyfalld::http", status, instance, "one of a list");
                OneOfList::failed(status, problem.body(&instance))
            }
        })
        .collect();
    Ok((status, Json(outcomes)).into_response())
}

fn answer(done: Done) -> Response {
    let mut response = (done.status, Json(&done.body)).into_response();
    let id = done.body.get("id").and_then(Value::as_str);
    if let Some(location) = id.and_then(|id| format!("/v1/erasures/{id}").parse().ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// How far an erase is
///
/// With the id of its answer. An erase that is complete stays so.
#[utoipa::path(
    get, path = "/v1/erasures/{id}", tag = "erasures",
    params(
        ("id" = String, Path, description = "The id that the erase was answered with"),
        ("Idempotency-Key" = Option<String>, Header, description = "Of a planned erase that is done: the key of the request that planned it, to the same principal; of a list, with `#` and the place in it, from 0. The answer has the certificate then, for 400 days"),
    ),
    responses((status = 200, description = "Planned, pending or complete", body = Erasure))
)]
pub(crate) async fn get_erasure(
    State(app): State<App>,
    caller: Answer<Caller>,
    shown: Shown,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Erasure>> {
    let key = headers.get("idempotency-key").map(|value| text(value.as_bytes())).transpose()?;
    let asking = Asking { caller, shown };
    let principal = match (&asking.caller, &key) {
        (Ok(caller), _) => caller.may("erase").map(|()| caller.who().to_owned())?,
        (Err(_), Some(key)) => asking.principal(&app, key)?,
        (Err(refused), None) => return Err(refused.clone()),
    };
    let name = named(&id)?;
    let (handle, number) = match name {
        Name::Epoch(epoch) => {
            asking.caller?;
            return of_epoch(&app, &id, epoch).await.map(Json);
        }
        Name::Plan { handle, number } => (handle, number),
    };
    let found = match asking.caller {
        Ok(caller) => match caller.user(&app, "erase", &handle.to_string()).await {
            Ok(user) => plan(&app, &user, number).await,
            Err(problem) => Err(problem),
        },
        Err(refused) => Err(refused),
    };
    match (found, key) {
        (Ok(plan), _) => Ok(Json(Erasure::of_plan(&id, &plan))),
        // It was done, and may have ended what the caller could do with the user.
        (Err(problem), Some(key)) => {
            after(&app, &principal, name, &key).await?.map(Json).ok_or(problem)
        }
        (Err(problem), None) => Err(problem),
    }
}

async fn of_epoch(app: &App, id: &str, epoch: u64) -> Answer<Erasure> {
    let status = app.engine().run(|engine| engine.status()).await?;
    // The next one began where erases are pending in it.
    if epoch == 0 || epoch > status.head.epoch + u64::from(status.pending.is_some()) {
        return Err(unknown());
    }
    let pending = epoch >= status.head.epoch && !status.finality.is_final();
    Ok(Erasure::of_epoch(id, epoch, pending, status.pending))
}

/// Cancels a planned erase
///
/// Nothing of it is done. What was erased is not taken back by anything.
#[utoipa::path(
    delete, path = "/v1/erasures/{id}", tag = "erasures",
    params(("id" = String, Path, description = "The id that the erase was answered with")),
    responses((status = 204, description = "It is cancelled"))
)]
pub(crate) async fn cancel_erasure(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    caller.may("erase")?;
    match named(&id)? {
        Name::Epoch(_) => {
            let detail = "this erase was done; nothing takes it back";
            Err(Problem::new(StatusCode::CONFLICT, "refused", detail))
        }
        Name::Plan { handle, number } => {
            let user = caller.user(&app, "erase", &handle.to_string()).await?;
            let receipts = Arc::clone(app.receipts());
            let cancelled = app.engine().run(move |engine| {
                let plans = engine.plans(&user.id).list()?;
                engine.plans(&user.id).cancel(number)?;
                receipts.cancelled(&plans, number);
                Ok(())
            });
            cancelled.await?;
            Ok(StatusCode::NO_CONTENT)
        }
    }
}

/// The planned erases of a user
///
/// Those that are not done; `DELETE /v1/erasures/{id}` cancels one.
#[utoipa::path(
    get, path = "/v1/users/{handle}/plans", tag = "erasures",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The planned erases, the next first", body = Vec<PlanJson>))
)]
pub(crate) async fn list_plans(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<Vec<PlanJson>>> {
    let user = caller.user(&app, "report", &handle).await?;
    let handle = user.handle;
    let plans = app.engine().run(move |engine| engine.plans(&user.id).list()).await?;
    let named = plans.iter().map(|plan| {
        let id = Name::Plan { handle, number: plan.id }.to_string();
        PlanJson::from(plan).called(id)
    });
    Ok(Json(named.collect()))
}

async fn plan(app: &App, user: &User, number: u64) -> Answer<keyfall::engine::Plan> {
    let id = user.id.clone();
    let plans = app.engine().run(move |engine| engine.plans(&id).list()).await?;
    plans.into_iter().find(|plan| plan.id == number).ok_or_else(unknown)
}

fn named(id: &str) -> Answer<Name> {
    Name::read(id).ok_or_else(unknown)
}

fn unknown() -> Problem {
    let detail = "there is no such erase here; a planned one was done or cancelled";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}
