//! The draft of a certificate, which lies beside its place until the certificate is written.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::certificate::Draft;
use keyfall::{Engine, Error, ErrorKind};

use crate::shell::outfile::{Replace, write_private};
use crate::shell::read::read_text;
use crate::shell::remedy::word;
use crate::shell::session::Session;

/// How the name of a draft ends.
const DRAFT: &str = ".draft";

/// The place of the certificate whose draft lies at `draft`.
pub(super) fn place_of(draft: &Path) -> Option<PathBuf> {
    let name = draft.file_name()?.as_bytes().strip_suffix(DRAFT.as_bytes())?;
    (!name.is_empty()).then(|| draft.with_file_name(OsStr::from_bytes(name)))
}

/// The draft of a certificate. A clone is the same draft.
#[derive(Clone)]
pub(super) struct KeptDraft {
    place: PathBuf,
    /// Whether this process made it.
    made: Arc<AtomicBool>,
    /// Whether the draft that lies there is of an erase that was not done.
    undone: Arc<AtomicBool>,
}

impl KeptDraft {
    /// The draft of the certificate that goes to `file`.
    pub(super) fn beside(file: &Path) -> Self {
        let mut place = file.as_os_str().to_owned();
        place.push(DRAFT);
        KeptDraft { place: place.into(), made: Arc::default(), undone: Arc::default() }
    }

    /// Where a draft lies, this process's or an earlier one's.
    fn there(&self) -> Option<&Path> {
        let draft = || Draft::is_one(&read_text(&self.place).ok()?).then_some(&*self.place);
        self.place.is_file().then(draft).flatten()
    }

    /// Where a draft lies that a certificate is still to be made from.
    pub(super) fn left(&self) -> Option<&Path> {
        self.there().filter(|_| !self.undone.load(Ordering::Relaxed))
    }

    /// Looks, before this erase, at what an earlier one left here. The draft of one that was not
    /// done is in nobody's way.
    pub(super) fn check_left(&self, engine: &Engine) -> Result<(), Error> {
        let Some(place) = self.there() else { return Ok(()) };
        let aside = |why: &str| {
            let text = format!(
                "nothing was erased: {} {why}, or name another place for the certificate",
                place.display()
            );
            Error::new(ErrorKind::Refused, text)
        };
        let Ok(draft) = read_text(place)?.parse::<Draft>() else {
            return Err(aside("is a draft that cannot be read; move it away"));
        };
        if draft.facts.body.store != engine.id().to_string() {
            let why = "is the draft of an erase in another store; make its certificate with that \
                       store first";
            return Err(aside(why));
        }
        let undone =
            engine.certificates().get(&draft).is_err_and(|e| e.kind() == ErrorKind::Absent);
        self.undone.store(undone, Ordering::Relaxed);
        Ok(())
    }

    /// Where it is, if this process made it.
    pub(super) fn made(&self) -> Option<&Path> {
        self.made.load(Ordering::Relaxed).then_some(&*self.place)
    }

    /// Keeps the draft before anything is erased: whatever happens then, `certificate upgrade`
    /// makes the certificate from it. If something else lies at its place, that stays and nothing
    /// is erased, unless it is the draft of an erase that was not done.
    pub(super) fn keep(&self, session: &Session) -> impl Fn(&Draft) -> Result<(), Error> + use<> {
        let (kept, session) = (self.clone(), session.clone());
        move |draft| {
            let place = &kept.place;
            let free = kept.made().is_some() || kept.undone.load(Ordering::Relaxed);
            let replace = if free { Replace::Anything } else { Replace::Nothing };
            if replace == Replace::Nothing && place.symlink_metadata().is_ok() {
                return Err(kept.in_the_way());
            }
            write_private(place, replace, |out| {
                out.write_all(draft.to_string().as_bytes())
                    .map_err(|e| Error::io(place.display(), e))
            })?;
            kept.made.store(true, Ordering::Relaxed);
            if kept.undone.swap(false, Ordering::Relaxed) {
                session.note(&format!(
                    "the draft {} was of an erase that the store's log does not have: it was not \
                     done, and the draft of this one took its place",
                    place.display()
                ));
            }
            Ok(())
        }
    }

    fn in_the_way(&self) -> Error {
        let place = self.place.display();
        let text = match self.there() {
            Some(_) => format!(
                "the draft of an earlier erase is {place}; run \
                 `keyfall certificate upgrade STORE {}` first",
                word(&self.place)
            ),
            None => format!(
                "{place} already exists; move it away, or name another place for the certificate"
            ),
        };
        Error::new(ErrorKind::Refused, text)
    }

    /// Removes the draft, if this process made it.
    pub(super) fn remove(&self) {
        if self.made.swap(false, Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.place);
        }
    }

    /// What an erase that failed leaves: its draft, if the erase may have been done all the same.
    pub(super) fn after(&self, e: Error) -> Error {
        match self.made() {
            Some(place) if e.may_have_happened() => e.context(format!(
                "the draft of the certificate is kept: if the erase is done in the end, \
                 `keyfall certificate upgrade STORE {}` makes it",
                word(place)
            )),
            _ => {
                self.remove();
                e
            }
        }
    }
}
