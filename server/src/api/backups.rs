//! Backups: made by the process that has the store open.

use std::io;
use std::path::Path;
use std::thread;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use keyfall::engine::Backup;
use keyfall::opening::{absolute, copy_to_write};
use keyfall::{Engine, Error, ErrorKind};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::{Answer, Problem};
use crate::standing::{Job, succeeded};

/// What a backup came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupAnswer {
    /// The epoch of the state that it holds.
    epoch: Option<u64>,
    /// The commit of the state that it holds.
    commit: Option<u64>,
    /// Blobs that it lacked.
    blobs: u64,
    /// Their bytes.
    bytes: u64,
}

/// Makes a backup, or brings it up to date
///
/// It goes to the place that the service was told (`backup`) and has no key in it. What that place
/// has already is not copied again. Reads, puts and erases go on meanwhile. The answer comes when
/// it is whole.
#[utoipa::path(
    post, path = "/v1/backups", tag = "operations",
    responses(
        (status = 200, description = "The backup is whole", body = BackupAnswer),
        (status = 409, description = "The service was told no place for backups, or one that cannot be used; its log says why"),
    )
)]
pub(crate) async fn back_up(State(app): State<App>, caller: Caller) -> Answer<Json<BackupAnswer>> {
    caller.may("backup")?;
    let Some(place) = app.config().backup.clone() else {
        let detail = "this service was told no place for backups; set `backup`";
        return Err(Problem::new(StatusCode::CONFLICT, "refused", detail));
    };
    let (engine, state) = (app.engine().engine().clone(), app.config().state_dir());
    let (tell, told) = oneshot::channel();
    // No thread of the runtime: its end would wait for a backup that takes hours.
    let thread = thread::Builder::new().name("keyfalld-backup".to_owned());
    let make = move || {
        let made = make(&engine, &place);
        drop(engine);
        let made = made.inspect(|_| tell_that_it_was_made(&state));
        // Whoever asked may have gone away.
        drop(tell.send(made));
    };
    thread.spawn(make).map_err(Problem::of_io)?;
    let made = told.await.map_err(|_| Problem::internal())?;
    let Backup { head, blobs, bytes, .. } = made.inspect_err(|e| tracing::error!("backup: {e}"))?;
    let (epoch, commit) = (head.map(|head| head.epoch), head.map(|head| head.commit));
    Ok(Json(BackupAnswer { epoch, commit, blobs, bytes }))
}

fn make(engine: &Engine, place: &Path) -> Result<Backup, Error> {
    let whole = absolute(place)?;
    for copy in engine.copies().list() {
        if absolute(Path::new(&copy.place))? == whole {
            let text = "the place for backups is a registered copy of the store; name another";
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    engine.backup(&*copy_to_write(place)?, &mut |_| {})
}

fn tell_that_it_was_made(state: &Path) {
    if let Err(e) = succeeded(Job::Backup, state) {
        let e: io::Error = e;
        tracing::warn!("a backup was made, and the metrics do not say so: {e}");
    }
}
