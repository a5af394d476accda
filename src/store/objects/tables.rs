//! What lies where, from the tables of the objects: of blobs whose names do not say it, and of all.

use std::collections::HashSet;

use keyfall_objects::Listed;

use super::bucket::Bucket;
use super::catalogue::{Catalogue, Listing};
use super::frame::{HEADER, Header, Kind, Spot, Table};
use super::live::Elsewhere;
use super::named::{COMMITS, DEAD, FLOORS, Object, PACKS, SEGMENTS, STRAYS, is_dead_name};
use super::naming::Naming;
use super::state::State;
use crate::codec::Decoder;
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::sync::{Mutex, locked};

/// An object of at most so many bytes is read whole for its table.
pub(super) const WHOLE: u64 = 256 << 10;

/// The blobs of an object of so many bytes, by its table; `None` if it is gone.
fn table(bucket: &Bucket, object: Object, size: u64) -> Result<Option<(Header, Table)>> {
    let name = object.name();
    let begin = if size <= WHOLE { size } else { HEADER as u64 };
    let Some(bytes) = bucket.get_range(&name, 0, begin.max(1))? else { return Ok(None) };
    let named = |e: crate::Error| e.context(format!("{}: {}", bucket.place(), bucket.there(&name)));
    let header = Header::decode(&bytes).map_err(named)?;
    let at = header.table_at();
    let read;
    let tail = match bytes.get(at as usize..) {
        Some(tail) if size <= WHOLE => tail,
        _ if header.tail_len() == 0 => &[],
        _ => {
            let Some(tail) = bucket.get_range(&name, at, header.tail_len())? else {
                return Ok(None);
            };
            read = tail;
            &read
        }
    };
    let (blobs, _) = header.decode_tail(tail).map_err(named)?;
    Ok(Some((header, blobs)))
}

/// Learns where the blobs lie whose names do not say it, unless that is known. An object that is
/// damaged holds nothing, as far as is known; nobody deletes it.
pub(super) fn learn_elsewhere(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    if locked(state).elsewhere.is_some() {
        return Ok(());
    }
    for _ in 1..LISTED {
        if let Some(elsewhere) = strays(bucket, state, false)? {
            locked(state).elsewhere.get_or_insert(elsewhere);
            return Ok(());
        }
    }
    let elsewhere = strays(bucket, state, true)?.unwrap_or_default();
    locked(state).elsewhere.get_or_insert(elsewhere);
    Ok(())
}

/// How often strays are listed where some are gone before they are read.
const LISTED: u32 = 5;

/// Where the blobs of the strays that are listed now lie; `None` if one of them is gone, unless
/// that is `enough`: a discard moved what lives in it to one that the list may lack.
fn strays(bucket: &Bucket, state: &Mutex<State>, enough: bool) -> Result<Option<Elsewhere>> {
    let listed = bucket.list(STRAYS, "")?;
    let of_log = |listed: &Listed| Some((Object::parse(&listed.name)?, listed.size));
    let strays: Vec<(Object, u64)> = listed.iter().filter_map(of_log).collect();
    let tables = bucket.each(&strays, |(object, size)| table(bucket, *object, *size));
    let mut elsewhere = Elsewhere::new();
    for ((object, _), table) in strays.into_iter().zip(tables) {
        let (header, blobs) = match table {
            Ok(Some(table)) => table,
            Ok(None) if enough => continue,
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                locked(state).ill.insert(object);
                continue;
            }
            Err(e) => return Err(e),
        };
        locked(state).windows.keep_header(object, header);
        elsewhere.extend(blobs.into_iter().map(|(name, spot)| (name, (object, spot))));
    }
    Ok(Some(elsewhere))
}

/// Learns which long blobs there are, unless that is known.
pub(super) fn learn_segments(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    if locked(state).segments.is_some() {
        return Ok(());
    }
    let mut segments = HashSet::new();
    for listed in bucket.list(SEGMENTS, "")? {
        if let Some(Object::Segment(name)) = Object::parse(&listed.name) {
            segments.insert(name);
        }
    }
    locked(state).segments.get_or_insert(segments);
    Ok(())
}

