//! `keyfall keyholder`, and cells that are spread over keyholders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{Finality, Retirement, RootCell, RootId};
use keyfall::engine::root_of;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{
    EngineKey, KeyholderDir, KeyholderId, Replaced, Server, leaving, move_keyholder, move_member, open_cell, put_back,
    replace_member,
};
use keyfall::quorum::{Alive, Left, Member, QuorumCell, Standing};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::KeyholderCommand;
use crate::commands::{Done, one};
use crate::guarded;
use crate::output::{block, counted, line, table, value, warn};
use crate::remedy::fill;
use crate::stores::{blobs_to_look, cell_of, open, open_as_it_is};

pub(crate) fn env() -> SharedEnv {
    Arc::new(System)
}

pub(crate) fn run(command: KeyholderCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        KeyholderCommand::Init { dir, accept_remnants } => {
            guarded::check_place(&dir)?;
            let id = KeyholderDir::create(&dir, accept_remnants, &System)?.id();
            if json { value(&json!({"keyholder": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Engine { cell } => {
            guarded::check_place(&cell)?;
            let id = EngineKey::in_dir(&cell, &System)?.id();
            if json { value(&json!({"engine": id.to_string()})) } else { line(id) }
        }
        KeyholderCommand::Allow { dir, engine, store, stores } => {
            KeyholderDir::allow(&dir, engine, store.as_deref())?;
            stores.map_or(Ok(()), |stores| KeyholderDir::limit(&dir, engine, stores))?;
            if json {
                return value(&json!({"engine": engine.to_string(), "allowed": true}));
            }
            let store = store.map_or_else(String::new, |store| format!("; store {store} is its own there"));
            let stores = stores.map_or_else(String::new, |stores| format!("; it may have {stores} stores there"));
            line(format_args!("{engine} may speak to the keyholder in {}{store}{stores}", dir.display()))
        }
        KeyholderCommand::Serve { dir, listen } => {
            let dir = KeyholderDir::open(&dir)?;
            let id = dir.id();
            let server = Server::bind(dir, &listen, env())?;
            line(format_args!("{id}@{}", server.address()?))?;
            server.run(&|told| warn(&Error::new(ErrorKind::Io, told)));
            Ok(())
        }
        KeyholderCommand::Status { places } => {
            let store = one(places)?;
            let place = cell_of(&store, cell)?;
            let quorum = quorum_of(&place)?;
            status(&quorum, &live(&store, &quorum)?, &leaving(&place)?, json)
        }
        KeyholderCommand::Move { mut places, offline } => {
            let usage = |what: &str| {
                Error::new(ErrorKind::Invalid, format!("{what}; write `keyholder move [STORE] NUMBER|KEY HOST:PORT`"))
            };
            let (address, named) = (places.pop().unwrap_or_default(), places.pop().unwrap_or_default());
            let (key, number) = (named.parse::<KeyholderId>().ok(), named.parse::<usize>());
            if key.is_none() && number.is_err() {
                return Err(usage(&format!("{named:?} is no number, and no keyholder's key")).into());
            }
            let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
            if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
                return Err(usage(&format!("{address:?} is no HOST:PORT")).into());
            }
            let place = cell_of(&one(places.into_iter().map(PathBuf::from).collect())?, cell)?;
            drop(quorum_of(&place)?);
            let moved = key.as_ref().map(ToString::to_string);
            let number = number.as_ref().ok().copied();
            match key {
                Some(key) => move_keyholder(&place, key, &address, !offline, &env())?,
                None => move_member(&place, number.unwrap_or_default(), &address, !offline, &env())?,
            }
            if json {
                return value(&json!({"number": number, "key": moved, "address": address}));
            }
            let which = moved.or_else(|| number.map(|n| n.to_string())).unwrap_or_default();
            let there = if offline { "whether it is there was not looked at" } else { "it answers there" };
            line(format_args!("keyholder {which} is asked at {address} from now on; {there}"))
        }
        KeyholderCommand::Replace { places, number, with } => replace(&one(places)?, cell, (number, with), json),
        KeyholderCommand::Renew { places } => renew(&open(&one(places)?, cell)?, json),
    }
}

/// The root key of the store's head. Where that cannot be looked at, the newest that keyholders show.
fn live(store: &Path, quorum: &QuorumCell) -> Result<RootId, Error> {
    let none = || Error::new(ErrorKind::Absent, "the store has no root key yet");
    match blobs_to_look(store).and_then(|blobs| root_of(&blobs)) {
        Ok(head) => head.ok_or_else(none),
        Err(e) => {
            warn(&e.context("the head cannot be looked at, so this is about the newest root key that keyholders show"));
            quorum.load()?.keys.iter().map(|key| key.id).max().ok_or_else(none)
        }
    }
}

fn quorum_of(cell: &Path) -> Result<QuorumCell, Error> {
    open_cell(cell, &env())?.ok_or_else(|| {
        Error::new(
            ErrorKind::Absent,
            format!("{} is not a cell with keyholders; `keyfall init NEW --keyholder KEY@HOST:PORT... --threshold T` makes one", cell.display()),
        )
    })
}

/// Puts a keyholder in the place of another, and begins an epoch. Where that fails the other one is put back.
fn replace(store: &Path, cell: Option<&Path>, (number, with): (usize, Member), json: bool) -> Done {
    let place = cell_of(store, cell)?;
    let quorum = quorum_of(&place)?;
    // The list as it is must take a claim first: who reaches too few of it must not make a list of their own.
    match open(store, cell) {
        Ok(engine) => check_owner(&engine)?,
        // Those that stand in the place of others may be why it cannot.
        Err(e) if e.kind() == ErrorKind::Io && comes_back(store, &place, (number, &with)) => {}
        Err(e) => return Err(e.into()),
    }
    let root = live(store, &quorum)?;
    let replaced = replace_member(&place, number, with, &env())?;
    match renewed(store, cell, (&place, &replaced, &root)) {
        Ok(Some((epoch, retired))) => began(epoch, &retired, json),
        Ok(None) if json => value(&json!({"epoch": root.epoch, "number": number, "renewed": false})),
        Ok(None) => line(format_args!(
            "keyholder {number} is {} now; {} holds no share of it, so no epoch begins",
            replaced.new.address, replaced.old.address
        )),
        Err(e) => Err(undone(store, &place, (replaced, &root), e).into()),
    }
}

fn check_owner(engine: &Engine) -> Result<(), Error> {
    engine.read_only().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Fenced, why)))
}

