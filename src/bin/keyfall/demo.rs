//! The demo: everything keyfall is for, in one screen, with nothing but the binary.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::{CopyMode, Grant, Request, restore};
use keyfall::env::System;
use keyfall::sealed::{self, Identity};
use keyfall::store::{SledStore, Store};
use keyfall::{Class, Engine, Erase, Error, ErrorKind, Options, Put, RecordId, Scope, Source, UserId};
use serde_json::json;

use crate::commands::audit_table;
use crate::guarded;
use crate::output::{Failure, block, table, value};
use crate::remedy::fill;
use crate::stores::{Making, make, open};

const USERS: [(&str, [&str; 3]); 4] = [
    ("ada", ["wake me at half past six", "order a ride to the station", "text Ben that I am late"]),
    ("ben", ["wake me at 6:30 every weekday", "what is on my calendar", "order the usual pizza"]),
    ("chloe", ["turn the lights off", "remind me to call home", "how far is the moon"]),
    ("dora", ["set a timer for ten minutes", "read me the news", "lock the front door"]),
];
const ERASED: &str = "ada";
const KEPT: &str = "ben";
const REASON: &str = "the alarm goes on ringing";
const RATE: u32 = 8000;

/// A WAVE file of spoken length: PCM 16 bit, mono, 8 kHz; 70 ms of a gliding tone for each letter.
fn audio(sentence: &str) -> Vec<u8> {
    let samples = sentence.len() as u32 * RATE * 7 / 100;
    let mut wav = Vec::with_capacity(44 + samples as usize * 2);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples * 2).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * 2).to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&(samples * 2).to_le_bytes());
    let mut phase = 0.0f32;
    for n in 0..samples {
        let letter = sentence.as_bytes()[(n * 100 / (RATE * 7)) as usize % sentence.len()];
        phase += (90.0 + f32::from(letter) * 4.0) / RATE as f32;
        #[expect(clippy::cast_possible_truncation, reason = "a sample")]
        let sample = ((phase * std::f32::consts::TAU).sin() * 9000.0) as i16;
        wav.extend_from_slice(&sample.to_le_bytes());
    }
    wav
}

struct Record {
    id: RecordId,
    user: &'static str,
    content: Vec<u8>,
}

/// A directory that goes when the demo ends, unless it is to be kept.
struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn place(keep: Option<&Path>) -> Result<Place, Error> {
    let dir = match keep {
        Some(dir) => {
            guarded::check_dir(dir)?;
            dir.to_owned()
        }
        None => std::env::temp_dir().join(format!("keyfall-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
    if std::fs::read_dir(&dir).map_err(|e| Error::io(dir.display(), e))?.next().is_some() {
        return Err(Error::new(ErrorKind::Exists, format!("{} is not empty; name an empty directory", dir.display())));
    }
    Ok(Place { dir, keep: keep.is_some() })
}

fn content(engine: &Engine, id: &RecordId) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    engine.get_to(id, &mut out).map(|_| out)
}

/// How many of these records come back byte for byte, and of how many.
fn whole<'r>(engine: &Engine, records: impl Iterator<Item = &'r Record>) -> (usize, usize) {
    let back: Vec<bool> = records.map(|r| content(engine, &r.id).is_ok_and(|c| c == r.content)).collect();
    (back.iter().filter(|whole| **whole).count(), back.len())
}

fn put_all(engine: &Engine) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for (name, sentences) in USERS {
        for sentence in sentences {
            let interaction = engine.new_interaction()?;
            let action = json!({"kind": "assistant.did", "text": sentence}).to_string();
            let contents = [
                (Class::audio(), "audio/wav", audio(sentence)),
                (Class::transcript(), "text/plain; charset=utf-8", sentence.as_bytes().to_vec()),
                (Class::action(), "application/json", action.into_bytes()),
            ];
            let mut batch = engine.batch();
            let mut last = None;
            for (class, media_type, content) in &contents {
                let mut put =
                    Put::new(UserId::new(name)?, class.clone()).interaction(interaction).media_type(*media_type);
                // The transcript from the recording, the action from the transcript.
                if let Some(last) = last {
                    put = put.derived_from(Source::Added(last));
                }
                last = Some(batch.add(put, &content[..])?);
            }
            let ids = batch.commit()?;
            records.extend(ids.into_iter().zip(contents).map(|(id, (.., content))| Record { id, user: name, content }));
        }
    }
    Ok(records)
}

