//! Who may see which page: links that work once, and the sessions that they begin. Both are in
//! memory alone: a service that starts again knows none of them.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyfall::time::Zone;
use keyfall::{AsyncOpening, InteractionId, RecordId, UserHandle, UserId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::numbers::Numbers;
use super::outcome::Outcome;
use super::pace::Pace;
use super::words::{Who, Words};
use crate::private::random;

/// How long a link works.
pub(crate) const LINK_LASTS: Duration = Duration::from_secs(10 * 60);
/// How long a session lasts: reading has no time limit that a day's use meets.
pub(crate) const SESSION_LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// Most links, and most sessions, at one time: with more, the oldest end first of the credential
/// that has the most.
const MOST: usize = 100_000;
/// So many end together: what finds them looks at all.
const AT_ONCE: usize = MOST / 100;
/// Most outcomes that a session remembers.
const OUTCOMES: usize = 200;

/// As whom somebody sees a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The person that it is about.
    Own,
    /// A child: sees, hears and erases, and cannot have more kept.
    Child,
    /// The person who looks after the profile, by name.
    Guardian(String),
}

/// Whose page, and how it is shown.
#[derive(Clone)]
pub(crate) struct Grant {
    /// The credential by which the link was made: what it let in ends with it.
    pub(crate) credential: String,
    pub(crate) user: UserId,
    pub(crate) handle: UserHandle,
    pub(crate) role: Role,
    pub(crate) zone: Zone,
    pub(crate) zone_name: String,
    /// The language that the application asked for; the browser's, if none.
    pub(crate) words: Option<Words<'static>>,
}

impl Grant {
    /// Words as they are spoken to whoever sees the page.
    pub(crate) fn spoken(&self, words: Words<'static>) -> Words<'_> {
        let who = match self.role {
            Role::Own => Who::Person,
            Role::Child => Who::Child,
            Role::Guardian(_) => Who::Guardian,
        };
        words.to(who, self.user.as_str())
    }
}

/// One that was let in.
pub(crate) struct Session {
    pub(crate) grant: Grant,
    /// What forms of this session bear.
    csrf: String,
    ends: Instant,
    outcomes: Mutex<Vec<Outcome>>,
    /// What its pages name.
    records: Mutex<Numbers<RecordId>>,
    turns: Mutex<Numbers<InteractionId>>,
    /// The devices by which its pages list things.
    devices: Mutex<Vec<String>>,
    /// Which records are proofs, of those that may be: they are read once.
    proofs: Mutex<HashMap<RecordId, bool>>,
    /// How many drafts of certificates it kept.
    drafts: AtomicU64,
    /// What it opened by name: a player that seeks is one line in the report.
    openings: Mutex<HashMap<RecordId, AsyncOpening>>,
    /// Whose turn it is to open one.
    opens: tokio::sync::Mutex<()>,
    /// Whose turn it is to take proofs that are awaited.
    settles: tokio::sync::Mutex<()>,
}

impl Session {
    /// What its forms bear.
    pub(crate) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether a form is one of its own.
    pub(crate) fn gave(&self, csrf: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(csrf.as_bytes()))
    }

    /// The number under which this session knows a record.
    pub(crate) fn number_of(&self, record: RecordId) -> u64 {
        locked(&self.records).of(record)
    }

    /// The record with a number.
    pub(crate) fn record(&self, number: &str) -> Option<RecordId> {
        locked(&self.records).find(number)
    }

    /// The number under which this session knows an exchange.
    pub(crate) fn number_of_turn(&self, turn: InteractionId) -> u64 {
        locked(&self.turns).of(turn)
    }

    /// The exchange with a number.
    pub(crate) fn turn(&self, number: &str) -> Option<InteractionId> {
        locked(&self.turns).find(number)
    }

    /// The number under which this session knows a device: its name is in no address.
    pub(crate) fn number_of_device(&self, device: &str) -> usize {
        let mut devices = locked(&self.devices);
        devices.iter().position(|known| known == device).unwrap_or_else(|| {
            devices.push(device.to_owned());
            devices.len() - 1
        })
    }

    /// The device with a number.
    pub(crate) fn device(&self, number: &str) -> Option<String> {
        locked(&self.devices).get(number.parse::<usize>().ok()?).cloned()
    }

    /// Whether a record is a proof, if it was looked at.
    pub(crate) fn is_proof(&self, id: &RecordId) -> Option<bool> {
        locked(&self.proofs).get(id).copied()
    }

    /// Notes whether a record is a proof.
    pub(crate) fn note_proof(&self, id: RecordId, is: bool) {
        locked(&self.proofs).insert(id, is);
    }

