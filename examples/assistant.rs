//! The backend of a voice assistant in ten steps, from an empty directory to a certificate.
//!
//! Each turn is a recording, the transcript derived from it, and the action derived from that.
//! What is derived falls with its source, wherever it lies.
//!
//! `cargo run --example assistant`

#![allow(clippy::disallowed_methods, reason = "an application may look at the clock")]

use std::error::Error as StdError;
use std::io::{Read, Seek, SeekFrom, read_to_string};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::CopyMode;
use keyfall::store::{SledStore, Store};
use keyfall::time::{Day, Zone};
use keyfall::{
    Builder, Class, Engine, Erase, Error, ErrorKind, InteractionId, Policy, Put, Query, RecordId,
    Result, Scope, Source, Timestamp, UserId,
};

const DAY: Duration = Duration::from_secs(86_400);

/// One exchange with the assistant. The device draws the id of the interaction when the exchange
/// begins and repeats it with every retry.
struct Turn {
    interaction: InteractionId,
    said: String,
}

impl Turn {
    /// A turn of some days ago. Its bytes are fixed so that the example does the same in every run;
    /// a program begins an interaction with [`Engine::new_interaction`].
    fn new(days_ago: u32, number: u8, said: &str) -> Self {
        let began = before_now(days_ago * DAY);
        Turn { interaction: InteractionId::from_parts(began, [number; 10]), said: said.to_owned() }
    }
}

fn before_now(by: Duration) -> Timestamp {
    Timestamp::now() - by
}

struct Backend {
    engine: Engine,
    dir: PathBuf,
    /// Held from looking for a turn until it is put, so that a turn is put once.
    once: Mutex<()>,
}

impl Backend {
    /// Step 1: open what is there, or make it. One of store and cell without the other is an error:
    /// a store without its cell is lost, and must not be begun again by accident. An example runs
    /// wherever a temporary directory lies, so any file system is accepted for the cell; a service
    /// leaves that out, and is refused a medium that does not overwrite in place.
    fn open_or_create(dir: &Path) -> Result<Self> {
        let engine = Builder::at(dir.join("store")).accept_remnants().open_or_create()?;
        Ok(Backend { engine, dir: dir.to_owned(), once: Mutex::default() })
    }

    /// Steps 2 and 3: take a turn in, all of it in one commit, and once however often it is sent.
    /// One that was erased meanwhile is refused as `Erased`: nothing brings it back.
    fn keep(&self, user: &UserId, turn: &Turn) -> Result<Vec<RecordId>> {
        let _one_at_a_time = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.records(user, turn);
        match there {
            Ok(ids) if !ids.is_empty() => return Ok(ids),
            Err(e) if e.kind() != ErrorKind::Absent => return Err(e),
            _ => {}
        }
        let put = |class, media_type: &str| {
            Put::new(user.clone(), class).interaction(turn.interaction).media_type(media_type)
        };
        let mut batch = self.engine.batch();
        let audio = batch.add(put(Class::audio(), "audio/wav"), &wave(&turn.said)[..])?;
        let transcript = put(Class::transcript(), "text/plain; charset=utf-8");
        let transcript =
            batch.add(transcript.derived_from(Source::Added(audio)), turn.said.as_bytes())?;
        let action = put(Class::action(), "application/json");
        batch.add(action.derived_from(Source::Added(transcript)), &b"{\"did\": \"it\"}"[..])?;
        batch.commit()
    }

    fn records(&self, user: &UserId, turn: &Turn) -> Result<Vec<RecordId>> {
        let query = Query::default().user(user.clone()).interaction(turn.interaction);
        Ok(self.engine.list(&query)?.records.iter().map(|record| record.id).collect())
    }

    /// The record of one class that a turn has.
    fn of_class(&self, user: &UserId, turn: &Turn, class: Class) -> Result<RecordId> {
        let query = Query::default().user(user.clone()).interaction(turn.interaction).class(class);
        let found = self.engine.list(&query)?.records;
        found.first().map(|r| r.id).ok_or_else(|| Error::new(ErrorKind::Absent, "no such record"))
    }

