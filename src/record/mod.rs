//! What a record is: its metadata in the class's tree, its payload in segments of the store.
//!
//! ```text
//! entry   = media type len 1 ‖ media type ‖ purpose len 1 ‖ purpose
//!           ‖ flags 1 ‖ record secret 32 ‖ [sources 2 ‖ depth 2] ‖ [lag v] ‖ [digest 32] ‖ body
//! flags   = the sum of 1 detached, 2 sources and depth follow, 4 the lag follows, 8 segments,
//!           16 it has a name, 32 it has metadata (tree/labels.rs has both), 64 the digest follows
//! digest  = SHA-256 of the payload; of a record that does not stand alone, XOR what its content
//!           root gives
//! body    = length v ‖ first segment's name 16          where the payload is in segments
//!         | payload                                     of a record that stands alone
//!         | payload, sealed under the content key       of any other
//! payload = one object of C2SP chunked-encryption, cut into segments: as many chunks each as the
//!           geometry says, the header before the first
//! ```
//! What is sealed in segments is padded with zeros: a store sees one of few lengths, and the entry
//! alone has the true one. A short payload is stored in the entry, and no store sees it: the page
//! around it seals it, and hides its length. One that is derived is sealed under its content key
//! there too, so that it falls with its sources before any page is written again. So does its
//! digest, from which a short content could be guessed.

mod entry;
pub(crate) mod layout;
pub(crate) mod upload;

pub(crate) use entry::{Body, Entry};

use std::collections::BTreeMap;

use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::ids::{Class, InteractionId, RecordId, Timestamp, UserId};
use crate::limits::{MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES};
use crate::tree::Geometry;
use crate::tree::labels::Label;

/// What the engine tells of a record without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordInfo {
    /// Id of the record.
    pub id: RecordId,
    /// The user it belongs to.
    pub user: UserId,
    /// The exchange it belongs to.
    pub interaction: InteractionId,
    /// Its class, such as `audio`.
    pub class: Class,
    /// Media type (RFC 6838).
    pub media_type: String,
    /// Why it is kept, in the application's words; may be empty.
    pub purpose: String,
    /// When it was made, as the application says.
    pub created: Timestamp,
    /// Bytes of its plaintext.
    pub length: u64,
    /// How many records it was derived from, and depends on: it falls with any of them.
    pub sources: u16,
    /// Whether it was detached from a record that it had been derived from.
    pub detached: bool,
    /// The name that the application gave it.
    pub name: Option<String>,
    /// What the application said of it, by keys.
    pub meta: BTreeMap<String, String>,
    /// SHA-256 of its plaintext. `None` in a listing if the record is derived, or was:
    /// [`Engine::info`](crate::Engine::info) has that, too; and if a put of another program left
    /// it out.
    pub digest: Option<[u8; 32]>,
}

impl RecordInfo {
    /// Wipes what is personal in it, where the engine itself lets go of one. One that a caller was
    /// given is the caller's to wipe.
    pub(crate) fn wipe(&mut self) {
        self.purpose.zeroize();
        self.name.zeroize();
        for (mut key, mut value) in std::mem::take(&mut self.meta) {
            key.zeroize();
            value.zeroize();
        }
    }
}

/// Checks a media type: printable ASCII with a slash, at most 127 bytes.
pub(crate) fn check_media_type(media_type: &str) -> Result<()> {
    let ok = media_type.len() <= MEDIA_TYPE_MAX_BYTES
        && media_type.contains('/')
        && media_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if ok {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "not a media type: {media_type:?}; write one like audio/wav, at most \
             {MEDIA_TYPE_MAX_BYTES} bytes"
        )))
    }
}

/// Checks a purpose: at most 255 bytes.
pub(crate) fn check_purpose(purpose: &str) -> Result<()> {
    if purpose.len() <= PURPOSE_MAX_BYTES {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "a purpose has at most {PURPOSE_MAX_BYTES} bytes, this one {}",
            purpose.len()
        )))
    }
}

/// Checks a label: whether a store with such pages takes it, and whether the mode of its put has
/// the name that it asks about.
pub(crate) fn check_label(put: &Put, geometry: Geometry) -> Result<()> {
    put.label.check(geometry)?;
    if put.label.name().is_none() && put.mode != PutMode::Replace {
        return Err(Error::invalid(
            "only a put with a name asks what has that name; give it one with `Put::name`",
        ));
    }
    Ok(())
}

/// A record to be put. Built up from user and class; the rest has defaults.
#[derive(Clone, Debug)]
pub struct Put {
    pub(crate) user: UserId,
    pub(crate) class: Class,
    pub(crate) interaction: Option<InteractionId>,
    pub(crate) media_type: String,
    pub(crate) purpose: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) sources: Vec<Source>,
    pub(crate) length: Option<u64>,
    pub(crate) label: Label,
    pub(crate) mode: PutMode,
}

