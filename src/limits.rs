//! Every limit of the format and the engine, with the relations that must hold between them.

use std::time::Duration;

/// Least time for which a store lends a key to a reader on another machine (SPEC.md 9.9).
pub const LEND_MIN: Duration = Duration::from_millis(100);
/// Most: an erase waits that long before it returns.
pub const LEND_MAX: Duration = Duration::from_secs(600);
/// Least time from one sign of life of a writer to the next (SPEC.md 9.11).
pub const BEAT_MIN: Duration = Duration::from_millis(1);
/// Most: an opening waits for two of them.
pub const BEAT_MAX: Duration = Duration::from_secs(20);
/// Format version of every object written by this crate (SPEC.md 2).
pub const FORMAT: u8 = 1;
/// Plaintext bytes of a full payload chunk (C2SP chunked-encryption).
pub const CHUNK_BYTES: usize = 16_384;
/// Bytes of an AES-GCM tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a salt before every sealed object.
pub const SALT_BYTES: usize = 24;
/// Bytes of the key commitment after the salt.
pub const COMMITMENT_BYTES: usize = 32;
/// Bytes of the salt and commitment before sealed chunks.
pub const HEADER_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES;
/// Bytes by which a sealed object of one chunk is longer than its plaintext.
pub const SEAL_OVERHEAD: usize = HEADER_BYTES + TAG_BYTES;
/// Least and most plaintext bytes of one payload segment that a geometry may name: the unit in
/// which a store keeps a recording.
pub const SEGMENT_MIN_BYTES: usize = CHUNK_BYTES;
/// See [`SEGMENT_MIN_BYTES`]: two of them are in memory while a record streams.
pub const SEGMENT_MAX_BYTES: usize = 8 << 20;
/// Plaintext bytes of a payload segment where nothing speaks for others.
pub const SEGMENT_BYTES: usize = 256 << 10;
/// Bits of the user tag that one page of the user tree decides on, where nothing speaks for others.
pub const FAN_BITS: u8 = 4;
/// The same where each page on the way to a record is a request.
pub const FAN_BITS_FAR: u8 = 5;
/// Most bytes of one blob.
pub const BLOB_MAX_BYTES: usize =
    HEADER_BYTES + SEGMENT_MAX_BYTES / CHUNK_BYTES * (CHUNK_BYTES + TAG_BYTES);
/// Most bytes of one record: 2^32 chunks less one, the counter's range with room to spare.
pub const RECORD_MAX_BYTES: u64 = (u32::MAX as u64) * CHUNK_BYTES as u64;
/// Slots of a realm: the first 12 bits of a user tag (SPEC.md 9.10).
pub const SLOTS: usize = 4096;
/// Most shards of a realm: each busy one is a log, and epochs of a cell, of its own.
pub const SHARDS_MAX: usize = 256;
/// Smallest and largest page a geometry may name, bytes as stored.
pub const PAGE_MIN_BYTES: usize = 1024;
/// The largest page: see [`PAGE_MIN_BYTES`].
pub const PAGE_MAX_BYTES: usize = 16_384;
/// Stored bytes of the smallest size class of a page that is padded to powers of two.
pub const PAGE_CLASS_MIN_BYTES: usize = 512;
/// Least stored bytes of a user page, and of a page of a class.
pub const OWN_PAGE_MIN_BYTES: usize = 256;
/// Most bytes of a payload that is stored in its record's entry.
pub const INLINE_MAX_BYTES: usize = 512;
/// And at most this part of a page: an eighth.
pub const INLINE_PART: usize = 8;
/// Most stored bytes of a user page.
pub const USER_PAGE_MAX_BYTES: usize = 16_384;
/// Most stored bytes of a user page in which records stand.
pub const USER_PAGE_SHORT_BYTES: usize = 1024;
/// Most stored bytes of the page with the log's state.
pub const LOG_PAGE_MAX_BYTES: usize = 8192;
/// Most bytes of a leaf of the log.
pub const LEAF_MAX_BYTES: usize = 440;
/// Most bytes of the name of a log.
pub const ORIGIN_MAX_BYTES: usize = 128;
/// Most bytes of a record's entry in the smallest page, on its own: two texts, flags, secret,
/// sources and depth, the time, a sealed payload. One with the name of a segment is shorter.
pub const ENTRY_MAX_BYTES: usize = 2
    + MEDIA_TYPE_MAX_BYTES
    + PURPOSE_MAX_BYTES
    + 1
    + 32
    + 4
    + 10
    + SEAL_OVERHEAD
    + PAGE_MIN_BYTES / INLINE_PART;
