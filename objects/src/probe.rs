//! The probe of a place: a server that ignores the condition of a create answers every request
//! with success, and loses data when two engines meet. So a place is asked, in its own bucket and
//! folder, before it is relied on.

use std::thread;

use crate::port::{Created, Failure, Listed, Objects, Result};
use crate::settle::{Outcome, Patience, both, create, patiently};

/// The folder of probes.
const FOLDER: &str = "probe";
/// Bytes of a probe.
const BYTES: usize = 80;

/// What a probe found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Whether the place keeps versions of what is deleted, as far as it says.
    pub versioned: bool,
}

fn liar(objects: &dyn Objects, what: &str) -> Failure {
    Failure::unfit(format!(
        "{} {what}: a store there would lose data; take another server, or another bucket",
        objects.place()
    ))
}

fn attempt(drawn: &str, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; BYTES];
    for (to, from) in bytes.iter_mut().skip(1).zip(drawn.bytes()) {
        *to = from;
    }
    bytes
}

/// Creates an object whose name is `drawn` at random, creates it again, reads it, lists it and
/// deletes it. Five requests.
///
/// # Errors
/// `Unfit` for a place that overwrites what is there, or shows something else than was written;
/// otherwise as the requests.
pub fn probe(objects: &dyn Objects, drawn: &str, patience: &Patience) -> Result<Probed> {
    let name = format!("{FOLDER}/{drawn}");
    probed(objects, FOLDER, &name, drawn, patience, |_| ()).map(|(probed, ())| probed)
}

/// As [`probe()`], with the object in another folder, whose list so serves twice: `beside` is given
/// it, and runs beside the last two requests, once the place has refused to overwrite.
///
/// # Errors
/// As [`probe()`].
pub fn probe_beside<T>(
    objects: &dyn Objects,
    folder: &str,
    drawn: &str,
    patience: &Patience,
    beside: impl FnOnce(&[Listed]) -> T,
) -> Result<(Probed, T)> {
    let name = format!("{folder}/{FOLDER}-{drawn}");
    probed(objects, folder, &name, drawn, patience, beside)
}

fn probed<T>(
    objects: &dyn Objects,
    folder: &str,
    name: &str,
    drawn: &str,
    patience: &Patience,
    beside: impl FnOnce(&[Listed]) -> T,
) -> Result<(Probed, T)> {
    let (first, second) = (attempt(drawn, 1), attempt(drawn, 2));
    let made = create(objects, name, &first, patience)?;
    let delete = || patiently(patience, || objects.delete(name));
    let Outcome::Here { versioned } = made else {
        let _ = delete();
        let text = "says of a name that was just drawn that something is there";
        return Err(liar(objects, text));
    };
    let listed =
        overwrites_nothing(objects, folder, name, &second, patience).inspect_err(|_| {
            let _ = delete();
        })?;
    let shows = || {
        let got = patiently(patience, || objects.get(name));
        let _ = delete();
        if got?.as_deref() == Some(&first) {
            return Ok(());
        }
        Err(liar(objects, "does not show what was just written (stale reads)"))
    };
    let (shown, beside) = both(objects, shows, || beside(&listed));
    let versioned = versioned || objects.keeps_deleted();
    shown.map(|()| (Probed { versioned }, beside))
}

/// Creates the object again, and lists it. Gives what else is in the folder.
fn overwrites_nothing(
    objects: &dyn Objects,
    folder: &str,
    name: &str,
    second: &[u8],
    patience: &Patience,
) -> Result<Vec<Listed>> {
    let (again, listed) = both(
        objects,
        || patiently(patience, || objects.create(name, second)),
        || patiently(patience, || objects.list(folder, "", usize::MAX)),
    );
    // What it says of this one is settled by the read that comes next.
    if let Created::Here { .. } = again? {
        return Err(liar(
            objects,
            "overwrites an object that was to be created only if there was none (it ignores \
             `If-None-Match: *`, perhaps only since the bucket keeps versions)",
        ));
    }
    let listed = listed?;
    if !listed.iter().any(|object| object.name == name) {
        return Err(liar(objects, "does not list what was just written (stale lists)"));
    }
    Ok(listed)
}

/// Has several threads create one object at once, and counts who is told to have succeeded.
///
/// # Errors
/// `Unfit` if that is more than one; `Unknown`.
pub fn race(objects: &dyn Objects, drawn: &str, threads: u8, patience: &Patience) -> Result<()> {
    let name = format!("{FOLDER}/{drawn}");
    let answers: Vec<Result<Created>> = thread::scope(|scope| {
        let name = &name;
        let racers = (1..=threads).map(|n| {
            let bytes = attempt(drawn, n);
            scope.spawn(move || objects.create(name, &bytes))
        });
        let racers: Vec<_> = racers.collect();
        let gone = || Err(Failure::unknown("a thread ended"));
        racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| gone())).collect()
    });
    let _ = patiently(patience, || objects.delete(&name));
    let won = answers.iter().filter(|answer| matches!(answer, Ok(Created::Here { .. }))).count();
    if won > 1 {
        return Err(liar(objects, &format!("let {won} of {threads} writers create one object")));
    }
    Ok(())
}
