//! `keyfall keyholder status`, and what is awaited of keyholders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keyfall::cell::RootCell;
use keyfall::promise::{Finality, RootId};
use keyfall::quorum::net::{leaving, open_cell};
use keyfall::quorum::{Alive, Left, Member, QuorumCell, Rule, Standing};
use keyfall::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::commands::keyholder::epoch::{live, quorum_of};
use crate::shell::cells::env;
use crate::shell::failure::Done;
use crate::shell::print::{block, line, table};
use crate::shell::session::Session;

/// Shows the state of each keyholder of a store.
pub(super) fn run(session: &Session, store: &Path) -> Done {
    let place = session.cell_of(store)?;
    let quorum = quorum_of(&place)?;
    let root = live(session, store, &quorum)?;
    let older = older(&place, &root);
    if let Some(e) = &older {
        session.warn(e);
    }
    let circle = Circle::look(&quorum, &root, leaving(&place)?);
    if session.json {
        let mut value = circle.json(session);
        value["list_is_newest"] = older.is_none().into();
        session.value(&value)
    } else {
        circle.tell(session)
    }
}

/// Why the list that is kept here is not the newest, if keyholders tell of another: then what is
/// said of them is about those that it names, and others may have taken their places.
fn older(place: &Path, root: &RootId) -> Option<Error> {
    let look = || -> Result<(), Error> {
        let quorum = quorum_of(place)?;
        quorum.load()?;
        quorum.check_kept(root)
    };
    // Once more, for an engine may have begun an epoch in between.
    let is_older = |e: &Error| e.kind() == ErrorKind::Mismatch;
    look().err().filter(is_older).and_then(|_| look().err()).filter(is_older)
}

/// The keyholders of a store, and those that were replaced, as they are towards one root key.
struct Circle {
    epoch: u64,
    rule: Rule,
    all: Vec<Alive>,
    replaced: Vec<Gone>,
    /// Whether keyholders were asked to destroy the shares of earlier epochs.
    asked: bool,
}

/// A keyholder that was replaced.
struct Gone {
    left: Left,
    alive: Alive,
}

/// How a keyholder stands, and what that means.
struct Told {
    standing: &'static str,
    why: String,
}

impl Circle {
    fn look(quorum: &QuorumCell, root: &RootId, leaving: Vec<Left>) -> Circle {
        let (mut all, epoch, rule) = (quorum.standing_of_all(root), root.epoch, quorum.rule());
        let gone = all.split_off(all.len().saturating_sub(leaving.len()));
        let replaced = leaving.into_iter().zip(gone).map(|(left, alive)| Gone { left, alive });
        // As many as may lie count for nothing.
        let ended = all.iter().filter(|alive| alive.committed >= epoch).count();
        let asked = ended > usize::from(rule.liars);
        Circle { epoch, rule, replaced: replaced.collect(), all, asked }
    }

    /// How many keyholders hold a share.
    fn holding(&self) -> usize {
        self.all.iter().filter(|alive| alive.holds).count()
    }

    /// How many shares there are. Those of replaced keyholders count too; the keyholder that left a
    /// place and the one that took it may have the same.
    fn shares(&self) -> usize {
        let replaced = self.replaced.iter().filter(|gone| gone.alive.holds).map(|gone| gone.left.x);
        let there = (1_u8..).zip(&self.all).filter(|(_, alive)| alive.holds).map(|(x, _)| x);
        replaced.chain(there).collect::<BTreeSet<u8>>().len()
    }

    fn json(&self, session: &Session) -> Value {
        let each = self.all.iter().enumerate().map(|(n, alive)| {
            let told = self.told(alive);
            json!({
                "number": n + 1, "place": alive.place, "standing": told.standing, "why": told.why,
                "holds": alive.holds, "ended": alive.committed,
            })
        });
        let leaving = self.replaced.iter().map(|gone| {
            let member = &gone.left.member;
            json!({
                "key": member.key, "place": member.address, "awaited": gone.awaited(session),
                "until": gone.left.until, "standing": self.told(&gone.alive).standing,
            })
        });
        let holding = self.holding();
        json!({
            "epoch": self.epoch, "holding": holding,
            "replaced_holding": self.shares().saturating_sub(holding),
            "threshold": self.rule.threshold, "margin": self.rule.margin,
            "keyholders": each.collect::<Vec<_>>(), "leaving": leaving.collect::<Vec<_>>(),
        })
    }

