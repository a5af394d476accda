//! One object of blobs: how it is laid out, written and read (SPEC.md 9.8).
//!
//! ```text
//! object = header 64 ‖ lead: zeros ‖ (label 24 ‖ blob)* ‖ table ‖ [end]
//! header = "KFOBJECT" ‖ attempt 16 ‖ number 8 ‖ kind 1 ‖ chunk 1 ‖ 2 zeros ‖ lead 4 ‖ blobs 4
//!          ‖ length of labels and blobs 4 ‖ length of the end 4
//!          ‖ CRC-32 of labels and blobs 4 ‖ CRC-32 of table and end 4 ‖ CRC-32 of all before 4
//! label  = name 16 ‖ length 4 ‖ CRC-32 of: attempt 16 ‖ the label's offset 4 ‖ name 16 ‖ length 4
//! table  = (name 16 ‖ length 4)*
//! end    = blobs 8 ‖ bytes 8 ‖ claim ‖ head
//! claim  = 0 | 1 ‖ instance 16 ‖ claim 8 ‖ known 16 ‖ next 16
//! head   = 0 | 1 ‖ epoch 8 ‖ commit 8 ‖ the rest
//!          | 2 ‖ epoch 8 ‖ commit 8 ‖ name 16 ‖ length 4 ‖ root page ‖ the rest
//! ```

use crate::codec::Decoder;
use crate::error::Result;
use crate::ids::BlobName;
use crate::limits::BLOB_MAX_BYTES;
use crate::store::{Blob, Claimed, Head, HeadId, Usage};

const MAGIC: &[u8; 8] = b"KFOBJECT";
pub(super) const HEADER: usize = 64;
/// Bytes before a blob's own.
pub(super) const LABEL: usize = 24;
/// Bytes of a blob's entry in the table.
pub(super) const ENTRY: usize = 20;
/// Bytes of a header that its own sum covers.
const SUMMED: usize = HEADER - 4;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Claim = 2,
    Pack = 3,
    Stray = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Commit, Kind::Claim, Kind::Pack, Kind::Stray].into_iter().find(|k| *k as u8 == byte)
    }
}

/// What an object with a number of its own says at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// What the log takes up, this object included.
    pub(super) usage: Usage,
    pub(super) claimed: Option<Claimed>,
    pub(super) head: Option<Head>,
    /// The root page of that head, where the object holds it in no chunk of its own.
    pub(super) root: Option<Blob>,
}

/// What an object is made of.
pub(super) struct Content<'a> {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) chunk: u8,
    pub(super) attempt: [u8; 16],
    pub(super) lead: u32,
    pub(super) blobs: &'a [Blob],
    pub(super) end: Option<&'a End>,
}

/// The fields of a header that is well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) chunk: u8,
    pub(super) attempt: [u8; 16],
    lead: u32,
    blobs: u32,
    body: u32,
    end: u32,
    body_sum: u32,
    tail_sum: u32,
}

/// Where a blob lies in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Of its label.
    pub(super) offset: u32,
    /// Of the blob.
    pub(super) len: u32,
}

/// The blobs of an object, in order.
pub(super) type Table = Vec<(BlobName, Spot)>;

/// Bytes of an object of these blobs, without its end.
pub(super) fn bytes_of(lead: u32, blobs: &[Blob]) -> usize {
    let each = |(_, blob): &Blob| LABEL + blob.len() + ENTRY;
    HEADER + lead as usize + blobs.iter().map(each).sum::<usize>()
}

/// Lays an object out.
pub(super) fn encode(content: &Content<'_>) -> Vec<u8> {
    let end = content.end.map(encode_end).unwrap_or_default();
    let mut out = Vec::with_capacity(bytes_of(content.lead, content.blobs) + end.len());
    out.resize(HEADER + content.lead as usize, 0);
    let begin = out.len();
    let mut tail = Vec::with_capacity(content.blobs.len() * ENTRY + end.len());
    for (name, blob) in content.blobs {
        assert!(blob.len() <= BLOB_MAX_BYTES, "a blob outgrew its limit");
        let len = blob.len() as u32;
        let label = label(&content.attempt, out.len() as u32, name, len);
        out.extend_from_slice(&label);
        out.extend_from_slice(blob);
        tail.extend_from_slice(&label[..ENTRY]);
    }
    let body_sum = crc32fast::hash(&out[begin..]);
    let body = (out.len() - begin) as u32;
    tail.extend_from_slice(&end);
    let fields = [
        &MAGIC[..],
        &content.attempt,
        &content.number.to_be_bytes(),
        &[content.kind as u8, content.chunk, 0, 0],
        &content.lead.to_be_bytes(),
        &(content.blobs.len() as u32).to_be_bytes(),
        &body.to_be_bytes(),
        &(end.len() as u32).to_be_bytes(),
        &body_sum.to_be_bytes(),
        &crc32fast::hash(&tail).to_be_bytes(),
    ]
    .concat();
    out[..SUMMED].copy_from_slice(&fields);
    out[SUMMED..HEADER].copy_from_slice(&crc32fast::hash(&fields).to_be_bytes());
    out.extend_from_slice(&tail);
    out
}

