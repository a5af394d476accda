//! The backend of a voice assistant in ten steps, from an empty directory to a certificate, as a
//! service on tokio has it.
//!
//! Each turn is a recording, the transcript derived from it, and the action derived from that.
//! What is derived falls with its source, wherever it lies. Each of the three has a name, so that a
//! turn is found without an id that somebody would have to keep, and a retry is the same put.
//!
//! `cargo run --example assistant`

#![allow(clippy::disallowed_methods, reason = "an application may look at the clock")]

use std::error::Error as StdError;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::CopyMode;
use keyfall::store::{SledStore, Store};
use keyfall::time::{Day, Zone};
use keyfall::{
    AsyncEngine, Builder, Class, Erase, Error, ErrorKind, InteractionId, Policy, Put, Query,
    RecordId, Result, Scope, Source, Timestamp, UserId,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

const DAY: Duration = Duration::from_secs(86_400);

/// What the records of a turn are called, after the turn's id.
const SOUND: &str = "sound.wav";
const SAID: &str = "said.txt";
const DID: &str = "did.json";

/// One exchange with the assistant. The device draws the id of the interaction when the exchange
/// begins and repeats it with every retry.
#[derive(Clone)]
struct Turn {
    interaction: InteractionId,
    said: String,
}

impl Turn {
    /// A turn of some days ago. Its bytes are fixed so that the example does the same in every run;
    /// a program begins an interaction with [`keyfall::Engine::new_interaction`].
    fn new(days_ago: u32, number: u8, said: &str) -> Self {
        let began = before_now(days_ago * DAY);
        Turn { interaction: InteractionId::from_parts(began, [number; 10]), said: said.to_owned() }
    }

    fn name(&self, of: &str) -> String {
        format!("{}/{of}", self.interaction)
    }

    /// A record of it, which is still to be filled.
    fn put(&self, user: &UserId, class: Class, of: &str, media_type: &str) -> Put {
        let put = Put::new(user.clone(), class).interaction(self.interaction);
        put.name(self.name(of)).media_type(media_type)
    }
}

fn before_now(by: Duration) -> Timestamp {
    Timestamp::now() - by
}

/// The service. It is cheap to clone, and each request has one.
#[derive(Clone)]
struct Backend {
    engine: AsyncEngine,
    dir: PathBuf,
}

impl Backend {
    /// Step 1: open what is there, or make it. One of store and cell without the other is an error:
    /// a store without its cell is lost, and must not be begun again by accident. An example runs
    /// wherever a temporary directory lies, so any file system is accepted for the cell; a service
    /// leaves that out, and is refused a medium that does not overwrite in place.
    async fn open_or_create(dir: &Path) -> Result<Self> {
        let builder = Builder::at(dir.join("store")).accept_remnants();
        let engine = AsyncEngine::open_with(move || builder.open_or_create()).await?;
        Ok(Backend { engine, dir: dir.to_owned() })
    }

    /// Steps 2 and 3: take a turn in, all of it in one commit. Sent again it is the same turn, and
    /// gives the same ids. One that was erased meanwhile is refused as `Erased`: nothing brings it
    /// back.
    async fn keep(&self, user: &UserId, turn: &Turn) -> Result<Vec<RecordId>> {
        let (user, turn) = (user.clone(), turn.clone());
        let fill = self.engine.run(move |engine| {
            let mut batch = engine.batch();
            let sound = turn.put(&user, Class::audio(), SOUND, "audio/wav");
            let sound = batch.add(sound, &wave(&turn.said)[..])?;
            let said = turn.put(&user, Class::transcript(), SAID, "text/plain; charset=utf-8");
            let said = said.derived_from(Source::Added(sound));
            let said = batch.add(said, turn.said.as_bytes())?;
            let did = turn.put(&user, Class::action(), DID, "application/json");
            batch.add(did.derived_from(Source::Added(said)), &b"{\"did\": \"it\"}"[..])?;
            Ok(batch)
        });
        self.engine.commit(fill.await?).await
    }

    /// One of the records of a turn, by its name.
    async fn of(&self, user: &UserId, turn: &Turn, of: &str) -> Result<RecordId> {
        self.engine.find(user, turn.name(of)).await.map(|record| record.id)
    }

    /// Step 4: what was said since `from`, newest first, each with its day. A web page shows one
    /// page of it, and has `next` in the link to the next one.
    async fn history(
        &self,
        user: &UserId,
        from: Timestamp,
        zone: &Zone,
    ) -> Result<Vec<(Day, String)>> {
        let mut query = Query::default().user(user.clone()).from(from).newest_first(true).limit(2);
        let (mut turns, class) = (Vec::new(), Class::transcript());
        loop {
            let page = self.engine.interactions(query.clone()).await?;
            for (day, of_day) in page.by_day(zone) {
                for said in of_day.iter().flat_map(|turn| turn.of(&class)) {
                    let mut text = String::new();
                    self.engine.get(&said.id).await?.read_to_string(&mut text).await?;
                    turns.push((day, text));
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(turns),
            }
        }
    }

    async fn is_erased(&self, id: &RecordId) -> bool {
        self.engine.get(id).await.is_err_and(|e| e.kind() == ErrorKind::Erased)
    }

    /// Step 8: a replica in step, a backup, and what the two would restore.
    async fn restore_drill(&self) -> Result<bool> {
        let (replica, backup) = (self.dir.join("replica"), self.dir.join("backup"));
        let drill = self.engine.run(move |engine| {
            let (replica, copies) = (replica.to_string_lossy(), engine.copies());
            if copies.attached(&replica).is_none() {
                copies.add(&replica, CopyMode::InStep, &mut |_| {})?;
            }
            let backup: Arc<dyn Store> = Arc::new(SledStore::open_or_create(&backup)?);
            engine.backup(&*backup, &mut |_| {})?;
            let both: Vec<_> = copies.attached(&replica).into_iter().chain([backup]).collect();
            Ok(copies.check_restore(&both, &mut |_| {})?.is_whole())
        });
        drill.await
    }
}

/// Step 6: she deletes a turn, what she said about an alarm that goes on ringing, and today. Gives
/// the alarm.
async fn part_with(backend: &Backend, ada: &UserId, turns: &[Turn; 4]) -> Result<RecordId> {
    let [_, ride, alarm, lights] = turns;
    let engine = &backend.engine;

    let said = backend.of(ada, ride, SAID).await?;
    engine.erase(Scope::interaction(ada.clone(), ride.interaction)).await?;
    assert!(backend.is_erased(&said).await);
    let late = backend.keep(ada, ride).await.map_err(|e| e.kind());
    assert_eq!(late, Err(ErrorKind::Erased), "a retry that comes late brings nothing back");

    let rings = backend.of(ada, alarm, DID).await?;
    let sound = backend.of(ada, alarm, SOUND).await?;
    let erase = Erase::new(Scope::interaction(ada.clone(), alarm.interaction));
    engine.erase(erase.keep(Class::action(), "the alarm goes on ringing")).await?;
    assert!(backend.is_erased(&sound).await);
    assert_eq!(backend.of(ada, alarm, DID).await?, rings, "it keeps its name");

    let sound = backend.of(ada, lights, SOUND).await?;
    let today = Zone::utc().day(lights.interaction.began());
    engine.erase(Scope::within(ada.clone(), today.span())).await?;
    assert!(backend.is_erased(&sound).await);
    Ok(rings)
}

/// Step 9: many clients, whose turns share commits.
async fn many(backend: &Backend) -> Result<()> {
    let client = |n: u8| {
        let backend = backend.clone();
        tokio::spawn(async move {
            backend.keep(&UserId::new(format!("user {n}"))?, &Turn::new(0, n, "hello")).await
        })
    };
    for client in (0..16).map(client).collect::<Vec<_>>() {
        let kept = client.await.map_err(|e| Error::new(ErrorKind::Io, e.to_string()))?;
        assert_eq!(kept?.len(), 3);
    }
    Ok(())
}

/// Stands for a recording: a header and some sound.
fn wave(said: &str) -> Vec<u8> {
    [&b"RIFF"[..], &said.as_bytes().repeat(1000)].concat()
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn StdError>> {
    let dir = tempfile::tempdir()?;
    let backend = Backend::open_or_create(dir.path()).await?; // 1
    let (ada, engine) = (UserId::new("ada")?, &backend.engine);

    // 2 and 3. A retry stores nothing twice.
    let turns = [
        Turn::new(40, 1, "how far is the moon"),
        Turn::new(3, 2, "order a ride"),
        Turn::new(1, 3, "wake me at six"),
        Turn::new(0, 4, "turn the lights off"),
    ];
    for turn in &turns {
        let first = backend.keep(&ada, turn).await?;
        assert!(first.len() == 3 && first == backend.keep(&ada, turn).await?);
    }

    // 4. The last week, newest first, by the days of her time zone ("Europe/Berlin".parse()?).
    let week = backend.history(&ada, before_now(7 * DAY), &Zone::utc()).await?;
    let said: Vec<_> = week.iter().map(|(_, said)| said.as_str()).collect();
    assert_eq!(said, ["turn the lights off", "wake me at six", "order a ride"]);

    // 5. A player seeks: only the chunks that it asks for are read.
    let mut player = engine.get(&backend.of(&ada, &turns[3], SOUND).await?).await?;
    player.seek(SeekFrom::Start(4)).await?;
    let mut sound = [0; 19];
    player.read_exact(&mut sound).await?;
    assert_eq!(&sound, b"turn the lights off");
    drop(player);

    let alarm = part_with(&backend, &ada, &turns).await?; // 6

    // 7. Recordings are kept for 30 days. What was derived from one falls with it. An open engine
    // does what is due automatically; here it is waited for.
    let old = backend.of(&ada, &turns[0], SAID).await?;
    let limit = Policy::new(Class::audio()).max_age(30 * DAY);
    engine.run(move |engine| engine.policies(None).set(&limit)).await?;
    engine.run(|engine| engine.run_due(&mut |_| {})).await?;
    assert!(backend.is_erased(&old).await && engine.get(&alarm).await.is_ok());

    // 8. A drill beside the running service.
    assert!(backend.restore_drill().await?);

    // 9. Many clients; then the service restarts.
    many(&backend).await?;
    backend.engine.close().await?;
    let backend = Backend::open_or_create(dir.path()).await?;
    assert_eq!(backend.engine.run(|engine| engine.users(None, 100)).await?.len(), 17);

    // 10. She leaves. The certificate is checked with the log's public key and nothing else.
    let erase = Erase::new(Scope::user(ada)).certified("ada herself", "GDPR, article 17");
    let erasure = backend.engine.erase(erase).await?;
    let certificate = erasure.certificate.ok_or("a certificate was asked for")?.sign()?;
    let trust = Trust::in_log(backend.engine.run(|engine| engine.log().key()).await?);
    let verified = certificate.to_string().parse::<Certificate>()?.verify(&trust)?;
    assert!(backend.is_erased(&alarm).await && backend.restore_drill().await?);
    println!("Ten steps done. Certificate: {}; {}", verified.judged.grade, verified.judged.level);
    Ok(())
}
