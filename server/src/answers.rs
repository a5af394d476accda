//! Answers that a repeated request gets again (`Idempotency-Key`), and drafts of the page's erases.
//!
//! What is kept here may name people, so it is sealed under the caller's own key, or the token of
//! the caller's session, of which the service keeps nothing: without it a file is noise, and after
//! a day it is gone.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use keyfall::crypto::{Key, chunked};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::private;
use crate::problem::{Answer, Problem};
use crate::spare::Spare;

/// For so long an answer is kept.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For so long it is kept who planned an erase: as long as its certificate.
const OF_A_PLAN: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// How the name of such a file ends.
const PLAN: &str = "plan";
/// Bytes sealed at once: under a chunk of the sealing format.
const PIECE: usize = 16_000;
/// What a sealed piece is longer by, at most, with room to spare.
const CONTEXT: &[u8] = b"keyfalld/answer/v1";
/// Shortest key: one that can be guessed seals nothing.
const KEY_MIN: usize = 16;
const KEY_MAX: usize = 255;

/// The answers of a service, in a directory.
pub(crate) struct Answers {
    dir: PathBuf,
    spare: Spare,
    busy: Mutex<HashSet<String>>,
}

/// What is kept of one request.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Hash of the request: another one under the same key is refused.
    request: String,
    /// The draft of a certificate, from before the erase.
    pub(crate) draft: Option<String>,
    /// The erase that is planned, from before it was.
    #[serde(default)]
    pub(crate) intent: Option<Intent>,
    /// The record that is about to be put.
    #[serde(default)]
    pub(crate) put: Option<PutIntent>,
    /// Whether what was put has fallen: nothing else is kept of the request then.
    #[serde(default)]
    pub(crate) fell: bool,
    /// The answer, once there was one.
    pub(crate) answer: Option<(u16, Value)>,
}

/// An erase that is about to be planned.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// When it falls due, in milliseconds.
    pub(crate) due: u64,
    /// How many leaves the log has before.
    pub(crate) leaves: u64,
}

/// A record that is about to be put: where it is found, whether or not its answer was lost.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PutIntent {
    /// The id that it would have had then. If others were put into its interaction meanwhile, it has
    /// a later one.
    pub(crate) id: String,
    /// What is in its metadata.
    pub(crate) mark: String,
    /// The record that had its name then.
    pub(crate) had: Option<String>,
}

/// The place of one request's answer, while the request is served.
pub(crate) struct Slot {
    answers: Arc<Answers>,
    name: String,
    secret: [u8; 32],
    request: String,
    /// An erase is not refused for want of room.
    is_of_an_erase: bool,
}

impl Answers {
    /// Opens the directory.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let (dir, spare) = (dir.join("answers"), Spare::at(dir));
        private::directory(&dir)?;
        spare.refill();
        Ok(Answers { dir, spare, busy: Mutex::default() })
    }

    /// Removes what is older than a day, or of plans older than their certificates; not while the
    /// clock is doubted.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let mut failed = Ok(());
        for file in std::fs::read_dir(&self.dir)? {
            // What cannot be removed keeps nothing else from it.
            if let Err(e) = file.and_then(|file| remove_if_old(&file)) {
                failed = Err(e);
            }
        }
        self.spare.refill();
        failed
    }

    /// The place for a principal's request under a key.
    ///
    /// # Errors
    /// 400 for a key that is too short or too long, 409 while the request is served already.
    pub(crate) fn slot(
        self: &Arc<Self>,
        principal: &str,
        key: &str,
        request: &[u8],
    ) -> Answer<Slot> {
        if key.len() < KEY_MIN || key.len() > KEY_MAX {
            return Err(Problem::invalid(format!(
                "an Idempotency-Key has {KEY_MIN} to {KEY_MAX} characters; take a random UUID"
            )));
        }
        let name = named("name", principal, key);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(name.clone()) {
            let detail = "a request with this Idempotency-Key is being served; ask again";
            return Err(Problem::new(StatusCode::CONFLICT, "refused", detail));
        }
        Ok(Slot {
            answers: Arc::clone(self),
            name,
            secret: derive("key", principal, key),
            request: data_encoding::HEXLOWER.encode(&Sha256::digest(request)),
            is_of_an_erase: false,
        })
    }

    /// Refuses what stores something while the room for erases is not there.
    ///
    /// # Errors
    /// 507.
    pub(crate) async fn may_store(self: &Arc<Self>) -> Answer<()> {
        let this = Arc::clone(self);
        match spawn_blocking(move || this.spare.refill()).await {
            Ok(true) => Ok(()),
            _ => Err(Problem::full()),
        }
    }
}

impl Answers {
    /// Keeps who asks for an erase under a key, for the case that it ends the credential: sealed
    /// under what the caller showed, of which nothing is kept.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn remember(&self, asks: &Asks<'_>, principal: &str, plans: bool) -> io::Result<()> {
        for shown in asks.shown {
            let shown = data_encoding::HEXLOWER.encode(shown);
            let name = named("asker's name", &shown, asks.key);
            let secret = derive("asker", &shown, asks.key);
            let sealed = seal(&secret, &name, principal.as_bytes())?;
            let place = self.dir.join(&name);
            let place = if plans { place.with_extension(PLAN) } else { place };
            self.spare.or_give(|| private::replace(&place, sealed.as_bytes()))?;
        }
        Ok(())
    }

    /// Who asked for an erase under a key, showing what is shown now.
    pub(crate) fn asked(&self, asks: &Asks<'_>) -> Option<String> {
        asks.shown.iter().find_map(|shown| {
            let shown = data_encoding::HEXLOWER.encode(shown);
            let name = named("asker's name", &shown, asks.key);
            let secret = derive("asker", &shown, asks.key);
            let place = self.dir.join(&name);
            let places = [place.with_extension(PLAN), place];
            let sealed = places.iter().find_map(|place| private::read(place).ok()?)?;
            String::from_utf8(open(&secret, &name, &sealed)?).ok()
        })
    }
}

