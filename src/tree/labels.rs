//! Labels: the name that the application gave a record, and what it said of it in keys and values.
//! Each class of a user has two trees of them: of labels by record, in the order of the class's own
//! tree, so that those of what is erased are one range of it; and of names (names.rs). A class of
//! which no record has a label has neither.
//!
//! ```text
//! labels: key   = record's key 20 ‖ piece 1
//!         value = a piece of the label: 3/8 of page bytes, the last one shorter or as long
//! label   = name len v ‖ name ‖ (key len v ‖ key ‖ value len v ‖ value)*
//! ```
//! Keys ascend as bytes. A label is not in the record's entry, so that two entries fit into a page
//! whatever the label is, and so that an erase of a span meets the labels in it alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::geometry::Geometry;
use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::names::{EachName, Names};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::ids::UserTag;
use crate::limits::{
    META_KEY_MAX_BYTES, META_MAX, META_MAX_BYTES, RECORD_NAME_MAX_BYTES, RECORD_NAME_PART,
};
use crate::secret::Secret;

/// Bytes of a key in the tree of labels.
pub(crate) const LABEL_BYTES: usize = 21;
/// Most bytes of an encoded label.
pub(crate) const LABEL_MAX: usize = 2 + RECORD_NAME_MAX_BYTES + META_MAX_BYTES + META_MAX * 4;

/// What the application called a record, and said of it. Zeroized on drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    name: Option<String>,
    /// Keys and values, in the order of the keys.
    meta: Vec<(String, String)>,
}

impl Drop for Label {
    fn drop(&mut self) {
        if let Some(name) = &mut self.name {
            zeroize::Zeroize::zeroize(name);
        }
        for (key, value) in &mut self.meta {
            zeroize::Zeroize::zeroize(key);
            zeroize::Zeroize::zeroize(value);
        }
    }
}

impl Label {
    /// A label that is a name alone.
    pub(crate) fn named(name: &str) -> Self {
        Label { name: Some(name.to_owned()), meta: Vec::new() }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn meta(&self) -> BTreeMap<String, String> {
        self.meta.iter().cloned().collect()
    }

    pub(crate) fn has_meta(&self) -> bool {
        !self.meta.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.meta.is_empty()
    }

    pub(crate) fn set_name(&mut self, name: String) {
        self.name = Some(name);
    }

    /// Sets the value of a key.
    pub(crate) fn set_meta(&mut self, key: String, value: String) {
        match self.meta.binary_search_by(|(there, _)| there.cmp(&key)) {
            Ok(at) => self.meta[at].1 = value,
            Err(at) => self.meta.insert(at, (key, value)),
        }
    }

    /// Whether a store with such pages takes it.
    ///
    /// # Errors
    /// `Invalid`.
    pub(crate) fn check(&self, geometry: Geometry) -> Result<()> {
        let most = RECORD_NAME_MAX_BYTES.min(geometry.page_bytes / RECORD_NAME_PART);
        if let Some(name) = self.name().filter(|name| name.is_empty() || name.len() > most) {
            return Err(Error::invalid(format!(
                "a record's name has 1 to {most} bytes in this store, this one {}",
                name.len()
            )));
        }
        let len: usize = self.meta.iter().map(|(key, value)| key.len() + value.len()).sum();
        if self.meta.len() > META_MAX || len > META_MAX_BYTES {
            return Err(Error::invalid(format!(
                "a record has at most {META_MAX} keys of metadata, with their values at most \
                 {META_MAX_BYTES} bytes; here are {} keys and {len} bytes",
                self.meta.len()
            )));
        }
        if self.meta.iter().any(|(key, _)| !is_key(key)) {
            return Err(Error::invalid(format!(
                "a key of metadata has 1 to {META_KEY_MAX_BYTES} bytes"
            )));
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Secret {
        let mut e = Encoder::new(LABEL_MAX);
        let texts = self.meta.iter().flat_map(|(key, value)| [&**key, &**value]);
        for text in std::iter::once(self.name().unwrap_or_default()).chain(texts) {
            e.varint(text.len() as u64).bytes(text.as_bytes());
        }
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "label");
        let name = Some(text(&mut d, RECORD_NAME_MAX_BYTES)?).filter(|name| !name.is_empty());
        let mut label = Label { name, meta: Vec::new() };
        while d.left() > 0 {
            let key = text(&mut d, META_KEY_MAX_BYTES)?;
            let last = label.meta.last().map_or("", |(key, _)| key);
            if *last >= *key || label.meta.len() == META_MAX {
                return Err(d.bad());
            }
            label.meta.push((key, text(&mut d, META_MAX_BYTES)?));
        }
        if label.is_empty() { Err(d.bad()) } else { Ok(label) }
    }
}

fn is_key(key: &str) -> bool {
    (1..=META_KEY_MAX_BYTES).contains(&key.len())
}

fn text(d: &mut Decoder<'_>, max: usize) -> Result<String> {
    let len = usize::try_from(d.varint()?).ok().filter(|len| *len <= max);
    let bytes = d.bytes(len.ok_or_else(|| d.bad())?)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| d.bad())
}

/// The labels of one class of a user, and the names in them.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(super) tree: Ordered<LABEL_BYTES>,
    pub(super) names: Names,
}