/// Whether a keyholder goes back to the place that it left, and no epoch was kept since: the list without it never was more than a plan.
fn comes_back(store: &Path, place: &Path, (number, with): (usize, &Member)) -> bool {
    let look = || -> Result<bool, Error> {
        let root = live(store, &quorum_of(place)?)?;
        let none_since = |left: &Left| left.until.is_none_or(|until| root.epoch < until);
        let is_it = |left: &Left| usize::from(left.x) == number && left.member.key == with.key;
        Ok(leaving(place)?.iter().any(|left| is_it(left) && none_since(left)))
    };
    look().unwrap_or(false)
}

/// Has the new keyholder dealt its share, and then an epoch begin, where there is anything to be made worthless by one.
fn renewed(
    store: &Path,
    cell: Option<&Path>,
    (place, replaced, root): (&Path, &Replaced, &RootId),
) -> Result<Option<(u64, Retirement)>, Error> {
    // This deals it its share.
    let engine = open_as_it_is(store, cell)?;
    check_owner(&engine)?;
    let all = quorum_of(place)?.standing(root);
    let it = replaced.number.checked_sub(1).and_then(|n| all.get(n)).filter(|alive| !alive.holds);
    if let Some(Alive { standing, .. }) = it {
        let why = match standing {
            Standing::Refuses(why) | Standing::Away(why) => why.as_str(),
            Standing::Lies => "its share is wrong",
            _ => "it answers, and did not take it",
        };
        let text = format!("the keyholder {} was to be dealt its share: {why}", replaced.new.address);
        return Err(Error::new(ErrorKind::Io, text));
    }
    replaced.may_hold.then(|| begin(&engine)).transpose()
}

/// Whether the list is better left as it is, though the replacement failed: an epoch has begun with it, or the new keyholder holds its share
/// of the root key and the one that it replaced does not.
fn is_better(store: &Path, place: &Path, (replaced, root): (&Replaced, &RootId)) -> Result<bool, Error> {
    let quorum = quorum_of(place)?;
    if live(store, &quorum)? != *root {
        return Ok(true);
    }
    let (all, left) = (quorum.standing_of_all(root), leaving(place)?);
    let (all, gone) = all.split_at(all.len().saturating_sub(left.len()));
    let new = replaced.number.checked_sub(1).and_then(|n| all.get(n)).is_some_and(|alive| alive.holds);
    let old = left.iter().zip(gone).any(|(left, alive)| left.member == replaced.old && alive.holds);
    Ok(new && !old)
}

