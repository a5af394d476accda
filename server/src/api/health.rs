//! Whether the service lives, and whether it can take requests.

use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use keyfall::ErrorKind;
use keyfall::opening::{on_the_ground, url_of};
use rustix::fs::{Access, access, statvfs};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::Config;
use crate::logging::Seldom;
use crate::remedy::as_typed;
use crate::watch::Matter;

/// What is looked at, in the order in which it is told.
const CHECKS: &[&str] = &["service", "engine", "store", "state", "disk", "cell", "copies", "due"];

/// For so long a file system may take to answer.
const ANSWERS: Duration = Duration::from_secs(2);

/// Whether the process lives
///
/// For whoever restarts what does not answer. It says nothing of the store; `/livez` is the same.
#[utoipa::path(
    get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain"))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether a service takes requests, and why not.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether it does.
    ready: bool,
    /// Each thing that was looked at, with `ok` or what is the matter.
    #[schema(value_type = BTreeMap<String, String>)]
    checks: Map<String, Value>,
}

/// Whether the service takes requests
///
/// Each check has its name, with `ok` or what is the matter. Nothing in it names a place, a user
/// or a record.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "It does", body = Readiness, example = json!({
            "ready": true, "checks": {"service": "ok", "engine": "ok", "store": "ok"}
        })),
        (status = 503, description = "It does not, or not yet: send requests elsewhere, or later",
            body = Readiness,
            headers(("Retry-After" = u64, description = "Seconds until it is worth asking"))),
    )
)]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let mut matters = app.watch().matters();
    if app.stopping() {
        matters.push(("service", "it stops; ask another one".to_owned()));
    }
    if app.engine().engine().is_poisoned() {
        let why = if url_of(&app.config().store).is_some() {
            "a write failed with an unknown outcome, or the store lost what it had; the service \
             tries to go on by itself, and its log says what keeps it from that"
        } else {
            "a write failed with an unknown outcome; start the service again"
        };
        matters.push(("engine", why.to_owned()));
    }
    let (asked, places) = tokio::join!(asked(&app), places(&app));
    matters.extend(asked);
    matters.extend(places);
    let said = |check: &&str| {
        let of = |matter: &&Matter| matter.0 == *check;
        let reasons: Vec<&str> = matters.iter().filter(of).map(|(_, why)| why.as_str()).collect();
        let said = if reasons.is_empty() { "ok".to_owned() } else { reasons.join("; ") };
        ((*check).to_owned(), Value::String(said))
    };
    let checks: Map<String, Value> = CHECKS.iter().map(said).collect();
    let ready = matters.is_empty();
    let json = Json(Readiness { ready, checks });
    match ready {
        true => ([(CACHE_CONTROL, "no-store")], json).into_response(),
        false => {
            let headers = [(CACHE_CONTROL, "no-store"), (RETRY_AFTER, "5")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, json).into_response()
        }
    }
}

/// What is the matter with the engine, if it takes no call, or with a store at a URL, which is asked
/// if nothing was lately.
async fn asked(app: &App) -> Option<Matter> {
    let is_far = url_of(&app.config().store).is_some();
    let asked = app.engine().run(|engine| engine.log().size());
    match tokio::time::timeout(ANSWERS, asked).await {
        Err(_) => {
            let what = if is_far { "store" } else { "engine" };
            Some((what, format!("it does not answer within {} s", ANSWERS.as_secs())))
        }
        // What a call gives of a store here is looked at elsewhere.
        Ok(Err(e)) if is_far => {
            // Why the engine takes nothing is told where it is tried to go on.
            if e.kind() != ErrorKind::Poisoned {
                tell_why(&e);
            }
            Some(("store", cause(e.kind()).to_owned()))
        }
        Ok(_) => None,
    }
}

/// Has the log say why the store cannot be asked: whoever asks is told too little, and no request
/// may come that fails.
fn tell_why(e: &keyfall::Error) {
    static TOLD: Seldom = Seldom::new();
    if TOLD.is_due() {
        tracing::warn!("the store cannot be asked: {}", as_typed(&e.to_string()));
    }
}

/// Why a store at a URL could not be asked.
fn cause(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Poisoned => "it is not asked until the engine goes on",
        ErrorKind::Fenced => "another one has taken it over",
        _ => "it cannot be asked; the log says why",
    }
}

/// What is the matter with the directories.
async fn places(app: &App) -> Vec<Matter> {
    let config = app.config().clone();
    let looked = tokio::task::spawn_blocking(move || look(&config));
    match tokio::time::timeout(ANSWERS, looked).await {
        Ok(Ok(matters)) => matters,
        _ => vec![("disk", format!("it does not answer within {} s", ANSWERS.as_secs()))],
    }
}

fn look(config: &Config) -> Vec<Matter> {
    let (state, cell) = (config.state_dir(), config.cell_dir());
    let mut matters: Vec<Matter> = [("store", &config.store), ("state", &state), ("cell", &cell)]
        .into_iter()
        .filter(|(_, place)| url_of(place).is_none())
        .filter_map(|(name, place)| Some((name, unwritable(place)?)))
        .collect();
    let least = config.min_free_bytes;
    if let Some(free) = disks(config).into_iter().map(|(_, free)| free).min()
        && free < least
    {
        matters.push(("disk", format!("{free} bytes are free, of the {least} that must be")));
    }
    matters
}

/// How many bytes are free where the store, the cell and the service's own state are, of those that
/// are on a disk here: a store at a `file:///` URL is.
fn disks(config: &Config) -> Vec<(&'static str, u64)> {
    let cell = config.cell_dir();
    let free = |place: &Path| {
        let space = statvfs(on_the_ground(place)).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    };
    let state = config.state_dir();
    let places = [("store", &config.store), ("cell", &cell), ("state", &state)];
    places.into_iter().filter_map(|(name, at)| Some((name, free(at)?))).collect()
}

/// The same as [`disks`], for the metrics: nothing of a disk that does not answer.
pub(crate) async fn free_bytes(app: &App) -> Vec<(&'static str, u64)> {
    let config = app.config().clone();
    let looked = tokio::task::spawn_blocking(move || disks(&config));
    tokio::time::timeout(ANSWERS, looked).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Why a directory cannot be written to, if it cannot.
fn unwritable(place: &Path) -> Option<String> {
    let error = access(place, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let error = std::io::Error::from(error);
    Some(format!("its directory cannot be written to: {error}"))
}
