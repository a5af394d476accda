//! Which object is the newest, and claims: a claim is an object with a number, so that whatever a
//! writer before it sends for that number is refused for ever.

use std::collections::BTreeSet;

use super::bucket::Bucket;
use super::catalogue::Listing;
use super::frame::{Content, End, HEADER, Header, Kind, encode, end_len};
use super::hints::hints_of;
use super::named::{COMMITS, FLOORS, Object, number_of, numbered};
use super::state::{Root, State, Stream};
use super::windows::WINDOW;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Blob, Claimed, Head, fenced};
use crate::sync::{Mutex, locked};
use keyfall_objects::Listed;

/// Windows of the newest object that are kept when a log is opened.
const WINDOWS: usize = 16;

/// How often a claim is tried for the next number, while others publish.
const TRIES: usize = 64;

/// Reads an object with a number to its end.
pub(super) fn read(bucket: &Bucket, number: u64) -> Result<Option<(End, Vec<u8>)>> {
    let name = Object::Numbered(number).name();
    let Some(bytes) = bucket.get(&name)? else { return Ok(None) };
    let whole = Header::decode(&bytes).and_then(|header| {
        let end = header.whole_end(&bytes)?;
        if header.number != number || !matches!(header.kind, Kind::Commit | Kind::Claim) {
            return Err(Error::corrupt("another object has its name"));
        }
        Ok(end)
    });
    let end = whole.map_err(|e| {
        e.context(format!("{}: {name} is damaged, restore the store from a copy", bucket.place()))
    })?;
    Ok(Some((end, bytes)))
}

/// The highest floor among these objects: nothing above it was ever deleted.
fn floor_of(floors: &[Listed]) -> u64 {
    floors.iter().filter_map(|floor| number_of(&floor.name)).max().unwrap_or(0)
}

/// Lists the floors, and the lists of removed blobs beside them.
pub(super) fn floors(bucket: &Bucket) -> Result<Vec<Listed>> {
    bucket.list(FLOORS, "")
}

/// The highest number above `after` that is listed.
pub(super) fn highest(bucket: &Bucket, after: u64) -> Result<Option<u64>> {
    let listed = bucket.list(COMMITS, &numbered(COMMITS, after))?;
    // What is none of the log's has no number.
    Ok(listed.iter().filter_map(|object| number_of(&object.name)).max())
}

/// Keeps what the newest object holds: its pages are asked for next. The root's is near its end.
fn keep(state: &mut State, number: u64, bytes: &[u8], root: Option<Blob>) {
    if let Ok(header) = Header::decode(bytes) {
        state.windows.keep_header(Object::Numbered(number), header);
        if header.kind == Kind::Commit || root.is_some() {
            state.packs.have_root();
        }
    }
    state.reads_first = None;
    state.root = root.and_then(|blob| Root::of(blob, true));
    let windows = bytes.chunks(WINDOW as usize).enumerate();
    let last = windows.len().saturating_sub(WINDOWS / 2);
    for (n, window) in windows.filter(|(n, _)| *n < WINDOWS / 2 || *n >= last) {
        let window = std::sync::Arc::new(window.to_vec());
        state.windows.keep(Object::Numbered(number), n as u64, window);
    }
}

/// Learns of the newest object.
pub(super) fn refresh(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let known = locked(state).last;
    let mut newest: Option<(u64, End, Vec<u8>)> = None;
    let mut at = highest(bucket, known)?;
    loop {
        let number = at.unwrap_or_else(|| newest.as_ref().map_or(known, |(n, ..)| *n) + 1);
        match read(bucket, number)? {
            // A list may be behind; what is above is read one by one.
            Some((end, bytes)) => newest = Some((number, end, bytes)),
            // It may have gone since, with newer ones in its place.
            None if at.is_some() => {
                let now = highest(bucket, known)?;
                if now == at {
                    return Err(is_not_there(bucket, number));
                }
                at = now;
                continue;
            }
            None => break,
        }
        at = None;
    }
    let mut state = locked(state);
    state.known = false;
    if let Some((number, end, bytes)) = newest
        && number > state.last
    {
        keep(&mut state, number, &bytes, end.root);
        (state.last, state.head, state.claimed) = (number, end.head, end.claimed);
        (state.usage, state.is_mine, state.read_back) = (end.usage, false, None);
        // What others put is listed again when it is asked for.
        (state.elsewhere, state.segments, state.catalogue) = (None, None, None);
        (state.live, state.sweeping) = (None, None);
        state.stream = Stream::default();
        let taken: Vec<usize> = state.waiting.iter().map(|(_, blob)| blob.len()).collect();
        taken.into_iter().for_each(|len| {
            state.stream.take(len);
        });
    }
    Ok(())
}

