//! A standby: it waits beside a store that machines share until the writer is gone, and takes its
//! place.
//!
//! Invariant. Safety rests on the claim alone. A standby that takes a writer for gone that is not
//! costs it its store, and nobody anything that was acknowledged. It claims over what it looked at
//! last, and over nothing else: so of two standbys one becomes the writer, and the other one sees
//! that something came, and goes on waiting.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::RootCell;
use crate::engine::{OpenAs, Prepared, check_beat, prepare};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Pulse, Store};
use crate::tree::head::Prefix;
use crate::{Engine, Options};

type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// How a standby waits, and when it takes the writer for gone.
#[derive(Clone)]
pub struct StandBy {
    every: Duration,
    gone_after: Duration,
    probe: Option<Probe>,
}

impl std::fmt::Debug for StandBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StandBy(every {:?}, gone after {:?})", self.every, self.gone_after)
    }
}

impl Default for StandBy {
    fn default() -> Self {
        Self::new()
    }
}

impl StandBy {
    /// Looks once a second, and takes the writer for gone after 10 seconds without a sign of life.
    pub fn new() -> Self {
        let (every, gone_after) = (Duration::from_secs(1), Duration::from_secs(10));
        StandBy { every, gone_after, probe: None }
    }

    /// Looks this often.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        StandBy { every, ..self }
    }

    /// Takes the writer for gone after this time without a commit, a sign of life or a probe that
    /// succeeded: more than twice the writer's [`Options::beat`](crate::Options::beat).
    #[must_use]
    pub fn gone_after(self, time: Duration) -> Self {
        StandBy { gone_after: time, ..self }
    }

    /// Asks this at each look: while it says yes, the writer lives. With it the writer need not
    /// leave signs of life.
    #[must_use]
    pub fn probe(self, lives: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        StandBy { probe: Some(Arc::new(lives)), ..self }
    }
}

/// What a standby has found out at one look.
#[derive(Debug)]
#[non_exhaustive]
pub enum Beside {
    /// There was no sign of life for this long.
    Quiet(Duration),
    /// No sign of life was ever left here, and there is no probe: a writer that is gone cannot be
    /// told from one that has nothing to do, and is never taken for gone.
    Untold,
    /// The writer is taken for gone, after this long without a sign of life: the store is claimed
    /// next.
    Gone(Duration),
    /// The store could not be asked: the writer may be unable to leave a sign, and is given time.
    Away(Error),
    /// The writer was taken for gone, and this standby could not take its place: another one was
    /// first, or the cell is away. It goes on waiting.
    Failed(Error),
}

/// Is told at each look; says whether to go on.
pub type See<'a> = &'a mut dyn FnMut(&Beside) -> ControlFlow<()>;

/// Waits until the writer is gone, and opens the store in its place.
pub(super) fn stand_by(
    options: &Options,
    store: &dyn Fn() -> Result<Arc<dyn Store>>,
    cell: &dyn Fn() -> Result<Arc<dyn RootCell>>,
    how: &StandBy,
    see: See<'_>,
) -> Result<Option<Engine>> {
    if options.open_as != OpenAs::Owner {
        let text = "a standby becomes the owner of the store: it neither looks nor takes over";
        return Err(Error::invalid(text));
    }
    check_beat(options)?;
    // A cell that can never do is refused before anything is asked.
    cell()?;
    loop {
        let store = match store() {
            Err(e) if e.kind() == ErrorKind::Io => {
                if see(&Beside::Away(e)).is_break() {
                    return Ok(None);
                }
                options.env.sleep(how.every);
                continue;
            }
            opened => opened?,
        };
        // What is wrong with the cell is known before it is needed, and again before each claim.
        let fits = || -> Result<Arc<dyn RootCell>> {
            let cell = cell()?;
            check_fits(&*store, &*cell)?;
            Ok(cell)
        };
        fits()?;
        let Some((seen, Fit { cell, prepared })) = wait(&*store, options, how, &fits, see)? else {
            return Ok(None);
        };
        store.expect(&seen);
        let (store, options) = (Arc::clone(&store), options.clone());
        let failed = match Engine::open_prepared(store, cell, options, prepared.as_ref()) {
            Ok(engine) => {
                let why = engine.read_only().map(|why| Error::new(ErrorKind::Fenced, why));
                return why.map_or(Ok(Some(engine)), Err);
            }
            Err(e) => e,
        };
        match failed.kind() {
            ErrorKind::Fenced | ErrorKind::Io | ErrorKind::Locked => {}
            _ => return Err(failed),
        }
        if see(&Beside::Failed(failed)).is_break() {
            return Ok(None);
        }
    }
}

