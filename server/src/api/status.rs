//! What operators look at.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::gauge;
use serde_json::{Value, json};

use crate::api::health::free_bytes;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::Answer;
use crate::standing;
use crate::words::now;

/// What the engine knows of its store, its cell, its copies and its clock
#[utoipa::path(
    get, path = "/v1/status", tag = "operations",
    responses((status = 200, description = "The status", body = Value))
)]
pub(crate) async fn status(State(app): State<App>, caller: Caller) -> Answer<Json<Value>> {
    caller.may("status")?;
    let status = app.engine().run(|engine| engine.status()).await?;
    let copies = status.copies.iter().map(|copy| {
        json!({
            "place": copy.entry.place,
            "in_step": copy.entry.mode == keyfall::engine::CopyMode::InStep,
            "lacks_pages": copy.lacks_pages,
            "error": copy.error,
        })
    });
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "store": status.store.to_string(),
        "epoch": status.head.epoch,
        "commit": status.head.commit,
        "users": status.users,
        "blobs": status.usage.blobs,
        "bytes": status.usage.bytes,
        "lends_for_ms": status.lending.map(|time| time.as_millis() as u64),
        "promise": status.cell.to_string(),
        "final": status.finality.is_final(),
        "awaited": status.finality.awaited().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unsettled": status.unsettled,
        "pending_until": status.pending.map(|at| at.to_string()),
        "next_due": status.next_due.map(|at| at.to_string()),
        "clock": status.clock,
        "clock_shows": status.clock_shows.to_string(),
        "time_known": status.time_known.to_string(),
        "credentials_ended": app.book().list().iter().filter(|one| one.ended(now())).count(),
        "read_only": status.read_only,
        "copies": copies.collect::<Vec<_>>(),
    })))
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