/// Learns of the newest object of a log that is being opened, from its floors on. What may stand
/// above what is listed a claim finds out, whose number is taken then; who makes none reads on.
pub(super) fn find_newest(
    bucket: &Bucket,
    state: &Mutex<State>,
    floors: &[Listed],
    will_claim: bool,
) -> Result<()> {
    let (floor, hints) = (floor_of(floors), hints_of(floors));
    let from = |number: u64| bucket.list(COMMITS, &numbered(COMMITS, number.saturating_sub(1)));
    let hint = hints.iter().copied().max().filter(|hint| *hint > floor);
    locked(state).hints = hints;
    // What a hint leaves out stands below it. One that is wrong hides nothing.
    let above = hint.map(from).transpose()?.filter(|above| !above.is_empty());
    let hinted = above.is_some();
    let listed = above.map_or_else(|| from(floor), Ok)?;
    let numbers = || listed.iter().filter_map(|object| number_of(&object.name));
    if !hinted
        && floor > 0
        && numbers().all(|number| number != floor)
        && read(bucket, floor)?.is_none()
    {
        return Err(Error::corrupt(format!(
            "{}: {} is missing, the claim that the floor stands on; restore the store from a copy",
            bucket.place(),
            bucket.there(&numbered(COMMITS, floor))
        )));
    }
    let newest = numbers().max().unwrap_or(0).max(floor);
    if newest > 0 {
        let (end, bytes) = read(bucket, newest)?.ok_or_else(|| is_not_there(bucket, newest))?;
        let mut state = locked(state);
        (state.floor, state.last, state.known) = (floor, newest, will_claim);
        state.end_len = end_len(&end) as u64;
        (state.head, state.claimed, state.usage) = (end.head, end.claimed, end.usage);
        keep(&mut state, newest, &bytes, end.root);
    }
    if will_claim { Ok(()) } else { refresh(bucket, state) }
}

fn is_not_there(bucket: &Bucket, number: u64) -> Error {
    let name = numbered(COMMITS, number);
    Error::corrupt(format!("{}: {name} is listed and not there", bucket.place()))
}

/// The newest head, from the medium if this handle wrote it: what an erase reads back. The blobs of
/// that commit come from the same bytes after it. A claim that was just made repeats what was read
/// from the medium, and the medium listed it: it is not read again.
pub(super) fn read_back(bucket: &Bucket, state: &Mutex<State>) -> Result<Option<Head>> {
    if !locked(state).is_mine {
        refresh(bucket, state)?;
        return Ok(locked(state).head.clone());
    }
    {
        let mut state = locked(state);
        if std::mem::take(&mut state.shown) {
            return Ok(state.head.clone());
        }
    }
    let number = locked(state).last;
    let Some((end, bytes)) = read(bucket, number)? else {
        return Err(Error::corrupt(format!(
            "{} does not show {}, which it acknowledged",
            bucket.place(),
            bucket.there(&numbered(COMMITS, number))
        )));
    };
    locked(state).read_back = Some((number, std::sync::Arc::new(bytes)));
    Ok(end.head)
}

