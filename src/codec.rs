//! Bytes in, values out: the border at which every stored object is checked. Integers are
//! big-endian.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// Secret bytes: their own, or where they stand in an opened page. Most of what a page holds is
/// only passed on when it is changed.
#[derive(Debug)]
pub(crate) enum Part {
    /// Apart, so that most parts, which stand in pages, are short.
    Own(Box<Secret>),
    Within {
        page: Arc<Secret>,
        from: u32,
        to: u32,
    },
}

impl Deref for Part {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Part::Own(bytes) => bytes,
            Part::Within { page, from, to } => &page[*from as usize..*to as usize],
        }
    }
}

impl From<Secret> for Part {
    fn from(bytes: Secret) -> Self {
        Part::Own(Box::new(bytes))
    }
}

impl Part {
    /// The same bytes; a page that is shared stays shared.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Part::Own(bytes) => Secret::copied_from(bytes).into(),
            Part::Within { page, from, to } => {
                Part::Within { page: Arc::clone(page), from: *from, to: *to }
            }
        }
    }

    /// These bytes cut into parts of so many each, which share them; the last has the rest.
    pub(crate) fn cut<const N: usize>(self, lengths: [usize; N]) -> ([Part; N], Part) {
        let (page, mut at, to) = match self {
            Part::Own(bytes) => {
                let to = bytes.len() as u32;
                (Arc::new(*bytes), 0, to)
            }
            Part::Within { page, from, to } => (page, from, to),
        };
        let parts = lengths.map(|n| {
            let from = at;
            at += n as u32;
            Part::Within { page: Arc::clone(&page), from, to: at }
        });
        (parts, Part::Within { page, from: at, to })
    }

    /// The same bytes, alone: the page around them is let go.
    pub(crate) fn alone(self) -> Self {
        match self {
            Part::Own(_) => self,
            Part::Within { .. } => Secret::copied_from(&self).into(),
        }
    }
}

/// Reads an object from front to back; every read is bounded by what is there.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    /// The page that is read, where parts of it may be shared.
    page: Option<&'a Arc<Secret>>,
    what: &'static str,
    /// Whether it was handed in, and does not lie in a store.
    outside: bool,
}

impl<'a> Decoder<'a> {
    /// `what` names the object in errors.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Decoder { rest: bytes, page: None, what, outside: false }
    }

    /// A decoder of an object from outside the store, which no copy of the store holds.
    pub(crate) fn from_outside(bytes: &'a [u8], what: &'static str) -> Self {
        Decoder { outside: true, ..Decoder::new(bytes, what) }
    }

    /// A decoder of a page whose parts may be shared.
    pub(crate) fn of_page(page: &'a Arc<Secret>, what: &'static str) -> Self {
        Decoder { rest: page, page: Some(page), what, outside: false }
    }

    /// So many bytes, to be kept.
    pub(crate) fn part(&mut self, n: usize) -> Result<Part> {
        let bytes = self.bytes(n)?;
        Ok(match self.page {
            None => Secret::copied_from(bytes).into(),
            Some(page) => {
                let to = (page.len() - self.rest.len()) as u32;
                Part::Within { page: Arc::clone(page), from: to - n as u32, to }
            }
        })
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bad(&self) -> Error {
        let what = self.what;
        if self.outside {
            return Error::corrupt(format!(
                "this is no {what} that this version reads, or it was changed or cut short; get it \
                 once more from where it came"
            ));
        }
        let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        Error::corrupt(format!("{article} {what} does not parse; restore it from a copy"))
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or_else(|| self.bad())?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A number that may be missing.
    pub(crate) fn optional(&mut self) -> Result<Option<u64>> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.u64().map(Some),
            _ => Err(self.bad()),
        }
    }

    /// A number in seven bits a byte, the lowest first: the shortest form alone.
    pub(crate) fn varint(&mut self) -> Result<u64> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits || shift > 0 && byte == 0 {
                return Err(self.bad());
            }
            v |= bits << shift;
            if byte < 0x80 {
                return Ok(v);
            }
        }
        Err(self.bad())
    }

    /// Bytes after their length in one byte.
    pub(crate) fn short(&mut self) -> Result<&'a [u8]> {
        let n = usize::from(self.u8()?);
        self.bytes(n)
    }

    /// A text after its length in two bytes.
    pub(crate) fn text(&mut self, max: usize) -> Result<&'a str> {
        let n = usize::from(self.u16()?);
        if n > max {
            return Err(self.bad());
        }
        std::str::from_utf8(self.bytes(n)?).map_err(|_| self.bad())
    }

    /// Fails if anything follows.
    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.bad()) }
    }

    /// Only zeros may follow: the padding of a page.
    pub(crate) fn end_padding(self) -> Result<()> {
        if self.rest.iter().all(|&b| b == 0) { Ok(()) } else { Err(self.bad()) }
    }
}

