//! The demo: everything keyfall is for, in one screen, with nothing but the binary.

mod cast;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::{Audit, CopyMode, Grant, Restored, restore};
use keyfall::env::System;
use keyfall::sealed::{self, Identity, Ticket};
use keyfall::store::{SledStore, Store};
use keyfall::{Class, Engine, Erase, Erasure, Error, ErrorKind, Options, Put, Scope, UserId};
use serde_json::json;

use crate::args::DemoArgs;
use crate::commands::demo::cast::{ERASED, KEPT, REASON, Record, Whole, audio, content, put_all};
use crate::shell::failure::{Done, Failure};
use crate::shell::guarded;
use crate::shell::make::{Making, make};
use crate::shell::print::{block, table};
use crate::shell::session::Session;
use crate::shell::stores::open;
use crate::show::audit::audit_table;

pub(super) fn run(session: &Session, args: &DemoArgs) -> Done {
    let stage = Stage::new(session, args.keep.as_deref())?;
    let demo = Demo::prepare(&stage)?;
    let erased = demo.erase(&stage)?;
    let parted = demo.part(&stage)?;
    let theft = demo.theft(&stage)?;
    let Demo { engine, records, backup, outside } = demo;
    drop(engine);
    let fire = Fire::survive(&stage, &records, backup)?;

    let shut = theft.envelope.is_some() && theft.request.is_some();
    let (others, theirs) = (fire.others, fire.theirs);
    let clean = theft.audit.is_clean();
    let kept = clean && theirs.back == 0 && others.back == others.of && shut;
    if session.json {
        session.value(&json!({
            "records": records.len(), "erased": erased.erasure.records, "parted": parted.records,
            "epoch": erased.erasure.epoch, "audit_clean": clean,
            "restored_blobs": fire.restored.blobs, "others_whole": others.back,
            "others": others.of, "erased_opened": theirs.back, "granted_opened": outside.opened,
            "envelope_and_grant_shut": shut, "kept": kept, "certificate": erased.grade,
        }))?;
    }
    if kept {
        return Ok(());
    }
    let text = "the demo did not end as it must: please report this";
    Err(Error::new(ErrorKind::Corrupt, text).into())
}

/// Where the demo takes place: a directory that goes when it ends, unless it is to be kept.
struct Stage {
    /// A session with the demo's own cell, whichever was named.
    session: Session,
    dir: PathBuf,
    keep: bool,
}