/// Makes a claim: after it nothing takes effect that began before through another handle.
pub(super) fn claim(
    bucket: &Bucket,
    state: &Mutex<State>,
    claimed: Option<&Claimed>,
) -> Result<Option<Head>> {
    if let Some(claimed) = claimed {
        locked(state).tried = Some(*claimed);
    }
    for n in 0..TRIES {
        // At first by what is known: if that is too little, the number is taken, or something
        // stands above it.
        if n > 0 {
            refresh(bucket, state)?;
        }
        let (number, mut end) = {
            let state = locked(state);
            let later = |there: Claimed| {
                claimed.is_none_or(|mine| there.claim >= mine.claim && there != *mine)
            };
            let unexpected = state.expected.is_some_and(|number| number != state.last);
            if unexpected || state.claimed.is_some_and(later) {
                return Err(fenced(&bucket.place()));
            }
            let usage = state.usage;
            let root = state.root.as_ref().map(|root| root.blob.clone());
            let head = state.head.clone();
            let end = End { usage, claimed: claimed.copied(), head, root };
            (state.last + 1, end)
        };
        end.usage.bytes += (HEADER + end_len(&end)) as u64;
        let (kind, attempt) = (Kind::Claim, bucket.drawn()?);
        let content =
            Content { kind, number, chunk: 1, attempt, lead: 0, blobs: &[], end: Some(&end) };
        if !bucket.create(&Object::Numbered(number).name(), &encode(&content))? {
            continue;
        }
        // A number that was deleted is free again: what stands above it makes this claim void. A
        // floor does that too, and stands on a claim, which is never deleted and so is listed.
        let listed = bucket.list(COMMITS, &numbered(COMMITS, number - 1))?;
        let numbers = || listed.iter().filter_map(|object| number_of(&object.name));
        if numbers().any(|there| there > number) {
            continue;
        }
        let shown = numbers().any(|there| there == number);
        let mut state = locked(state);
        state.shown = shown;
        state.packs.published(number);
        (state.last, state.claimed, state.usage) = (number, end.claimed, end.usage);
        (state.is_mine, state.catalogue, state.stream) = (true, None, Stream::default());
        (state.expected, state.known) = (None, false);
        state.claims.numbers.insert(number);
        state.own = Some(number);
        let head = state.head.clone();
        drop(state);
        return Ok(head);
    }
    Err(Error::new(
        ErrorKind::Locked,
        format!("{}: other engines publish without end; stop them, and call again", bucket.place()),
    ))
}

/// Whether a handle may claim once more: not while blobs wait for the commit of the next number. A
/// copy has no owner: its claims say nothing but that.
pub(super) fn may_claim_again(state: &State) -> bool {
    let idle = state.waiting.is_empty() && state.stream == Stream::default();
    idle && (state.is_mine || state.claimed.is_none()) && state.last > 0
}

/// Claims once more for the handle that owns the log, so that the floor can rise above what that
/// published itself. Not while blobs wait for the commit of the next number.
pub(super) fn claim_again(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let (claimed, catalogue) = {
        let mut state = locked(state);
        if !may_claim_again(&state) {
            return Ok(());
        }
        (state.claimed, state.catalogue.take())
    };
    claim(bucket, state, claimed.as_ref())?;
    // Another claim would have refused this one: nothing but it came to what was known.
    let mut state = locked(state);
    // The head may be one that this handle published.
    state.shown = false;
    let object = Object::Numbered(state.last);
    state.catalogue = catalogue.map(|mut all| {
        all.enter(object, Listing { blobs: Vec::new(), size: HEADER as u64, is_claim: true });
        all
    });
    Ok(())
}

/// Fails once the number after the newest is taken by another handle: it begins with a claim,
/// which is never deleted. Above what a handle only saw, the next number may be a commit that is
/// gone again, and others stand above it. Fails as well once what was the newest at the question
/// before is gone, or the handle's own claim, which nobody deletes: the place was emptied, or went
/// back to an earlier state. Commits since then hide neither.
pub(super) fn confirm(bucket: &Bucket, state: &Mutex<State>, writers: &Mutex<()>) -> Result<()> {
    let (last, own, is_mine) = {
        let state = locked(state);
        (state.last, state.own, state.is_mine)
    };
    let next = last + 1;
    let is_taken = match (is_mine, own) {
        (true, None) => bucket.is_there(&numbered(COMMITS, next))?,
        (true, Some(own)) => {
            let asked = witnesses(state, own);
            let is_there = |number: &u64| bucket.is_there(&numbered(COMMITS, *number));
            let numbers: Vec<u64> = asked.iter().copied().chain([next]).collect();
            let there = bucket.each(&numbers, is_there).into_iter().collect::<Result<Vec<_>>>()?;
            if let Some(gone) = (0..asked.len()).find(|n| !there[*n]) {
                // What is no longer the newest may have gone meanwhile, as it may.
                return match witnesses(state, own).contains(&asked[gone]) {
                    true => Err(went_back(bucket, asked[gone])),
                    false => confirm(bucket, state, writers),
                };
            }
            there[asked.len()]
        }
        (false, _) => {
            let above = bucket.list_some(COMMITS, &numbered(COMMITS, last), 1)?;
            above.iter().any(|object| number_of(&object.name).is_some())
        }
    };
    if !is_taken {
        locked(state).witnesses.asked(last);
        return Ok(());
    }
    // It may be a commit of this handle, under way.
    let _none_is = locked(writers);
    let state = locked(state);
    match state.is_mine && state.last >= next {
        true => Ok(()),
        // It may be that write, which arrived late: `reopen` finds out.
        false if state.broken => Err(unknown(bucket)),
        false => Err(fenced(&bucket.place())),
    }
}

