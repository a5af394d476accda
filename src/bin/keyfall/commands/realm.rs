//! `keyfall realm`.

use std::path::{Path, PathBuf};

use keyfall::engine::CopyStatus;
use keyfall::opening::{Location, absolute, url_of};
use keyfall::quorum::net::open_cell;
use keyfall::realm::{RealmBuilder, RealmStatus, ShardAt, ShardStatus};
use keyfall::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::args::RealmCommand;
use crate::shell::cells::env;
use crate::shell::failure::Done;
use crate::shell::make::{Making, Spread, warn_of_absent};
use crate::shell::print::{block, counted, line, table};
use crate::shell::realms::{about_first, builder, look};
use crate::shell::remedy::word;
use crate::shell::session::Session;
use crate::show::cell::promise_json;
use crate::show::copies::is_unseen;

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: RealmCommand) -> Done {
    match command {
        RealmCommand::Init {
            dir,
            shards,
            at,
            cells,
            accept_remnants,
            single_machine,
            spread,
            log_origin,
        } => {
            let spread = Spread::said(spread);
            let making = Making { accept_remnants, single_machine, log_origin, lend: None, spread };
            init(session, &dir, places(shards, at.as_deref(), cells.as_deref())?, making)
        }
        RealmCommand::Status { dir } => status(session, &dir),
        RealmCommand::Find { dir, user, record } => {
            let realm = look(session, &dir)?;
            let shard = match (user, record) {
                (Some(user), _) => {
                    realm.shard_of(&user).inspect_err(|_| about_first(session, &realm))?
                }
                (None, Some(id)) => realm.shard_of_record(&id),
                (None, None) => {
                    let text = "name what to find: --user, or --record";
                    return Err(Error::new(ErrorKind::Invalid, text).into());
                }
            };
            if session.json {
                return session.value(&shard_json(shard));
            }
            // The place alone goes to whatever takes it.
            if let Some(cell) = &shard.cell {
                session.note(&format!("its root cell is named with --cell {}", word(cell)));
            }
            line(&shard.place)
        }
    }
}

/// Where shards and cells are to be, as the realm writes it down.
fn places(
    shards: usize,
    at: Option<&Path>,
    cells: Option<&Path>,
) -> Result<Vec<(String, Option<String>)>, Error> {
    let text = |place: PathBuf| {
        let place = place.into_os_string().into_string();
        place.map_err(|_| Error::new(ErrorKind::Invalid, "a shard's place must be UTF-8"))
    };
    let below = |dir: &Path, name: String| text(absolute(dir)?.join(name));
    let is_remote = at.is_some_and(|at| url_of(at).is_some());
    (0..shards)
        .map(|n| {
            let (name, cell) = (format!("shard-{n:03}"), format!("shard-{n:03}.cell"));
            let place = match at {
                Some(at) => match at.to_str().filter(|at| at.starts_with("postgres")) {
                    Some(url) if is_remote => in_database(url, &name),
                    _ => below(at, name)?,
                },
                None => name,
            };
            let cell = match cells {
                Some(cells) => Some(below(cells, cell)?),
                None => is_remote.then_some(cell),
            };
            Ok((place, cell))
        })
        .collect()
}

/// The URL of a store in the database of another one, whose name begins with that one's.
fn in_database(url: &str, name: &str) -> String {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let (stores, others): (Vec<&str>, Vec<&str>) =
        options.split('&').filter(|o| !o.is_empty()).partition(|o| o.starts_with("store="));
    let store = stores.last().and_then(|store| store.strip_prefix("store=")).unwrap_or("keyfall");
    let store = format!("store={store}/{name}");
    format!("{base}?{}", [&others[..], &[&store]].concat().join("&"))
}

