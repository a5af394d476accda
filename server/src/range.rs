//! Which part of a record a request asks for (RFC 9110, 13 and 14).

use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderName};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The bytes from the first to the last, both included.
    Bytes { first: u64, last: u64 },
    /// Nothing that the record has: 416.
    Unsatisfiable,
}

/// Whether the preconditions of a request hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    Holds,
    /// The caller has the record: 304.
    NotModified,
    /// The record is not the one that the caller means: 412.
    Failed,
}

/// Judges `If-Match` and `If-None-Match`. A record never changes, so its entity tag is its id.
pub(crate) fn precondition(headers: &HeaderMap, etag: &str) -> Precondition {
    if headers.contains_key(IF_MATCH) && !listed(headers, &IF_MATCH, etag, false) {
        return Precondition::Failed;
    }
    if listed(headers, &IF_NONE_MATCH, etag, true) {
        return Precondition::NotModified;
    }
    Precondition::Holds
}

/// The part of a record of this length that a request asks for. A header that is not understood,
/// or that asks for several ranges, asks for all of it.
pub(crate) fn part(headers: &HeaderMap, etag: &str, length: u64) -> Part {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Part::Whole;
    };
    // A weak tag, or a date, never matches.
    if headers.get(IF_RANGE).is_some_and(|value| value.as_bytes() != etag.as_bytes()) {
        return Part::Whole;
    }
    let spec = range.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = spec.and_then(|(_, spec)| spec.trim().split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            // One that does not fit is beyond any record.
            .then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let end = length.saturating_sub(1);
    match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (true, _, false, Some(0)) => Part::Unsatisfiable,
        (true, _, false, Some(_)) if length == 0 => Part::Unsatisfiable,
        (true, _, false, Some(n)) => Part::Bytes { first: length.saturating_sub(n), last: end },
        (false, Some(first), true, _) if first < length => Part::Bytes { first, last: end },
        (false, Some(_), true, _) => Part::Unsatisfiable,
        (false, Some(first), false, Some(last)) if first > last => Part::Whole,
        (false, Some(first), false, Some(last)) if first < length => {
            Part::Bytes { first, last: last.min(end) }
        }
        (false, Some(_), false, Some(_)) => Part::Unsatisfiable,
        _ => Part::Whole,
    }
}

/// Whether a list of entity tags has this one, or `*`.
fn listed(headers: &HeaderMap, name: &HeaderName, etag: &str, weak: bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_rfc_9110_says() {
        let bytes = |first, last| Part::Bytes { first, last };
        let table = [
            ("bytes=0-0", 10, bytes(0, 0)),
            ("bytes=0-9", 10, bytes(0, 9)),
            ("bytes=0-99", 10, bytes(0, 9)),
            ("bytes=9-", 10, bytes(9, 9)),
            ("bytes=-3", 10, bytes(7, 9)),
            ("bytes=-30", 10, bytes(0, 9)),
            ("Bytes = 2-4", 10, bytes(2, 4)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=10-12", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=-1", 0, Part::Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Part::Unsatisfiable),
            ("bytes=5-4", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=+1-2", 10, Part::Whole),
            ("items=0-1", 10, Part::Whole),
        ];
        for (range, length, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            assert_eq!(part(&headers, "\"a\"", length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn if_range_wants_the_very_tag() {
        for (tag, whole) in [("\"a\"", false), ("\"b\"", true), ("W/\"a\"", true)] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, "bytes=0-1".parse().unwrap());
            headers.insert(IF_RANGE, tag.parse().unwrap());
            assert_eq!(part(&headers, "\"a\"", 10) == Part::Whole, whole, "{tag}");
        }
    }

    #[test]
    fn preconditions_are_judged() {
        let judged = |name: HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            precondition(&headers, "\"a\"")
        };
        assert_eq!(judged(IF_NONE_MATCH, "W/\"a\""), Precondition::NotModified);
        assert_eq!(judged(IF_NONE_MATCH, "\"b\", \"a\""), Precondition::NotModified);
        assert_eq!(judged(IF_NONE_MATCH, "*"), Precondition::NotModified);
        assert_eq!(judged(IF_NONE_MATCH, "\"b\""), Precondition::Holds);
        assert_eq!(judged(IF_MATCH, "\"a\""), Precondition::Holds);
        assert_eq!(judged(IF_MATCH, "W/\"a\""), Precondition::Failed);
        assert_eq!(judged(IF_MATCH, "*"), Precondition::Holds);
    }
}