fn label(attempt: &[u8; 16], offset: u32, name: &BlobName, len: u32) -> [u8; LABEL] {
    let mut out = [0; LABEL];
    out[..16].copy_from_slice(&name.0);
    out[16..20].copy_from_slice(&len.to_be_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(attempt);
    sum.update(&offset.to_be_bytes());
    sum.update(&out[..20]);
    out[20..].copy_from_slice(&sum.finalize().to_be_bytes());
    out
}

/// Bytes of an end.
pub(super) fn end_len(end: &End) -> usize {
    encode_end(end).len()
}

fn encode_end(end: &End) -> Vec<u8> {
    let mut out = [end.usage.blobs.to_be_bytes(), end.usage.bytes.to_be_bytes()].concat();
    match &end.claimed {
        None => out.push(0),
        Some(claimed) => {
            out.push(1);
            out.extend_from_slice(&claimed.instance);
            out.extend_from_slice(&claimed.claim.to_be_bytes());
            out.extend_from_slice(&claimed.known);
            out.extend_from_slice(&claimed.next);
        }
    }
    match &end.head {
        None => out.push(0),
        Some(head) => {
            out.push(if end.root.is_some() { 2 } else { 1 });
            out.extend_from_slice(&head.id.epoch.to_be_bytes());
            out.extend_from_slice(&head.id.commit.to_be_bytes());
            if let Some((name, page)) = &end.root {
                out.extend_from_slice(&name.0);
                out.extend_from_slice(&(page.len() as u32).to_be_bytes());
                out.extend_from_slice(page);
            }
            out.extend_from_slice(&head.bytes);
        }
    }
    out
}

fn decode_end(bytes: &[u8]) -> Result<End> {
    let mut d = Decoder::new(bytes, "end of an object");
    let usage = Usage { blobs: d.u64()?, bytes: d.u64()? };
    let claimed = match d.u8()? {
        0 => None,
        1 => Some(Claimed {
            instance: d.array()?,
            claim: d.u64()?,
            known: d.array()?,
            next: d.array()?,
        }),
        _ => return Err(d.bad()),
    };
    let (mut head, mut root) = (None, None);
    match d.u8()? {
        0 if d.left() == 0 => {}
        kind @ (1 | 2) => {
            let id = HeadId { epoch: d.u64()?, commit: d.u64()? };
            if kind == 2 {
                let (name, len) = (BlobName(d.array()?), d.u32()? as usize);
                root = Some((name, d.bytes(len)?.to_vec()));
            }
            head = Some(Head { id, bytes: d.bytes(d.left())?.to_vec() });
        }
        _ => return Err(d.bad()),
    }
    Ok(End { usage, claimed, head, root })
}

impl Header {
    /// The header at the beginning of an object.
    pub(super) fn decode(object: &[u8]) -> Result<Self> {
        let bytes = object.get(..HEADER).unwrap_or_default();
        let mut d = Decoder::new(bytes, "object of the log");
        let magic = d.bytes(8)? == MAGIC;
        let attempt = d.array()?;
        let number = d.u64()?;
        let (kind, chunk) = (Kind::of(d.u8()?), d.u8()?);
        let zeros = d.bytes(2)? == [0; 2];
        let (lead, blobs, body, end) = (d.u32()?, d.u32()?, d.u32()?, d.u32()?);
        let (body_sum, tail_sum, own) = (d.u32()?, d.u32()?, d.u32()?);
        let fits = u64::from(blobs) * LABEL as u64 <= u64::from(body)
            && u64::from(lead) + u64::from(body) <= u64::from(u32::MAX / 2)
            && end as usize <= BLOB_MAX_BYTES;
        match kind {
            Some(kind) if magic && zeros && fits && crc32fast::hash(&bytes[..SUMMED]) == own => {
                Ok(Header {
                    kind,
                    number,
                    chunk,
                    attempt,
                    lead,
                    blobs,
                    body,
                    end,
                    body_sum,
                    tail_sum,
                })
            }
            _ => Err(d.bad()),
        }
    }

    /// How many blobs it has.
    pub(super) fn blobs(&self) -> u32 {
        self.blobs
    }

    /// Bytes that these take, with what says what they are.
    pub(super) fn filled(&self) -> u64 {
        u64::from(self.body) + u64::from(self.blobs) * ENTRY as u64
    }

    /// Where the table begins.
    pub(super) fn table_at(&self) -> u64 {
        HEADER as u64 + u64::from(self.lead) + u64::from(self.body)
    }

    /// Bytes of table and end.
    pub(super) fn tail_len(&self) -> u64 {
        u64::from(self.blobs) * ENTRY as u64 + u64::from(self.end)
    }

    /// The blobs that the table names, and where each lies; and the end.
    pub(super) fn decode_tail(&self, tail: &[u8]) -> Result<(Table, Option<End>)> {
        let mut d = Decoder::new(tail, "table of an object");
        if tail.len() as u64 != self.tail_len() || crc32fast::hash(tail) != self.tail_sum {
            return Err(d.bad());
        }
        let mut blobs = Vec::with_capacity(self.blobs as usize);
        let mut offset = HEADER as u64 + u64::from(self.lead);
        for _ in 0..self.blobs {
            let (name, len) = (BlobName(d.array()?), d.u32()?);
            blobs.push((name, Spot { offset: offset as u32, len }));
            offset += LABEL as u64 + u64::from(len);
            if offset > self.table_at() {
                return Err(d.bad());
            }
        }
        if offset != self.table_at() {
            return Err(d.bad());
        }
        let end = (self.end > 0).then(|| decode_end(d.bytes(d.left())?)).transpose()?;
        Ok((blobs, end))
    }

    /// The end of an object that was read whole, all of it checked.
    pub(super) fn whole_end(&self, object: &[u8]) -> Result<End> {
        let bad = || Decoder::new(object, "object of the log").bad();
        let (begin, table) = (HEADER + self.lead as usize, self.table_at() as usize);
        let body = object.get(begin..table).ok_or_else(bad)?;
        if crc32fast::hash(body) != self.body_sum {
            return Err(bad());
        }
        self.decode_tail(&object[table..])?.1.ok_or_else(bad)
    }

    /// The blob whose label, with what follows it, these bytes begin with: `None` if the label of
    /// that name is not at `offset`.
    pub(super) fn blob<'b>(
        &self,
        name: &BlobName,
        offset: u32,
        bytes: &'b [u8],
    ) -> Option<&'b [u8]> {
        let there = bytes.get(..LABEL)?;
        let len = u32::from_be_bytes(there[16..20].try_into().ok()?);
        if label(&self.attempt, offset, name, len) != there {
            return None;
        }
        bytes.get(LABEL..LABEL + len as usize)
    }
}