    fn tell(&self, session: &Session) -> Done {
        let (n, holding, shares) = (self.all.len(), self.holding(), self.shares());
        let threshold = usize::from(self.rule.threshold);
        let wanted = threshold + usize::from(self.rule.margin);
        let margin = match shares.checked_sub(threshold) {
            Some(0) => "none may be lost".to_owned(),
            Some(more) => format!("{more} may be lost"),
            None => "so it cannot be recovered: start the others".to_owned(),
        };
        let waits =
            if holding < wanted.min(n) { "; nothing is destroyed before more hold it" } else { "" };
        let more = match shares.saturating_sub(holding) {
            0 => String::new(),
            more => format!(" and {more} that were replaced"),
        };
        line(format_args!(
            "root key of epoch {}: held by {holding} of {n}{more}, {threshold} are needed, \
             {margin}{waits}",
            self.epoch
        ))?;
        let rows = self.all.iter().enumerate().map(|(n, alive)| {
            let told = self.told(alive);
            vec![(n + 1).to_string(), alive.place.clone(), told.standing.to_owned(), told.why]
        });
        block(table(&["", "keyholder", "stands", ""], rows))?;
        self.replaced.iter().try_for_each(|gone| {
            let Member { key, address } = &gone.left.member;
            line(format_args!("replaced: {key}@{address}: {}", gone.awaited(session)))
        })
    }

    fn told(&self, alive: &Alive) -> Told {
        let (standing, why) = match &alive.standing {
            Standing::Whole => ("whole", ""),
            Standing::Lacks => ("lacks its share", "it was away, or is new: `tend` deals it one"),
            Standing::Ahead if alive.committed > self.epoch => {
                ("ahead", "it has ended this epoch: the store is older than that, a backup maybe")
            }
            Standing::Ahead => (
                "ahead",
                "it holds a share of a newer root key too, of an attempt that failed or is under \
                 way: `tend` has it destroy that one when enough are there",
            ),
            Standing::Behind if !self.asked => (
                "behind",
                "it holds older shares, which nobody was asked to destroy yet: `tend` asks when \
                 enough hold the newest",
            ),
            Standing::Behind => (
                "behind",
                "it holds older shares: it was away, or restored from a backup of itself; `tend` \
                 has it destroy them",
            ),
            Standing::Lies => ("lies", "its share is wrong: replace it"),
            Standing::Refuses(why) => ("refuses", why.as_str()),
            Standing::Away(why) => ("away", why.as_str()),
        };
        Told { standing, why: why.to_owned() }
    }
}

impl Gone {
    /// What is awaited of it, and whether it can be asked.
    fn awaited(&self, session: &Session) -> String {
        let Gone { left, alive } = self;
        let word = match left.until {
            Some(epoch) => {
                format!(
                    "waiting for its statement that it holds no share from before epoch {epoch}"
                )
            }
            None => session.fill(
                "it is asked when the next epoch has begun (`keyfall keyholder renew STORE`)",
            ),
        };
        match &alive.standing {
            Standing::Away(why) => {
                let remedy = session.fill("`keyfall keyholder move STORE KEY HOST:PORT`");
                format!(
                    "{word}; it is away ({why}): if it moved, say so with {remedy}; if it is lost \
                     for good, an erase is final where enough others sign, and else stays pending"
                )
            }
            Standing::Refuses(why) => format!("{word}; it turns this engine away ({why})"),
            _ if alive.holds => format!(
                "{word}; it is there and holds a share of the running root key: \
                 `keyfall keyholder replace [STORE] --number {} --with {}@{}` has it back",
                left.x, left.member.key, left.member.address
            ),
            _ => format!("{word}; it is there, and `tend` asks it"),
        }
    }
}

/// What a cell with keyholders awaited before it was asked.
pub(in crate::commands) struct Awaiting {
    place: PathBuf,
    left: Vec<Left>,
    pending: bool,
}

impl Awaiting {
    /// What a store's cell awaits of keyholders, as far as it remembers; `None` for a cell of
    /// another kind, and for one that cannot be opened, as opening the store will say.
    pub(in crate::commands) fn of(session: &Session, store: &Path) -> Option<Awaiting> {
        let place = session.cell_of(store).ok()?;
        let quorum = open_cell(&place, &env()).ok()??;
        // Whichever root key is the newest.
        let newest = RootId { epoch: u64::MAX, attempt: [0; 16] };
        let pending = quorum.awaited(&newest).is_some();
        Some(Awaiting { left: leaving(&place).ok()?, place, pending })
    }

    /// What has come of it since, in words.
    pub(in crate::commands) fn came(&self, finality: &Finality) -> Vec<String> {
        let still = leaving(&self.place).unwrap_or_else(|_| self.left.clone());
        let is =
            |left: &Left, other: &Left| left.x == other.x && left.member.key == other.member.key;
        let gone = self.left.iter().filter(|left| !still.iter().any(|other| is(left, other)));
        let signed = gone.map(|Left { member: Member { key, address }, .. }| {
            format!(
                "the keyholder {key}@{address}, which was replaced, has signed that it holds no \
                 share any more"
            )
        });
        let all = (self.pending && finality.is_final()).then(|| {
            "every older root key counts as destroyed: enough keyholders have signed".to_owned()
        });
        signed.chain(all).collect()
    }
}