/// Refuses a cell that does not open the store: another store's, or one that has no key of its
/// head. What does not answer now is not judged.
fn check_fits(store: &dyn Store, cell: &dyn RootCell) -> Result<()> {
    for tries_left in [true, false] {
        let Ok(Some(head)) = store.head() else { return Ok(()) };
        let prefix = Prefix::decode(&head.bytes)?;
        let Ok(contents) = cell.load() else {
            // A list that lacks most keyholders of today cannot be told from silence by the keys.
            return cell.check_kept(&prefix.root_id());
        };
        let is_another = contents.store.is_some_and(|there| there != prefix.store);
        if !is_another && contents.may_have(&prefix.root_id()) {
            return cell.check_kept(&prefix.root_id());
        }
        // The writer may have begun an epoch between the two looks.
        if is_another || !tries_left {
            if !is_another {
                cell.check_kept(&prefix.root_id())?;
            }
            let text = format!(
                "the cell {} {}; name this store's own with `Builder::cell_at`",
                cell.describe().place,
                if is_another {
                    format!("belongs to another store than {}", store.place())
                } else {
                    format!("holds no key of what is in {}", store.place())
                }
            );
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
    }
    Ok(())
}

/// A cell that fits, and what else was found then. `None`: what stands in the way of that is found
/// when the store is opened.
struct Fit {
    cell: Arc<dyn RootCell>,
    prepared: Option<Prepared>,
}

/// Waits until the writer is gone. Gives what was seen last, over which a claim may come, and the
/// cell; `None` if the waiting was ended. Once half the time is over without a sign of life, the
/// cell is looked at: whoever has put another one in its place meanwhile hears of it, and the one
/// that fits is at hand when it is needed. What else an opening looks at before it claims is looked
/// at then, too.
fn wait(
    store: &dyn Store,
    options: &Options,
    how: &StandBy,
    fits: &dyn Fn() -> Result<Arc<dyn RootCell>>,
    see: See<'_>,
) -> Result<Option<(Pulse, Fit)>> {
    let env: &dyn Env = &*options.env;
    let (mut seen, mut fit) = (Seen { pulse: None, since: env.monotonic() }, None);
    loop {
        let beside = beside(store, env, how, &mut seen)?;
        let quiet = match beside {
            Beside::Quiet(quiet) => quiet,
            _ => Duration::ZERO,
        };
        match quiet {
            Duration::ZERO => fit = None,
            quiet if fit.is_none() && quiet >= how.gone_after / 2 => {
                let asked = env.monotonic();
                let cell = fits()?;
                let prepared = prepare(store, &*cell, options).ok();
                fit = Some(Fit { cell, prepared });
                if is_slow(asked, env, how) {
                    seen.since = env.monotonic();
                    continue;
                }
            }
            _ => {}
        }
        // A look at everything: what came may have been removed again.
        let asked = env.monotonic();
        if let Some(fit) = fit.take_if(|_| quiet >= how.gone_after) {
            match look(store, None) {
                Ok(now) if seen.pulse != Some(now) => {
                    (seen.pulse, seen.since) = (Some(now), env.monotonic());
                }
                Ok(now) if !is_slow(asked, env, how) => {
                    let ended = see(&Beside::Gone(seen.quiet(env))).is_break();
                    return Ok((!ended).then_some((now, fit)));
                }
                Err(e) if e.kind() != ErrorKind::Io => return Err(e),
                _ => {}
            }
        }
        if see(&beside).is_break() {
            return Ok(None);
        }
        env.sleep(how.every);
    }
}

/// What was seen of the writer last, and since when nothing else was.
struct Seen {
    pulse: Option<Pulse>,
    since: Duration,
}

impl Seen {
    fn quiet(&self, env: &dyn Env) -> Duration {
        env.monotonic().saturating_sub(self.since)
    }
}

/// Looks once.
fn beside(store: &dyn Store, env: &dyn Env, how: &StandBy, seen: &mut Seen) -> Result<Beside> {
    let asked = env.monotonic();
    let looked = look(store, seen.pulse);
    let slow = is_slow(asked, env, how);
    if slow {
        // Nor could the writer leave a sign meanwhile.
        seen.since = env.monotonic();
    }
    let beside = match looked {
        Ok(now) if seen.pulse != Some(now) => {
            (seen.pulse, seen.since) = (Some(now), env.monotonic());
            Beside::Quiet(Duration::ZERO)
        }
        Ok(now) => match &how.probe {
            Some(probe) if probe() => {
                seen.since = env.monotonic();
                Beside::Quiet(Duration::ZERO)
            }
            None if !now.signs => Beside::Untold,
            _ => Beside::Quiet(seen.quiet(env)),
        },
        Err(e) if e.kind() == ErrorKind::Io => {
            seen.since = env.monotonic();
            Beside::Away(e)
        }
        Err(e) => return Err(e),
    };
    Ok(match beside {
        Beside::Quiet(_) if slow => Beside::Away(slow_look(how)),
        beside => beside,
    })
}

/// Whether a look took so long that the store did not answer for most of that. It is much longer
/// than a request takes far away: else a standby there would never take over.
fn is_slow(asked: Duration, env: &dyn Env, how: &StandBy) -> bool {
    env.monotonic().saturating_sub(asked) > how.every.max(how.gone_after / 2)
}

fn slow_look(how: &StandBy) -> Error {
    let text = format!(
        "it took the store longer to answer than half the time after which its writer is taken for \
         gone, {:?}; if it always does, wait longer",
        how.gone_after
    );
    Error::new(ErrorKind::Io, text)
}

fn look(store: &dyn Store, seen: Option<Pulse>) -> Result<Pulse> {
    store.pulse(seen)?.ok_or_else(|| {
        let text = format!(
            "{} is on this machine alone, and one process at a time has it open: a standby waits \
             beside a store on objects or in PostgreSQL; here `Builder::wait_for_lock` waits",
            store.place()
        );
        Error::new(ErrorKind::Refused, text)
    })
}
