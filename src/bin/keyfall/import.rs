//! `keyfall import`: a speech corpus, row by row, many rows in one commit.
//!
//! It is read twice: once to find out all that could be in the way, and once to put it in. What was read the first time is
//! remembered as one number for each commit, so that a file which changed in between is found out before it goes in.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use keyfall::env::{Env, System};
use keyfall::{Batch, Class, Engine, Error, ErrorKind, Policy, Put, Query, Source, UserId};
use serde_json::json;

use crate::commands::Done;
use crate::corpus::{self, Corpus, Row};
use crate::output::{self, Failure, block, counted, line, progress, value};

/// Rows of a corpus in one commit.
const ROWS: usize = 32;

/// How it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub ids: bool,
    pub skip_missing: bool,
    pub strict: bool,
    pub json: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesIn,
    /// Its clip is not there.
    Missing,
    /// Its user was erased.
    Erased,
    /// A policy lets nothing of it be kept.
    Policy,
}

/// Rows that are passed over for one reason, and the first of them.
#[derive(Default)]
struct Passed {
    rows: u64,
    first: Option<String>,
}

impl Passed {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.rows += 1;
        self.first.get_or_insert_with(what);
    }
}

/// What the first reading found.
#[derive(Default)]
struct Checked {
    rows: u64,
    missing: Passed,
    erased: Passed,
    by_policy: Passed,
    /// Actions of rows that are passed over.
    actions: u64,
    unmatched: u64,
    /// One for each commit, in their order.
    digests: Vec<u64>,
}

/// Which users a store takes records of; each is looked up once.
struct Users<'e> {
    engine: &'e Engine,
    store: Vec<Policy>,
    seen: HashSet<u64>,
    erased: HashSet<u64>,
    by_policy: HashSet<u64>,
}

impl<'e> Users<'e> {
    fn new(engine: &'e Engine) -> Result<Self, Error> {
        let store = engine.policies(None).list()?;
        let (seen, erased, by_policy) = Default::default();
        Ok(Users { engine, store, seen, erased, by_policy })
    }

    fn fate(&mut self, user: &UserId) -> Result<Fate, Error> {
        let hash = corpus::digest(user.as_str());
        if self.seen.insert(hash) {
            match self.engine.list(&Query::default().user(user.clone()).limit(1)) {
                Err(e) if e.kind() == ErrorKind::Erased => self.erased.extend([hash]),
                Err(e) if e.kind() == ErrorKind::Absent => self.look_at_policies(&[], hash),
                Err(e) => return Err(e),
                Ok(_) => self.look_at_policies(&self.engine.policies(Some(user)).list()?, hash),
            }
        }
        Ok(if self.erased.contains(&hash) {
            Fate::Erased
        } else if self.by_policy.contains(&hash) {
            Fate::Policy
        } else {
            Fate::GoesIn
        })
    }