/// Learns what every object holds, unless that is known: a request for each object. One that is
/// damaged holds nothing, and is named.
pub(super) fn learn_all(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    if locked(state).catalogue.is_some() {
        return Ok(());
    }
    learn_lists(bucket, state)?;
    let removed = removed(bucket, &lists_in(bucket, DEAD)?)?;
    locked(state).learn_removed(removed);
    let mut all = Catalogue::default();
    for folder in [COMMITS, PACKS, STRAYS, SEGMENTS] {
        for listed in bucket.list(folder, "")? {
            let Some(object) = Object::parse(&listed.name) else { continue };
            let listing = match object {
                Object::Segment(name) => {
                    let blobs = vec![(name, listed.size as u32)];
                    Listing { blobs, size: listed.size, is_claim: false }
                }
                _ => {
                    let (header, blobs) = match table(bucket, object, listed.size) {
                        Ok(Some(table)) => table,
                        Ok(None) => continue,
                        Err(e) if e.kind() == ErrorKind::Corrupt => {
                            all.damaged.push(listed.name);
                            continue;
                        }
                        Err(e) => return Err(e),
                    };
                    let blobs = blobs.into_iter().map(|(name, spot)| (name, spot.len)).collect();
                    Listing { blobs, size: listed.size, is_claim: header.kind == Kind::Claim }
                }
            };
            all.enter(object, listing);
        }
    }
    let mut state = locked(state);
    for name in &state.dead {
        all.strike(name);
    }
    state.catalogue.get_or_insert(all);
    Ok(())
}

/// The blobs that were removed from objects which are there, by these lists, and the lists that
/// are damaged: what one of them named counts as there until a discard finds it once more.
pub(super) fn removed(bucket: &Bucket, lists: &[Listed]) -> Result<(Vec<BlobName>, Vec<String>)> {
    let (mut dead, mut damaged) = (Vec::new(), Vec::new());
    for listed in lists {
        let Some(bytes) = bucket.get(&listed.name)? else { continue };
        match decode_dead(&bytes) {
            Ok(names) => dead.extend(names),
            Err(_) => damaged.push(listed.name.clone()),
        }
    }
    Ok((dead, damaged))
}

/// Reads the lists of removed blobs that were seen when the log was opened, unless that was done.
pub(super) fn learn_lists(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let lists = locked(state).lists.clone();
    if !lists.is_empty() {
        let removed = removed(bucket, &lists)?;
        let mut state = locked(state);
        state.learn_removed(removed);
        state.lists.clear();
    }
    Ok(())
}

/// All lists of removed blobs.
pub(super) fn dead_lists(bucket: &Bucket) -> Result<Vec<Listed>> {
    let mut lists = lists_in(bucket, FLOORS)?;
    lists.extend(lists_in(bucket, DEAD)?);
    Ok(lists)
}

/// Those in one folder. What somebody else keeps there stays.
pub(super) fn lists_in(bucket: &Bucket, folder: &str) -> Result<Vec<Listed>> {
    let mut lists = bucket.list(folder, "")?;
    lists.retain(|listed| is_dead_name(&listed.name));
    Ok(lists)
}

const DEAD_MAGIC: &[u8; 8] = b"KFDEAD01";

/// `"KFDEAD01" ‖ drawn 16 ‖ name 16 * n ‖ CRC-32 of all before`.
pub(super) fn encode_dead(drawn: &[u8; 16], names: &[BlobName]) -> Vec<u8> {
    let mut out = [&DEAD_MAGIC[..], drawn].concat();
    names.iter().for_each(|name| out.extend_from_slice(&name.0));
    let sum = crc32fast::hash(&out).to_be_bytes();
    out.extend_from_slice(&sum);
    out
}

fn decode_dead(bytes: &[u8]) -> Result<Vec<BlobName>> {
    let mut d = Decoder::new(bytes, "list of removed blobs");
    let (magic, _) = (d.bytes(8)? == DEAD_MAGIC, d.bytes(16)?);
    let Some(n) = d.left().checked_sub(4).filter(|n| magic && n % 16 == 0) else {
        return Err(d.bad());
    };
    let names = (0..n / 16).map(|_| Ok(BlobName(d.array()?))).collect::<Result<Vec<_>>>()?;
    if d.u32()? != crc32fast::hash(&bytes[..bytes.len() - 4]) {
        return Err(d.bad());
    }
    Ok(names)
}

/// Enters an object that this handle made into what it knows.
pub(super) fn made(
    state: &mut State,
    naming: &Naming,
    object: Object,
    blobs: &[(BlobName, Spot)],
    size: usize,
) {
    state.count(blobs.len(), size);
    let State { live, sweeping, .. } = state;
    for live in [live, sweeping].into_iter().flatten() {
        live.made(naming, object, blobs, size as u64);
    }
    if let Object::Pack { number, chunk } = object {
        state.packs.found(number, chunk);
    }
    if let (Object::Stray { .. }, Some(elsewhere)) = (object, &mut state.elsewhere) {
        elsewhere.extend(blobs.iter().map(|(name, spot)| (*name, (object, *spot))));
    }
    if let (Object::Segment(name), Some(segments)) = (object, &mut state.segments) {
        segments.insert(name);
    }
    // A name that was removed is never put again.
    if let Some(catalogue) = &mut state.catalogue {
        let blobs = blobs.iter().map(|(name, spot)| (*name, spot.len)).collect();
        catalogue.enter(object, Listing { blobs, size: size as u64, is_claim: false });
    }
}