impl Stage {
    fn new(session: &Session, keep: Option<&Path>) -> Result<Self, Error> {
        let dir = match keep {
            Some(dir) => {
                guarded::check_dir(dir)?;
                dir.to_owned()
            }
            None => std::env::temp_dir().join(format!("keyfall-demo-{}", std::process::id())),
        };
        let io = |e| Error::io(dir.display(), e);
        std::fs::create_dir_all(&dir).map_err(io)?;
        if std::fs::read_dir(&dir).map_err(io)?.next().is_some() {
            let text = format!("{} is not empty; name an empty directory", dir.display());
            return Err(Error::new(ErrorKind::Exists, text));
        }
        let session = session.with_cell(Some(dir.join("store.cell")));
        Ok(Stage { session, dir, keep: keep.is_some() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn cell(&self) -> Result<FileCell, Error> {
        FileCell::open(&self.at("store.cell"), Arc::new(System))
    }

    /// Tells the story, unless JSON is asked for.
    fn tell(&self, text: impl std::fmt::Display) -> Done {
        if self.session.json { Ok(()) } else { block(text) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A store with users, a replica, a backup, an envelope and a grant.
struct Demo {
    engine: Engine,
    records: Vec<Record>,
    backup: Arc<dyn Store>,
    outside: Outside,
}

/// What lies outside the store: a sealed recording in a queue, and a grant to a skill.
struct Outside {
    envelope: Vec<u8>,
    skill: Identity,
    ticket: Ticket,
    /// How many records the skill opened.
    opened: u64,
}

/// The erase of a user.
struct Erased {
    erasure: Erasure,
    /// The grade of its certificate.
    grade: String,
}

/// What a thief finds, and why the envelope and the grant open nothing more.
struct Theft {
    audit: Audit,
    envelope: Option<Error>,
    request: Option<Error>,
}

impl Demo {
    fn prepare(stage: &Stage) -> Result<Demo, Failure> {
        // The demo must run wherever it is tried. If the cell's file system keeps old bytes, its
        // promise says so.
        let making = Making { accept_remnants: true, ..Making::default() };
        let engine = make(&stage.session, &stage.at("store"), making)?;
        let mut records = put_all(&engine)?;
        engine.copies().add(
            &stage.at("replica").to_string_lossy(),
            CopyMode::InStep,
            &mut |_| {},
        )?;
        let (outside, sealed) = Outside::prepare(&engine)?;
        records.push(sealed);
        let backup = SledStore::create(&stage.at("backup"))?;
        engine.backup(&backup, &mut |_| {})?;
        stage.tell(format_args!(
            "4 users, {} records: audio, transcripts, actions. A replica in step; a backup taken \
             now, in epoch 1.",
            records.len()
        ))?;
        stage.tell(format_args!(
            "One recording of {ERASED}'s came sealed to her inbox; the queue kept the envelope. \
             A skill opened {} actions of hers, as her report says.",
            outside.opened
        ))?;
        let before = engine.audit(&[], &mut |_| {})?;
        let live = before.places[0].live;
        stage.tell(format_args!("Before: with the cell, all {live} blobs of the store open.\n"))?;
        Ok(Demo { engine, records, backup: Arc::new(backup), outside })
    }

    /// Erases a user, and checks the certificate.
    fn erase(&self, stage: &Stage) -> Result<Erased, Failure> {
        let engine = &self.engine;
        let erase = Erase::new(Scope::user(UserId::new(ERASED)?));
        let erase = erase.certified(ERASED, "she asked for it");
        let erasure = engine.erase(erase)?;
        stage.tell(format_args!(
            "$ keyfall erase --user {ERASED}\n{} records erased; epoch {}; the root key of epoch 1 \
             is destroyed.",
            erasure.records.unwrap_or(0),
            erasure.epoch
        ))?;
        stage.tell(format_args!("The cell says: {}.", engine.promise()))?;
        let certificate = erasure.certificate.as_ref().map(|unsigned| unsigned.sign());
        let certificate = certificate.transpose()?.map(|signed| signed.to_string());
        let certificate = certificate.unwrap_or_default();
        let trust = Trust::in_log(engine.log().key()?);
        let verified = certificate.parse::<Certificate>()?.verify(&trust)?;
        let grade = verified.judged.grade.to_string();
        let reasons = match verified.judged.reasons.join("; ") {
            reasons if reasons.is_empty() => reasons,
            reasons => format!(": {reasons}"),
        };
        stage.tell(format_args!(
            "A certificate, {} bytes of text, checked with the public log's key and nothing else: \
             {grade}{reasons}.\n",
            certificate.len()
        ))?;
        Ok(Erased { erasure, grade })
    }

    /// Erases the recording and the transcript of an alarm, which goes on ringing.
    fn part(&self, stage: &Stage) -> Result<Erasure, Failure> {
        let alarm = of_alarm(&self.records)[0].id.interaction();
        let scope = Scope::interaction(UserId::new(KEPT)?, alarm);
        let parted = self.engine.erase(Erase::new(scope).keep(Class::action(), REASON))?;
        stage.tell(format_args!(
            "$ keyfall erase --user {KEPT} --interaction ... --keep action --reason \"{REASON}\"\n\
             {} records erased: what {KEPT} said, as sound and as text. The alarm itself stays.\n",
            parted.records.unwrap_or(0)
        ))?;
        Ok(parted)
    }

    /// Shows what a thief can open.
    fn theft(&self, stage: &Stage) -> Result<Theft, Failure> {
        let engine = &self.engine;
        stage.tell(
            "A thief takes the store, the replica, the old backup, and the cell as it is now:",
        )?;
        let audit = engine.audit(&[Arc::clone(&self.backup)], &mut |_| {})?;
        stage.tell(audit_table(&audit))?;
        let Outside { envelope, skill, ticket, .. } = &self.outside;
        let envelope = engine.accept(&envelope[..]).err();
        let request = engine.open_request(&skill.ask(ticket, &System)?.0, io::sink()).err();
        let said = |e: &Option<Error>| {
            e.as_ref().map_or_else(|| "it opened".to_owned(), ToString::to_string)
        };
        stage.tell(format_args!("The envelope from the queue: {}.", said(&envelope)))?;
        stage.tell(format_args!("The skill asks once more: {}.\n", said(&request)))?;
        Ok(Theft { audit, envelope, request })
    }
}

/// The records of the interaction that set an alarm: recording, transcript, action.
fn of_alarm(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|r| r.user == KEPT).take(3).collect()
}

impl Outside {
    /// Returns what lies outside, and the record that came from there.
    fn prepare(engine: &Engine) -> Result<(Outside, Record), Error> {
        // A device seals a recording while it is offline; the queue that brings it keeps a copy.
        let user = UserId::new(ERASED)?;
        let mut envelope = Vec::new();
        let put = Put::new(user.clone(), Class::audio()).media_type("audio/wav");
        let spoken = audio("what is the weather like");
        sealed::seal(&put, &spoken[..], &engine.inbox(&user).key()?, &System, &mut envelope)?;
        let id = engine.accept(&envelope[..])?.id;
        let sealed = Record { id, user: ERASED, content: spoken };
        // A third party may open what was done for her.
        let skill = Identity::new(&System)?;
        let grant = Grant::new(&skill.public()?, "Ride skill", "to order rides");
        let ticket = engine.grants(&user).add(grant.class(Class::action()))?;
        let opened = engine.open_request(&skill.ask(&ticket, &System)?.0, io::sink())?.records;
        Ok((Outside { envelope, skill, ticket, opened }, sealed))
    }
}

/// What is left after the store burnt down.
struct Fire {
    restored: Restored,
    others: Whole,
    theirs: Whole,
}

impl Fire {
    /// Restores the store from the replica alone, for the old backup does not open on its own.
    fn survive(stage: &Stage, records: &[Record], backup: Arc<dyn Store>) -> Result<Fire, Failure> {
        let refused = open_alone(stage, &backup)?;
        stage.tell(format_args!("The old backup on its own: {refused}\n"))?;

        stage.tell("The store burns down. Everybody else comes back, from the replica alone:")?;
        std::fs::remove_dir_all(stage.at("store"))
            .map_err(|e| Error::io("removing the store", e))?;
        let restored = {
            let replica: Arc<dyn Store> = Arc::new(SledStore::open(&stage.at("replica"))?);
            let into = SledStore::create(&stage.at("restored"))?;
            restore(&stage.cell()?, &[replica, backup], &into, &mut |_| {})?
        };
        let engine = open(&stage.session, &stage.at("restored"))?;
        let alarm = of_alarm(records);
        let fell = |r: &Record| r.user == ERASED || alarm[..2].iter().any(|of| of.id == r.id);
        let (gone, stays): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|r| fell(r));
        let (others, theirs) = (Whole::of(&engine, &stays), Whole::of(&engine, &gone));
        let told = |whole: Whole| format!("{} of {} records", whole.back, whole.of);
        let rows = [
            vec!["ben, chloe, dora".to_owned(), told(others) + ", byte for byte"],
            vec![format!("{ERASED}, and what {KEPT} said"), told(theirs)],
        ];
        stage.tell(table(&["USER", "CAME BACK"], rows))?;
        let id = &records[0].id;
        let answer = content(&engine, id).map_or_else(|e| e.to_string(), |_| "it opened".into());
        stage
            .tell(format_args!("$ keyfall get {}...\nkeyfall: {answer}", &id.to_string()[..12]))?;
        Ok(Fire { restored, others, theirs })
    }
}

/// Why the old backup does not open on its own.
fn open_alone(stage: &Stage, backup: &Arc<dyn Store>) -> Result<String, Error> {
    let cell = Arc::new(stage.cell()?);
    match Engine::open(Arc::clone(backup), cell, Options::default()) {
        Err(e) if e.kind() == ErrorKind::Mismatch => Ok(e.to_string()),
        _ => {
            let text = "the old backup opened on its own: the promise is broken";
            Err(Error::new(ErrorKind::Corrupt, text))
        }
    }
}
