//! `keyfall import`: a speech corpus, row by row, many rows in one commit.
//!
//! It is read twice: once to check all of it, and once to put it in. The first reading is
//! remembered as one number for each commit, so that a file that changed in between is noticed
//! before it goes in.

mod check;
mod corpus;

use std::collections::{HashMap, HashSet};
use std::fs::File;

use keyfall::{
    Batch, Class, Engine, Error, ErrorKind, InteractionId, Put, RecordId, Source, UserId,
};
use serde_json::json;

use crate::args::ImportArgs;
use crate::commands::import::check::{Checked, Fate, ROWS, Rules, Users, check, digest, fate};
use crate::commands::import::corpus::{Corpus, Row, digest_of, meta_of};
use crate::shell::failure::{Done, Failure};
use crate::shell::media;
use crate::shell::places::store_and;
use crate::shell::print::{block, bytes, counted, line, printable, progress};
use crate::shell::session::Session;
use crate::shell::stores::open;

pub(super) fn run(session: &Session, args: ImportArgs) -> Done {
    let ImportArgs { places, actions, ids, skip_missing, strict } = args;
    let (store, [dir]) = store_and(places, ["CORPUS"])?;
    let engine = open(session, &store)?;
    let corpus = Corpus::find(&dir, actions.as_deref())?;
    let mut users = Users::new(&engine)?;
    let checked = check(&corpus, &mut users, Rules { skip_missing, strict })?;
    let done = Imported::default();
    let mut import =
        Import { session, engine: &engine, ids, done, untold: None, times: HashMap::new() };
    let put = import.put_all(&corpus, &mut users, &checked);
    let Import { done, untold, .. } = import;
    if let Err(Failure::Error(e)) = put {
        let what = match done.rows {
            0 => "nothing was imported".to_owned(),
            n => format!("stopped after {n} of {} rows, which are in", checked.rows),
        };
        return Err(e.context(what).into());
    }
    put?;
    warn_of_passed(session, &checked);
    let told = tell(session, &checked, &done, ids);
    untold.map_or(told, Err)
}

/// Counts of what this import has put into the store.
#[derive(Default)]
struct Imported {
    users: HashSet<u64>,
    rows: u64,
    recordings: u64,
    transcripts: u64,
    actions: u64,
    bytes: u64,
    /// Records that were there already.
    there: u64,
}

/// The second reading: puts rows in.
struct Import<'i> {
    session: &'i Session,
    engine: &'i Engine,
    /// Whether each record's id is printed.
    ids: bool,
    done: Imported,
    /// Why ids could not be printed. What is in is in: the rest follows it, whether the ids are
    /// read or not.
    untold: Option<Failure>,
    /// How often a clip was named so far, by a hash of it and its user.
    times: HashMap<u64, u32>,
}

impl Import<'_> {
    /// Puts in everything that the first reading let pass.
    fn put_all(&mut self, corpus: &Corpus, users: &mut Users<'_>, checked: &Checked) -> Done {
        let bar = progress("rows", Some(checked.rows));
        let mut digests = checked.digests.iter();
        let mut rows: Vec<(Row, Fate)> = Vec::with_capacity(ROWS);
        let mut commit = |rows: &[(Row, Fate)]| {
            let place = || rows.first().map_or(String::new(), |(row, _)| row.place.clone());
            if digests.next() != Some(&digest(rows)) {
                let what = format!("the corpus, at {} or after it,", place());
                return Err(Failure::from(changed(what)));
            }
            self.put(rows)?;
            bar.inc(rows.len() as u64);
            Ok(())
        };
        corpus.rows::<Failure>(&mut |row| {
            let fate = fate(corpus, users, &row)?;
            rows.push((row, fate));
            if rows.len() == ROWS {
                commit(&rows)?;
                rows.clear();
            }
            Ok(())
        })?;
        if !rows.is_empty() {
            commit(&rows)?;
        }
        if digests.next().is_some() {
            return Err(changed("the corpus").into());
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Puts some rows in, in one commit.
    fn put(&mut self, rows: &[(Row, Fate)]) -> Result<(), Error> {
        let mut batch = self.engine.batch();
        let (mut names, mut interactions) = (Vec::new(), Vec::new());
        let (mut bytes, mut actions, mut recordings) = (0, 0, 0);
        for (row, _) in rows.iter().filter(|(_, fate)| *fate == Fate::GoesIn) {
            let name = self.name(row);
            let interaction = self.engine.new_interaction()?;
            let added = add(&mut batch, row, &name, interaction);
            bytes += added.map_err(|e| e.context(&row.place))?;
            interactions.extend((0..2 + row.actions.len()).map(|_| interaction));
            names.extend([Name { row, class: "audio" }, Name { row, class: "transcript" }]);
            names.extend(row.actions.iter().map(|_| Name { row, class: "action" }));
            recordings += 1;
            actions += row.actions.len() as u64;
        }
        let put = batch.commit()?;
        let done = &mut self.done;
        done.rows += rows.len() as u64;
        done.recordings += recordings;
        done.transcripts += recordings;
        done.actions += actions;
        done.bytes += bytes;
        // What was put now is of the interaction that began for it.
        let began = put.iter().zip(interactions);
        done.there += began.filter(|(id, began)| id.interaction() != *began).count() as u64;
        done.users.extend(names.iter().map(|name| digest_of(&name.row.client)));
        if self.ids && self.untold.is_none() {
            let told = put.iter().zip(names).map(|(id, name)| name.tell(id, self.session.json));
            self.untold = block(told.collect::<String>().trim_end()).err();
        }
        Ok(())
    }

    /// The name of a row's recording: the clip's path; where its user has several rows of one clip,
    /// with a number from the second on.
    fn name(&mut self, row: &Row) -> String {
        let times = self.times.entry(digest_of((&row.client, &row.name))).or_default();
        *times += 1;
        if *times == 1 { row.name.clone() } else { format!("{}#{times}", row.name) }
    }
}

/// A record that goes in.
struct Name<'r> {
    row: &'r Row,
    class: &'static str,
}

