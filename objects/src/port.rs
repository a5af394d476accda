//! The port.

use std::fmt;

/// What became of one request to create an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was not there, and now it is, with these bytes, durably.
    Here {
        /// Whether the place says that it keeps versions: what is deleted there may stay.
        versioned: bool,
    },
    /// The place says that something of that name is there, or that another request is at it. This
    /// may be an earlier try of the same request: only a look at the object tells.
    Exists,
}

/// Whether a failed request may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Refused for good: nothing changed, and the same request would be refused again.
    Refused,
    /// The place does not keep what it was found to acknowledge, or may not: a log there would lose
    /// data. The request changed nothing.
    Unfit,
    /// Refused for lack of room: nothing changed, and once there is room the same request may
    /// succeed.
    Full,
    /// No answer, or one that says nothing: it may have taken effect, or may yet.
    Unknown,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether it may have taken effect.
    pub kind: FailureKind,
    /// What happened, in one line.
    pub message: String,
}

impl Failure {
    /// A request that was refused for good.
    pub fn refused(message: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Refused, message: message.into() }
    }

    /// A place on which no log can rely.
    pub fn unfit(message: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Unfit, message: message.into() }
    }

    /// A request for which there was no room.
    pub fn full(message: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Full, message: message.into() }
    }

    /// A request of which nobody knows what became of it.
    pub fn unknown(message: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Unknown, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Failure>;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Objects at one place. Names are ASCII, with `/` between their parts. Each method is one request
/// (a long listing several), and tries it once: [`create`](crate::create) and
/// [`patiently`](crate::patiently) know when to repeat it.
///
/// * What [`Objects::create`] answered as [`Created::Here`] is durable, and every later request
///   sees it: reads and lists are never stale.
/// * Of several requests to create one name, at whatever time they arrive, one succeeds, until the
///   object is deleted.
pub trait Objects: Send + Sync {
    /// Where they are, in words for a person.
    fn place(&self) -> String;

    /// Whether a request takes so long that those that do not depend on each other are sent at the
    /// same time.
    fn is_far(&self) -> bool {
        false
    }

    /// Whether what is deleted may stay for a while, whatever a create says of it: a database lets
    /// go of rows later.
    fn keeps_deleted(&self) -> bool {
        false
    }

    /// Creates an object if there is none of that name.
    ///
    /// # Errors
    /// `Refused`, `Full`, `Unknown`.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created>;

    /// Reads an object, whole.
    ///
    /// # Errors
    /// `Refused`, `Unknown`; an unknown name is `None`.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Reads up to `len` bytes of an object, fewer where it ends.
    ///
    /// # Errors
    /// As [`Objects::get`].
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>>;

    /// The objects of one folder (`folder/...`) whose names come after `after`, in the order of
    /// their names: the first `limit` of them.
    ///
    /// # Errors
    /// `Refused`, `Unknown`.
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>>;

    /// The length of an object, without reading it.
    ///
    /// # Errors
    /// As [`Objects::get`].
    fn head(&self, name: &str) -> Result<Option<u64>>;

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    /// `Refused`, `Unknown`.
    fn delete(&self, name: &str) -> Result<()>;

    /// Deletes objects, up to a thousand of them: by one request, where the place has one for it.
    /// After a failure some of them may be there.
    ///
    /// # Errors
    /// As [`Objects::delete`].
    fn delete_all(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| self.delete(name))
    }

    /// Gives up the room that is kept for when the place has none left; says whether there was any.
    fn give_room(&self) -> bool {
        false
    }

    /// Keeps room for when the place has none left, where that can be: says whether what is to be
    /// kept is there, or nothing can be kept.
    fn keep_room(&self) -> bool {
        true
    }
}