/// Most plaintext bytes of a head.
pub const HEAD_MAX_BYTES: usize = 12_288;
/// Most bytes of a user's name, UTF-8.
pub const USER_MAX_BYTES: usize = 512;
/// Most bytes of a class name.
pub const CLASS_MAX_BYTES: usize = 32;
/// Most classes that one user may hold records in at a time; unfinished uploads of a class count as
/// another.
pub const CLASSES_MAX: usize = 48;
/// Most bytes of a media type.
pub const MEDIA_TYPE_MAX_BYTES: usize = 127;
/// Most bytes of a purpose.
pub const PURPOSE_MAX_BYTES: usize = 255;
/// Most bytes of the name that an application gives a record.
pub const RECORD_NAME_MAX_BYTES: usize = 1024;
/// And at most this part of a page: a quarter.
pub const RECORD_NAME_PART: usize = 4;
/// Most keys of a record's metadata.
pub const META_MAX: usize = 64;
/// Most bytes of a record's metadata, keys and values.
pub const META_MAX_BYTES: usize = 2048;
/// Most bytes of a key of metadata.
pub const META_KEY_MAX_BYTES: usize = 255;
/// Most bytes of the name of a record's reader.
pub const PRINCIPAL_MAX_BYTES: usize = 80;
/// Most bytes of a reason.
pub const REASON_MAX_BYTES: usize = 255;
/// Most bytes of the name of an authority.
pub const AUTHORITY_MAX_BYTES: usize = 80;
/// Most classes that one erase keeps.
pub const KEPT_MAX: usize = 3;
/// Most refused erases that a user's history tells apart until a hold is added or lifted; further
/// ones are counted together.
pub const REFUSALS_MAX: usize = 64;
/// Longest time for which an erase waits for others before it is final.
pub const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most erases planned for one user at a time.
pub const PLANS_MAX: usize = 64;
/// Most policies of the store, and of each user.
pub const POLICIES_MAX: usize = 64;
/// How much later an erase that was due is tried again, if a hold refused it.
pub const RETRY: Duration = Duration::from_secs(3600);
/// How often a cell that lies apart from the store is told of puts.
pub const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often a read-only engine asks its cell whether its root key is still there, where
/// asking costs a round trip.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an engine reads from a store that other machines reach without asking it whether
/// another engine owns it now. An erase of the engine that claims it next returns after that.
pub const LOAN: Duration = Duration::from_secs(2);
/// Users that one commit of [`Engine::run_due`](crate::Engine::run_due) serves.
pub const DUE_MAX: usize = 16_384;
/// Users whose due time one commit recomputes when the store's policies changed.
pub const SWEEP: usize = 4096;
/// How long an inbox key takes envelopes before a new one is given out; it is destroyed when it is
/// twice as old.
pub const INBOX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most records that an envelope names as its sources.
pub const ENVELOPE_SOURCES_MAX: usize = 256;
/// Most bytes that are in the clear before something sealed.
pub const SEALED_ABOUT_MAX: usize = 1024;
/// Most bytes of the name of a grantee or of a training set.
pub const NAME_MAX_BYTES: usize = 32;
/// Most grants on one user's records at a time.
pub const GRANTS_MAX: usize = 64;
/// How old a grantee's request may be.
pub const REQUEST_AGE: Duration = Duration::from_secs(3600);
/// How often a grantee may ask for one grant, or one training set, in that time: each opening is
/// recorded.
pub const REQUESTS_MAX: u32 = 64;
/// Most holds on one user's records at a time.
pub const HOLDS_MAX: usize = 64;
/// Most records that one record may be derived from.
pub const SOURCES_MAX: usize = u16::MAX as usize;
/// Longest chain of records, each derived from the next.
pub const DEPTH_MAX: u16 = 1024;
/// Links that an erase follows before it returns; what lies beyond more of them cannot be read
/// either, and is taken out of lists and counts later.
pub const LINKS_FOLLOWED: u64 = 256;
/// Users, beside those that it names, into whose trees an erase follows links before it returns.
pub const USERS_FOLLOWED: usize = 2;
/// Most copies of one store.
pub const COPIES_MAX: usize = 8;
/// Most bytes of a copy's place.
pub const PLACE_MAX_BYTES: usize = 1024;
/// How far ahead of this machine's clock an interaction id may lie.
pub const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
/// How far the clock may be ahead of the last commit before nothing is done by it alone: longer
/// than the month that many deadlines have, shorter than the error of most wrong clocks.
pub const CLOCK_JUMP: Duration = Duration::from_secs(35 * 24 * 3600);
/// How long after the last commit, and what an open engine counted since, a clock is believed in
/// what an erase fences for good.
pub const CLOCK_TRUST: Duration = Duration::from_secs(60);
/// How old the time in the head may become while something is to be due: so it is known how long
/// nothing was done.
pub const CLOCK_NOTED: Duration = Duration::from_secs(24 * 3600);
/// How long an upload may be unfinished, unless it is told otherwise.
pub const UPLOAD_LASTS: Duration = Duration::from_secs(24 * 3600);
/// How long an opening lasts, unless it is told otherwise.
pub const OPENING_LASTS: Duration = Duration::from_secs(10 * 60);
/// How long an opening may last.
pub const OPENING_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most records in one page of a listing.
pub const LIST_MAX: usize = 10_000;
/// Bytes of a root cell slot: one sector, which a disk writes whole or not at all.
pub const SLOT_BYTES: usize = 512;

