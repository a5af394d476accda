//! What one run of the program was given, and what it has said so far.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyfall::engine::DueOutcome;
use keyfall::opening::{Location, url_of};
use keyfall::{Builder, Error, ErrorKind};
use serde_json::{Value, json};

use crate::shell::due;
use crate::shell::failure::Done;
use crate::shell::print::{block, tell, tell_whole};
use crate::shell::remedy::{self, About};

/// Bytes of a cache of objects.
const CACHE: u64 = 1 << 30;

/// What this run was given. A clone shares what was said.
#[derive(Clone, Default)]
pub(crate) struct Session {
    /// Whether answers, notes and errors are JSON.
    pub(crate) json: bool,
    /// The root cell, if one was named.
    pub(crate) cell: Option<PathBuf>,
    /// Whether a store is opened to take it over from another place of it.
    pub(crate) take_over: bool,
    /// How long to wait for a store that is in use.
    pub(crate) patience: Duration,
    /// Where this machine keeps what it reads of a store at a URL.
    pub(crate) object_cache: Option<PathBuf>,
    /// The user that was named, as it was typed.
    user: Option<String>,
    /// What to do if nobody knows whether a write took effect.
    unknown: &'static str,
    /// The shard of a realm that the command is about, and how it is opened.
    shard: Option<(PathBuf, Builder)>,
    said: Arc<Mutex<Said>>,
}

/// What was said so far.
#[derive(Default)]
struct Said {
    about: Option<About>,
    /// What was done first since it was due; it is part of the answer.
    due: Option<Value>,
    warned: Vec<Warning>,
}

/// A warning that is given once: a command opens a store or a cell more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    /// Others than its owner can reach the keys in the cell.
    Exposed,
    /// The store is known to lack something.
    Lacking,
}

impl Session {
    /// A session in which nothing was said yet.
    pub(crate) fn new(json: bool, cell: Option<PathBuf>, take_over: bool) -> Self {
        Session { json, cell, take_over, ..Session::default() }
    }

    /// This session, which waits so long for a store that is in use.
    pub(crate) fn waiting(self, patience: Duration) -> Session {
        Session { patience, ..self }
    }

    /// This session, which keeps there what it reads of a store at a URL.
    pub(crate) fn caching(self, object_cache: Option<PathBuf>) -> Session {
        Session { object_cache, ..self }
    }

    /// With that directory, if one was named and the store is at a URL: the variable may be set for
    /// all stores.
    pub(crate) fn cached(&self, store: &Path, builder: Builder) -> Builder {
        match &self.object_cache {
            Some(cache) if url_of(store).is_some() => builder.object_cache(cache, CACHE),
            _ => builder,
        }
    }

    /// This session, about the user of this name.
    pub(crate) fn of_user(self, user: Option<String>) -> Session {
        Session { user, ..self }
    }

    /// This session, in which this is to be done if nobody knows whether a write took effect.
    pub(crate) fn after_unknown(self, unknown: &'static str) -> Session {
        Session { unknown, ..self }
    }

    /// This session with another cell.
    pub(crate) fn with_cell(&self, cell: Option<PathBuf>) -> Session {
        Session { cell, ..self.clone() }
    }

    /// This session, about a shard of a realm that is opened so.
    pub(crate) fn with_shard(&self, at: &Path, opened: Builder) -> Session {
        Session { shard: Some((at.to_owned(), opened)), ..self.clone() }
    }

    /// How a store is opened, if it is the shard that this session is about.
    pub(crate) fn shard(&self, store: &Path) -> Option<Builder> {
        self.shard.as_ref().filter(|(at, _)| at == store).map(|(_, opened)| opened.clone())
    }

    /// This session, which takes over the store that it opens.
    pub(crate) fn taking_over(&self) -> Session {
        Session { take_over: true, ..self.clone() }
    }

    /// Records which store this command is about.
    pub(crate) fn about(&self, store: &Path) {
        let (store, cell, user) = (store.to_owned(), self.cell.clone(), self.user.clone());
        self.said().about = Some(About { store, cell, user });
    }

    /// The place of a store's cell; neither lies inside the other.
    pub(crate) fn cell_of(&self, store: &Path) -> Result<PathBuf, Error> {
        self.about(store);
        Location::find(store, self.cell.as_deref()).map(|found| found.cell().to_owned())
    }

    /// A command as it is typed, with the store and the cell that this command is about.
    pub(crate) fn typed(&self, command: &str) -> String {
        let about = self.said().about.clone();
        remedy::typed(command, about.as_ref())
    }

