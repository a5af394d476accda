//! The adversary of a network: it has every body that was ever sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyfall::RecordId;
use keyfall::cell::RootKey;
use keyfall::store::{Blob, BlobName, Head, HeadId, Store};
use keyfall::testing::{Exposed, Tape};

/// Every body that was sent, by the name of its object. One that was sent again is there once.
#[derive(Default)]
pub(crate) struct Kept {
    bodies: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

impl Kept {
    pub(super) fn take(&mut self, name: &str, bytes: &[u8]) {
        let there = self.bodies.entry(name.to_owned()).or_default();
        if !there.contains(bytes) {
            there.insert(bytes.to_vec());
        }
    }

    /// How many bodies, and how many of a name that another one has.
    pub(crate) fn count(&self) -> (usize, usize) {
        let all = self.bodies.values().map(BTreeSet::len).sum();
        (all, all - self.bodies.len())
    }

    /// Every record that somebody with all of these and these root keys can open.
    pub(crate) fn exposed_to(&self, keys: &[RootKey]) -> BTreeMap<RecordId, Exposed> {
        let tape = Tape::new();
        for (name, bodies) in &self.bodies {
            for body in bodies {
                let (blobs, head) = parts(name, body);
                tape.put(&blobs).unwrap();
                if let Some(head) = head {
                    tape.commit(&[], None, &head).unwrap();
                }
            }
        }
        let tape: Arc<Tape> = tape;
        tape.exposed_to(keys).unwrap()
    }
}

/// Reads an object as SPEC.md 9.8 lays it out: its blobs, and the head that it ends with. One that
/// has no blobs (the marker, a floor, a probe) has neither.
fn parts(name: &str, object: &[u8]) -> (Vec<Blob>, Option<Head>) {
    if let Some(hex) = name.strip_prefix("s/") {
        let name = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        return (vec![(BlobName(name.try_into().unwrap()), object.to_vec())], None);
    }
    if !object.starts_with(b"KFOBJECT") {
        return (Vec::new(), None);
    }
    let number = |at: usize| u32::from_be_bytes(object[at..at + 4].try_into().unwrap()) as usize;
    let (lead, count, body, end) = (number(36), number(40), number(44), number(48));
    let (mut at, table) = (64 + lead, 64 + lead + body);
    let mut blobs = Vec::new();
    for entry in object[table..table + 20 * count].chunks(20) {
        let name = BlobName(entry[..16].try_into().unwrap());
        let len = u32::from_be_bytes(entry[16..].try_into().unwrap()) as usize;
        assert_eq!(object[at..at + 20], *entry, "the label says what the table says");
        blobs.push((name, object[at + 24..at + 24 + len].to_vec()));
        at += 24 + len;
    }
    let (head, root) = head(&object[object.len() - end..]).unzip();
    blobs.extend(root.flatten());
    (blobs, head)
}

/// The head at the end of an object, and the root page, if that is repeated there.
fn head(end: &[u8]) -> Option<(Head, Option<Blob>)> {
    let (claim, rest) = end.get(16..)?.split_first()?;
    let (has_head, rest) = rest[56 * usize::from(*claim)..].split_first()?;
    let number = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().unwrap());
    let (mut at, mut root) = (16, None);
    match has_head {
        0 => return None,
        1 => {}
        2 => {
            let name = BlobName(rest[16..32].try_into().unwrap());
            let len = u32::from_be_bytes(rest[32..36].try_into().unwrap()) as usize;
            root = Some((name, rest[36..36 + len].to_vec()));
            at = 36 + len;
        }
        other => panic!("an end of kind {other}, which SPEC.md 9.8 does not have"),
    }
    let id = HeadId { epoch: number(0), commit: number(8) };
    Some((Head { id, bytes: rest[at..].to_vec() }, root))
}
