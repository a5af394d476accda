//! `keyfall watch`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keyfall::engine::{Changed, Watched};
use keyfall::store::HeadId;
use keyfall::{Engine, Error, Query, RecordId};
use serde_json::json;

use crate::args::WatchArgs;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::shell::stores::open_with_beats;

/// How often it is looked whether something is due.
const EVERY: Duration = Duration::from_millis(500);

/// Keeps the store open, and prints what changes in it.
pub(super) fn run(session: &Session, args: WatchArgs) -> Done {
    let store = one(args.places)?;
    let engine = open_with_beats(session, &store, args.beat)?;
    let began = Instant::now();
    let mut known = Known::new(&engine)?;
    let signs =
        args.beat.map_or_else(String::new, |every| format!(", a sign of life each {every:?}"));
    session.note(&format!("watching {}, from {} on{signs}", store.display(), known.at));
    let mut beaten = None::<Instant>;
    loop {
        engine.run_due(&mut |_| {})?;
        if args.beat.is_some_and(|every| beaten.is_none_or(|at| at.elapsed() >= every)) {
            engine.ownership().beat()?;
            beaten = Some(Instant::now());
        }
        let left = args.time.map_or(EVERY, |time| time.saturating_sub(began.elapsed()));
        if left.is_zero() {
            return Ok(());
        }
        match engine.watch(known.at, left.min(EVERY))? {
            Watched::ListAgain(head) => known.list(session, &engine, head)?,
            Watched::Changes { changes, head } => {
                changes.into_iter().try_for_each(|change| known.take(session, change))?;
                known.at = head;
            }
        }
    }
}

/// The records that are known of: what fell is told by id.
struct Known {
    at: HeadId,
    ids: BTreeSet<RecordId>,
}

impl Known {
    fn new(engine: &Engine) -> Result<Self, Error> {
        // The first call has changes noted; what it gives is the head to begin with.
        let at = match engine.watch(engine.head(), Duration::ZERO)? {
            Watched::ListAgain(head) | Watched::Changes { head, .. } => head,
        };
        Ok(Known { at, ids: listed(engine)? })
    }

    /// Says what a listing shows that was not known.
    fn list(&mut self, session: &Session, engine: &Engine, head: HeadId) -> Done {
        let now = listed(engine)?;
        self.ids.difference(&now).try_for_each(|id| tell(session, "fell", id))?;
        now.difference(&self.ids).try_for_each(|id| tell(session, "put", id))?;
        (self.at, self.ids) = (head, now);
        Ok(())
    }

    fn take(&mut self, session: &Session, change: Changed) -> Done {
        match change {
            Changed::Put(id) if self.ids.insert(id) => tell(session, "put", &id),
            Changed::Fell(fallen) => {
                let fell: Vec<RecordId> =
                    self.ids.iter().filter(|id| fallen.takes(id)).copied().collect();
                fell.iter().try_for_each(|id| {
                    self.ids.remove(id);
                    tell(session, "fell", id)
                })
            }
            _ => Ok(()),
        }
    }
}

/// The ids of all records.
fn listed(engine: &Engine) -> Result<BTreeSet<RecordId>, Error> {
    let (mut ids, mut query) = (BTreeSet::new(), Query::default().limit(10_000));
    loop {
        let page = engine.list(&query)?;
        ids.extend(page.records.iter().map(|record| record.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(ids),
        }
    }
}

fn tell(session: &Session, what: &str, id: &RecordId) -> Done {
    let id = id.to_string();
    if session.json {
        line(json!({"change": what, "id": id}))
    } else {
        line(format!("{what} {id}"))
    }
}
