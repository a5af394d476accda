//! Finding a blob: among what waits, where its name says, in what lies elsewhere, as an object of
//! its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bucket::Bucket;
use super::cache::ObjectCache;
use super::frame::{HEADER, Header, LABEL, Spot, named_blob};
use super::likely::{is_pack, look_for_packs};
use super::named::Object;
use super::naming::{Hint, Naming};
use super::state::{Root, State};
use super::tables::{learn_elsewhere, learn_lists, learn_segments};
use super::windows::{BEYOND, RANGE, WINDOW, Windows};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::part;
use crate::sync::{Mutex, locked};

/// Whoever asks for so many blobs at once reads more of the store.
const MANY: usize = 64;

/// How much is read at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// A window, for one blob and what lies beside it.
    Near,
    /// A long range, for all that lies in it.
    Along,
}

/// What is done with the cache of this machine.
#[derive(Clone, Copy)]
pub(super) enum Caching<'a> {
    /// There is none, or the place itself is to be asked.
    None,
    Use(&'a ObjectCache),
    /// What it has is not believed, and replaced by what the place has.
    Renew(&'a ObjectCache),
}

/// What looks for blobs.
pub(super) struct Finder<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) naming: &'a Naming,
    pub(super) state: &'a Mutex<State>,
    pub(super) reads: Reads,
    pub(super) cache: Caching<'a>,
}

