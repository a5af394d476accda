//! A service that stands by: it waits until the writer of its store is gone, and takes its place.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum_server::Handle;
use keyfall::opening::{Beside, StandBy};
use keyfall::{AsyncEngine, Builder, Error, ErrorKind};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::door::Door;
use crate::remedy::{as_typed, typed};

/// For so long a wait that was told to end may take.
const ENDS: Duration = Duration::from_secs(2);
/// So often a service beside which another may stand by looks whether it was replaced.
const LOOKS: Duration = Duration::from_secs(2);
/// So often any other one on a store that machines share.
const LOOKS_SELDOM: Duration = Duration::from_secs(30);

/// Waits beside the store and opens it; `None` if it was told to stop before.
///
/// # Errors
/// As [`Builder::stand_by`].
pub(crate) async fn wait(
    builder: Builder,
    gone_after: Duration,
    door: &Door,
) -> Result<Option<AsyncEngine>, Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = Arc::new(AtomicBool::new(false));
    let (door, ends) = (door.clone(), Arc::clone(&ended));
    let mut opened = tokio::task::spawn_blocking(move || {
        let (how, mut told) = (StandBy::new().gone_after(gone_after), None);
        let mut see = |beside: &Beside| {
            tell(&door, beside, &mut told);
            match ends.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        builder.stand_by(&how, &mut see)
    });
    tokio::select! {
        opened = &mut opened => return Ok(opened?.map_err(typed)?.map(AsyncEngine::new)),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    ended.store(true, Ordering::Relaxed);
    match tokio::time::timeout(ENDS, opened).await {
        // It took over just now: an end without closing loses nothing.
        Ok(opened) => opened?.map(drop)?,
        Err(_) => tracing::warn!("ended while the store did not answer"),
    }
    Ok(None)
}

/// Reports what was seen: in answers to requests, and in the log once for each change.
fn tell(door: &Door, beside: &Beside, told: &mut Option<&'static str>) {
    let why = match beside {
        Beside::Untold => {
            "it stands by, and never takes over: no service of this store ever left a sign of \
             life; start the first one without `standby`, and with `beat`"
        }
        Beside::Gone(_) => "it takes the store over",
        Beside::Away(_) => "it stands by, and the store cannot be asked; its log says why",
        Beside::Failed(_) => "it stands by still: it could not take over; its log says why",
        _ => "it stands by: another one serves the store",
    };
    door.says(why);
    if told.replace(why) == Some(why) {
        return;
    }
    match beside {
        Beside::Away(e) | Beside::Failed(e) => {
            tracing::warn!("{why}: {}", as_typed(&e.to_string()));
        }
        Beside::Gone(quiet) => tracing::info!("no sign of life for {quiet:.1?}: {why}"),
        _ => tracing::info!("{why}"),
    }
}

/// Ends the service once another one has taken its store over: started again, it stands by.
pub(crate) async fn end_if_replaced(app: App, handle: Handle<std::net::SocketAddr>) {
    let every = if app.config().beat().is_some() { LOOKS } else { LOOKS_SELDOM };
    let mut told = None;
    loop {
        tokio::time::sleep(every).await;
        let Some(why) = replaced_by(&app, &mut told).await else { continue };
        tracing::error!("{}: {}", replaced(), as_typed(&why.to_string()));
        app.stop();
        app.replaced().store(true, Ordering::Relaxed);
        handle.graceful_shutdown(Some(LOOKS));
        return;
    }
}

/// What says that another place, or another engine, has the store. What else keeps a service from
/// going on after a failed write the log tells, once.
async fn replaced_by(app: &App, told: &mut Option<String>) -> Option<Error> {
    // One request to the store, if nothing was asked of it lately. An engine whose last write has an
    // unknown outcome asks nothing: to go on it finds out, or that another one has the store.
    let asked = app.engine().run(|engine| match engine.is_poisoned() {
        true => engine.reopen().inspect(|()| tracing::warn!("it goes on after a failed write")),
        false => engine.log().size().map(drop),
    });
    let e = asked.await.err()?;
    if matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Mismatch) {
        return Some(e);
    }
    let why = as_typed(&e.to_string());
    if told.as_ref() != Some(&why) {
        tracing::warn!("the store cannot be asked; it is tried again: {why}");
        *told = Some(why);
    }
    None
}

/// Why a service that was replaced ends.
pub(crate) fn replaced() -> Error {
    let text = "another service has taken the store over, and this one ended; start it again, and \
                with `standby` it waits beside that one";
    Error::new(ErrorKind::Fenced, text)
}
