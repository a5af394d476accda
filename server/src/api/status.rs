//! What operators look at.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use keyfall::engine::Status;
use metrics::gauge;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::Answer;
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
        "promise": status.cell.to_string(),
        "final": status.finality.is_final(),
        "awaited": status.finality.awaited().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unsettled": status.unsettled,
        "pending_until": status.pending.map(|at| at.to_string()),
        "next_due": status.next_due.map(|at| at.to_string()),
        "clock": status.clock,
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
        gauges(&status);
    }
    gauge!("keyfall_poisoned").set(if app.engine().engine().is_poisoned() { 1.0 } else { 0.0 });
    let text = app.metrics().render();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Sets what is read from the engine when it is asked for.
fn gauges(status: &Status) {
    let late = |at: Option<keyfall::Timestamp>| {
        let at = at.map_or(u64::MAX, keyfall::Timestamp::as_millis);
        now().as_millis().saturating_sub(at) as f64 / 1000.0
    };
    gauge!("keyfall_users").set(status.users as f64);
    gauge!("keyfall_store_bytes").set(status.usage.bytes as f64);
    gauge!("keyfall_due_overdue_seconds").set(late(status.next_due));
    gauge!("keyfall_erase_pending").set(if status.finality.is_final() { 0.0 } else { 1.0 });
    for (number, copy) in status.copies.iter().enumerate() {
        let up = if copy.error.is_none() { 1.0 } else { 0.0 };
        gauge!("keyfall_copy_up", "copy" => number.to_string()).set(up);
    }
    let memory = &status.memory;
    let locked = memory.mapped.saturating_sub(memory.unlocked);
    gauge!("keyfall_secret_memory_bytes", "state" => "locked").set(locked as f64);
    gauge!("keyfall_secret_memory_bytes", "state" => "unlocked").set(memory.unlocked as f64);
}