    /// A row's recording and transcript are put without a purpose: the policies for it hold.
    fn look_at_policies(&mut self, own: &[Policy], hash: u64) {
        let now = System.now();
        let ended = |class: &Class| {
            let of_class = |all: &[Policy]| all.iter().find(|p| p.class == *class && p.purpose.is_none()).cloned();
            of_class(own).or_else(|| of_class(&self.store)).and_then(|p| p.until).is_some_and(|until| until <= now)
        };
        if [Class::audio(), Class::transcript(), Class::action()].iter().any(ended) {
            self.by_policy.insert(hash);
        }
    }
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

/// What becomes of a row, where nothing contradicts itself.
fn fate(corpus: &Corpus, users: &mut Users<'_>, row: &Row) -> Result<Fate, Error> {
    let user = UserId::new(row.client.clone()).map_err(|e| e.context(format!("{}: client_id", row.place)))?;
    for action in &row.actions {
        if let Some(client) = action.client.as_ref().filter(|client| **client != row.client) {
            return Err(invalid(format!(
                "{} is marked for user {client:?}, but its clip {} is of user {:?} ({}); nothing was imported",
                corpus.place_of(action),
                row.name,
                row.client,
                row.place
            )));
        }
    }
    if row.there { users.fate(&user) } else { Ok(Fate::Missing) }
}

fn digest(rows: &[(Row, Fate)]) -> u64 {
    corpus::digest(rows.iter().map(|(row, fate)| (row.digest, *fate as u8)).collect::<Vec<_>>())
}

/// Reads everything, and refuses what must not go in.
fn check(corpus: &Corpus, users: &mut Users<'_>, asked: Asked) -> Result<Checked, Error> {
    let bar = progress("rows checked", None);
    let mut checked = Checked::default();
    let mut rows = Vec::with_capacity(ROWS);
    corpus.rows::<Error>(&mut |row| {
        let fate = fate(corpus, users, &row)?;
        match fate {
            Fate::GoesIn => {}
            Fate::Missing => checked.missing.add(|| format!("{}: {}", row.place, row.path.display())),
            Fate::Erased => checked.erased.add(|| format!("{}: user {:?}", row.place, row.client)),
            Fate::Policy => checked.by_policy.add(|| format!("{}: user {:?}", row.place, row.client)),
        }
        checked.actions += if fate == Fate::GoesIn { 0 } else { row.actions.len() as u64 };
        checked.rows += 1;
        rows.push((row, fate));
        if rows.len() == ROWS {
            bar.inc(ROWS as u64);
            checked.digests.push(digest(&rows));
            rows.clear();
        }
        Ok(())
    })?;
    if !rows.is_empty() {
        checked.digests.push(digest(&rows));
    }
    bar.finish_and_clear();
    checked.unmatched = corpus.unmatched();
    let more = |passed: &Passed| format!("(and {} more)", passed.rows.saturating_sub(1));
    if let Some(first) = checked.missing.first.as_ref().filter(|_| !asked.skip_missing) {
        return Err(invalid(format!(
            "{first} is not there {}; nothing was imported; --skip-missing passes over such rows",
            more(&checked.missing)
        )));
    }
    let refused = [
        (
            &checked.erased,
            ErrorKind::Erased,
            "was erased",
            "`keyfall create STORE --user U` begins a new life of a user",
        ),
        (
            &checked.by_policy,
            ErrorKind::Refused,
            "may keep nothing by a policy",
            "`keyfall policy list STORE` shows it",
        ),
    ];
    for (passed, kind, what, remedy) in refused.into_iter().filter(|_| asked.strict) {
        if let Some(first) = &passed.first {
            let text = format!(
                "{first} {what} {}; nothing was imported; {remedy}; without --strict such rows are passed over",
                more(passed)
            );
            return Err(Error::new(kind, text));
        }
    }
    Ok(checked)
}

/// What is counted while importing.
#[derive(Default)]
struct Imported {
    users: HashSet<u64>,
    rows: u64,
    recordings: u64,
    transcripts: u64,
    actions: u64,
    bytes: u64,
}

fn changed(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("{what} changed while it was imported"))
}

/// Adds a row to a batch: an interaction with its recording, the transcript of it, and the actions from that. Returns the recording's bytes.
fn add(engine: &Engine, batch: &mut Batch, row: &Row) -> Result<u64, Error> {
    let user = UserId::new(row.client.clone())?;
    let interaction = engine.new_interaction()?;
    let put = |class: Class| Put::new(user.clone(), class).interaction(interaction);
    let io = |e| Error::io(row.path.display(), e);
    let file = File::open(&row.path).map_err(io)?;
    let before = corpus::meta_of(&file).map_err(io)?;
    let audio = Source::Added(batch.add(put(Class::audio()).media_type(corpus::media_type(&row.path)), &file)?);
    if corpus::meta_of(&file).map_err(io)? != before {
        return Err(changed(row.path.display()));
    }
    let text = put(Class::transcript()).media_type("text/plain; charset=utf-8").derived_from(audio);
    let text = Source::Added(batch.add(text, row.sentence.as_bytes())?);
    for action in &row.actions {
        batch.add(put(Class::action()).media_type("application/json").derived_from(text), action.text.as_bytes())?;
    }
    let (_, bytes, ..) = before;
    Ok(bytes)
}

/// Puts some rows in, in one commit.
fn put(engine: &Engine, rows: &[(Row, Fate)], done: &mut Imported, asked: Asked, untold: &mut Option<Failure>) -> Done {
    let mut batch = engine.batch();
    let mut names = Vec::new();
    let (mut bytes, mut actions, mut recordings) = (0, 0, 0);
    for (row, _) in rows.iter().filter(|(_, fate)| *fate == Fate::GoesIn) {
        bytes += add(engine, &mut batch, row).map_err(|e| e.context(&row.place))?;
        names.extend([(row, "audio"), (row, "transcript")]);
        names.extend(row.actions.iter().map(|_| (row, "action")));
        recordings += 1;
        actions += row.actions.len() as u64;
    }
    let put = batch.commit()?;
    done.rows += rows.len() as u64;
    done.recordings += recordings;
    done.transcripts += recordings;
    done.actions += actions;
    done.bytes += bytes;
    done.users.extend(names.iter().map(|(row, _)| corpus::digest(&row.client)));
    if asked.ids && untold.is_none() {
        let mut told = String::new();
        for (id, (row, class)) in put.iter().zip(names) {
            told += &if asked.json {
                json!({"id": id.to_string(), "user": row.client, "class": class, "clip": row.name}).to_string()
            } else {
                format!("{id}\t{}\t{class}\t{}", output::printable(&row.client), output::printable(&row.name))
            };
            told.push('\n');
        }
        // What is in is in: the rest follows it, whether anybody reads the ids or not.
        *untold = block(told.trim_end()).err();
    }
    Ok(())
}