const _: () = assert!(PAGE_MAX_BYTES - SEAL_OVERHEAD < CHUNK_BYTES, "a page is one chunk");
const _: () =
    assert!(USER_PAGE_MAX_BYTES - SEAL_OVERHEAD < CHUNK_BYTES, "a user page is one chunk");
const _: () = assert!(HEAD_MAX_BYTES < CHUNK_BYTES, "a head is one chunk");
const _: () = assert!(
    CLOCK_TRUST.as_secs() < CLOCK_SKEW.as_secs(),
    "a put takes every id that is made after an erase"
);
const _: () =
    assert!(CLOCK_NOTED.as_secs() < CLOCK_JUMP.as_secs(), "a store that is tended has no jumps");
const _: () =
    assert!(COPIES_MAX * (PLACE_MAX_BYTES + 16) + 512 < HEAD_MAX_BYTES, "a head holds all copies");
const _: () = assert!(
    2 * (63 + 2 + 4 + PRINCIPAL_MAX_BYTES + PURPOSE_MAX_BYTES) + 3
        <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two openings fit in the smallest page"
);
const _: () = assert!(
    2 * (20 + 2 + 80 + CLASS_MAX_BYTES + REASON_MAX_BYTES + AUTHORITY_MAX_BYTES) + 3
        <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two facts fit in the smallest page"
);
const _: () = assert!(
    2 * (20 + 2 + 8 + 59 + KEPT_MAX * (4 + CLASS_MAX_BYTES) + REASON_MAX_BYTES) + 3
        <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two planned erases fit in the smallest page"
);
const _: () = assert!(
    2 * (20 + 2 + 85 + CLASS_MAX_BYTES + NAME_MAX_BYTES + PURPOSE_MAX_BYTES) + 3
        <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two grants fit in the smallest page"
);
const _: () = assert!(
    2 * (20 + 2 + LEAF_MAX_BYTES) + 3 <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two leaves of the log fit in the smallest page"
);
const _: () =
    assert!(NAME_MAX_BYTES + 48 <= PRINCIPAL_MAX_BYTES, "a run of a training set is a principal");
const _: () = assert!(
    2 * (20 + 2 + CLASS_MAX_BYTES + PURPOSE_MAX_BYTES + 40) + 3 <= PAGE_MIN_BYTES - SEAL_OVERHEAD
        && REASON_MAX_BYTES <= PURPOSE_MAX_BYTES,
    "two policies fit in the smallest page: purpose and reason share their bytes"
);
const _: () = assert!(
    USER_MAX_BYTES + CLASSES_MAX * (CLASS_MAX_BYTES + 1 + 80 + 97) + 640
        < USER_PAGE_MAX_BYTES - SEAL_OVERHEAD,
    "a user page holds all classes"
);
const _: () = assert!(
    3 * (2 + PAGE_MIN_BYTES / RECORD_NAME_PART + 48) + 3 <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "three pointers to names fit in the smallest page"
);
const _: () = assert!(
    2 * (21 + 2 + PAGE_MIN_BYTES * 3 / 8) + 3 <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "two pieces of labels fit in the smallest page"
);
const _: () = assert!(
    3 + 2 + ENTRY_MAX_BYTES + 24 <= PAGE_MIN_BYTES - SEAL_OVERHEAD,
    "an entry fits in the smallest page; a leaf is cut into three where it comes between others"
);
const _: () = assert!(
    3 + 2 + 2 * (ENTRY_MAX_BYTES + INLINE_MAX_BYTES + 24) <= 4096 - SEAL_OVERHEAD,
    "two entries fit in a page of the default size"
);