    /// Step 4: what was said since `from`, and what was done, newest first, each with its day. A
    /// web page shows one page of it, and has `next` in the link to the next one.
    fn history(&self, user: &UserId, from: Timestamp, zone: &Zone) -> Result<Vec<(Day, String)>> {
        let mut query = Query::default().user(user.clone()).from(from).newest_first(true).limit(2);
        let mut turns = Vec::new();
        loop {
            let page = self.engine.interactions(&query)?;
            for (day, of_day) in page.by_day(zone) {
                for turn in of_day {
                    let read = |class| -> Result<String> {
                        let texts = turn.of(&class).map(|record| self.engine.get(&record.id));
                        texts.map(|text| Ok(read_to_string(text?)?)).collect()
                    };
                    let (said, did) = (read(Class::transcript())?, read(Class::action())?);
                    turns.push((day, format!("{said}: {did}")));
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(turns),
            }
        }
    }

    fn is_erased(&self, id: &RecordId) -> bool {
        self.engine.get(id).is_err_and(|e| e.kind() == ErrorKind::Erased)
    }

    /// Step 8: a replica in step, a backup, and what the two would restore.
    fn restore_drill(&self) -> Result<bool> {
        let replica = self.dir.join("replica").to_string_lossy().into_owned();
        if self.engine.copies().attached(&replica).is_none() {
            self.engine.copies().add(&replica, CopyMode::InStep, &mut |_| {})?;
        }
        let backup: Arc<dyn Store> = Arc::new(SledStore::open_or_create(&self.dir.join("backup"))?);
        self.engine.backup(&*backup, &mut |_| {})?;
        let copies: Vec<Arc<dyn Store>> =
            self.engine.copies().attached(&replica).into_iter().chain([backup]).collect();
        Ok(self.engine.copies().check_restore(&copies, &mut |_| {})?.is_whole())
    }
}

/// Step 6: she deletes a turn, what she said about an alarm that goes on ringing, and today. Gives
/// the alarm.
fn part_with(backend: &Backend, ada: &UserId, turns: &[Turn; 4]) -> Result<RecordId> {
    let [_, ride, alarm, lights] = turns;
    let (engine, audio) = (&backend.engine, Class::audio());

    let transcript = backend.of_class(ada, ride, Class::transcript())?;
    engine.erase(Scope::interaction(ada.clone(), ride.interaction))?;
    assert!(backend.is_erased(&transcript));
    let late = backend.keep(ada, ride).err().map(|e| e.kind());
    assert_eq!(late, Some(ErrorKind::Erased), "a retry that comes late brings nothing back");

    let rings = backend.of_class(ada, alarm, Class::action())?;
    let spoken = backend.of_class(ada, alarm, audio.clone())?;
    let erase = Erase::new(Scope::interaction(ada.clone(), alarm.interaction));
    engine.erase(erase.keep(Class::action(), "the alarm goes on ringing"))?;
    assert!(backend.is_erased(&spoken) && engine.get(&rings).is_ok());

    let spoken = backend.of_class(ada, lights, audio)?;
    let today = Zone::utc().day(lights.interaction.began());
    engine.erase(Scope::within(ada.clone(), today.span()))?;
    assert!(backend.is_erased(&spoken));
    Ok(rings)
}

/// Stands for a recording: a header and some sound.
fn wave(said: &str) -> Vec<u8> {
    [&b"RIFF"[..], &said.as_bytes().repeat(1000)].concat()
}

fn main() -> std::result::Result<(), Box<dyn StdError>> {
    let dir = tempfile::tempdir()?;
    let backend = Backend::open_or_create(dir.path())?; // 1
    let (ada, engine) = (UserId::new("ada")?, &backend.engine);

    // 2 and 3. A retry stores nothing twice.
    let turns = [
        Turn::new(40, 1, "how far is the moon"),
        Turn::new(3, 2, "order a ride"),
        Turn::new(1, 3, "wake me at six"),
        Turn::new(0, 4, "turn the lights off"),
    ];
    for turn in &turns {
        let mut first = backend.keep(&ada, turn)?;
        let mut again = backend.keep(&ada, turn)?;
        first.sort_unstable();
        again.sort_unstable();
        assert!(first.len() == 3 && first == again);
    }

    // 4. The last week, newest first, by the days of her time zone ("Europe/Berlin".parse()?).
    let week = backend.history(&ada, before_now(7 * DAY), &Zone::utc())?;
    let said: Vec<_> = week.iter().filter_map(|(_, turn)| turn.split(':').next()).collect();
    assert_eq!(said, ["turn the lights off", "wake me at six", "order a ride"]);

    // 5. A player seeks: only the chunks that it asks for are read.
    let mut player = engine.get(&backend.of_class(&ada, &turns[3], Class::audio())?)?;
    player.seek(SeekFrom::Start(4))?;
    let mut sound = [0; 19];
    player.read_exact(&mut sound)?;
    assert_eq!(&sound, b"turn the lights off");
    drop(player);

    let alarm = part_with(&backend, &ada, &turns)?; // 6

    // 7. Recordings are kept for 30 days. What was derived from one falls with it.
    let old = backend.of_class(&ada, &turns[0], Class::transcript())?;
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(30 * DAY))?;
    engine.run_due(&mut |_| {})?; // an open engine does this automatically; here it is waited for
    assert!(backend.is_erased(&old) && engine.get(&alarm).is_ok());

    // 8. A drill beside the running service.
    assert!(backend.restore_drill()?);

    // 9. Many clients; then the service restarts.
    thread::scope(|scope| {
        let client = |n: u8| {
            let backend = &backend;
            move || backend.keep(&UserId::new(format!("user {n}"))?, &Turn::new(0, n, "hello"))
        };
        let clients: Vec<_> = (0..16).map(|n| scope.spawn(client(n))).collect();
        clients.into_iter().try_for_each(|c| match c.join() {
            Ok(kept) => kept.map(|ids| assert_eq!(ids.len(), 3)),
            Err(_) => Err(Error::new(ErrorKind::Io, "a client panicked")),
        })
    })?;
    backend.engine.close()?;
    let backend = Backend::open_or_create(dir.path())?;
    assert_eq!(backend.engine.users(None, 100)?.len(), 17);

    // 10. She leaves. The certificate is checked with the log's public key and nothing else.
    let erase = Erase::new(Scope::user(ada)).certified("ada herself", "GDPR, article 17");
    let erasure = backend.engine.erase(erase)?;
    let certificate = erasure.certificate.ok_or("a certificate was asked for")?.sign()?;
    let trust = Trust::in_log(backend.engine.log().key()?);
    let verified = certificate.to_string().parse::<Certificate>()?.verify(&trust)?;
    assert!(backend.is_erased(&alarm) && backend.restore_drill()?);
    println!("Ten steps done. Certificate: {}; {}", verified.judged.grade, verified.judged.level);
    Ok(())
}