/// Puts everything in that the first reading let pass.
fn put_all(
    engine: &Engine,
    (corpus, users): (&Corpus, &mut Users<'_>),
    (checked, done): (&Checked, &mut Imported),
    (asked, untold): (Asked, &mut Option<Failure>),
) -> Done {
    let bar = progress("rows", Some(checked.rows));
    let mut digests = checked.digests.iter();
    let mut rows: Vec<(Row, Fate)> = Vec::with_capacity(ROWS);
    let mut some = |rows: &[(Row, Fate)]| {
        let place = || rows.first().map_or(String::new(), |(row, _)| row.place.clone());
        if digests.next() != Some(&digest(rows)) {
            return Err(Failure::from(changed(format!("the corpus, at {} or after it,", place()))));
        }
        put(engine, rows, done, asked, untold)?;
        bar.inc(rows.len() as u64);
        Ok(())
    };
    corpus.rows::<Failure>(&mut |row| {
        let fate = fate(corpus, users, &row)?;
        rows.push((row, fate));
        if rows.len() == ROWS {
            some(&rows)?;
            rows.clear();
        }
        Ok(())
    })?;
    if !rows.is_empty() {
        some(&rows)?;
    }
    if digests.next().is_some() {
        return Err(changed("the corpus").into());
    }
    bar.finish_and_clear();
    Ok(())
}

/// Imports a corpus.
pub(crate) fn run(engine: &Engine, dir: &Path, actions: Option<&Path>, asked: Asked) -> Done {
    let corpus = corpus::find(dir, actions)?;
    let mut users = Users::new(engine)?;
    let checked = check(&corpus, &mut users, asked)?;
    let (mut done, mut untold) = (Imported::default(), None);
    let put = put_all(engine, (&corpus, &mut users), (&checked, &mut done), (asked, &mut untold));
    if let Err(Failure::Error(e)) = put {
        let what = format!("stopped after {} of {} rows, which are in", done.rows, checked.rows);
        return Err(if done.rows == 0 { e.context("nothing was imported") } else { e.context(what) }.into());
    }
    put?;
    let told = tell(&checked, &done, asked);
    untold.map_or(told, Err)
}

/// Says what went in, and what was passed over and why.
fn tell(checked: &Checked, done: &Imported, asked: Asked) -> Done {
    for (passed, what) in [(&checked.erased, "was erased"), (&checked.by_policy, "may keep nothing by a policy")] {
        if let Some(first) = &passed.first {
            output::warn(&Error::new(
                ErrorKind::Refused,
                format!("{} refused: {first} {what}", counted(passed.rows, "row")),
            ));
        }
    }
    if let Some(first) = &checked.missing.first {
        let text = format!("{} passed over: {first} is not there", counted(checked.missing.rows, "row"));
        output::warn(&Error::new(ErrorKind::Absent, text));
    }
    if asked.json {
        let told = json!({
            "users": done.users.len(), "rows": checked.rows, "recordings": done.recordings, "transcripts": done.transcripts,
            "actions": done.actions, "bytes": done.bytes, "skipped": checked.missing.rows,
            "refused": {"erased": checked.erased.rows, "policy": checked.by_policy.rows},
            "passed_over_actions": checked.actions, "unmatched_actions": checked.unmatched,
        });
        // After lines of ids it is a line too.
        return if asked.ids { block(output::with_due(told)) } else { value(&told) };
    }
    line(format_args!(
        "imported {} ({}), {} and {} of {}",
        counted(done.recordings, "recording"),
        output::bytes(done.bytes),
        counted(done.transcripts, "transcript"),
        counted(done.actions, "action"),
        counted(done.users.len() as u64, "user")
    ))?;
    line(format_args!(
        "passed over: {} without a clip, {} of users that were erased, {} by a policy, with {}; {} with a clip that no row has",
        counted(checked.missing.rows, "row"),
        checked.erased.rows,
        checked.by_policy.rows,
        counted(checked.actions, "action"),
        counted(checked.unmatched, "action")
    ))
}
