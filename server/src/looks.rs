//! Looks at what says nothing by itself: copies in step, keyholders, users who were erased. So the
//! service knows how it stands although nobody writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::engine::{CopyEntry, CopyMode};
use keyfall::env::{SharedEnv, System};
use keyfall::observer::AwaitedBy;
use keyfall::quorum::QuorumCell;
use keyfall::quorum::net::open_cell;
use keyfall::{Engine, ErrorKind, UserHandle};

use crate::app::App;
use crate::config::Config;
use crate::standing;
use crate::watch::{Reach, Watch};

/// From the end of a look to the next.
const EVERY: Duration = Duration::from_secs(2);
/// For so long connections to keyholders are kept: the list of them may change.
const KEPT: Duration = Duration::from_secs(60);
/// Users who were erased are looked for at least so often.
const FORGETS: Duration = Duration::from_secs(60);

/// Looks at the copies in step again and again, and has finished what waited for one of them.
pub(crate) async fn at_copies(app: App) {
    loop {
        if app.watch().owns() && !app.engine().engine().is_poisoned() {
            let watch = app.share_watch();
            watch.looks(true);
            let looked = app.engine().run(move |engine| {
                look(engine, &watch);
                Ok(())
            });
            // It ends with the engine.
            let _ = looked.await;
            app.watch().looks(false);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn look(engine: &Engine, watch: &Watch) {
    let copies = engine.copies().list().into_iter().zip(0u64..);
    let in_step: Vec<_> = copies.filter(|(copy, _)| copy.mode == CopyMode::InStep).collect();
    let away = |(copy, number): &(CopyEntry, u64)| {
        (!is_in_step(engine, copy, watch.is_away(*number))).then_some(*number)
    };
    let away: Vec<u64> = in_step.iter().filter_map(away).collect();
    watch.copies_away(&away);
    // What is awaited was finished with the copy that it waited for, or is asked for now. Why not,
    // the engine tells the watch.
    match watch.awaited().map(|(_, by)| by) {
        Some(AwaitedBy::Keyholders { .. }) if watch.may_answer() => {
            let _ = engine.run_due(&mut |_| {});
        }
        Some(AwaitedBy::Engine) if away.is_empty() && watch.has_quorum() => {
            let _ = engine.status();
        }
        _ => {}
    }
}

/// Whether a copy can be reached and has every commit; `missed` says that it lacked one.
fn is_in_step(engine: &Engine, copy: &CopyEntry, missed: bool) -> bool {
    let answers = || {
        let open = engine.copies().attached(&copy.place);
        open.is_some_and(|store| store.head().is_ok_and(|head| head.is_some()))
    };
    if !missed && answers() {
        return true;
    }
    // Opens it, and brings it what it lacks.
    engine.copies().sync(Some(&copy.place), &mut |_| {}).is_ok() && answers()
}

/// Asks the keyholders again and again, if the cell has any, which of them are there.
pub(crate) async fn at_keyholders(app: App) {
    let mut cell: Option<(Instant, QuorumCell)> = None;
    loop {
        let kept = cell.take().filter(|(since, _)| since.elapsed() < KEPT);
        let config = app.config().clone();
        // A keyholder that hangs holds up this loop, and no request.
        let asked = tokio::task::spawn_blocking(move || ask(kept, &config)).await;
        let (reach, again) = asked.unwrap_or_default();
        cell = again;
        app.watch().keyholders(reach);
        tokio::time::sleep(EVERY).await;
    }
}

/// A cell of keyholders, and since when it is open.
type Kept = Option<(Instant, QuorumCell)>;

fn ask(kept: Kept, config: &Config) -> (Option<Reach>, Kept) {
    let env: SharedEnv = Arc::new(System);
    let open = || Some((Instant::now(), open_cell(&config.cell_dir(), &env).ok()??));
    match kept.or_else(open) {
        Some((since, cell)) => (Some(standing::of_keyholders(&cell)), Some((since, cell))),
        None => (None, None),
    }
}

/// Takes users who were erased out of the credentials, whoever erased them and in which process:
/// now, a plan that was due, the page, the command line.
pub(crate) async fn at_the_erased(app: App) {
    loop {
        let listed = app.book().handles();
        let found = app.engine().run(move |engine| Ok(erased(engine, listed))).await;
        for handle in found.unwrap_or_default() {
            if app.book().forget(&handle).is_err() {
                tracing::warn!("a credential still lists the handle of a user who was erased");
            }
        }
        let fell = app.watch().fell.notified();
        let _ = tokio::time::timeout(FORGETS, fell).await;
    }
}

/// Those of some handles whose users were erased.
fn erased(engine: &Engine, handles: BTreeSet<String>) -> Vec<String> {
    let is_erased = |handle: &String| {
        let user = handle.parse::<UserHandle>().map(|handle| engine.user_of(&handle));
        matches!(user, Ok(Err(e)) if e.kind() == ErrorKind::Erased)
    };
    handles.into_iter().filter(is_erased).collect()
}