    /// A text with the commands in it as they are typed.
    pub(crate) fn fill(&self, text: &str) -> String {
        let about = self.said().about.clone();
        remedy::fill(text, about.as_ref())
    }

    /// Prints JSON on standard output; what was done first since it was due is part of it.
    pub(crate) fn value(&self, value: &Value) -> Done {
        block(format_args!("{:#}", self.with_due(value.clone())))
    }

    /// Adds what was done first since it was due, if anything was.
    pub(crate) fn with_due(&self, mut value: Value) -> Value {
        let due = self.said().due.clone();
        if let (Some(due), Some(object)) = (due, value.as_object_mut()) {
            object.entry("tended").or_insert(due);
        }
        value
    }

    /// Prints an answer on standard error: standard output belongs to the result.
    pub(crate) fn aside(&self, text: &str) {
        if self.json { tell_whole(text) } else { tell(text) }
    }

    /// Prints an error in one line.
    pub(crate) fn error(&self, e: &Error) {
        // What a copy in step did not take says itself what became of it.
        let is_told = e.kind() == ErrorKind::Copy;
        let unknown = if e.may_have_happened() && !is_told { self.unknown } else { "" };
        let text = self.fill(&format!("{e}{unknown}"));
        if !self.json {
            return tell(&format!("keyfall: {text}"));
        }
        let mut told =
            json!({"error": {"kind": kind_name(e.kind()), "message": text.replace('\n', " ")}});
        if e.may_have_happened() {
            told["error"]["may_have_happened"] = json!(true);
        }
        tell_whole(&told.to_string());
    }

    /// Says on standard error what was done besides what was asked for.
    pub(crate) fn note(&self, text: &str) {
        let text = self.fill(text);
        if self.json {
            tell_whole(&json!({"note": text}).to_string());
        } else {
            tell(&format!("keyfall: {text}"));
        }
    }

    /// Says on standard error what went wrong besides what was asked for.
    pub(crate) fn warn(&self, e: &Error) {
        let text = self.fill(&e.to_string());
        if self.json {
            let told = json!({"warning": {"kind": kind_name(e.kind()), "message": text}});
            tell_whole(&told.to_string());
        } else {
            tell(&format!("keyfall: {text}"));
        }
    }

    /// Warns, unless this warning was given already.
    pub(crate) fn warn_once(&self, warning: Warning, e: &Error) {
        if self.is_first(warning) {
            self.warn(e);
        }
    }

    /// Says that what was asked for is done, though its answer could not be written; and the
    /// answer.
    pub(crate) fn untold(&self, e: &Error, answer: &str) {
        let text =
            format!("done, and must not be repeated; only its answer could not be written ({e})");
        if self.json {
            let answer: Value = serde_json::from_str(answer).unwrap_or_else(|_| answer.into());
            let told = json!({
                "error": {"kind": "untold", "message": text, "done": true, "answer": answer},
            });
            tell_whole(&told.to_string());
        } else {
            tell(&format!("keyfall: {text}: {answer}"));
        }
    }

    /// Says on standard error, and in the answer, what was done since it was due; the command was
    /// about something else.
    pub(crate) fn tended(&self, done: &DueOutcome) {
        if *done == DueOutcome::default() {
            return;
        }
        if self.json {
            let told = due::done_json(done, &|text| self.fill(text));
            tell_whole(&json!({"tended": told}).to_string());
            self.said().due = Some(told);
            return;
        }
        let parts = due::done_words(done);
        if !parts.is_empty() {
            let told = self.fill(&parts.join("; "));
            tell(&format!("keyfall: what was due came first: {told}"));
        }
    }

    /// Whether this warning was not given yet; from now on it counts as given.
    fn is_first(&self, warning: Warning) -> bool {
        let warned = &mut self.said().warned;
        let is_first = !warned.contains(&warning);
        warned.extend(is_first.then_some(warning));
        is_first
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Erased => "erased",
        ErrorKind::Absent => "absent",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Refused => "refused",
        ErrorKind::Held => "held",
        ErrorKind::Locked => "locked",
        ErrorKind::Exists => "exists",
        ErrorKind::Changed => "changed",
        ErrorKind::Copy => "copy",
        ErrorKind::Poisoned => "poisoned",
        ErrorKind::Full => "full",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::Limit => "limit",
        ErrorKind::Medium => "medium",
        _ => "io",
    }
}
