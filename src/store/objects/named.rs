//! The names of the log's objects.

use data_encoding::HEXLOWER;

use crate::ids::BlobName;

/// Digits of a number: names sort as numbers do.
const DIGITS: usize = 20;

pub(super) const MARKER: &str = "keyfall";
pub(super) const COMMITS: &str = "c";
pub(super) const PACKS: &str = "p";
pub(super) const STRAYS: &str = "x";
pub(super) const SEGMENTS: &str = "s";
pub(super) const FLOORS: &str = "f";
/// Where lists of removed blobs were before they lay beside the floors.
pub(super) const DEAD: &str = "d";
pub(super) const SIGNS: &str = "b";
/// Lists of claims.
pub(super) const CLAIMS: &str = "a";

/// An object that holds blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Object {
    /// A commit or a claim.
    Numbered(u64),
    /// A chunk of a commit that stands by itself.
    Pack { number: u64, chunk: u8 },
    /// Blobs whose names say no place here.
    Stray { number: u64, drawn: [u8; 16] },
    /// One long blob.
    Segment(BlobName),
}

impl Object {
    /// Its name.
    pub(super) fn name(&self) -> String {
        match self {
            Object::Numbered(number) => numbered(COMMITS, *number),
            Object::Pack { number, chunk } => format!("{}-{chunk:02x}", numbered(PACKS, *number)),
            Object::Stray { number, drawn } => drawn_name(STRAYS, *number, drawn),
            Object::Segment(name) => format!("{SEGMENTS}/{}", HEXLOWER.encode(&name.0)),
        }
    }

    /// The number in its name.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Object::Numbered(number)
            | Object::Pack { number, .. }
            | Object::Stray { number, .. } => Some(*number),
            Object::Segment(_) => None,
        }
    }

    /// What a name says; `None` for one that is none of these.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (folder, rest) = name.split_once('/')?;
        let object = match folder {
            COMMITS => Object::Numbered(number(rest)?),
            PACKS => {
                let (at, chunk) = rest.split_once('-')?;
                Object::Pack { number: number(at)?, chunk: u8::from_str_radix(chunk, 16).ok()? }
            }
            STRAYS => {
                let (at, drawn) = rest.split_once('-')?;
                Object::Stray { number: number(at)?, drawn: sixteen(drawn)? }
            }
            SEGMENTS => Object::Segment(BlobName(sixteen(rest)?)),
            _ => return None,
        };
        (object.name() == name).then_some(object)
    }
}

/// `folder/<number>`.
pub(super) fn numbered(folder: &str, number: u64) -> String {
    format!("{folder}/{number:0DIGITS$}")
}

/// `folder/<number>-<drawn>`.
pub(super) fn drawn_name(folder: &str, number: u64, drawn: &[u8; 16]) -> String {
    format!("{}-{}", numbered(folder, number), HEXLOWER.encode(drawn))
}

/// How the name of a list of removed blobs begins: one look shows them and the floors.
const LISTS: &str = "f/dead-";

/// `f/dead-<number>-<drawn>`.
pub(super) fn dead_name(number: u64, drawn: &[u8; 16]) -> String {
    format!("{LISTS}{number:0DIGITS$}-{}", HEXLOWER.encode(drawn))
}

/// Whether the name is that of a list of removed blobs, beside the floors or where they once were.
pub(super) fn is_dead_name(name: &str) -> bool {
    name.strip_prefix(LISTS).is_some_and(is_drawn) || is_drawn_name(DEAD, name)
}

/// Whether the name is one of [`drawn_name`]'s.
pub(super) fn is_drawn_name(folder: &str, name: &str) -> bool {
    name.split_once('/').is_some_and(|(there, rest)| there == folder && is_drawn(rest))
}

/// Whether a text is `<number>-<drawn>`.
fn is_drawn(rest: &str) -> bool {
    let parts = rest.split_once('-');
    parts.is_some_and(|(at, drawn)| number(at).is_some() && sixteen(drawn).is_some())
}

/// The number in the name of a list of removed blobs: none of these lies in a later commit.
pub(super) fn dead_number(name: &str) -> Option<u64> {
    number(name.strip_prefix(LISTS)?.split_once('-')?.0)
}

/// How the name of a hint at the newest object begins.
const NEWEST: &str = "f/newest-";

/// `f/newest-<number>`.
pub(super) fn newest_name(number: u64) -> String {
    format!("{NEWEST}{number:0DIGITS$}")
}

/// The number in the name of a hint at the newest object.
pub(super) fn newest_of(name: &str) -> Option<u64> {
    number(name.strip_prefix(NEWEST)?)
}

/// How the name begins of what says how often a writer leaves signs of life.
const BEATS: &str = "f/beats-";

/// `f/beats-<claim>-<milliseconds>`.
pub(super) fn beats_name(claim: u64, every: u64) -> String {
    format!("{BEATS}{claim:0DIGITS$}-{every:0DIGITS$}")
}

/// The claim of a writer that leaves signs of life, and every how many milliseconds.
pub(super) fn beats_of(name: &str) -> Option<(u64, u64)> {
    let (claim, every) = name.strip_prefix(BEATS)?.split_once('-')?;
    Some((number(claim)?, number(every)?))
}

/// `b/<claim>-<sign>`.
pub(super) fn sign_name(claim: u64, sign: u64) -> String {
    format!("{}-{sign:0DIGITS$}", numbered(SIGNS, claim))
}

/// The claim and the number in the name of a sign of life.
pub(super) fn sign_of(name: &str) -> Option<(u64, u64)> {
    let (claim, sign) = name.split_once('/')?.1.split_once('-')?;
    Some((number(claim)?, number(sign)?))
}

