//! Which objects are claims: these are never deleted. Each says at its end how many claims there
//! were, so that few objects need be read to find them. Claims that repeat the one before, so that
//! the floor can rise, do not count: they are in lists that are written before them.

use std::collections::BTreeSet;

use super::bucket::Bucket;
use super::frame::{End, HEADER, Header};
use super::named::{CLAIMS, Object, claims_name, is_drawn_name, number_of_list};
use super::state::State;
use super::tables::WHOLE;
use crate::codec::Decoder;
use crate::error::{ErrorKind, Result};
use crate::sync::{Mutex, locked};

/// What a handle that surveyed the log left for those after it.
pub(super) struct Left {
    /// Bytes that the log took then, and how many of these were dead, about.
    pub(super) bytes: u64,
    pub(super) dead: u64,
}

const MAGIC: &[u8; 8] = b"KFCLAIMS";

/// `"KFCLAIMS" ‖ drawn 16 ‖ bytes 8 ‖ dead 8 ‖ number 8 * n ‖ CRC-32 of all before`.
fn encode(drawn: &[u8; 16], left: &Left, numbers: &BTreeSet<u64>) -> Vec<u8> {
    let mut out = [&MAGIC[..], drawn].concat();
    out.extend_from_slice(&left.bytes.to_be_bytes());
    out.extend_from_slice(&left.dead.to_be_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
    let sum = crc32fast::hash(&out).to_be_bytes();
    out.extend_from_slice(&sum);
    out
}

fn decode(bytes: &[u8]) -> Result<(Left, Vec<u64>)> {
    let mut d = Decoder::new(bytes, "list of claims");
    let (magic, _) = (d.bytes(8)? == MAGIC, d.bytes(16)?);
    let left = Left { bytes: d.u64()?, dead: d.u64()? };
    let Some(n) = d.left().checked_sub(4).filter(|n| magic && n % 8 == 0) else {
        return Err(d.bad());
    };
    let numbers = (0..n / 8).map(|_| d.u64()).collect::<Result<Vec<_>>>()?;
    if d.u32()? != crc32fast::hash(&bytes[..bytes.len() - 4]) {
        return Err(d.bad());
    }
    Ok((left, numbers))
}

/// Reads what earlier handles left, unless that was done. One that is damaged is as good as none:
/// what it said is found out once more.
pub(super) fn recall(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    if locked(state).suspected.is_some() {
        return Ok(());
    }
    let mut left = None;
    for listed in bucket.list(CLAIMS, "")? {
        let Some(upto) = number_of_list(&listed.name) else { continue };
        let Some(Ok((said, numbers))) = bucket.get(&listed.name)?.map(|bytes| decode(&bytes))
        else {
            continue;
        };
        let mut state = locked(state);
        state.claims.numbers.extend(numbers);
        state.claims.upto = state.claims.upto.max(upto);
        left = Some((said, upto));
    }
    let mut state = locked(state);
    if let Some((left, upto)) = &left
        && state.last <= upto + 1
    {
        // Nothing was published since but the claim of this handle: no object says what went then.
        state.usage.bytes = left.bytes;
    }
    // Of what was written since about half is dead: the most of it are pages that others replaced.
    let bytes = state.usage.bytes;
    let suspected = match left {
        Some((Left { bytes: then, dead }, _)) => {
            dead.saturating_add(bytes.saturating_sub(then) / 2)
        }
        None => bytes / 2,
    };
    let since = state.suspects;
    state.suspected = Some(suspected.saturating_add(since));
    Ok(())
}

/// Learns which of these objects, numbers and sizes in order, are claims.
pub(super) fn learn(bucket: &Bucket, state: &Mutex<State>, there: &[(u64, u64)]) -> Result<()> {
    recall(bucket, state)?;
    let (upto, count) = {
        let state = locked(state);
        (state.claims.upto, state.claimed.map_or(0, |claimed| claimed.claim))
    };
    let known = there.partition_point(|(number, _)| *number <= upto);
    let mut found = Sought::default();
    if known < there.len() {
        let new = &there[known.saturating_sub(1)..];
        if known == 0 {
            // Whatever the lowest is.
            found.claims.insert(new[0].0);
        }
        match counted(bucket, new[0])? {
            Some(low) => search(bucket, new, (low, count), &mut found)?,
            None => found.damaged.extend(new.iter().map(|(number, _)| *number)),
        }
    }
    let mut state = locked(state);
    state.claims.numbers.extend(&found.damaged);
    state.claims.numbers.extend(found.claims);
    state.claims.doubtful.extend(found.damaged);
    let last = there.last().map_or(0, |(number, _)| *number);
    state.claims.upto = state.claims.upto.max(last);
    Ok(())
}

/// What was found.
#[derive(Default)]
struct Sought {
    claims: BTreeSet<u64>,
    /// Of these nobody knows what they are.
    damaged: BTreeSet<u64>,
}

/// Finds the objects at which the count of claims rises, which is `counts.0` at the first and
/// `counts.1` at the last. One that cannot be read counts as a claim.
fn search(
    bucket: &Bucket,
    there: &[(u64, u64)],
    counts: (u64, u64),
    found: &mut Sought,
) -> Result<()> {
    let mut ranges = vec![(0, counts.0, there.len() - 1, counts.1)];
    while let Some((from, low, to, high)) = ranges.pop() {
        if low == high || from == to {
            continue;
        }
        if to == from + 1 {
            found.claims.insert(there[to].0);
            continue;
        }
        let middle = from + (to - from) / 2;
        let mut read = None;
        for (at, object) in there.iter().enumerate().take(to).skip(middle) {
            match counted(bucket, *object)? {
                Some(count) => {
                    read = Some((at, count));
                    break;
                }
                None => _ = found.damaged.insert(object.0),
            }
        }
        if let Some((at, count)) = read {
            ranges.extend([(from, low, at, count), (at, count, to, high)]);
        } else {
            found.claims.insert(there[to].0);
            ranges.push((from, low, middle, high));
        }
    }
    Ok(())
}

/// How many claims there were up to an object; `None` for one that is damaged.
fn counted(bucket: &Bucket, object: (u64, u64)) -> Result<Option<u64>> {
    let (number, size) = object;
    let end = match end_of(bucket, number, size) {
        Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(None),
        end => end?,
    };
    Ok(end.map(|end| end.claimed.map_or(0, |claimed| claimed.claim)))
}

/// What an object says at its end.
fn end_of(bucket: &Bucket, number: u64, size: u64) -> Result<Option<End>> {
    let name = Object::Numbered(number).name();
    if size <= WHOLE {
        let Some(bytes) = bucket.get(&name)? else { return Ok(None) };
        return Header::decode(&bytes)?.whole_end(&bytes).map(Some);
    }
    let Some(begin) = bucket.get_range(&name, 0, HEADER as u64)? else { return Ok(None) };
    let header = Header::decode(&begin)?;
    let tail = bucket.get_range(&name, header.table_at(), header.tail_len())?;
    tail.map_or(Ok(None), |tail| Ok(header.decode_tail(&tail)?.1))
}

/// Writes down which claims there are, and one that is to come; removes earlier lists.
pub(super) fn note(
    bucket: &Bucket,
    state: &Mutex<State>,
    coming: Option<u64>,
    left: &Left,
) -> Result<()> {
    let (upto, mut numbers) = {
        let state = locked(state);
        (coming.unwrap_or(state.last), state.claims.numbers.clone())
    };
    numbers.extend(coming);
    let before = bucket.list(CLAIMS, "")?;
    let drawn = bucket.drawn()?;
    bucket.create(&claims_name(upto, &drawn), &encode(&drawn, left, &numbers))?;
    // What somebody else keeps there stays.
    let ours = before.into_iter().map(|listed| listed.name).filter(|it| is_drawn_name(CLAIMS, it));
    let names: Vec<String> = ours.collect();
    // One that stays is an earlier one.
    bucket.delete_all(&names).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_claims_is_read_back_and_each_damaged_bit_is_found() {
        let numbers = BTreeSet::from([1, 7, u64::MAX]);
        let whole = encode(&[3; 16], &Left { bytes: 9, dead: 4 }, &numbers);
        let (left, read) = decode(&whole).unwrap();
        assert_eq!((left.bytes, left.dead, read), (9, 4, vec![1, 7, u64::MAX]));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
