//! What is at a key of an ordered tree: bytes, and in the tree of a class two texts before
//! them, which a page lists once however many of its values have them.

use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::secret::Secret;
use crate::tree::page::PageKind;

/// A value as a leaf holds it.
///
/// ```text
/// value, alone = [text length 1 ‖ text ‖ text length 1 ‖ text] ‖ rest
/// ```
#[derive(Debug)]
pub(crate) struct Value {
    /// Of a tree whose leaves list texts.
    texts: Option<[Part; 2]>,
    rest: Part,
}

impl Value {
    /// A value of a tree from the bytes that it is alone.
    pub(super) fn of(kind: PageKind, alone: Part) -> Result<Self> {
        if !kind.lists_texts() {
            return Ok(Value { texts: None, rest: alone });
        }
        let mut d = Decoder::new(&alone, "record entry");
        let lengths = [1, d.short()?.len(), 1, d.short()?.len()];
        let ([_, first, _, second], rest) = alone.cut(lengths);
        Ok(Value { texts: Some([first, second]), rest })
    }

    /// Reads a value of a leaf that lists these texts, or none.
    pub(super) fn read(d: &mut Decoder<'_>, texts: Option<&mut Texts<Part>>) -> Result<Self> {
        let texts = match texts {
            None => None,
            Some(texts) => Some([texts.take(d)?.duplicate(), texts.take(d)?.duplicate()]),
        };
        let len = usize::from(d.u16()?);
        Ok(Value { texts, rest: d.part(len)? })
    }

    /// The bytes that it is alone, for a reader; `room` holds them where they stand apart.
    pub(super) fn alone<'v>(&'v self, room: &'v mut Option<Secret>) -> &'v [u8] {
        match &self.texts {
            None => &self.rest,
            Some([first, second]) => &*room.insert(joined([&first[..], &second[..]], &self.rest)),
        }
    }

    /// Whether it has texts before it.
    pub(super) fn has_texts(&self) -> bool {
        self.texts.is_some()
    }

    fn each_text(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().flatten().map(|text| &**text)
    }

    /// Writes it into a leaf that lists these texts.
    pub(super) fn write(&self, e: &mut Encoder, texts: &[&[u8]]) {
        for text in self.each_text() {
            e.varint(texts.partition_point(|there| *there < text) as u64);
        }
        e.count(self.rest.len()).bytes(&self.rest);
    }
}

impl std::ops::Deref for Value {
    type Target = [u8];
    /// Without its texts.
    fn deref(&self) -> &[u8] {
        &self.rest
    }
}

impl From<Value> for Part {
    /// The bytes that it is alone.
    fn from(value: Value) -> Self {
        match value.texts {
            None => value.rest,
            Some([first, second]) => joined([&first[..], &second[..]], &value.rest).into(),
        }
    }
}

/// The bytes that a value is alone, from its parts.
pub(super) fn joined(texts: [&[u8]; 2], rest: &[u8]) -> Secret {
    let mut e = Encoder::new(2 + texts[0].len() + texts[1].len() + rest.len());
    e.short(texts[0]).short(texts[1]).bytes(rest);
    e.finish()
}

/// Texts that a leaf lists, as it is read, and which of them its values had so far.
pub(super) struct Texts<T> {
    texts: Vec<T>,
    had: Vec<bool>,
}

impl<T: std::ops::Deref<Target = [u8]>> Texts<T> {
    /// Reads the list; `each` reads one text. They ascend, so that a leaf has one form.
    pub(super) fn read<'p>(
        d: &mut Decoder<'p>,
        mut each: impl FnMut(&mut Decoder<'p>) -> Result<T>,
    ) -> Result<Self> {
        let mut texts: Vec<T> = Vec::new();
        for _ in 0..d.u16()? {
            let text = each(d)?;
            if texts.last().is_some_and(|last| **last >= *text) {
                return Err(d.bad());
            }
            texts.push(text);
        }
        let had = vec![false; texts.len()];
        Ok(Texts { texts, had })
    }

    /// The text whose number is next.
    pub(super) fn take(&mut self, d: &mut Decoder<'_>) -> Result<&T> {
        let number = usize::try_from(d.varint()?).map_err(|_| d.bad())?;
        match (self.texts.get(number), self.had.get_mut(number)) {
            (Some(text), Some(had)) => {
                *had = true;
                Ok(text)
            }
            _ => Err(d.bad()),
        }
    }

    /// Whether some value had each.
    pub(super) fn are_all_had(&self) -> bool {
        self.had.iter().all(|had| *had)
    }
}

/// The texts of values, in the order in which a leaf lists them.
pub(super) fn texts_of<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<&'v [u8]> {
    let (mut texts, mut last) = (Vec::new(), [None; 2]);
    for value in values {
        for (text, last) in value.each_text().zip(&mut last) {
            if !is_same(*last, text) {
                texts.push(text);
            }
            *last = Some(text);
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Whether a text is the one before: in a leaf that was read they mostly are the same bytes of its
/// page.
fn is_same(last: Option<&[u8]>, text: &[u8]) -> bool {
    last.is_some_and(|last| std::ptr::eq(last, text) || last == text)
}

/// Bytes of a leaf, value by value.
#[derive(Default)]
pub(super) struct Length<'v> {
    /// In order; few.
    texts: Vec<&'v [u8]>,
    /// Those of the value before: most records of a class have the same.
    last: [Option<&'v [u8]>; 2],
    /// How many numbers of texts there are.
    numbers: usize,
    bytes: usize,
}

impl<'v> Length<'v> {
    /// Adds a value with its key of `key` bytes; gives the bytes of the leaf so far, at most.
    pub(super) fn add(&mut self, key: usize, value: &'v Value) -> usize {
        self.bytes += key + 2 + value.rest.len();
        for (text, last) in value.each_text().zip(&mut self.last) {
            self.numbers += 1;
            if !is_same(*last, text)
                && let Err(at) = self.texts.binary_search(&text)
            {
                self.texts.insert(at, text);
                self.bytes += 1 + text.len();
            }
            *last = Some(text);
        }
        self.total()
    }

    /// A number takes one byte if there are few texts, and two at most.
    fn total(&self) -> usize {
        let list = if self.texts.is_empty() { 0 } else { 2 };
        let width = if self.texts.len() > 0x80 { 2 } else { 1 };
        3 + list + self.bytes + self.numbers * width
    }
}
