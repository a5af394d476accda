//! Claims of a log before its newest.

use super::bucket::Bucket;
use super::claim::read;
use super::frame::{HEADER, Header, Kind};
use super::named::{COMMITS, number_of, numbered};
use crate::error::Result;

/// How far below the newest object a claim is looked for. Between a claim that the cell knows and
/// the newest one lie claims alone that the cell refused.
const BELOW: u64 = 256;

/// Whether a claim with this token, of this instance, stands in the log.
pub(super) fn has_claim(
    bucket: &Bucket,
    last: u64,
    instance: &[u8; 16],
    token: &[u8; 16],
) -> Result<bool> {
    let listed = bucket.list(COMMITS, &numbered(COMMITS, last.saturating_sub(BELOW)))?;
    for number in listed.iter().rev().filter_map(|object| number_of(&object.name)) {
        let begin = bucket.get_range(&numbered(COMMITS, number), 0, HEADER as u64)?;
        let header = begin.and_then(|begin| Header::decode(&begin).ok());
        if header.is_none_or(|header| header.kind != Kind::Claim) {
            continue;
        }
        let claimed = read(bucket, number)?.and_then(|(end, _)| end.claimed);
        if claimed.is_some_and(|there| there.instance == *instance && there.next == *token) {
            return Ok(true);
        }
    }
    Ok(false)
}
