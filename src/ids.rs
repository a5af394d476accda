//! Names: of blobs, stores, users, classes, interactions and records.

use std::fmt;
use std::str::FromStr;

use uuid::{Uuid, Variant};

use crate::error::{Error, Result};
use crate::limits::{CLASS_MAX_BYTES, USER_MAX_BYTES};
pub(crate) use crate::time::Timestamp;

/// Name of a blob: 16 bytes, never reused; names alone reveal nothing about user, class or time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(pub [u8; 16]);

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// Identity of a store and of every copy of it: 16 random bytes drawn at `init`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What the pages and payloads of a store are bound to, beside their own names: stores of one realm
/// can hand a subtree on as it is. A store without a realm is one of its own, and takes its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RealmId(pub(crate) [u8; 16]);

impl fmt::Display for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl From<StoreId> for RealmId {
    fn from(store: StoreId) -> Self {
        RealmId(store.0)
    }
}

/// A user, by the name the application gives: any UTF-8 text of 1 to 512 bytes. Zeroized on drop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// Takes a name as the id of a user.
    ///
    /// # Errors
    /// `Invalid` for an empty name or one over 512 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > USER_MAX_BYTES {
            return Err(Error::invalid(format!(
                "a user's name is 1 to {USER_MAX_BYTES} bytes of UTF-8, this one has {}; hash \
                 longer names first",
                name.len()
            )));
        }
        Ok(UserId(name))
    }

    /// The id of a user of a placement group: `{home-1}ada`. In a [`Realm`](crate::realm::Realm)
    /// the users of a group are in one shard, so that one's records can be derived from another's.
    /// The group is a part of the name: `ada` and `{home-1}ada` are two users, and nobody changes
    /// groups. In a store that is not a shard it is a name like any other.
    ///
    /// ```
    /// # use keyfall::UserId;
    /// let ada = UserId::in_group("home-1", "ada")?;
    /// assert_eq!((ada.as_str(), ada.group()), ("{home-1}ada", Some("home-1")));
    /// assert_eq!(UserId::new("ada")?.group(), None);
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for an empty group, one with a `}` in it, an empty name, or more than 512 bytes in
    /// all.
    pub fn in_group(group: &str, name: &str) -> Result<Self> {
        if group.is_empty() || group.contains('}') || name.is_empty() {
            return Err(Error::invalid(
                "a placement group and a name in it are not empty, and the group has no `}`; choose \
                 another",
            ));
        }
        UserId::new(format!("{{{group}}}{name}"))
    }

    /// The placement group in the name: what is between `{`, its first character, and the first
    /// `}`; `None` if there is nothing.
    pub fn group(&self) -> Option<&str> {
        let (group, _) = self.0.strip_prefix('{')?.split_once('}')?;
        (!group.is_empty()).then_some(group)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for UserId {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UserId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        UserId::new(s)
    }
}

/// A class of records: `audio`, `transcript`, `action`, or one of the application's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(String);

impl Class {
    /// The class `audio`, for recordings.
    pub fn audio() -> Self {
        Class("audio".into())
    }
    /// What was said, as text.
    pub fn transcript() -> Self {
        Class("transcript".into())
    }
    /// What was done because of it.
    pub fn action() -> Self {
        Class("action".into())
    }

    /// A class by name: a lower-case letter, then letters, digits, `.`, `_` or `-`; at most 32
    /// bytes.
    ///
    /// # Errors
    /// `Invalid` for any other name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let ok = name.len() <= CLASS_MAX_BYTES
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        if !ok {
            return Err(Error::invalid(format!(
                "not a class name: {name:?}; use a lower-case letter, then letters, digits, '.', \
                 '_' or '-', at most {CLASS_MAX_BYTES}"
            )));
        }
        Ok(Class(name))
    }

    /// The name of the class.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A class as a user page has it: one of records, or one of unfinished uploads.
    pub(crate) fn stored(name: &str) -> Result<Self> {
        match name.strip_prefix(UPLOADS) {
            Some(name) => Class::new(name).map(|class| class.of_uploads()),
            None => Class::new(name),
        }
    }

    /// The class of the unfinished uploads of this one: no application can name it.
    pub(crate) fn of_uploads(&self) -> Self {
        Class(format!("{UPLOADS}{}", self.0))
    }

    /// Of a class of unfinished uploads, what they are to become.
    pub(crate) fn to_become(&self) -> Option<Self> {
        self.0.strip_prefix(UPLOADS).map(|name| Class(name.to_owned()))
    }

    /// Whether it is a class of unfinished uploads.
    pub(crate) fn is_of_uploads(&self) -> bool {
        self.0.starts_with(UPLOADS)
    }

    /// Whether what is said of a class holds here: for it, and for its unfinished uploads.
    pub(crate) fn is_under(&self, class: &Class) -> bool {
        self.0.strip_prefix(UPLOADS).unwrap_or(&self.0) == class.0
    }
}