/// What is so when a replacement failed.
fn undone(store: &Path, place: &Path, (replaced, root): (Replaced, &RootId), e: Error) -> Error {
    let (number, new, old) = (replaced.number, replaced.new.address.clone(), replaced.old.clone());
    if is_better(store, place, (&replaced, root)).unwrap_or(false) {
        return e.context(format!(
            "keyholder {number} is {new} now, and the share of {} is not worthless yet; `keyfall keyholder renew STORE` makes it so when enough are there",
            old.address
        ));
    }
    match put_back(place, replaced) {
        Ok(()) => e.context(format!("keyholder {number} is {} as before", old.address)),
        Err(other) => e.context(format!(
            "keyholder {number} is {new} now, and the other could not be put back ({other}); `keyfall keyholder replace STORE --number {number} --with {}@{}` does it",
            old.key, old.address
        )),
    }
}

fn renew(engine: &Engine, json: bool) -> Done {
    let (epoch, retired) = begin(engine)?;
    began(epoch, &retired, json)
}

/// Begins an epoch; gives its number, and what became of the root keys before it.
fn begin(engine: &Engine) -> Result<(u64, Retirement), Error> {
    let retired = engine.rekey()?;
    Ok((engine.head().epoch, retired))
}

fn began(epoch: u64, retired: &Retirement, json: bool) -> Done {
    let (n, needed) = match retired {
        Retirement::Stated { statements, needed } => (statements.len(), *needed),
        _ => (0, 0),
    };
    if json {
        return value(&json!({"epoch": epoch, "final": retired.is_final(), "statements": n, "needed": needed}));
    }
    let state = if retired.is_final() { "final" } else { "pending: `tend` asks the others again" };
    let statements = counted(n as u64, "statement");
    line(format_args!("epoch {epoch} began; {statements} of {needed} that are needed: {state}"))
}

/// How a keyholder stands towards the root key of an epoch. `asked`: keyholders were asked to destroy the shares before it.
fn words(alive: &Alive, epoch: u64, asked: bool) -> (&'static str, String) {
    match &alive.standing {
        Standing::Whole => ("whole", String::new()),
        Standing::Lacks => ("lacks its share", "it was away, or is new: `tend` deals it one".into()),
        Standing::Ahead if alive.committed > epoch => {
            ("ahead", "it has ended this epoch: the store is older than that, a backup maybe".into())
        }
        Standing::Ahead => (
            "ahead",
            "it holds a share of a newer root key too, of an attempt that failed or is under way: `tend` has it destroy that one when enough are there"
                .into(),
        ),
        Standing::Behind if !asked => (
            "behind",
            "it holds older shares, which nobody was asked to destroy yet: `tend` asks when enough hold the newest".into(),
        ),
        Standing::Behind => (
            "behind",
            "it holds older shares: it was away, or restored from a backup of itself; `tend` has it destroy them"
                .into(),
        ),
        Standing::Lies => ("lies", "its share is wrong: replace it".into()),
        Standing::Refuses(why) => ("refuses", why.clone()),
        Standing::Away(why) => ("away", why.clone()),
    }
}

/// Says which keyholders of a store that was just made hold no share: as many as are needed do, and who made it may not know that the others
/// do not.
pub(crate) fn warn_of_absent(quorum: &QuorumCell) {
    let newest = quorum.load().ok().and_then(|contents| contents.keys.iter().map(|key| key.id).max());
    for alive in newest.map(|newest| quorum.standing(&newest)).unwrap_or_default() {
        if let Standing::Refuses(why) | Standing::Away(why) = alive.standing {
            let text = format!("{why}; it has no share yet: `keyfall tend STORE` deals it one once it is there");
            warn(&Error::new(ErrorKind::Io, text));
        }
    }
}

/// What a cell with keyholders awaited before it was asked.
pub(crate) struct Awaiting {
    place: PathBuf,
    left: Vec<Left>,
    pending: bool,
}

/// What a store's cell awaits of keyholders, as it remembers that; `None` of a cell of another kind, and where opening it says what is wrong.
pub(crate) fn awaiting(store: &Path, cell: Option<&Path>) -> Option<Awaiting> {
    let place = cell_of(store, cell).ok()?;
    let quorum = open_cell(&place, &env()).ok()??;
    // Of whatever root key is the newest.
    let pending = quorum.awaited(&RootId { epoch: u64::MAX, attempt: [0; 16] }).is_some();
    Some(Awaiting { left: leaving(&place).ok()?, place, pending })
}

