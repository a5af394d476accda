//! Requests that are repeated until their outcome is known.
//!
//! After a timeout "not there" is no answer: the request may still land. So an attempt is never
//! given up for another one: the same bytes are sent again until the name is taken, and then a
//! look at the object says by whom.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::port::{Created, Failure, FailureKind, Objects, Result};

/// Bytes at the beginning of an object that tell it from every other attempt at its name.
const IDENTITY: usize = 64;

/// What became of an object that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, with these bytes, durably.
    Here {
        /// As in [`Created::Here`], where the place said so.
        versioned: bool,
    },
    /// Another one has its name.
    Taken,
}

/// Does two things, at the same time where requests take long.
pub fn both<A: Send, B>(
    objects: &dyn Objects,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if !objects.is_far() {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|e| std::panic::resume_unwind(e)), other)
    })
}

/// Does the same with each of several things, and gives the outcomes in their order; where requests
/// take long with up to `most` of them at the same time.
pub fn at_once<T: Sync, R: Send>(
    objects: &dyn Objects,
    most: usize,
    things: &[T],
    act: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = most.min(things.len());
    if threads < 2 || !objects.is_far() {
        return things.iter().map(act).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(n) else { return done };
            done.push((n, act(thing)));
        }
    };
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mine = some();
        let join = |other: std::thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
        };
        others.into_iter().flat_map(join).chain(mine).collect()
    });
    all.sort_unstable_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, done)| done).collect()
}

/// How often a request is repeated, and what pauses come between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often it is tried, at most.
    pub tries: u32,
    /// The pause after the first try; each is twice as long as the one before it,
    pub pause: Duration,
    /// up to this.
    pub longest: Duration,
    /// No try begins later than this after the first: a server that accepts requests and answers
    /// none is asked a few times.
    pub in_all: Duration,
}

impl Default for Patience {
    /// About a minute; the last try begins within it.
    fn default() -> Self {
        let (pause, longest) = (Duration::from_millis(50), Duration::from_secs(2));
        Patience { tries: 34, pause, longest, in_all: Duration::from_secs(60) }
    }
}

impl Patience {
    /// So many tries, and no pause.
    pub fn of_tries(tries: u32) -> Self {
        let (pause, in_all) = (Duration::ZERO, Duration::MAX);
        Patience { tries, pause, longest: pause, in_all }
    }

    /// Whether there is time for another try.
    fn lasts(&self, began: Instant) -> bool {
        began.elapsed() < self.in_all
    }

    fn wait(&self, after: u32) {
        let pause = self.pause.saturating_mul(1 << after.min(16)).min(self.longest);
        if !pause.is_zero() {
            sleep(pause);
        }
    }
}

/// A request that takes longer is told of.
const LONG: Duration = Duration::from_secs(3);

type Notice = Box<dyn Fn(&Failure) + Send + Sync>;

static NOTICE: OnceLock<Notice> = OnceLock::new();

/// Has this process told of requests that have failed for three seconds and are made again: once of
/// each, with why it failed last. The first call counts.
pub fn when_tried_for_long(notice: impl Fn(&Failure) + Send + Sync + 'static) {
    let _ = NOTICE.set(Box::new(notice));
}

/// Tells of a failure once it is one of a request that takes long.
fn tell(began: Instant, told: &mut bool, e: &Failure) {
    if !*told && began.elapsed() > LONG {
        *told = true;
        if let Some(notice) = NOTICE.get() {
            notice(e);
        }
    }
}

/// Creates an object, whatever happens to single requests, and says what became of it. The first
/// 64 bytes must be those of no other attempt at any object.
///
/// # Errors
/// `Refused`, `Full`: nothing was changed. `Unknown`: the name may have been taken by this attempt,
/// or may yet be, after this returned.
pub fn create(
    objects: &dyn Objects,
    name: &str,
    bytes: &[u8],
    patience: &Patience,
) -> Result<Outcome> {
    let mut unsettled: Option<Failure> = None;
    let (began, mut sent, mut told) = (Instant::now(), 0, false);
    while sent < patience.tries && (sent == 0 || patience.lasts(began)) {
        if sent > 0 {
            unsettled.iter().for_each(|e| tell(began, &mut told, e));
            patience.wait(sent - 1);
        }
        sent += 1;
        match objects.create(name, bytes) {
            Ok(Created::Here { versioned }) => return Ok(Outcome::Here { versioned }),
            Ok(Created::Exists) => match look(objects, name, bytes) {
                Ok(Some(outcome)) => return Ok(outcome),
                // Another request was at it, and did not land: the place said so too early.
                Ok(None) => {}
                Err(e) => unsettled = Some(e),
            },
            Err(e) if e.kind != FailureKind::Unknown => {
                return Err(match unsettled {
                    // An earlier try may still land.
                    Some(earlier) => {
                        Failure::unknown(format!("{}; before that: {}", e.message, earlier.message))
                    }
                    None => e,
                });
            }
            Err(e) => unsettled = Some(e),
        }
    }
    let why = unsettled.map_or_else(
        || "it says that the object is there, and shows none".to_owned(),
        |e| e.message,
    );
    Err(Failure::unknown(format!(
        "{}: {name} was sent {sent} times, and it is unknown whether it is there: {why}",
        objects.place()
    )))
}

/// Whose the object of a name is; `None` if there is none.
fn look(objects: &dyn Objects, name: &str, bytes: &[u8]) -> Result<Option<Outcome>> {
    let mine = &bytes[..bytes.len().min(IDENTITY)];
    let there = objects.get_range(name, 0, IDENTITY as u64)?;
    Ok(there.map(
        |there| {
            if there == mine { Outcome::Here { versioned: false } } else { Outcome::Taken }
        },
    ))
}

/// Repeats a request that changes nothing, or that may be made twice, until it is answered.
///
/// # Errors
/// `Refused`, `Full`; `Unknown` after the last try.
pub fn patiently<T>(patience: &Patience, mut request: impl FnMut() -> Result<T>) -> Result<T> {
    let (began, mut n, mut told) = (Instant::now(), 0, false);
    loop {
        match request() {
            Err(e)
                if e.kind == FailureKind::Unknown
                    && n + 1 < patience.tries
                    && patience.lasts(began) =>
            {
                tell(began, &mut told, &e);
                patience.wait(n);
                n += 1;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_nothing_is_asked_for_so_long_and_not_so_often() {
        let in_all = Duration::from_millis(40);
        let patience = Patience { in_all, ..Patience::of_tries(1000) };
        let mut tries = 0;
        let asked: Result<()> = patiently(&patience, || {
            tries += 1;
            sleep(Duration::from_millis(20));
            Err(Failure::unknown("no answer"))
        });
        assert_eq!(asked.map_err(|e| e.kind), Err(FailureKind::Unknown));
        assert!(tries <= 3, "{tries}");
    }
}