impl Name<'_> {
    /// A line with its id.
    fn tell(&self, id: &RecordId, as_json: bool) -> String {
        let Name { row, class } = self;
        if as_json {
            let (id, user, clip) = (id.to_string(), &row.client, &row.name);
            let told = json!({"id": id, "user": user, "class": class, "clip": clip});
            return format!("{told}\n");
        }
        format!("{id}\t{}\t{class}\t{}\n", printable(&row.client), printable(&row.name))
    }
}

/// Adds a row to a batch: an interaction with its recording, the transcript of it, and the actions
/// from that. Returns the recording's bytes.
fn add(batch: &mut Batch, row: &Row, name: &str, interaction: InteractionId) -> Result<u64, Error> {
    let user = UserId::new(row.client.clone())?;
    let put = |class: Class| Put::new(user.clone(), class).interaction(interaction);
    let io = |e| Error::io(row.path.display(), e);
    let file = File::open(&row.path).map_err(io)?;
    let before = meta_of(&file).map_err(io)?;
    let audio = put(Class::audio()).name(name).media_type(media::of_recording(&row.path));
    let audio = Source::Added(batch.add(audio, &file)?);
    if meta_of(&file).map_err(io)? != before {
        return Err(changed(row.path.display()));
    }
    let text = put(Class::transcript()).name(format!("{name}.txt"));
    let text = text.media_type("text/plain; charset=utf-8");
    let text = Source::Added(batch.add(text.derived_from(audio), row.sentence.as_bytes())?);
    for (n, action) in (1..).zip(&row.actions) {
        let put = put(Class::action()).name(format!("{name}.{n}.json"));
        let put = put.media_type("application/json").derived_from(text);
        batch.add(put, action.text.as_bytes())?;
    }
    Ok(before.length)
}

fn changed(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("{what} changed while it was imported"))
}

/// Warns of rows that were passed over, and why.
fn warn_of_passed(session: &Session, checked: &Checked) {
    let refused =
        [(&checked.erased, "was erased"), (&checked.by_policy, "may keep nothing by a policy")];
    for (passed, what) in refused {
        if let Some(first) = &passed.first {
            let text = format!("{} refused: {first} {what}", counted(passed.rows, "row"));
            session.warn(&Error::new(ErrorKind::Refused, text));
        }
    }
    if let Some(first) = &checked.missing.first {
        let rows = counted(checked.missing.rows, "row");
        let text = format!("{rows} passed over: {first} does not exist");
        session.warn(&Error::new(ErrorKind::Absent, text));
    }
}

/// Says what went in, and how much was passed over. After lines of ids, JSON is a line too.
fn tell(session: &Session, checked: &Checked, done: &Imported, after_ids: bool) -> Done {
    if session.json {
        let told = json!({
            "users": done.users.len(), "rows": checked.rows, "recordings": done.recordings,
            "transcripts": done.transcripts, "actions": done.actions, "bytes": done.bytes,
            "already_there": done.there, "skipped": checked.missing.rows,
            "refused": {"erased": checked.erased.rows, "policy": checked.by_policy.rows},
            "passed_over_actions": checked.actions, "unmatched_actions": checked.unmatched,
        });
        return if after_ids { block(session.with_due(told)) } else { session.value(&told) };
    }
    line(format_args!(
        "imported {} ({}), {} and {} of {}",
        counted(done.recordings, "recording"),
        bytes(done.bytes),
        counted(done.transcripts, "transcript"),
        counted(done.actions, "action"),
        counted(done.users.len() as u64, "user")
    ))?;
    if done.there > 0 {
        line(format_args!("{} of them were there already", counted(done.there, "record")))?;
    }
    line(format_args!(
        "passed over: {} without a clip, {} of users that were erased, {} by a policy, with {}; {} \
         with a clip that no row has",
        counted(checked.missing.rows, "row"),
        checked.erased.rows,
        checked.by_policy.rows,
        counted(checked.actions, "action"),
        counted(checked.unmatched, "action")
    ))
}
