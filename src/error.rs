//! One error type: a kind that tells the caller what to do, and one line that says what happened
//! and what to do about it.

use std::error::Error as StdError;
use std::fmt;

/// What the caller of a failed call can do about it.
///
/// | kind | what to do | retry? | may it have happened? |
/// |---|---|---|---|
/// | `Invalid` | correct the request | corrected | no |
/// | `Erased` | answer "gone" (HTTP 410) | no | no |
/// | `Absent` | answer "not found" (HTTP 404) | no | no |
/// | `Corrupt` | restore from a copy | after that | ask |
/// | `Mismatch` | fail over to the store that is up to date, or restore it | there | no |
/// | `Limit` | use less, remove something, or wait | after that | no |
/// | `Medium` | choose another place, or accept what its medium may keep | after that | no |
/// | `Refused` | read the message: the state of the store forbids it | no | no |
/// | `Fenced` | step down, or take over on purpose | after that | ask |
/// | `Held` | lift the legal hold | after that | no |
/// | `Locked` | close what has it open | later | no |
/// | `Exists` | use what is there, or name another place or another record | no | no |
/// | `Changed` | look at what is there now, and decide again (HTTP 412) | decided | no |
/// | `Copy` | bring the copy back, or remove it from the list | after that | ask |
/// | `Poisoned` | close the engine and open it again | after that | of this call no |
/// | `Full` | free some space | after that | ask |
/// | `Io` | look at the system; open the engine again if it is poisoned | after that | ask |
///
/// "Ask" means [`Error::may_have_happened`], which is about this one call: a put of which it says
/// no can be repeated without being stored twice. An erase can always be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is malformed. Correct it and call again.
    Invalid,
    /// It was here and has been erased; it does not come back.
    Erased,
    /// It was never here, as far as this engine can tell.
    Absent,
    /// Stored bytes are missing, torn or changed: restore from a copy.
    Corrupt,
    /// The store and the root cell do not fit: one is older than the other, or they are of two
    /// stores. What is up to date elsewhere still opens: fail over to it.
    Mismatch,
    /// A limit of this engine, or of this store, is reached.
    Limit,
    /// The medium cannot keep the promise: its file system may keep what is overwritten, a link has
    /// the name of one of the files, or a place of objects loses what it acknowledged.
    Medium,
    /// The engine declines for another reason: what was asked is well-formed, and the state of the
    /// store, a policy or somebody's rights forbid it.
    Refused,
    /// Another engine owns the store: step down, or take the store over on purpose.
    Fenced,
    /// It is under a legal hold: lift that first.
    Held,
    /// The store or the cell is open already, in another process or in this one: call again once it
    /// is closed.
    Locked,
    /// It is there already: a store or a cell at this place, another record with this name.
    Exists,
    /// The record that a put was to replace does not have the name any more
    /// ([`PutMode::IfIs`](crate::PutMode::IfIs)): look at what has it now.
    Changed,
    /// A copy that must be in step did not take a commit.
    Copy,
    /// An earlier write failed with an unknown outcome: [`Engine::reopen`](crate::Engine::reopen)
    /// finds out.
    Poisoned,
    /// The disk is full.
    Full,
    /// The operating system reported an error.
    Io,
}

impl ErrorKind {
    /// The code with which this project's programs end for such an error (docs/cli.md).
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Invalid => 2,
            ErrorKind::Erased => 3,
            ErrorKind::Absent => 4,
            ErrorKind::Corrupt => 5,
            ErrorKind::Refused | ErrorKind::Mismatch | ErrorKind::Limit | ErrorKind::Medium => 6,
            ErrorKind::Held => 7,
            ErrorKind::Locked => 8,
            ErrorKind::Fenced => 11,
            _ => 1,
        }
    }
}

/// What the system says of a call that failed, and what to do about it.
pub(crate) fn told(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    let remedy = match error.kind() {
        K::StorageFull | K::QuotaExceeded => {
            return "no space left; free some space and call again, nothing acknowledged is lost"
                .to_owned();
        }
        // Words of this project, or of a library: they say themselves what to do.
        _ if error.raw_os_error().is_none() => return error.to_string(),
        K::NotFound => "check the path",
        K::PermissionDenied => "run as a user who may, or name another place",
        K::NotADirectory => "a part of this path is a file: check it",
        K::IsADirectory => "name a file",
        K::ReadOnlyFilesystem => "have the file system mounted to write, or name another place",
        _ => match error.raw_os_error() {
            Some(code) if MEDIUM.contains(&code) => {
                "the medium fails, or is away: see `dmesg`, and call again; if it goes on failing, \
                 restore from a copy"
            }
            Some(code) if FILES.contains(&code) => "raise the limit of open files (`ulimit -n`)",
            _ => return error.to_string(),
        },
    };
    format!("{error}; {remedy}")
}