/// Runs the demo.
pub(crate) fn run(keep: Option<&Path>, json: bool) -> Result<(), Failure> {
    let place = place(keep)?;
    let at = |name: &str| place.dir.join(name);
    let tell = |text: String| if json { Ok(()) } else { block(text) };

    // The demo must run wherever it is tried; where the cell's file system keeps old bytes, its promise says so.
    let engine = make(&at("store"), None, Making { accept_remnants: true, ..Making::default() })?;
    let records = put_all(&engine)?;
    engine.copies().add(&at("replica").to_string_lossy(), CopyMode::InStep, &mut |_| {})?;
    let backup = SledStore::create(&at("backup"))?;
    engine.backup(&backup, &mut |_| {})?;
    tell(format!(
        "4 users, {} records: audio, transcripts, actions. A replica in step; a backup taken now, in epoch 1.",
        records.len()
    ))?;
    // A device seals a recording of hers while it is offline; the queue that brings it keeps a copy.
    let ada = UserId::new(ERASED)?;
    let mut envelope = Vec::new();
    let put = Put::new(ada.clone(), Class::audio()).media_type("audio/wav");
    let spoken = audio("what is the weather like");
    sealed::seal(&put, &spoken[..], &engine.inbox(&ada).key()?, &System, &mut envelope)?;
    engine.accept(&envelope[..])?;
    // A third party may open what was done for her.
    let skill = Identity::new(&System)?;
    let ticket =
        engine.grants(&ada).add(Grant::new(&skill.public()?, "Ride skill", "to order rides").class(Class::action()))?;
    let opened = engine.open_request(&skill.ask(&ticket, &System)?.0, io::sink())?;
    tell(format!(
        "A recording of {ERASED}'s came sealed to her inbox, and the queue kept the envelope. A skill opened {} actions of hers, as her report says.",
        opened.records
    ))?;
    let before = engine.audit(&[], &mut |_| {})?;
    tell(format!("Before: with the cell, all {} blobs of the store open.\n", before.places[0].live))?;

    let asked_by = Request { authority: ERASED.into(), ground: "she asked for it".into() };
    let erasure = engine.erase(Erase::new(Scope::user(UserId::new(ERASED)?)).certified(asked_by))?;
    tell(format!(
        "$ keyfall erase --user {ERASED}\n{} records erased; epoch {}; the root key of epoch 1 is destroyed.",
        erasure.records.unwrap_or(0),
        erasure.epoch
    ))?;
    tell(format!("The cell says: {}.", engine.promise()))?;
    let certificate = erasure.certificate.as_ref().map(|unsigned| unsigned.sign()).transpose()?;
    let certificate = certificate.map(|signed| signed.to_string()).unwrap_or_default();
    let verified = certificate.parse::<Certificate>()?.verify(&Trust::in_log(engine.log().key()?))?;
    tell(format!(
        "A certificate, {} bytes of text, checked with the public log's key and nothing else: {}.\n",
        certificate.len(),
        verified.judged.grade
    ))?;

    // The recording and the transcript of an alarm go, and it goes on ringing.
    let of_alarm: Vec<&Record> = records.iter().filter(|r| r.user == KEPT).take(3).collect();
    let alarm = Scope::interaction(UserId::new(KEPT)?, of_alarm[0].id.interaction());
    let parted = engine.erase(Erase::new(alarm).keep(Class::action(), REASON))?;
    tell(format!(
        "$ keyfall erase --user {KEPT} --interaction ... --keep action --reason \"{REASON}\"\n{} records erased: what {KEPT} said, as sound and as text. The alarm itself stays.\n",
        parted.records.unwrap_or(0)
    ))?;
    let (gone, stays): (Vec<&Record>, Vec<&Record>) =
        records.iter().partition(|r| r.user == ERASED || of_alarm[..2].iter().any(|of| of.id == r.id));

    tell("A thief takes the store, the replica, the old backup, and the cell as it is now:".into())?;
    let backup: Arc<dyn Store> = Arc::new(backup);
    let audit = engine.audit(&[Arc::clone(&backup)], &mut |_| {})?;
    tell(audit_table(&audit))?;
    let again = engine.accept(&envelope[..]).err().map(|e| fill(&e.to_string()));
    let asked = engine.open_request(&skill.ask(&ticket, &System)?.0, io::sink()).err().map(|e| fill(&e.to_string()));
    tell(format!("The envelope from the queue: {}.", again.as_deref().unwrap_or("it opened")))?;
    tell(format!("The skill asks once more: {}.\n", asked.as_deref().unwrap_or("it opened")))?;
    drop(engine);

    let cell_place = at("store.cell");
    let alone = {
        let cell = FileCell::open(&cell_place, Arc::new(System))?;
        Engine::open(Arc::clone(&backup), Arc::new(cell), Options::default())
    };
    let refused = match alone {
        Err(e) if e.kind() == ErrorKind::Mismatch => fill(&e.to_string()),
        _ => {
            return Err(Error::new(ErrorKind::Corrupt, "the old backup opened by itself: the promise is broken").into());
        }
    };
    tell(format!("The old backup by itself: {refused}\n"))?;

    tell("The store burns down. Everybody else comes back, from the replica alone:".into())?;
    std::fs::remove_dir_all(at("store")).map_err(|e| Error::io("removing the store", e))?;
    let restored = {
        let cell = FileCell::open(&cell_place, Arc::new(System))?;
        let replica: Arc<dyn Store> = Arc::new(SledStore::open(&at("replica"))?);
        let into = SledStore::create(&at("restored"))?;
        restore(&cell, &[replica, backup], &into, &mut |_| {})?
    };
    let engine = open(&at("restored"), Some(&cell_place))?;
    let (others, of_others) = whole(&engine, stays.into_iter());
    let (theirs, of_theirs) = whole(&engine, gone.into_iter());
    let answer = match content(&engine, &records[0].id) {
        Err(e) => fill(&e.to_string()),
        Ok(_) => "it opened".into(),
    };
    let rows = [
        vec!["ben, chloe, dora".to_owned(), format!("{others} of {of_others} records, byte for byte")],
        vec![format!("{ERASED}, and what {KEPT} said"), format!("{theirs} of {of_theirs} records")],
    ];
    tell(table(&["USER", "CAME BACK"], rows))?;
    tell(format!("$ keyfall get {}...\nkeyfall: {answer}", &records[0].id.to_string()[..12]))?;
    let shut = again.is_some() && asked.is_some();
    let kept = audit.is_clean() && theirs == 0 && others == of_others && shut;
    if json {
        value(&json!({
            "records": records.len(), "erased": erasure.records, "parted": parted.records, "epoch": erasure.epoch, "audit_clean": audit.is_clean(),
            "restored_blobs": restored.blobs, "others_whole": others, "others": of_others, "erased_opened": theirs, "granted_opened": opened.records, "envelope_and_grant_shut": shut, "kept": kept,
            "certificate": verified.judged.grade.to_string(),
        }))?;
    }
    if kept {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the demo did not end as it must: please report this").into())
}