/// Writes an object into one wiped buffer that never grows: growing would leave a copy of the old
/// bytes in memory.
pub(crate) struct Encoder {
    out: Secret,
    capacity: usize,
}

impl Encoder {
    /// An encoder for at most `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Encoder { out: Secret::with_capacity(capacity), capacity }
    }

    pub(crate) fn bytes(&mut self, b: &[u8]) -> &mut Self {
        assert!(
            self.out.len() + b.len() <= self.capacity,
            "an object outgrew its limit: a missing check"
        );
        self.out.extend_from_slice(b);
        self
    }

    pub(crate) fn u8(&mut self, v: u8) -> &mut Self {
        self.bytes(&[v])
    }

    pub(crate) fn u16(&mut self, v: u16) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, v: u32) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    /// A number that may be missing: a flag says so, and no number does.
    pub(crate) fn optional(&mut self, v: Option<u64>) -> &mut Self {
        match v {
            None => self.u8(0),
            Some(v) => self.u8(1).u64(v),
        }
    }

    pub(crate) fn count(&mut self, n: usize) -> &mut Self {
        assert!(n <= usize::from(u16::MAX), "a count outgrew its limit: a missing check");
        self.u16(n as u16)
    }

    /// See [`Decoder::varint`].
    pub(crate) fn varint(&mut self, mut v: u64) -> &mut Self {
        while v >= 0x80 {
            self.u8(v as u8 | 0x80);
            v >>= 7;
        }
        self.u8(v as u8)
    }

    /// Bytes after their length in one byte.
    pub(crate) fn short(&mut self, b: &[u8]) -> &mut Self {
        let n = u8::try_from(b.len());
        self.u8(n.unwrap_or_else(|_| unreachable!("it is bounded by limits.rs"))).bytes(b)
    }

    pub(crate) fn text(&mut self, s: &str) -> &mut Self {
        self.count(s.len()).bytes(s.as_bytes())
    }

    /// Pads with zeros to `len` bytes in all.
    pub(crate) fn pad_to(&mut self, len: usize) -> &mut Self {
        assert!(
            self.out.len() <= len && len <= self.capacity,
            "padding never shortens and never grows the buffer"
        );
        let zeros = [0; 256];
        while self.out.len() < len {
            self.out.extend_from_slice(&zeros[..(len - self.out.len()).min(256)]);
        }
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn finish(self) -> Secret {
        self.out
    }
}

/// Bytes of a number as [`Encoder::varint`] writes it.
pub(crate) fn varint_len(v: u64) -> usize {
    (64 - (v | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes as text after a prefix that says what they are: base64url without padding (RFC 4648).
pub(crate) fn shown(prefix: &str, bytes: &[u8]) -> String {
    format!("{prefix}{}", data_encoding::BASE64URL_NOPAD.encode(bytes))
}

/// The bytes of such a text.
pub(crate) fn parsed(prefix: &str, text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64URL_NOPAD.decode(text.trim().strip_prefix(prefix)?.as_bytes()).ok()
}