/// Nothing can be told of a log in which a write of this handle has an unknown outcome.
fn unknown(bucket: &Bucket) -> Error {
    let text = format!(
        "{}: a write has an unknown outcome; open the store again to find it out",
        bucket.place()
    );
    Error::new(ErrorKind::Io, text)
}

/// The newest object, as far as a handle knows.
pub(super) struct Newest {
    pub(super) number: u64,
    attempt: Option<[u8; 16]>,
}

impl Newest {
    pub(super) fn known(state: &Mutex<State>) -> Self {
        let state = locked(state);
        let header = state.windows.header(Object::Numbered(state.last));
        Newest { number: state.last, attempt: header.map(|header| header.attempt) }
    }

    /// Whether it is there, and no other one under its name.
    pub(super) fn stands(&self, bucket: &Bucket) -> Result<bool> {
        if self.number == 0 {
            return Ok(true);
        }
        let there = bucket.get_range(&numbered(COMMITS, self.number), 0, HEADER as u64)?;
        let is_it = |bytes: Vec<u8>| {
            let attempt = Header::decode(&bytes).map(|header| header.attempt).ok();
            attempt.is_some() && (self.attempt.is_none() || attempt == self.attempt)
        };
        Ok(there.is_some_and(is_it))
    }
}

pub(super) fn went_back(bucket: &Bucket, number: u64) -> Error {
    Error::corrupt(format!(
        "{}: {} is gone, which was there: objects were deleted, or the place went back to an \
         earlier state; restore the store from a copy",
        bucket.place(),
        bucket.there(&numbered(COMMITS, number))
    ))
}

/// Numbers of objects that must be there, at or above this handle's claim.
fn witnesses(state: &Mutex<State>, own: u64) -> Vec<u64> {
    let state = locked(state);
    state.witnesses.to_ask(state.floor.max(own), state.last.max(own))
}

/// Whether the claim of this handle is there, which nobody deletes, the newest object, and what was
/// made since that was asked before: for whoever asks now and then.
pub(super) fn stands(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let known = || {
        let state = locked(state);
        state.own.filter(|_| state.is_mine).map(|own| (own, state.last))
    };
    let Some((own, last)) = known() else { return Ok(()) };
    let numbers: BTreeSet<u64> = witnesses(state, own).into_iter().chain([own, last]).collect();
    for number in numbers {
        // What is no longer the newest may have gone meanwhile, as it may.
        let may_go = || {
            let is_newest = known().is_some_and(|(_, now)| now == number);
            number != own && !is_newest && !witnesses(state, own).contains(&number)
        };
        if !bucket.is_there_once(&numbered(COMMITS, number))? && !may_go() {
            return Err(went_back(bucket, number));
        }
    }
    locked(state).witnesses.asked(last);
    Ok(())
}

/// Raises the floor to a claim of this handle, and deletes lower ones. Nothing depends on it but
/// how long the next opening looks for the newest object.
pub(super) fn raise_floor(bucket: &Bucket, state: &Mutex<State>, number: u64) -> Result<()> {
    let before = locked(state).floor;
    if number <= before {
        return Ok(());
    }
    let floor = numbered(FLOORS, number);
    let drawn = bucket.drawn()?;
    bucket.create(&floor, &drawn)?;
    locked(state).floor = number;
    if before > 0 {
        // One that stays there is below another.
        bucket.delete(&numbered(FLOORS, before))?;
    }
    Ok(())
}