    /// The number of its next draft.
    pub(crate) fn next_draft(&self) -> u64 {
        self.drafts.fetch_add(1, Ordering::Relaxed)
    }

    /// The opening of a record that is not over.
    pub(crate) fn opening(&self, id: &RecordId) -> Option<AsyncOpening> {
        locked(&self.openings).get(id).filter(|opening| opening.left().is_ok()).cloned()
    }

    /// Keeps an opening for the requests to come, and lets go of those that are over.
    pub(crate) fn opened(&self, opening: AsyncOpening) {
        let mut openings = locked(&self.openings);
        openings.retain(|_, opening| opening.left().is_ok());
        openings.insert(*opening.id(), opening);
    }

    /// Waits for its turn to open something by name.
    pub(crate) async fn opens(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opens.lock().await
    }

    /// Waits for its turn to take proofs that are awaited.
    pub(crate) async fn settles(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.settles.lock().await
    }

    /// How long it goes on.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Remembers what an erase did; returns its number.
    pub(crate) fn remember(&self, outcome: Outcome) -> usize {
        let mut outcomes = locked(&self.outcomes);
        if outcomes.len() == OUTCOMES {
            // Its number goes on to count; its texts go.
            let oldest = outcomes.iter_mut().find(|outcome| !outcome.proofs.is_empty());
            if let Some(oldest) = oldest {
                oldest.proofs.clear();
            }
        }
        outcomes.push(outcome);
        outcomes.len() - 1
    }

    /// What the erase with a number did.
    pub(crate) fn outcome(&self, number: usize) -> Option<Outcome> {
        locked(&self.outcomes).get(number).cloned()
    }

    /// Changes what is remembered of the erase with a number.
    pub(crate) fn change(&self, number: usize, change: impl FnOnce(&mut Outcome)) {
        if let Some(outcome) = locked(&self.outcomes).get_mut(number) {
            change(outcome);
        }
    }

    /// The drafts whose certificates are awaited, each with the number of its erase.
    pub(crate) fn awaited(&self) -> Vec<(usize, u64)> {
        let outcomes = locked(&self.outcomes);
        let of = |(number, outcome): (usize, &Outcome)| {
            outcome.awaited.iter().map(move |draft| (number, *draft)).collect::<Vec<_>>()
        };
        outcomes.iter().enumerate().flat_map(of).collect()
    }

    /// What all its erases did.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        locked(&self.outcomes).clone()
    }
}

/// A token's hash: tokens themselves are kept nowhere.
type Hash = [u8; 32];

struct Link {
    grant: Grant,
    ends: Instant,
}

/// Links and sessions.
#[derive(Default)]
pub(crate) struct Desk {
    links: Mutex<HashMap<Hash, Link>>,
    sessions: Mutex<HashMap<Hash, Arc<Session>>>,
    codes: Pace,
}

impl Desk {
    /// How often codes may be tried.
    pub(crate) fn codes(&self) -> &Pace {
        &self.codes
    }

    /// Makes a link; returns its token.
    ///
    /// # Errors
    /// If the system's generator fails.
    pub(crate) fn link(&self, grant: Grant) -> io::Result<String> {
        let token = token()?;
        let mut links = locked(&self.links);
        make_room(&mut links, MOST, AT_ONCE, |link| (link.grant.credential.clone(), link.ends));
        links.insert(hash(&token), Link { grant, ends: Instant::now() + LINK_LASTS });
        Ok(token)
    }

    /// What a link opens, while it works.
    pub(crate) fn opens(&self, token: &str) -> Option<Grant> {
        let links = locked(&self.links);
        links.get(&hash(token)).filter(|link| link.ends > Instant::now()).map(|l| l.grant.clone())
    }

    /// Takes a link, which works no more; returns the token of the session that begins.
    ///
    /// # Errors
    /// If the system's generator fails.
    pub(crate) fn enter(&self, link: &str) -> io::Result<Option<String>> {
        let (csrf, session) = (token()?, token()?);
        let Some(link) = locked(&self.links).remove(&hash(link)) else { return Ok(None) };
        if link.ends <= Instant::now() {
            return Ok(None);
        }
        let ends = Instant::now() + SESSION_LASTS;
        let begun = Session {
            grant: link.grant,
            csrf,
            ends,
            outcomes: Mutex::default(),
            records: Mutex::new(Numbers::new(random()?)),
            turns: Mutex::new(Numbers::new(random()?)),
            devices: Mutex::default(),
            proofs: Mutex::default(),
            drafts: AtomicU64::new(0),
            openings: Mutex::default(),
            opens: tokio::sync::Mutex::default(),
            settles: tokio::sync::Mutex::default(),
        };
        let mut sessions = locked(&self.sessions);
        let of = |session: &Arc<Session>| (session.grant.credential.clone(), session.ends);
        make_room(&mut sessions, MOST, AT_ONCE, of);
        sessions.insert(hash(&session), Arc::new(begun));
        Ok(Some(session))
    }