impl Awaiting {
    /// What has come of it since, in words.
    pub(crate) fn came(&self, finality: &Finality) -> Vec<String> {
        let still = leaving(&self.place).unwrap_or_else(|_| self.left.clone());
        let is = |left: &Left, other: &Left| left.x == other.x && left.member.key == other.member.key;
        let gone = self.left.iter().filter(|left| !still.iter().any(|other| is(left, other)));
        let signed = gone.map(|Left { member: Member { key, address }, .. }| {
            format!("the keyholder {key}@{address}, which was replaced, has signed that it holds no share any more")
        });
        let all = self.pending && finality.is_final();
        let all = all.then(|| "every older root key counts as destroyed: enough keyholders have signed".to_owned());
        signed.chain(all).collect()
    }
}

/// What is awaited of a keyholder that was replaced, and whether it can be asked.
fn awaited(left: &Left, alive: &Alive) -> String {
    let word = match left.until {
        Some(epoch) => format!("its word is awaited that it holds no share from before epoch {epoch}"),
        None => fill("it is asked when the next epoch has begun (`keyfall keyholder renew STORE`)"),
    };
    match &alive.standing {
        Standing::Away(why) => {
            let remedy = fill("`keyfall keyholder move STORE KEY HOST:PORT`");
            format!("{word}; it is away ({why}): where it moved, say so with {remedy}")
        }
        Standing::Refuses(why) => format!("{word}; it turns this engine away ({why})"),
        _ if alive.holds => format!(
            "{word}; it is there and holds a share of the running root key: `keyfall keyholder replace [STORE] --number {} --with {}@{}` has it back",
            left.x, left.member.key, left.member.address
        ),
        _ => format!("{word}; it is there, and `tend` asks it"),
    }
}

fn status(quorum: &QuorumCell, live: &RootId, leaving: &[Left], json: bool) -> Done {
    let (mut all, epoch, rule) = (quorum.standing_of_all(live), live.epoch, quorum.rule());
    let gone = all.split_off(all.len().saturating_sub(leaving.len()));
    let gone = || leaving.iter().zip(&gone);
    let (n, holding) = (all.len(), all.iter().filter(|alive| alive.holds).count());
    // Of those that say so as many as may lie count for nothing.
    let asked = all.iter().filter(|alive| alive.committed >= epoch).count() > usize::from(rule.liars);
    let told = |alive: &Alive| words(alive, epoch, asked);
    // Those give their shares too; who left a place and who came may have the same one.
    let there = (1_u8..).zip(&all).filter(|(_, alive)| alive.holds).map(|(x, _)| x);
    let points: BTreeSet<u8> = gone().filter(|(_, alive)| alive.holds).map(|(left, _)| left.x).chain(there).collect();
    let more = points.len().saturating_sub(holding);
    let (threshold, wanted) = (usize::from(rule.threshold), usize::from(rule.threshold) + usize::from(rule.margin));
    if json {
        let each = all.iter().enumerate().map(|(n, alive)| {
            let (standing, why) = told(alive);
            json!({"number": n + 1, "place": alive.place, "standing": standing, "why": why, "holds": alive.holds, "ended": alive.committed})
        });
        return value(&json!({
            "epoch": epoch, "holding": holding, "replaced_holding": more, "threshold": rule.threshold, "margin": rule.margin,
            "keyholders": each.collect::<Vec<_>>(),
            "leaving": gone().map(|(left, alive)| json!({
                "key": left.member.key, "place": left.member.address, "awaited": awaited(left, alive),
                "until": left.until, "standing": told(alive).0,
            })).collect::<Vec<_>>(),
        }));
    }
    let rows = all.iter().enumerate().map(|(n, alive)| {
        let (standing, why) = told(alive);
        vec![(n + 1).to_string(), alive.place.clone(), standing.to_owned(), why]
    });
    let margin = match points.len().checked_sub(threshold) {
        Some(0) => "none may be lost".to_owned(),
        Some(more) => format!("{more} may be lost"),
        None => "so it cannot be had: start the others".to_owned(),
    };
    let waits = if holding < wanted.min(n) { "; nothing is destroyed before more hold it" } else { "" };
    let more = if more > 0 { format!(" and {more} that were replaced") } else { String::new() };
    line(format_args!(
        "root key of epoch {epoch}: held by {holding} of {n}{more}, {threshold} are needed, {margin}{waits}"
    ))?;
    block(table(&["", "keyholder", "stands", ""], rows))?;
    gone().try_for_each(|(left, alive)| {
        let Member { key, address } = &left.member;
        line(format_args!("replaced: {key}@{address}: {}", awaited(left, alive)))
    })
}
