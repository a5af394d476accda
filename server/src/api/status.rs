//! What operators look at.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use keyfall::engine::CopyMode;
use metrics::gauge;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::health::free_bytes;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::Answer;
use crate::remedy::as_typed;
use crate::standing;
use crate::words::now;

/// What the engine knows of its store, its cell, its copies and its clock.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusJson {
    /// The version of the service.
    version: &'static str,
    /// The id of the store.
    store: String,
    /// The epoch: it is one more after each erase that was made final.
    epoch: u64,
    /// The commit.
    commit: u64,
    /// How many users there are.
    users: u64,
    /// How many blobs the store has.
    blobs: u64,
    /// Their bytes.
    bytes: u64,
    /// For how long the store lends its keys to readers on other machines, if it does.
    lends_for_ms: Option<u64>,
    /// What the cell promises, in words.
    promise: String,
    /// Whether everything that was erased is final.
    #[serde(rename = "final")]
    is_final: bool,
    /// What it is awaited of, if it is not.
    awaited: Vec<String>,
    /// What is not settled, in words.
    unsettled: Option<String>,
    /// Until when erases may be pending.
    #[schema(format = DateTime)]
    pending_until: Option<String>,
    /// When something is due next.
    #[schema(format = DateTime)]
    next_due: Option<String>,
    /// Why the clock is doubted, if it is.
    clock: Option<String>,
    /// What the clock shows.
    #[schema(format = DateTime)]
    clock_shows: String,
    /// The time that is known to have come.
    #[schema(format = DateTime)]
    time_known: String,
    /// How many credentials have passed their end.
    credentials_ended: usize,
    /// Why the store can only be read, if it can.
    read_only: Option<String>,
    /// The copies.
    copies: Vec<CopyJson>,
}

/// A copy of the store.
#[derive(Serialize, ToSchema)]
#[schema(as = Copy)]
pub(crate) struct CopyJson {
    /// Where it is.
    place: String,
    /// Whether puts and erases wait for it.
    in_step: bool,
    /// How many pages it lacks that are damaged or away elsewhere too, if that was looked at.
    lacks_pages: Option<u64>,
    /// What is the matter with it, if something is.
    error: Option<String>,
}

/// What the engine knows of its store, its cell, its copies and its clock
///
/// Names of users and records are not in it; those of places are.
#[utoipa::path(
    get, path = "/v1/status", tag = "operations",
    responses((status = 200, description = "The status", body = StatusJson))
)]
pub(crate) async fn status(State(app): State<App>, caller: Caller) -> Answer<Json<StatusJson>> {
    caller.may("status")?;
    let status = app.engine().run(|engine| engine.status()).await?;
    let copies = status.copies.into_iter().map(|copy| CopyJson {
        in_step: copy.entry.mode == CopyMode::InStep,
        place: copy.entry.place,
        lacks_pages: copy.lacks_pages,
        error: copy.error.as_deref().map(as_typed),
    });
    Ok(Json(StatusJson {
        version: env!("CARGO_PKG_VERSION"),
        store: status.store.to_string(),
        epoch: status.head.epoch,
        commit: status.head.commit,
        users: status.users,
        blobs: status.usage.blobs,
        bytes: status.usage.bytes,
        lends_for_ms: status.lending.map(|time| time.as_millis() as u64),
        promise: status.cell.to_string(),
        is_final: status.finality.is_final(),
        awaited: status.finality.awaited().iter().map(|it| as_typed(&it.to_string())).collect(),
        unsettled: status.unsettled.as_deref().map(as_typed),
        pending_until: status.pending.map(|at| at.to_string()),
        next_due: status.next_due.map(|at| at.to_string()),
        clock: status.clock.map(|text| {
            // What the library calls a function is a command to whoever runs the service.
            text.replace("Clock::trust", "keyfall tend STORE --clock-is-right")
        }),
        clock_shows: status.clock_shows.to_string(),
        time_known: status.time_known.to_string(),
        credentials_ended: app.book().list().iter().filter(|one| one.ended(now())).count(),
        read_only: status.read_only,
        copies: copies.collect(),
    }))
}

/// Metrics, in Prometheus' text format
///
/// They name no user and no record.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(app): State<App>, caller: Caller) -> Answer<Response> {
    caller.may("status")?;
    // A poisoned engine has metrics too.
    if let Ok(status) = app.engine().run(|engine| engine.status()).await {
        standing::of_engine(&status);
    }
    if let Ok(leaves) = app.engine().run(|engine| engine.log().size()).await {
        standing::of_log(leaves, app.published_leaves());
    }
    standing::of_disks(&free_bytes(&app).await, app.config().min_free_bytes);
    standing::of_retirement(app.watch().awaited().map(|(since, _)| since));
    standing::of_jobs(&app.config().state_dir());
    gauge!("keyfall_poisoned").set(if app.engine().engine().is_poisoned() { 1.0 } else { 0.0 });
    let text = app.metrics().render();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