    /// The session of a token, until it ends.
    pub(crate) fn session(&self, token: &str) -> Option<Arc<Session>> {
        let sessions = locked(&self.sessions);
        sessions.get(&hash(token)).filter(|session| session.ends > Instant::now()).cloned()
    }

    /// Ends a session.
    pub(crate) fn leave(&self, token: &str) {
        locked(&self.sessions).remove(&hash(token));
    }
}

/// Makes room where there are `most`: for what is over, and then for the oldest ones of whoever has
/// the most, so that one credential does not end what another has made.
fn make_room<T>(
    all: &mut HashMap<Hash, T>,
    most: usize,
    at_once: usize,
    of: impl Fn(&T) -> (String, Instant),
) {
    if all.len() < most {
        return;
    }
    let now = Instant::now();
    all.retain(|_, one| of(one).1 > now);
    while all.len() + at_once > most {
        let mut by_credential: HashMap<String, Vec<(Instant, Hash)>> = HashMap::new();
        for (hash, one) in all.iter() {
            let (credential, ends) = of(one);
            by_credential.entry(credential).or_default().push((ends, *hash));
        }
        let Some(mut greatest) = by_credential.into_values().max_by_key(Vec::len) else { return };
        greatest.sort_unstable();
        for (_, hash) in greatest.into_iter().take(at_once.max(1)) {
            all.remove(&hash);
        }
    }
}

fn token() -> io::Result<String> {
    Ok(data_encoding::BASE32_DNSSEC.encode(&random::<32>()?))
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        let handle = "u-0".parse();
        let user = UserId::new("ada").expect("a name");
        Grant {
            credential: String::new(),
            user,
            handle: handle.unwrap_or_else(|_| any_handle()),
            role: Role::Own,
            zone: Zone::utc(),
            zone_name: "UTC".to_owned(),
            words: None,
        }
    }

    /// A handle is made by an engine alone.
    fn any_handle() -> UserHandle {
        use std::sync::Arc;
        let dir = tempfile::tempdir().expect("a directory");
        let made = keyfall::Builder::at(dir.path().join("s")).accept_remnants().open_or_create();
        let engine = Arc::new(made.expect("an engine"));
        let ada = UserId::new("ada").expect("a name");
        engine.create_user(&ada).expect("a user");
        engine.handle(&ada).expect("a handle")
    }

    #[test]
    fn a_link_works_once() {
        let desk = Desk::default();
        let link = desk.link(grant()).expect("a link");
        assert!(desk.opens(&link).is_some());
        let session = desk.enter(&link).expect("randomness").expect("a session");
        assert!(desk.opens(&link).is_none());
        assert!(desk.enter(&link).expect("randomness").is_none());
        let found = desk.session(&session).expect("a session");
        assert!(found.gave(found.csrf()) && !found.gave("") && !found.gave(&session));
        desk.leave(&session);
        assert!(desk.session(&session).is_none());
    }

    /// One application's links ended those of all others, oldest first.
    #[test]
    fn whoever_has_the_most_makes_room() {
        let ends = |n: u64| Instant::now() + Duration::from_secs(60 + n);
        let one = |name: &str, n: u64| (name.to_owned(), ends(n));
        let mut all: HashMap<Hash, (String, Instant)> = HashMap::new();
        all.insert([0; 32], one("few", 0));
        for n in 1..20 {
            all.insert([n; 32], one("many", n.into()));
        }
        make_room(&mut all, 21, 4, Clone::clone);
        assert_eq!(all.len(), 20, "there is room");
        make_room(&mut all, 20, 4, Clone::clone);
        assert_eq!(all.len(), 16);
        assert!(all.contains_key(&[0; 32]), "the oldest of all is not of whoever has the most");
        assert!((1..5).all(|n| !all.contains_key(&[n; 32])) && all.contains_key(&[5; 32]));
        all.insert([99; 32], ("over".to_owned(), Instant::now()));
        make_room(&mut all, 17, 1, Clone::clone);
        assert_eq!(all.len(), 16, "what is over goes first");
    }
}