/// What becomes of a put with a name that another record of the user has. In each mode a put of
/// what is there already is the same put: it changes nothing, and gives the id of what is there.
/// What is there is the same if content, class, media type, purpose, metadata and sources are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutMode {
    /// The other record is erased, in the same commit: the put is final as that erase is.
    #[default]
    Replace,
    /// The put fails as `Exists`.
    IfAbsent,
    /// Replaces this record alone: the put fails as `Changed` if another one has the name, or none.
    IfIs(RecordId),
}

/// What a record is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A record, of any user.
    Record(RecordId),
    /// One of the same batch, by the number that [`crate::Batch::add`] gave.
    Added(usize),
}

impl From<RecordId> for Source {
    fn from(id: RecordId) -> Self {
        Source::Record(id)
    }
}

impl Put {
    /// A record of `user` in `class`, in an interaction of its own that begins now.
    pub fn new(user: UserId, class: Class) -> Self {
        Put {
            user,
            class,
            interaction: None,
            media_type: "application/octet-stream".into(),
            purpose: String::new(),
            created: None,
            sources: Vec::new(),
            length: None,
            label: Label::default(),
            mode: PutMode::Replace,
        }
    }

    /// Gives it a name, by which [`Engine::find`](crate::Engine::find) has it: any UTF-8 of 1 to
    /// 1,024 bytes, and at most a quarter of a page of the store; of two names only equal bytes are
    /// the same. Within a user a name is one record's: see [`PutMode`]. It falls with its record.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, ErrorKind, Options, Put, Query, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let ada = UserId::new("ada")?;
    /// let wake = || Put::new(ada.clone(), Class::audio()).name("2026/11/26/wake.wav");
    /// let id = engine.put(wake(), &b"RIFF...."[..])?;
    /// assert_eq!(engine.put(wake(), &b"RIFF...."[..])?, id); // the same put
    /// assert_eq!(engine.find(&ada, "2026/11/26/wake.wav")?.id, id);
    ///
    /// // Other content takes the name, and the record that had it is erased.
    /// engine.put(wake(), &b"RIFF,,,,"[..])?;
    /// assert_eq!(engine.get(&id).unwrap_err().kind(), ErrorKind::Erased);
    /// let day = engine.list(&Query::default().user(ada).name_prefix("2026/11/26/"))?;
    /// assert_eq!(day.records.len(), 1);
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.label.set_name(name.into());
        self
    }

    /// Says something of it: a key and a value, at most 64 of them with 2,048 bytes in all.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.label.set_meta(key.into(), value.into());
        self
    }

    /// What becomes of it if another record has its name.
    #[must_use]
    pub fn mode(mut self, mode: PutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Puts it only if no other record has its name ([`PutMode::IfAbsent`]).
    #[must_use]
    pub fn if_absent(self) -> Self {
        self.mode(PutMode::IfAbsent)
    }

    /// Puts it only in the place of this record ([`PutMode::IfIs`]).
    #[must_use]
    pub fn if_is(self, id: RecordId) -> Self {
        self.mode(PutMode::IfIs(id))
    }

    /// Puts it into this interaction.
    #[must_use]
    pub fn interaction(mut self, id: InteractionId) -> Self {
        self.interaction = Some(id);
        self
    }

    /// Names its media type (RFC 6838); the default is `application/octet-stream`.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = media_type.into();
        self
    }

    /// Says why it is kept, in at most 255 bytes.
    #[must_use]
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = purpose.into();
        self
    }

    /// Says what it was derived from, once for each source: a record, by its id, or one of the same
    /// batch ([`Source::Added`]). It cannot be read any more from the moment one of them is erased.
    /// It is not put into their interaction: `put.interaction(source.interaction())`, of a
    /// [`RecordId`], does that.
    #[must_use]
    pub fn derived_from(mut self, source: impl Into<Source>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Declares how many bytes its payload has, as a `Content-Length` does: a payload that ends
    /// before, or goes on after, is `Invalid`, and nothing of it is stored. Without this a payload
    /// is whatever its reader gives until it ends, also where the sender was cut off.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, ErrorKind, Options, Put, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let put = Put::new(UserId::new("ada")?, Class::audio()).length(1_000);
    /// let half = engine.put(put, &b"RIFF...."[..]);
    /// assert_eq!(half.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Says when it was made; the default is now. This is for people: age limits, erases of a
    /// span of time, [`Query::from`](crate::Query) and the order of a listing go by when the
    /// interaction began. What was recorded earlier is put into an interaction of its time
    /// ([`InteractionId::from_parts`]).
    #[must_use]
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }
}
