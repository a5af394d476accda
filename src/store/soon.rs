//! Opening a place that may not answer: callers wait for a short time alone, together for the first
//! of them, and no longer while its try still waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use crate::env::{Env, System};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::locked;

/// How often a caller looks whether the try of another one has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A try that has not ended, or was not asked for since.
#[derive(Clone)]
struct Waiting {
    since: Duration,
    ended: Arc<AtomicBool>,
}

/// Says that a try has ended, however it did.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// By place.
static WAITING: LazyLock<Mutex<BTreeMap<String, Waiting>>> = LazyLock::new(Mutex::default);

/// What `open` gives, if it gives it in this time. Else it goes on in a thread of its own, and what
/// it gives then counts for nothing.
///
/// # Errors
/// `Io` if the time is over, and at once while an earlier try of that place has not ended; what
/// `open` says.
pub(super) fn soon<T: Send + 'static>(
    place: &str,
    within: Duration,
    open: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let began = System.monotonic();
    let silent = |since: Duration| {
        let text = format!("{place} has not answered for {:.0?}", System.monotonic() - since);
        Error::new(ErrorKind::Io, text)
    };
    let ended = Arc::new(AtomicBool::new(false));
    while let Some(earlier) = begun(place, &Waiting { since: began, ended: Arc::clone(&ended) }) {
        if System.monotonic().saturating_sub(earlier.since) >= within {
            return Err(silent(earlier.since));
        }
        std::thread::sleep(LOOK);
    }
    let (give, given) = sync_channel(1);
    let ends = Ends(ended);
    let run = move || {
        let opened = open();
        // Before it is given: the next caller must not take this try for one that still waits.
        drop(ends);
        let _ = give.send(opened);
    };
    let thread = std::thread::Builder::new().name("keyfall-opens".to_owned()).spawn(run);
    thread.map_err(|e| Error::io("a thread that opens a copy", e))?;
    match given.recv_timeout(within) {
        Ok(opened) => opened,
        Err(RecvTimeoutError::Timeout) => Err(silent(began)),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Error::new(ErrorKind::Io, format!("what opens {place} has panicked")))
        }
    }
}

/// Begins a try of a place; or gives the one that has not ended.
fn begun(place: &str, this: &Waiting) -> Option<Waiting> {
    let mut waiting = locked(&WAITING);
    let earlier = waiting.get(place).filter(|earlier| !earlier.ended.load(Ordering::Acquire));
    let earlier = earlier.cloned();
    if earlier.is_none() {
        waiting.insert(place.to_owned(), this.clone());
    }
    earlier
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun_by_another(place: &str) -> Option<()> {
        let waiting = locked(&WAITING);
        waiting.get(place).filter(|it| !it.ended.load(Ordering::Acquire)).map(|_| ())
    }

    /// The next caller does not wait for what has given already.
    #[test]
    fn what_has_given_has_ended() {
        for n in 0..2000 {
            assert_eq!(soon("s3://given", Duration::from_secs(60), move || Ok(n)).unwrap(), n);
            assert!(begun_by_another("s3://given").is_none(), "after {n}");
        }
    }

    #[test]
    fn a_place_that_does_not_answer_is_waited_for_once() {
        let (go_on, goes_on) = sync_channel::<()>(1);
        let short = Duration::from_millis(30);
        let e = soon("s3://a", short, move || Ok(goes_on.recv().is_ok())).unwrap_err();
        assert!(e.kind() == ErrorKind::Io && e.to_string().contains("has not answered"), "{e}");
        let e = soon("s3://a", short, || Ok(1)).unwrap_err();
        assert!(e.to_string().contains("has not answered"), "{e}");
        assert_eq!(soon("s3://b", Duration::from_secs(60), || Ok(2)).unwrap(), 2);
        go_on.send(()).unwrap();
        let mut tries = 0;
        while soon("s3://a", Duration::from_secs(60), || Ok(3)).is_err() {
            tries += 1;
            assert!(tries < 10_000, "it is never asked again");
            std::thread::sleep(Duration::from_millis(1));
        }
        let (go_on, goes_on) = sync_channel::<()>(1);
        let first = std::thread::spawn(move || {
            soon("s3://a", Duration::from_secs(60), move || Ok(goes_on.recv().is_ok()))
        });
        while begun_by_another("s3://a").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let second = std::thread::spawn(|| soon("s3://a", Duration::from_secs(60), || Ok(4)));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!second.is_finished(), "two ask at once");
        go_on.send(()).unwrap();
        assert!(first.join().unwrap().unwrap());
        assert_eq!(second.join().unwrap().unwrap(), 4);
        let refused = || Err::<(), _>(Error::invalid("no"));
        assert_eq!(soon("s3://a", short, refused).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