impl Finder<'_> {
    /// Reads a blob.
    pub(super) fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.surely(|finder| match finder.short(name)? {
            Some(blob) => Ok(blob),
            None => finder.bucket.get(&Object::Segment(*name).name()),
        })
    }

    /// Looks once more, without the cache, for what is not found with it: another log may have come
    /// in the place of the one whose objects it has.
    fn surely(
        &self,
        look: impl Fn(&Finder<'_>) -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Vec<u8>>> {
        let found = look(self);
        let is_found = match &found {
            Ok(found) => found.is_some(),
            Err(e) => e.kind() != ErrorKind::Corrupt,
        };
        match self.cache {
            Caching::Use(cache) if !is_found && cache.was_hit() => {
                locked(self.state).windows = Windows::default();
                look(&Finder { cache: Caching::Renew(cache), ..*self })
            }
            _ => found,
        }
    }

    /// The object of a blob, and where it lies in it, as one number; of one that does not lie where
    /// its name says, once it is known where that is.
    pub(super) fn place_of(&self, name: &BlobName) -> Option<u128> {
        let of = |number: u64, part: u128, offset: u32| {
            u128::from(number) << 88 | part << 32 | u128::from(offset)
        };
        if let Some(Hint { at, .. }) = self.naming.hint(name) {
            return Some(of(at.number, u128::from(at.chunk) << 48, at.offset));
        }
        let state = locked(self.state);
        let (object, spot) = state.elsewhere.as_ref()?.get(name)?;
        let Object::Stray { number, drawn } = object else { return None };
        let part = u128::from_be_bytes(*drawn) >> 72;
        Some(of(*number, part, spot.offset))
    }

    /// Reads several blobs, some at the same time where requests take long: what lies in one window
    /// comes with one request.
    pub(super) fn get_many(&self, names: &[BlobName]) -> Vec<Result<Option<Vec<u8>>>> {
        let mut groups: BTreeMap<(u64, u8, u64), Vec<usize>> = BTreeMap::new();
        let mut alone = Vec::new();
        if names.len() >= MANY && self.bucket.is_far() {
            // Not one wrong guess for what comes next. If it fails those that guess find out.
            let _ = look_for_packs(self.bucket, self.state);
        }
        for (n, name) in names.iter().enumerate() {
            match self.naming.hint(name).map(|hint| hint.at) {
                Some(at) if self.bucket.is_far() => {
                    let key = (at.number, at.chunk, u64::from(at.offset) / WINDOW);
                    groups.entry(key).or_default().push(n);
                    // Not asked by several at once. If it fails they ask again.
                    if at.number <= locked(self.state).last {
                        let _ = is_pack(self.bucket, self.state, &at);
                    }
                }
                _ => alone.push(vec![n]),
            }
        }
        alone.extend(groups.into_values());
        let of_group = |group: &Vec<usize>| -> Vec<_> {
            group.iter().map(|n| (*n, self.get(&names[*n]))).collect()
        };
        let mut read: Vec<_> = self.bucket.each(&alone, of_group).into_iter().flatten().collect();
        read.sort_unstable_by_key(|(n, _)| *n);
        read.into_iter().map(|(_, blob)| blob).collect()
    }

    /// Reads a part of a blob. Of a long one no more is asked for.
    pub(super) fn get_part(
        &self,
        name: &BlobName,
        from: usize,
        len: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.surely(|finder| match finder.short(name)? {
            Some(blob) => Ok(blob.map(|blob| part(&blob, from, len))),
            None => {
                let segment = Object::Segment(*name).name();
                finder.bucket.get_range(&segment, from as u64, len as u64)
            }
        })
    }

    /// Reads a blob that is no object of its own; `None` if it may be one.
    fn short(&self, name: &BlobName) -> Result<Option<Option<Vec<u8>>>> {
        if locked(self.state).needs_lists(self.naming, name) {
            learn_lists(self.bucket, self.state)?;
        }
        {
            let state = locked(self.state);
            if state.dead.contains(name) {
                return Ok(Some(None));
            }
            if let Some((_, blob)) = state.waiting.iter().find(|(there, _)| there == name) {
                return Ok(Some(Some(blob.clone())));
            }
            if let Some(Root { blob: (root, page), was_read: true }) = &state.root
                && root == name
            {
                return Ok(Some(Some(page.clone())));
            }
        }
        if let Some(blob) = self.placed(name)? {
            return Ok(Some(Some(blob)));
        }
        Ok(self.strayed(name)?.map(Some))
    }

    /// A blob whose name does not say where it is. It may move, and its old place is gone then.
    fn strayed(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        let place = || locked(self.state).elsewhere.as_ref().and_then(|all| all.get(name).copied());
        let mut listed_again = false;
        loop {
            learn_elsewhere(self.bucket, self.state)?;
            let Some((object, spot)) = place() else { return Ok(None) };
            if let Some(blob) = self.blob_at(object, name, spot.offset, spot.len as usize)? {
                return Ok(Some(blob));
            }
            if place() != Some((object, spot)) {
                continue;
            }
            if listed_again {
                return Err(Error::corrupt(format!(
                    "{}: {} does not hold what its table says; restore the store from a copy",
                    self.bucket.place(),
                    self.bucket.there(&object.name())
                )));
            }
            listed_again = true;
            let mut state = locked(self.state);
            state.elsewhere = None;
            state.windows.forget(object);
        }
    }

    /// Whether a blob is there.
    pub(super) fn contains(&self, name: &BlobName) -> Result<bool> {
        learn_lists(self.bucket, self.state)?;
        {
            let state = locked(self.state);
            if state.dead.contains(name) {
                return Ok(false);
            }
            if state.waiting.iter().any(|(there, _)| there == name) {
                return Ok(true);
            }
        }
        if self.placed(name)?.is_some() {
            return Ok(true);
        }
        learn_elsewhere(self.bucket, self.state)?;
        learn_segments(self.bucket, self.state)?;
        let state = locked(self.state);
        Ok(state.elsewhere.as_ref().is_some_and(|all| all.contains_key(name))
            || state.segments.as_ref().is_some_and(|all| all.contains(name)))
    }

    /// A blob that is where its name says.
    fn placed(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        let Some(hint) = self.naming.hint(name) else { return Ok(None) };
        let number = hint.at.number;
        let last = locked(self.state).last;
        if number > last + 1 {
            return Ok(None);
        }
        let pack = Object::Pack { number, chunk: hint.at.chunk };
        if number == last + 1 {
            return self.hinted(pack, name, hint);
        }
        let numbered = Object::Numbered(number);
        let likely = is_pack(self.bucket, self.state, &hint.at)?;
        if likely && let Some(blob) = self.at_once(pack, name, hint)? {
            return Ok(Some(blob));
        }
        if let Some(blob) = self.at_once(numbered, name, hint)? {
            return Ok(Some(blob));
        }
        let header = locked(self.state).windows.header(numbered);
        if !likely
            && header.is_none_or(|header| header.chunk != hint.at.chunk)
            && let Some(blob) = self.at_once(pack, name, hint)?
        {
            locked(self.state).packs.missed(&hint.at);
            return Ok(Some(blob));
        }
        match self.header(numbered)? {
            Some(header) if header.chunk == hint.at.chunk => self.hinted(numbered, name, hint),
            _ => self.hinted(pack, name, hint),
        }
    }

    /// A blob that lies where its name says, by one request. Who has the name at its place needs no
    /// other witness; the header that lies in the same window is one.
    fn at_once(&self, object: Object, name: &BlobName, hint: Hint) -> Result<Option<Vec<u8>>> {
        let is_other = |header: Header| header.chunk != hint.at.chunk;
        let header = locked(self.state).windows.header(object);
        if header.is_some_and(is_other) {
            return Ok(None);
        }
        let (from, len) = (u64::from(hint.at.offset), (LABEL + hint.len) as u64);
        let Some(bytes) = self.range(object, from, len)? else { return Ok(None) };
        let header = match header {
            None if from + len <= WINDOW => self.header(object)?,
            header => header,
        };
        let blob = match header {
            Some(header) => header.blob(name, hint.at.offset, &bytes),
            None => named_blob(name, &bytes),
        };
        Ok(blob.filter(|_| !header.is_some_and(is_other)).map(<[u8]>::to_vec))
    }

    /// A blob of an object that its name speaks of, which may lie elsewhere in it.
    fn hinted(&self, object: Object, name: &BlobName, hint: Hint) -> Result<Option<Vec<u8>>> {
        if self.header(object)?.is_none() {
            return Ok(None);
        }
        if let Some(blob) = self.blob_at(object, name, hint.at.offset, hint.len)? {
            return Ok(Some(blob));
        }
        match self.spot(object, name)? {
            Some(spot) => self.blob_at(object, name, spot.offset, spot.len as usize),
            None => Ok(None),
        }
    }

    /// Where a blob lies in an object, by its table.
    fn spot(&self, object: Object, name: &BlobName) -> Result<Option<Spot>> {
        let Some(header) = self.header(object)? else { return Ok(None) };
        let len = header.tail_len();
        let tail = match len {
            0 => Some(Vec::new()),
            _ => self.range(object, header.table_at(), len)?,
        };
        let Some(tail) = tail else { return Ok(None) };
        let (blobs, _) = header.decode_tail(&tail).map_err(|e| {
            e.context(format!("{}: {}", self.bucket.place(), self.bucket.there(&object.name())))
        })?;
        Ok(blobs.into_iter().find(|(there, _)| there == name).map(|(_, spot)| spot))
    }

    /// The blob of at most `len` bytes whose label is at `offset`, if it is there.
    fn blob_at(
        &self,
        object: Object,
        name: &BlobName,
        offset: u32,
        len: usize,
    ) -> Result<Option<Vec<u8>>> {
        let Some(header) = self.header(object)? else { return Ok(None) };
        let Some(bytes) = self.range(object, u64::from(offset), (LABEL + len) as u64)? else {
            return Ok(None);
        };
        Ok(header.blob(name, offset, &bytes).map(<[u8]>::to_vec))
    }

    /// The header of an object; `None` if it is not there.
    fn header(&self, object: Object) -> Result<Option<Header>> {
        if let Some(header) = locked(self.state).windows.header(object) {
            return Ok(Some(header));
        }
        let Some(bytes) = self.range(object, 0, HEADER as u64)? else { return Ok(None) };
        let header = Header::decode(&bytes).map_err(|e| {
            e.context(format!("{}: {}", self.bucket.place(), self.bucket.there(&object.name())))
        })?;
        let mut state = locked(self.state);
        // Of what the cache of this machine gave nothing is kept.
        if !matches!(self.cache, Caching::Use(_)) || state.windows.get(object, 0).is_some() {
            state.windows.keep_header(object, header);
        }
        Ok(Some(header))
    }

    /// Bytes of an object: of its windows, if they lie in one, or in two that come at once.
    fn range(&self, object: Object, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let cut = |bytes: &[u8], from: u64| {
            let end = from.saturating_add(len).min(bytes.len() as u64) as usize;
            bytes.get(from as usize..end).unwrap_or_default().to_vec()
        };
        if let (Object::Numbered(number), Some((newest, bytes))) =
            (object, &locked(self.state).read_back)
            && number == *newest
        {
            return Ok(Some(cut(bytes, from)));
        }
        let (first, last) = (from / WINDOW, (from + len.max(1) - 1) / WINDOW);
        let at_hand = || {
            let windows = &locked(self.state).windows;
            let ends = |one: Arc<Vec<u8>>| (one.len() as u64) < WINDOW;
            let all = (first..=last).all(|number| windows.get(object, number).is_some());
            all || windows.get(object, first).is_some_and(ends)
        };
        if first < last && self.reads == Reads::Near && !at_hand() {
            let cached = self.cached(object, from, len).or_else(|| {
                let all = self.cached_windows(object, first, last)?;
                Some(cut(&all, from % WINDOW))
            });
            return cached.map_or_else(|| self.read(object, from, len), |bytes| Ok(Some(bytes)));
        }
        let Some(one) = self.window(object, first)? else { return Ok(None) };
        if first == last {
            return Ok(Some(cut(&one, from % WINDOW)));
        }
        let mut bytes = one.to_vec();
        for number in first + 1..=last {
            // What is shorter is the last.
            if !(bytes.len() as u64).is_multiple_of(WINDOW) {
                break;
            }
            bytes.extend_from_slice(&self.window(object, number)?.unwrap_or_default());
        }
        Ok(Some(cut(&bytes, from % WINDOW)))
    }

    /// A range of an object out of the cache of this machine. It is kept nowhere else: what is
    /// in memory came from the place.
    fn cached(&self, object: Object, from: u64, len: u64) -> Option<Vec<u8>> {
        match self.cache {
            // Whoever reads long ranges reads them once.
            Caching::Use(cache) if self.reads == Reads::Near => cache.get(object, from, len),
            _ => None,
        }
    }

    /// Windows of an object, one after another, if each is in memory or in the cache.
    fn cached_windows(&self, object: Object, first: u64, last: u64) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        for number in first..=last {
            let kept = locked(self.state).windows.get(object, number);
            let one = match kept {
                Some(kept) => kept.to_vec(),
                None => self.cached(object, number * WINDOW, WINDOW)?,
            };
            all.extend_from_slice(&one);
            // What is shorter is the last.
            if (one.len() as u64) < WINDOW {
                break;
            }
        }
        Some(all)
    }

    /// Reads a range of an object from the place, and keeps it on this machine.
    fn read(&self, object: Object, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let read = self.bucket.get_range(&object.name(), from, len)?;
        if let (Caching::Use(cache) | Caching::Renew(cache), Reads::Near, Some(bytes)) =
            (self.cache, self.reads, &read)
        {
            cache.keep(object, from, len, bytes);
        }
        Ok(read)
    }

    /// One window of an object.
    fn window(&self, object: Object, number: u64) -> Result<Option<Arc<Vec<u8>>>> {
        let kept = locked(self.state).windows.get(object, number);
        if kept.is_some() {
            return Ok(kept);
        }
        // Whatever is asked for first: long ranges overlap by no more than what begins in one of
        // them may have beyond its end.
        let (from, len) = match self.reads {
            Reads::Near => (number, WINDOW),
            Reads::Along => (number - number % RANGE, (RANGE + BEYOND) * WINDOW),
        };
        if let Some(cached) = self.cached(object, from * WINDOW, len) {
            return Ok(Some(Arc::new(cached)));
        }
        let Some(read) = self.read(object, from * WINDOW, len)? else { return Ok(None) };
        let mut wanted = Arc::default();
        let mut state = locked(self.state);
        for (n, bytes) in (from..).zip(read.chunks(WINDOW as usize)) {
            let window = Arc::new(bytes.to_vec());
            if n == number {
                wanted = Arc::clone(&window);
            }
            match self.reads {
                Reads::Near => state.windows.keep(object, n, window),
                Reads::Along => state.windows.keep_along(object, n, window),
            }
        }
        Ok(Some(wanted))
    }
}