/// What a caller showed, and the key of its request.
pub(crate) struct Asks<'a> {
    pub(crate) shown: &'a [[u8; 32]],
    pub(crate) key: &'a str,
}

impl Slot {
    /// The same place, of a request to erase: on a full disk it takes the room that is kept for
    /// these.
    pub(crate) fn of_an_erase(mut self) -> Self {
        self.is_of_an_erase = true;
        self
    }

    /// What is kept of the request.
    ///
    /// # Errors
    /// 422 if the key was used for another request.
    pub(crate) fn read(&self) -> Answer<Kept> {
        let kept = self.look()?;
        match self.is_of(&kept) {
            true => Ok(kept),
            false => Err(key_used()),
        }
    }

    /// Whether what is kept is of this request.
    pub(crate) fn is_of(&self, kept: &Kept) -> bool {
        kept.request == self.request
    }

    /// What is kept under the key, of whichever request.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn look(&self) -> Answer<Kept> {
        let nothing = || Kept { request: self.request.clone(), ..Kept::default() };
        let sealed = match private::read(&self.place()) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(nothing()),
            // What is no text is no answer either.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(nothing()),
            Err(e) => return Err(Problem::of_io(e)),
        };
        // One that does not open was cut short: nothing was answered.
        Ok(self.open(&sealed).unwrap_or_else(nothing))
    }

    /// Lets go of what is kept, since what was put has fallen; that it did is kept.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.keep(&Kept { fell: true, ..Kept::default() })
    }

    /// Keeps what is to be found when the request comes again.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep(&self, kept: &Kept) -> io::Result<()> {
        let text = seal(&self.secret, &self.name, &serde_json::to_vec(kept)?)?;
        let replace = || private::replace(&self.place(), text.as_bytes());
        if self.is_of_an_erase { self.answers.spare.or_give(replace) } else { replace() }
    }

    /// The same, with the draft of a certificate.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep_draft(&self, draft: String) -> io::Result<()> {
        let request = self.request.clone();
        self.keep(&Kept { request, draft: Some(draft), ..Kept::default() })
    }

    /// The same, with what is about to be planned.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep_intent(&self, intent: Intent) -> io::Result<()> {
        let request = self.request.clone();
        self.keep(&Kept { request, intent: Some(intent), ..Kept::default() })
    }

    /// The same, with what is about to be put.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep_put(&self, put: PutIntent) -> io::Result<()> {
        let request = self.request.clone();
        self.keep(&Kept { request, put: Some(put), ..Kept::default() })
    }

    /// The same, with nothing that was about to be put: it was not.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep_nothing(&self) -> io::Result<()> {
        self.keep(&Kept { request: self.request.clone(), ..Kept::default() })
    }

    /// The same, with the answer.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn keep_answer(&self, status: StatusCode, answer: Value) -> io::Result<()> {
        let answer = Some((status.as_u16(), answer));
        self.keep(&Kept { request: self.request.clone(), answer, ..Kept::default() })
    }

    fn open(&self, text: &str) -> Option<Kept> {
        serde_json::from_slice(&open(&self.secret, &self.name, text)?).ok()
    }

    fn place(&self) -> PathBuf {
        self.answers.dir.join(&self.name)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut busy = self.answers.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.name);
    }
}

/// Removes a file that is too old. What is no file is not of this service.
#[expect(clippy::disallowed_methods, reason = "the age of a file, by the clock that made it")]
fn remove_if_old(file: &DirEntry) -> io::Result<()> {
    let about = file.metadata()?;
    let age = SystemTime::now().duration_since(about.modified()?);
    let lasts = match file.path().extension() == Some(OsStr::new(PLAN)) {
        true => OF_A_PLAN,
        false => DAY,
    };
    if about.is_file() && age.is_ok_and(|age| age > lasts) {
        std::fs::remove_file(file.path())?;
    }
    Ok(())
}

/// A key is for one request.
pub(crate) fn key_used() -> Problem {
    let detail = "this Idempotency-Key was used for another request; take a fresh one";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-used", detail)
}

/// Lines of sealed pieces, for the file of this name.
fn seal(secret: &[u8; 32], name: &str, plain: &[u8]) -> io::Result<String> {
    let (key, mut text) = (Key::copied_from(secret), String::new());
    for (n, piece) in plain.chunks(PIECE).enumerate() {
        let sealed = chunked::seal(&key, &private::random()?, &context(name, n), piece);
        text.push_str(&data_encoding::BASE64.encode(&sealed));
        text.push('\n');
    }
    Ok(text)
}

/// What such lines hold.
fn open(secret: &[u8; 32], name: &str, text: &str) -> Option<Vec<u8>> {
    let (key, mut plain) = (Key::copied_from(secret), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let sealed = data_encoding::BASE64.decode(line.as_bytes()).ok()?;
        plain.extend_from_slice(&chunked::open(&key, &context(name, n), &sealed).ok()?);
    }
    Some(plain)
}

fn context(name: &str, n: usize) -> Vec<u8> {
    [CONTEXT, name.as_bytes(), &(n as u64).to_be_bytes()].concat()
}

/// The name of a file.
fn named(what: &str, whose: &str, key: &str) -> String {
    data_encoding::HEXLOWER.encode(&derive(what, whose, key))
}

/// 32 bytes out of a key and whose it is.
fn derive(what: &str, principal: &str, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["keyfalld/answer/v1", what, principal, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