impl Labels {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Labels, owner: Some(owner) }
    }

    /// Whether no record of the class has one.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.root.is_none()
    }

    /// Whether some record of the class has a name.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Gives a record its label. Nobody has the name.
    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        key: &OrderedKey,
        label: &Label,
    ) -> Result<()> {
        let bytes = label.encode();
        let pieces = bytes.chunks(editor.geometry.page_bytes * 3 / 8);
        for (n, piece) in (0..).zip(pieces) {
            let value = Secret::copied_from(piece);
            self.tree.insert(editor, Self::place(owner), piece_key(key, n), value)?;
        }
        match label.name() {
            Some(name) => self.names.insert(editor, owner, name, *key),
            None => Ok(()),
        }
    }

    /// Removes the labels of the records in `low..=high`, and their names.
    pub(crate) fn remove_range(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        low: &OrderedKey,
        high: &OrderedKey,
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut named = Vec::new();
        if self.has_names() {
            self.scan(editor.pages, owner, low, high, &mut |key, label| {
                named.push((*key, label));
                Ok(())
            })?;
        }
        for (key, label) in &named {
            if let Some(name) = label.name() {
                self.names.remove(editor, owner, name, key)?;
            }
        }
        let (low, high) = (piece_key(low, 0), piece_key(high, u8::MAX));
        self.tree.remove_range(editor, Self::place(owner), &low, &high).map(drop)
    }

    /// Shows the labels of records, whose keys ascend, in the order of these.
    pub(crate) fn of_records(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        records: &[OrderedKey],
        see: &mut dyn FnMut(&OrderedKey, Label) -> Result<()>,
    ) -> Result<()> {
        let pieces = |key| (piece_key(key, 0), piece_key(key, u8::MAX));
        let ranges: Vec<_> = records.iter().map(pieces).collect();
        let mut labels = Pieces::new(see);
        self.tree.scan_ranges(pages, Self::place(owner), &ranges, &mut |key, piece| {
            labels.add(key, piece)
        })?;
        labels.end()
    }

    /// The label of a record that has one.
    pub(crate) fn get(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        key: &OrderedKey,
    ) -> Result<Option<Label>> {
        let mut found = None;
        self.of_records(pages, owner, &[*key], &mut |_, label| {
            found = Some(label);
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows the labels of the records in `low..=high`, in the order of these.
    pub(crate) fn scan(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        low: &OrderedKey,
        high: &OrderedKey,
        see: &mut dyn FnMut(&OrderedKey, Label) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = (piece_key(low, 0), piece_key(high, u8::MAX));
        let range = Range { low: &first, high: &last, descending: false };
        let mut labels = Pieces::new(see);
        self.tree.scan(pages, Self::place(owner), range, &mut |key, piece| {
            labels.add(key, piece).map(ControlFlow::Continue)
        })?;
        labels.end()
    }

    /// The key of the record that has a name.
    pub(crate) fn find(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        name: &str,
    ) -> Result<Option<OrderedKey>> {
        self.names.get(pages, owner, name)
    }

    /// Shows the names from `from` on, as bytes ascend, until the callback breaks.
    pub(crate) fn names(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        from: &str,
        name: &mut EachName<'_>,
    ) -> Result<()> {
        self.names.scan(pages, owner, from, name)
    }
}

/// Labels that are put together from their pieces, as these are read.
struct Pieces<'s> {
    see: &'s mut dyn FnMut(&OrderedKey, Label) -> Result<()>,
    /// The label that is being read, and of whose record.
    reading: Option<(OrderedKey, Secret)>,
    /// How many pieces of it were read.
    count: u8,
}

impl<'s> Pieces<'s> {
    fn new(see: &'s mut dyn FnMut(&OrderedKey, Label) -> Result<()>) -> Self {
        Pieces { see, reading: None, count: 0 }
    }

    fn add(&mut self, key: &OrderedKey<LABEL_BYTES>, piece: &[u8]) -> Result<()> {
        let (record, number) = split(key);
        if number == 0 {
            self.end()?;
            self.reading = Some((record, Secret::with_capacity(piece.len())));
            self.count = 0;
        }
        match &mut self.reading {
            Some((of, whole)) if *of == record && self.count == number => {
                whole.extend_from_slice(piece);
                self.count = number.wrapping_add(1);
                Ok(())
            }
            _ => Err(Decoder::new(&[], "label").bad()),
        }
    }

    /// Shows the label that was read last.
    fn end(&mut self) -> Result<()> {
        match self.reading.take() {
            Some((record, whole)) => (self.see)(&record, Label::decode(&whole)?),
            None => Ok(()),
        }
    }
}

fn piece_key(record: &OrderedKey, piece: u8) -> OrderedKey<LABEL_BYTES> {
    let mut key = [piece; LABEL_BYTES];
    key[..20].copy_from_slice(record);
    key
}

fn split(key: &OrderedKey<LABEL_BYTES>) -> (OrderedKey, u8) {
    let mut record = [0; 20];
    record.copy_from_slice(&key[..20]);
    (record, key[20])
}