/// What Linux says of a medium that fails or does not answer: EIO, ENXIO, ENODEV, ESTALE, EUCLEAN,
/// EREMOTEIO, ENOMEDIUM.
const MEDIUM: [i32; 7] = [5, 6, 19, 116, 117, 121, 123];
/// ENFILE, EMFILE.
const FILES: [i32; 2] = [23, 24];

/// An error of the engine, a store or a cell.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Whether the call may have taken effect ([`Error::may_have_happened`]).
    perhaps: bool,
    /// Whether too few keyholders were there ([`Error::wants_keyholders`]).
    keyholders: bool,
    /// Whether a store says that the call changed nothing, and why not is no matter of room.
    unchanged: bool,
}

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` says in one line what happened and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let (message, source) = (message.into(), None);
        Error { kind, message, source, perhaps: false, keyholders: false, unchanged: false }
    }

    /// The same error with the one that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An error of the operating system while doing `what`; a full disk gets its own kind. If
    /// one of this crate's errors came through a reader or a writer, its kind stays.
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        if let Some(own) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            let (what, own_text) = (what.to_string(), own.to_string());
            // It may say already which file it is about.
            let text =
                if own_text.starts_with(&what) { own_text } else { format!("{what}: {own_text}") };
            return Error::new(own.kind, text).with_source(error);
        }
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Error::new(ErrorKind::Full, format!("{what}: {}", told(&error)))
            }
            _ => Error::new(ErrorKind::Io, format!("{what}: {}", told(&error))),
        }
        .with_source(error)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the write that failed may have taken effect all the same, or takes effect when the
    /// engine is next opened. If not, nothing of it is stored and nothing will be: a put can be
    /// repeated without storing it twice.
    ///
    /// ```
    /// # fn stored(outcome: keyfall::Result<u32>) -> &'static str {
    /// match outcome {
    ///     Ok(_) => "stored",
    ///     Err(e) if e.may_have_happened() => "unknown: open again, and look before you repeat it",
    ///     Err(_) => "not stored",
    /// }
    /// # }
    /// # assert_eq!(stored(Ok(1)), "stored");
    /// ```
    pub fn may_have_happened(&self) -> bool {
        self.perhaps
    }

    /// Whether too few keyholders were within reach: call again once they are back.
    pub fn wants_keyholders(&self) -> bool {
        self.keyholders
    }

    /// The error of a call for which too few keyholders were within reach.
    #[cfg(feature = "engine")]
    pub(crate) fn for_keyholders(mut self) -> Self {
        self.keyholders = true;
        self
    }

    /// The error of a write that a store has, or may have.
    #[cfg(feature = "engine")]
    pub(crate) fn perhaps(mut self) -> Self {
        self.perhaps = true;
        self
    }

    /// The error of a write that a store refused: nothing changed.
    #[cfg(feature = "objects")]
    pub(crate) fn unchanged(mut self) -> Self {
        self.unchanged = true;
        self
    }

    /// Whether a call to a store that failed changed nothing there, for certain, so that the engine
    /// goes on: there was no room, or the place refused it.
    pub fn changed_nothing(&self) -> bool {
        self.unchanged || self.kind == ErrorKind::Full
    }

    /// A copy for each of several callers that one failure concerns.
    #[cfg(feature = "engine")]
    pub(crate) fn copy(&self) -> Self {
        let Error { perhaps, keyholders, unchanged, .. } = *self;
        Error { perhaps, keyholders, unchanged, ..Error::new(self.kind, self.to_string()) }
    }

    /// Puts `context` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Absent | ErrorKind::Erased => std::io::ErrorKind::NotFound,
            ErrorKind::Corrupt => std::io::ErrorKind::InvalidData,
            ErrorKind::Full => std::io::ErrorKind::StorageFull,
            ErrorKind::Invalid => std::io::ErrorKind::InvalidInput,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

impl From<std::io::Error> for Error {
    /// One of this crate's errors that came through a reader or a writer, as it was; any other as
    /// [`Error::io`] has it.
    fn from(error: std::io::Error) -> Self {
        error.downcast::<Error>().unwrap_or_else(|e| Error::io("reading or writing", e))
    }
}
