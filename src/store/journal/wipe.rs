//! Overwriting what was removed from the journal, and nothing beside it.

use std::collections::BTreeMap;
use std::io;

use super::frame::{LABEL, Location};
use crate::disk::DiskFile;

/// Bytes of a block that a file system can give back.
const BLOCK: u64 = 4096;
/// Zeros that are written at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Bytes of a file, `from` them up to `to`.
#[derive(Clone, Copy)]
pub(super) struct Span {
    from: u64,
    to: u64,
}

/// The bytes of blobs with their labels, file by file; those of neighbours in one span.
pub(super) fn runs(mut blobs: Vec<Location>) -> BTreeMap<u32, Vec<Span>> {
    blobs.sort_unstable_by_key(|b| (b.file, b.offset));
    blobs.dedup();
    let mut runs: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
    for blob in blobs {
        let (from, to) = (blob.offset - LABEL as u64, blob.offset + u64::from(blob.len));
        let runs = runs.entry(blob.file).or_default();
        match runs.last_mut() {
            Some(last) if last.to == from => last.to = to,
            _ => runs.push(Span { from, to }),
        }
    }
    runs
}

/// Gives whole blocks of these spans back, overwrites the rest with zeros, and syncs the file.
pub(super) fn wipe(file: &dyn DiskFile, spans: Vec<Span>) -> io::Result<()> {
    spans.into_iter().try_for_each(|span| wipe_span(file, span))?;
    // A file system may put off what was punched, too.
    file.sync_data()
}

fn wipe_span(file: &dyn DiskFile, span: Span) -> io::Result<()> {
    let (first, last) = (span.from.next_multiple_of(BLOCK), span.to / BLOCK * BLOCK);
    if first < last && file.punch(first, last - first)? {
        write_zeros(file, Span { from: span.from, to: first })?;
        return write_zeros(file, Span { from: last, to: span.to });
    }
    write_zeros(file, span)
}

fn write_zeros(file: &dyn DiskFile, span: Span) -> io::Result<()> {
    let Span { mut from, to } = span;
    while from < to {
        let n = ZEROS.len().min((to - from) as usize);
        file.write_all_at(&ZEROS[..n], from)?;
        from += n as u64;
    }
    Ok(())
}