/// The blob whose label, with what follows it, these bytes begin with, by name and length: the sum
/// in a label is of an attempt that only the header tells.
pub(super) fn named_blob<'b>(name: &BlobName, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let there = bytes.get(..LABEL)?;
    let len = u32::from_be_bytes(there[16..20].try_into().ok()?);
    if there[..16] == name.0 { bytes.get(LABEL..LABEL + len as usize) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Vec<Blob>, End) {
        let blobs = vec![
            (BlobName([1; 16]), vec![1; 10]),
            (BlobName([2; 16]), vec![]),
            (BlobName([3; 16]), vec![3; 300]),
        ];
        let claimed = Claimed { instance: [4; 16], claim: 5, known: [6; 16], next: [7; 16] };
        let head = Head { id: HeadId { epoch: 8, commit: 9 }, bytes: vec![10; 50] };
        let usage = Usage { blobs: 3, bytes: 1000 };
        (blobs, End { usage, claimed: Some(claimed), head: Some(head), root: None })
    }

    fn encoded(blobs: &[Blob], end: &End, lead: u32) -> Vec<u8> {
        let attempt = [11; 16];
        let kind = Kind::Commit;
        encode(&Content { kind, number: 42, chunk: 2, attempt, lead, blobs, end: Some(end) })
    }

    #[test]
    fn what_was_laid_out_is_read_back() {
        let (blobs, end) = example();
        for lead in [0, 100] {
            let object = encoded(&blobs, &end, lead);
            let header = Header::decode(&object).unwrap();
            assert_eq!((header.kind, header.number, header.chunk), (Kind::Commit, 42, 2));
            assert_eq!(header.whole_end(&object).unwrap(), end);
            let tail = &object[header.table_at() as usize..];
            let (table, _) = header.decode_tail(tail).unwrap();
            for ((name, bytes), (listed, spot)) in blobs.iter().zip(table) {
                assert_eq!(*name, listed);
                let at = &object[spot.offset as usize..];
                assert_eq!(header.blob(name, spot.offset, at), Some(&bytes[..]));
                assert_eq!(header.blob(name, spot.offset + 1, at), None, "its own place alone");
            }
        }
        let root = Some((BlobName([12; 16]), vec![13; 70]));
        let with_root = End { root, ..end.clone() };
        let object = encoded(&[], &with_root, 0);
        assert_eq!(Header::decode(&object).unwrap().whole_end(&object).unwrap(), with_root);
        let none = End::default();
        let object = encoded(&[], &none, 0);
        assert_eq!(Header::decode(&object).unwrap().whole_end(&object).unwrap(), none);
    }

    #[test]
    fn every_damaged_bit_is_found() {
        let (blobs, mut end) = example();
        end.root = Some((BlobName([12; 16]), vec![13; 70]));
        let object = encoded(&blobs, &end, 0);
        for at in 0..object.len() {
            let mut damaged = object.clone();
            damaged[at] ^= 1;
            let read = Header::decode(&damaged).and_then(|header| header.whole_end(&damaged));
            assert!(read.is_err(), "byte {at}");
        }
        for len in 0..object.len() {
            let cut = &object[..len];
            assert!(Header::decode(cut).and_then(|header| header.whole_end(cut)).is_err());
        }
    }
}