fn init(
    session: &Session,
    dir: &Path,
    places: Vec<(String, Option<String>)>,
    making: Making,
) -> Done {
    session.about(dir);
    if session.cell.is_some() {
        let text = "--cell and KEYFALL_CELL name the cell of one store; say with --cells where those \
                    of a realm are to be";
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    let opens = session.clone();
    let spread = making.spread.clone();
    let open = move |shard: &ShardAt| {
        let mut builder = builder(&opens, shard);
        if making.accept_remnants {
            builder = builder.accept_remnants();
        }
        if making.single_machine {
            builder = builder.single_machine();
        }
        if let Some(Spread { members, rule }) = &making.spread {
            builder = builder.keyholders(members.clone(), *rule);
        }
        if let Some(origin) = &making.log_origin {
            builder = builder.log_origin(format!("{origin}/{}", shard.number));
        }
        Ok(builder)
    };
    let realm = RealmBuilder::at(dir).places(places).open_shard(open).init()?;
    if let Some(spread) = &spread {
        spread.warn(session);
        realm.shards().iter().for_each(|shard| warn_of_absent_in(session, shard));
        session.about(dir);
    }
    let promise = realm.engine_at(0)?.promise();
    if session.json {
        let shards = realm.shards().iter().map(shard_json);
        return session.value(&json!({
            "realm": dir.display().to_string(), "shards": shards.collect::<Vec<_>>(),
            "cell": promise_json(&promise),
            "keyholders_may_be_lost": spread.as_ref().map(Spread::may_be_lost),
        }));
    }
    let shards = counted(realm.shards().len() as u64, "shard");
    line(format_args!("realm {}: {shards}", dir.display()))?;
    line(format_args!("cells {promise}"))?;
    line(if spread.is_some() {
        "      Each shard has a cell of its own. Keep a copy of its directory: it holds no share of \
         the root key, and without `quorum.json` the shard cannot be opened. Add a copy in step to \
         each shard."
    } else {
        "      Each shard has a cell of its own. Lose one and all data of its shard is lost; copy it, \
         and what is erased later can be brought back from a backup. Add a copy in step to each \
         shard."
    })
}

/// Says which keyholders hold no share of a new shard's root key.
fn warn_of_absent_in(session: &Session, shard: &ShardAt) {
    let (place, cell) = (Path::new(&shard.place), shard.cell.as_ref().map(PathBuf::from));
    let Ok(found) = Location::find(place, cell.as_deref()) else { return };
    let session = session.with_cell(cell);
    session.about(place);
    if let Ok(Some(quorum)) = open_cell(found.cell(), &env()) {
        warn_of_absent(&session, &quorum);
    }
}

/// Shows how each shard is; fails if one does not open.
fn status(session: &Session, dir: &Path) -> Done {
    let status = look(session, dir)?.status();
    if session.json {
        session.value(&status_json(session, &status))?;
    } else {
        line(format_args!("realm {} ({}), map {}", dir.display(), status.realm, status.map))?;
        let headings = ["SHARD", "PLACE", "SLOTS", "USERS", "EPOCH", "COPIES", "STATE", "CELL"];
        // Commands that take one of these shards need the cell that does not lie beside it.
        let shown =
            headings.len() - usize::from(status.shards.iter().all(|s| s.shard.cell.is_none()));
        let row = |shard| {
            let mut row = row(session, shard);
            row.truncate(shown);
            row
        };
        block(table(&headings[..shown], status.shards.iter().map(row)))?;
    }
    let failed = status.shards.iter();
    let failed = failed.filter_map(|shard| Some((&shard.shard, shard.status.as_ref().err()?)));
    let failed: Vec<(&ShardAt, &Error)> = failed.collect();
    let Some((shard, first)) = failed.first() else { return Ok(()) };
    // What the text says to do is about that shard.
    session.with_cell(shard.cell.as_ref().map(PathBuf::from)).about(Path::new(&shard.place));
    let others = match failed.len() < status.shards.len() {
        true => "; the users of the others do not wait for it",
        false => "",
    };
    let text = format!(
        "{} of {}: {first}{others}",
        failed.len(),
        counted(status.shards.len() as u64, "shard")
    );
    Err(Error::new(first.kind(), text).into())
}

fn row(session: &Session, shard: &ShardStatus) -> Vec<String> {
    let (number, slots) = (shard.shard.number.to_string(), shard.slots.to_string());
    let told = match &shard.status {
        Err(_) => ["?", "?", "?", "does not open"].map(str::to_owned),
        Ok(status) => {
            let state = match (&status.unsettled, &status.lacks) {
                (_, Some(lacks)) => format!("LACKING: {lacks}"),
                (Some(why), None) => format!("NOT SETTLED: {}", fill(session, &shard.shard, why)),
                (None, None) => "opens".to_owned(),
            };
            [status.users.to_string(), status.head.epoch.to_string(), copies(&status.copies), state]
        }
    };
    let cell = shard.shard.cell.iter().map(word).collect();
    [vec![number, shard.shard.place.clone(), slots], told.to_vec(), cell].concat()
}

/// How many copies there are, and how many of them a store could be restored from now.
fn copies(copies: &[CopyStatus]) -> String {
    let (all, unseen) = (copies.len(), copies.iter().filter(|copy| is_unseen(copy)).count());
    let restores = copies.iter().filter(|copy| copy.restores.is_some()).count();
    match (restores == all, unseen) {
        (true, _) => all.to_string(),
        (false, 0) => format!("{all}, {restores} restore"),
        (false, _) => format!("{all}, {restores} restore, {unseen} unseen"),
    }
}

fn status_json(session: &Session, status: &RealmStatus) -> Value {
    let shards = status.shards.iter().map(|shard| {
        let mut told = shard_json(&shard.shard);
        told["slots"] = json!(shard.slots);
        match &shard.status {
            Err(e) => {
                told["opens"] = json!(false);
                told["error"] = json!(fill(session, &shard.shard, &e.to_string()));
            }
            Ok(status) => {
                told["opens"] = json!(true);
                told["store"] = json!(status.store.to_string());
                told["epoch"] = json!(status.head.epoch);
                told["commit"] = json!(status.head.commit);
                told["users"] = json!(status.users);
                told["bytes"] = json!(status.usage.bytes);
                told["copies"] = json!(status.copies.len());
                let restores = status.copies.iter().filter(|copy| copy.restores.is_some()).count();
                told["copies_that_restore"] = json!(restores);
                let unsettled = status.unsettled.as_deref();
                told["unsettled"] = json!(unsettled.map(|why| fill(session, &shard.shard, why)));
                told["lacks"] = json!(status.lacks);
            }
        }
        told
    });
    json!({"realm": status.realm, "map": status.map, "shards": shards.collect::<Vec<_>>()})
}

/// A text about a shard, with its place and its cell in what it says to do.
fn fill(session: &Session, shard: &ShardAt, text: &str) -> String {
    let of_shard = session.with_cell(shard.cell.as_ref().map(PathBuf::from));
    of_shard.about(Path::new(&shard.place));
    of_shard.fill(text)
}

fn shard_json(shard: &ShardAt) -> Value {
    json!({"shard": shard.number, "place": shard.place, "cell": shard.cell})
}
