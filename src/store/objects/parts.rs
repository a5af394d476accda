//! What is in an object, for somebody who has its bytes alone.

use super::frame::{Header, Spot};
use super::named::Object;
use crate::error::{Error, Result};
use crate::ids::BlobName;
use crate::store::{Blob, Head};

/// The blobs in an object of this name, and the head that it ends with. An object without blobs
/// (the marker, a floor, a probe) has neither.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn parts_of(name: &str, bytes: &[u8]) -> Result<(Vec<Blob>, Option<Head>)> {
    match Object::parse(name) {
        None => Ok((Vec::new(), None)),
        Some(Object::Segment(blob)) => Ok((vec![(blob, bytes.to_vec())], None)),
        Some(_) => parts(bytes),
    }
}

fn parts(bytes: &[u8]) -> Result<(Vec<Blob>, Option<Head>)> {
    let bad = || Error::corrupt("an object of the log ends too early");
    let header = Header::decode(bytes)?;
    let tail = bytes.get(header.table_at() as usize..).ok_or_else(bad)?;
    let (table, end) = header.decode_tail(tail)?;
    let blob = |(name, spot): (BlobName, Spot)| {
        let there = bytes.get(spot.offset as usize..).ok_or_else(bad)?;
        let blob = header.blob(&name, spot.offset, there).ok_or_else(bad)?;
        Ok((name, blob.to_vec()))
    };
    let blobs = table.into_iter().map(blob).collect::<Result<_>>()?;
    Ok((blobs, end.and_then(|end| end.head)))
}