/// What the names of classes of unfinished uploads begin with.
const UPLOADS: &str = "+";

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Class {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Class::new(s)
    }
}

/// One exchange with an assistant: a UUID of version 7 (RFC 9562, 5.7), whose first 48 bits are the
/// milliseconds at which it began, so that ids are ordered by time.
/// [`Engine::new_interaction`](crate::Engine::new_interaction) begins one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InteractionId(pub(crate) [u8; 16]);

impl InteractionId {
    /// An id for an interaction that began at `began`, with 74 bits of `random`.
    pub fn from_parts(began: Timestamp, random: [u8; 10]) -> Self {
        InteractionId(
            uuid::Builder::from_unix_timestamp_millis(began.0, &random).into_uuid().into_bytes(),
        )
    }

    /// When the interaction began.
    pub fn began(&self) -> Timestamp {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        Timestamp(u64::from_be_bytes(ms))
    }

    /// The UUID's 16 bytes.
    pub fn to_bytes(&self) -> [u8; 16] {
        self.0
    }

    /// Reads 16 bytes, as [`InteractionId::to_bytes`] gives them.
    ///
    /// # Errors
    /// `Invalid` if they are not a UUID of version 7.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self> {
        let uuid = Uuid::from_bytes(bytes);
        if uuid.get_version_num() != 7 || uuid.get_variant() != Variant::RFC4122 {
            return Err(Error::invalid(
                "an interaction id is a UUID of version 7 (RFC 9562), so that ids are ordered by \
                 time",
            ));
        }
        Ok(InteractionId(bytes))
    }
}

impl fmt::Display for InteractionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for InteractionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for InteractionId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let uuid = Uuid::from_str(s)
            .map_err(|e| Error::invalid(format!("not an interaction id: {s:?} ({e})")))?;
        InteractionId::from_bytes(uuid.into_bytes())
    }
}

/// The place of a user in the user tree: the first 12 bytes of PRF(index key, user's name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserTag(pub(crate) [u8; 12]);

impl UserTag {
    /// The slot of a realm that the user is in: the first 12 bits.
    pub(crate) fn slot(self) -> usize {
        usize::from(self.0[0]) << 4 | usize::from(self.0[1] >> 4)
    }
}

/// A class of one user: the first 6 bytes of PRF(the user's fence key, class name), so that a fence
/// can name it when its name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClassTag(pub(crate) [u8; 6]);

/// Name of a record: 64 characters, ordered by the time at which its interaction began.
///
/// Two records of one user share 12 of its 40 bytes, so ids are pseudonyms: treat them as personal
/// data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub(crate) interaction: InteractionId,
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) class: ClassTag,
    pub(crate) ordinal: u32,
}

impl RecordId {
    /// The interaction that the record belongs to.
    pub fn interaction(&self) -> InteractionId {
        self.interaction
    }

    /// The user that the record belongs to, without the name.
    pub fn handle(&self) -> UserHandle {
        UserHandle { user: self.user, incarnation: self.incarnation }
    }

    /// interaction 16 ‖ user tag 12 ‖ incarnation 2 ‖ class tag 6 ‖ ordinal 4 (SPEC.md 3).
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut out = [0; 40];
        out[..16].copy_from_slice(&self.interaction.0);
        out[16..28].copy_from_slice(&self.user.0);
        out[28..30].copy_from_slice(&self.incarnation.to_be_bytes());
        out[30..36].copy_from_slice(&self.class.0);
        out[36..].copy_from_slice(&self.ordinal.to_be_bytes());
        out
    }

    /// Reads what [`RecordId::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Invalid` if the interaction id in it is not one.
    pub fn from_bytes(b: &[u8; 40]) -> Result<Self> {
        fn part<const N: usize>(b: &[u8; 40], at: usize) -> [u8; N] {
            let mut out = [0; N];
            out.copy_from_slice(&b[at..at + N]);
            out
        }
        Ok(RecordId {
            interaction: InteractionId::from_bytes(part(b, 0))?,
            user: UserTag(part(b, 16)),
            incarnation: u16::from_be_bytes(part(b, 28)),
            class: ClassTag(part(b, 30)),
            ordinal: u32::from_be_bytes(part(b, 36)),
        })
    }
}