/// `a/<number>-<drawn>`.
pub(super) fn claims_name(number: u64, drawn: &[u8; 16]) -> String {
    drawn_name(CLAIMS, number, drawn)
}

/// The number in the name of a list of claims.
pub(super) fn number_of_list(name: &str) -> Option<u64> {
    number(name.split_once('/')?.1.split_once('-')?.0)
}

/// The number in a name of a folder of numbers.
pub(super) fn number_of(name: &str) -> Option<u64> {
    number(name.split_once('/')?.1)
}

fn number(digits: &str) -> Option<u64> {
    let all = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

/// Folders in whose names a number stands first.
const NUMBERED: [&str; 6] = [COMMITS, PACKS, STRAYS, SIGNS, CLAIMS, DEAD];
/// How the names begin in which one stands beside the floors.
const BESIDE: [&str; 4] = [LISTS, NEWEST, BEATS, "f/"];
/// Numbers of one log.
const SPAN: u64 = 1 << 40;

/// Where the number of a commit or a claim begins in a name, if one is there.
fn number_at(name: &str) -> Option<usize> {
    let folder = name.split_once('/')?.0;
    let at = match NUMBERED.contains(&folder) {
        true => folder.len() + 1,
        false => BESIDE.iter().find(|begin| name.starts_with(**begin))?.len(),
    };
    number(name.get(at..at + DIGITS)?).map(|_| at)
}

/// A name with another number in it, if it has one and the number has another.
fn with_number(name: &str, other: impl FnOnce(u64) -> Option<u64>) -> Option<String> {
    let at = number_at(name)?;
    let other = other(number(&name[at..at + DIGITS])?)?;
    Some(format!("{}{other:0DIGITS$}{}", &name[..at], &name[at + DIGITS..]))
}

/// The name in the place of an object of a log whose numbers begin after `first`.
pub(super) fn outer(name: &str, first: u64) -> String {
    with_number(name, |number| Some(first.saturating_add(number)))
        .unwrap_or_else(|| name.to_owned())
}

/// The name in its log of an object in its place; none if it is of another log, which was in this
/// place before.
pub(super) fn inner(name: &str, first: u64) -> Option<String> {
    match number_at(name) {
        Some(_) => with_number(name, |number| {
            number.checked_sub(first).filter(|number| first == 0 || *number < SPAN)
        }),
        None => Some(name.to_owned()),
    }
}

/// After which number those of a log begin, by what was drawn for it: a multiple of [`SPAN`].
pub(super) fn first_number(drawn: [u8; 3]) -> u64 {
    let [a, b, c] = drawn;
    (u64::from(u32::from_be_bytes([0, a, b, c]) >> 1) + 1) * SPAN
}

fn sixteen(hex: &str) -> Option<[u8; 16]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_are_read_back() {
        let all = [
            Object::Numbered(42),
            Object::Pack { number: 42, chunk: 200 },
            Object::Stray { number: u64::MAX, drawn: [9; 16] },
            Object::Segment(BlobName([0xab; 16])),
        ];
        for object in all {
            assert_eq!(Object::parse(&object.name()), Some(object), "{}", object.name());
        }
        assert!(numbered("c", 9) < numbered("c", 10));
        assert_eq!(numbered("c", 42), "c/00000000000000000042");
        assert_eq!(sign_of(&sign_name(7, 12)), Some((7, 12)));
        assert_eq!(sign_of("b/7-12"), None);
        let list = dead_name(42, &[0xab; 16]);
        assert!(is_dead_name(&list) && list.starts_with(FLOORS), "{list}");
        assert_eq!(number_of(&list), None, "a list is no floor");
        assert_eq!(dead_number(&list), Some(42));
        assert!(!is_dead_name(&numbered(FLOORS, 42)));
        assert!(is_dead_name(&drawn_name(DEAD, 42, &[7; 16])));
        for not_ours in ["d/photo.jpg", "d/keyfall", "f/dead-letters", "a/photo.jpg"] {
            assert!(!is_dead_name(not_ours) && !is_drawn_name(CLAIMS, not_ours), "{not_ours}");
        }
        assert!(is_drawn_name(CLAIMS, &claims_name(42, &[7; 16])));
        let hint = newest_name(42);
        assert_eq!((newest_of(&hint), number_of(&hint)), (Some(42), None), "a hint is no floor");
        let beats = beats_name(7, 2000);
        assert_eq!((beats_of(&beats), number_of(&beats)), (Some((7, 2000)), None), "nor is this");
        assert!(newest_of(&beats).is_none() && !is_dead_name(&beats), "{beats}");
        let first = first_number([0xff; 3]);
        assert!(first > 1 << 62 && first <= 1 << 63 && first_number([0; 3]) == SPAN, "{first}");
        for name in [&all[0].name(), &all[1].name(), &list, &hint, &beats, &numbered(FLOORS, 7)] {
            let there = outer(name, first);
            assert!(there != **name && there.len() == name.len(), "{there}");
            assert_eq!(inner(&there, first).as_deref(), Some(name.as_str()), "{there}");
            assert_eq!(inner(&there, first - SPAN), None, "of another log: {there}");
            assert_eq!(inner(name, first), None, "of one of before: {name}");
            assert_eq!(
                (outer(name, 0), inner(name, 0)),
                (name.to_string(), Some(name.to_string()))
            );
        }
        for name in [MARKER, "f/probe-00", "probe/1", &all[3].name(), "c/42"] {
            assert_eq!(inner(&outer(name, first), first).as_deref(), Some(name), "{name}");
        }
        for bad in ["c/42", "c/0000000000000000004x", "p/00000000000000000042", "q/1", "s/ab", ""] {
            assert_eq!(Object::parse(bad), None, "{bad}");
        }
    }
}