/// A user in one life, without the name: what services put into addresses, where a name would end
/// up in the logs of others. `u_` and 23 characters.
///
/// It is as much a pseudonym as the [`RecordId`]s of the user, which have the same 14 bytes in
/// them. [`Engine::handle`](crate::Engine::handle) gives the handle of a user,
/// [`Engine::user_of`](crate::Engine::user_of) the user; nothing is stored for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserHandle {
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
}

impl UserHandle {
    const PREFIX: &str = "u_";

    /// Which life of the name it is, from 1: a user who was erased and created again has another.
    pub fn life(&self) -> u16 {
        self.incarnation
    }
}

impl fmt::Display for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 14];
        bytes[..12].copy_from_slice(&self.user.0);
        bytes[12..].copy_from_slice(&self.incarnation.to_be_bytes());
        write!(f, "{}{}", Self::PREFIX, data_encoding::BASE32_DNSSEC.encode(&bytes))
    }
}

impl fmt::Debug for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for UserHandle {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let bad =
            || Error::invalid(format!("not a user's handle: {s:?}; `Engine::handle` gives it"));
        let text = s.strip_prefix(Self::PREFIX).ok_or_else(bad)?;
        let bytes = data_encoding::BASE32_DNSSEC.decode(text.as_bytes()).map_err(|_| bad())?;
        let bytes: [u8; 14] = bytes.as_slice().try_into().map_err(|_| bad())?;
        let (mut user, mut incarnation) = ([0; 12], [0; 2]);
        user.copy_from_slice(&bytes[..12]);
        incarnation.copy_from_slice(&bytes[12..]);
        Ok(UserHandle { user: UserTag(user), incarnation: u16::from_be_bytes(incarnation) })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_DNSSEC.encode(&self.to_bytes()))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for RecordId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let bad = || {
            let text = format!("not a record id: {s:?}; take one that a put or a listing gave");
            Error::invalid(text)
        };
        let bytes = data_encoding::BASE32_DNSSEC.decode(s.as_bytes()).map_err(|_| bad())?;
        RecordId::from_bytes(bytes.as_slice().try_into().map_err(|_| bad())?).map_err(|_| bad())
    }
}

/// Name of an unfinished upload: 77 characters. It is a pseudonym, as a [`RecordId`] is: treat it
/// as personal data, and as what lets others go on with the upload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId {
    /// Of the record to come, as the class is.
    pub(crate) interaction: InteractionId,
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) class: ClassTag,
    pub(crate) number: u16,
    /// Which of the uploads that had this number, one after another.
    pub(crate) token: [u8; 10],
}

impl UploadId {
    /// The interaction of the record to come.
    pub fn interaction(&self) -> InteractionId {
        self.interaction
    }

    /// The user of the record to come, without the name.
    pub fn handle(&self) -> UserHandle {
        UserHandle { user: self.user, incarnation: self.incarnation }
    }

    /// interaction 16 ‖ user tag 12 ‖ incarnation 2 ‖ class tag 6 ‖ number 2 ‖ token 10 (SPEC.md
    /// 5.6).
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut out = [0; 48];
        out[..16].copy_from_slice(&self.interaction.0);
        out[16..28].copy_from_slice(&self.user.0);
        out[28..30].copy_from_slice(&self.incarnation.to_be_bytes());
        out[30..36].copy_from_slice(&self.class.0);
        out[36..38].copy_from_slice(&self.number.to_be_bytes());
        out[38..].copy_from_slice(&self.token);
        out
    }

    /// Reads what [`UploadId::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Invalid` if the interaction id in it is not one.
    pub fn from_bytes(b: &[u8; 48]) -> Result<Self> {
        let [record @ .., _, _, _, _, _, _, _, _] = b;
        let RecordId { interaction, user, incarnation, class, .. } = RecordId::from_bytes(record)?;
        let mut token = [0; 10];
        token.copy_from_slice(&b[38..]);
        let number = u16::from_be_bytes([b[36], b[37]]);
        Ok(UploadId { interaction, user, incarnation, class, number, token })
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_DNSSEC.encode(&self.to_bytes()))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for UploadId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("not an upload's id: {s:?}; take one from `Engine::uploads`"))
        };
        let bytes = data_encoding::BASE32_DNSSEC.decode(s.as_bytes()).map_err(|_| bad())?;
        UploadId::from_bytes(bytes.as_slice().try_into().map_err(|_| bad())?).map_err(|_| bad())
    }
}
