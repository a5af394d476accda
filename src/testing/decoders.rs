//! One entrance to every decoder of stored bytes, for fuzzing: none may panic or allocate without
//! bound, and what decodes encodes to itself.

use std::ops::Deref;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use crate::cell::{is_claim, live_key_in};
use crate::certificate::{Certificate, Leaf};
use crate::codec::{Decoder, Encoder};
use crate::crypto::{Key, chunked};
use crate::error::{Error, Result};
use crate::ids::{BlobName, InteractionId, RecordId, UserId, UserTag};
use crate::limits::CHUNK_BYTES;
use crate::log::{Checkpoint, LogProof, Note, VerifierKey, bundle, read_bundle};
use crate::policy::Policy;
use crate::record::Entry;
use crate::scope::Erase;
use crate::sealed::{Address, Head, Kind, Request, Ticket, read_item, read_put};
use crate::secret::Secret;
use crate::store::journal::frame_in;
use crate::testing::lock::locked;
use crate::tree::grants::Grant;
use crate::tree::head::{HeadPage, Prefix};
use crate::tree::history::StoredFact as Fact;
use crate::tree::keys::LINK_BYTES;
use crate::tree::labels::Label;
use crate::tree::lineage;
use crate::tree::log::LogPage;
use crate::tree::ordered::{Ordered, OrderedNode};
use crate::tree::sets::TrainingSet;
use crate::tree::user::{UserPage, class_place};
use crate::tree::users::{UsersNode, seal_users};
use crate::tree::{Geometry, Link, Node, Page, PageKind, Pages, Ref, Sink, Spot, edges};

/// Decodes bytes; returns whether they were well-formed.
type Decode = fn(&[u8]) -> bool;

const TABLE: [(&str, Decode); 31] = [
    ("head, clear prefix", prefix),
    ("head, with its list of copies", head),
    ("page of the user tree", users_page),
    ("user page", user_page),
    ("page of an ordered tree", fences),
    ("record metadata", entry),
    ("cell slot", slot),
    ("record id", record_id),
    ("ids as text", id_text),
    ("frame of the blob log", frame),
    ("sealed object", sealed),
    ("page of links", links),
    ("page of what is still to be followed", falling),
    ("fact of a user's history", fact),
    ("policy", policy),
    ("planned erase", erase),
    ("grant", grant),
    ("training set", set),
    ("metadata of an envelope", envelope),
    ("item of a parcel", item),
    ("request of a grantee", request),
    ("head of something sealed", sealed_head),
    ("page of the log", log_page),
    ("leaf of the log", leaf),
    ("note, checkpoint, proof, verifier key", log_text),
    ("bundle of leaves", leaves),
    ("certificate", certificate),
    ("message to or from a keyholder", message),
    ("page of a class", class_page),
    ("page of names", names_page),
    ("label", label),
];

/// Names of the decoders, in the order of the numbers that [`decode_anything`] takes.
pub const DECODERS: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = TABLE[n].0;
        n += 1;
    }
    names
};

/// Feeds `bytes` to the decoder that `which` picks of [`DECODERS`]. Returns whether they were
/// well-formed.
pub fn decode_anything(which: u8, bytes: &[u8]) -> bool {
    let (_, decode) = TABLE[usize::from(which) % TABLE.len()];
    decode(bytes)
}

/// The user whose pages they are.
const OWNER: UserTag = UserTag([0; 12]);

fn names_page(bytes: &[u8]) -> bool {
    let spot = Spot { kind: PageKind::Names, owner: Some(OWNER), class: None };
    opened(bytes).is_some_and(|page| edges(&spot, &page).is_ok())
}

fn label(bytes: &[u8]) -> bool {
    let Ok(label) = Label::decode(bytes) else {
        return false;
    };
    assert_eq!(label.encode()[..], *bytes, "a label encodes to what it was decoded from");
    true
}

/// Keeps what is sealed last.
struct Last(Vec<u8>);

impl Sink for Last {
    fn seal(&mut self, _: PageKind, _: Option<UserTag>, plaintext: Secret) -> Result<Ref> {
        self.0 = plaintext.to_vec();
        Ok(Ref::new(BlobName([0; 16]), &Key::copied_from(&[0; 32])))
    }
}

/// The bytes as an opened page; a longer one does not open.
fn opened(bytes: &[u8]) -> Option<Page> {
    (bytes.len() <= CHUNK_BYTES).then(|| Arc::new(Secret::copied_from(bytes)))
}

/// A page that decodes encodes to itself, but for the padding.
fn page<N: Node>(bytes: &[u8], seal: impl FnOnce(N, Geometry, &mut Last) -> Result<()>) -> bool {
    let geometry = Geometry::default();
    let Some(Ok(node)) = opened(bytes).map(|page| N::decode(&page)) else {
        return false;
    };
    if bytes.len() <= geometry.capacity() {
        let mut last = Last(Vec::new());
        assert!(seal(node, geometry, &mut last).is_ok(), "what decodes encodes");
        let n = last.0.len().min(bytes.len());
        assert_eq!(last.0[..n], bytes[..n], "a page encodes to what it was decoded from");
        assert!(last.0[n..].iter().chain(&bytes[n..]).all(|b| *b == 0), "only padding differs");
    }
    true
}

fn ordered<const K: usize>(
    node: OrderedNode<K>,
    geometry: Geometry,
    last: &mut Last,
) -> Result<()> {
    let tree = Ordered { root: Some(Link::Loaded(Box::new(node))) };
    tree.seal(class_place(OWNER), geometry, last).map(|_| ())
}

/// Bytes that decode are those that the value encodes to.
fn same<T, B: Deref<Target = [u8]>>(
    decoded: Result<T>,
    bytes: &[u8],
    encode: impl FnOnce(&T) -> B,
) -> bool {
    match decoded {
        Ok(value) => {
            assert_eq!(&encode(&value)[..], bytes, "a value encodes to what it was decoded from");
            true
        }
        Err(_) => false,
    }
}

/// A text that parses is the one that the value is written as.
fn same_text<T: FromStr + ToString>(bytes: &[u8]) -> bool {
    let parsed = text(bytes).and_then(|text| Some((text, text.parse::<T>().ok()?)));
    parsed
        .inspect(|(text, value)| {
            assert_eq!(value.to_string(), *text, "it is written as it was read")
        })
        .is_some()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn prefix(bytes: &[u8]) -> bool {
    match Prefix::decode(bytes) {
        Ok(prefix) => {
            assert_eq!(
                prefix.encode()[..],
                bytes[..prefix.encode().len()],
                "a prefix encodes to itself"
            );
            true
        }
        Err(_) => false,
    }
}

fn head(bytes: &[u8]) -> bool {
    same(HeadPage::decode(bytes), bytes, HeadPage::encode)
}

fn users_page(bytes: &[u8]) -> bool {
    let _ = opened(bytes).map(|page| edges(&Spot::ROOT, &page));
    page(bytes, |node: UsersNode, geometry, last| {
        seal_users(Link::Loaded(Box::new(node)), geometry, last).map(|_| ())
    })
}

fn user_page(bytes: &[u8]) -> bool {
    page(bytes, |node: UserPage, geometry, last| node.seal(OWNER, geometry, last).map(|_| ()))
}

fn fences(bytes: &[u8]) -> bool {
    let spot = Spot { kind: PageKind::Fences, owner: Some(OWNER), class: None };
    let _ = opened(bytes).map(|page| edges(&spot, &page));
    page(bytes, ordered::<20>)
}

/// A page of a class, and in a leaf the records.
fn class_page(bytes: &[u8]) -> bool {
    let well_formed = page(bytes, ordered::<20>);
    let tree =
        Ordered::<20>::stored(Some(Ref::new(BlobName([0; 16]), &Key::copied_from(&[0; 32]))));
    if let Some(page) = opened(bytes) {
        let all = &mut |_: &[u8; 20], value: &[u8]| {
            let _ = entry(value);
            Ok(())
        };
        let _ = tree.all(&Once(Mutex::new(Some(page))), class_place(OWNER), all);
    }
    well_formed
}

/// One page, once, whatever is asked for. A page has a key that was drawn for it, and its pointers
/// have the keys of those below: sealed as they are, none leads back to itself.
struct Once(Mutex<Option<Page>>);

impl Pages for Once {
    fn load(&self, _: PageKind, _: Option<UserTag>, _: &Ref) -> Result<Page> {
        locked(&self.0).take().ok_or_else(|| Error::corrupt("it points nowhere"))
    }
}

fn links(bytes: &[u8]) -> bool {
    let spot = Spot { kind: PageKind::Lineage, owner: Some(OWNER), class: None };
    let _ = opened(bytes).map(|page| edges(&spot, &page));
    page(bytes, |node: OrderedNode<LINK_BYTES>, geometry, last| {
        if let OrderedNode::Leaf(entries) = &node {
            for (key, value) in entries {
                let _ = lineage::read(key, value);
            }
        }
        ordered(node, geometry, last)
    })
}

fn falling(bytes: &[u8]) -> bool {
    opened(bytes)
        .is_some_and(|page| edges(&Spot { kind: PageKind::Falling, ..Spot::ROOT }, &page).is_ok())
}

fn log_page(bytes: &[u8]) -> bool {
    page(bytes, |node: LogPage, geometry, last| node.seal(geometry, last).map(|_| ()))
}

fn entry(bytes: &[u8]) -> bool {
    same(Entry::decode(bytes), bytes, Entry::encode)
}

fn fact(bytes: &[u8]) -> bool {
    same(Fact::decode(bytes), bytes, Fact::encode)
}

fn policy(bytes: &[u8]) -> bool {
    same(Policy::decode(bytes), bytes, Policy::encode)
}

fn grant(bytes: &[u8]) -> bool {
    same(Grant::decode(bytes), bytes, Grant::encode)
}

fn set(bytes: &[u8]) -> bool {
    same(TrainingSet::decode(bytes), bytes, TrainingSet::encode)
}

/// A planned erase, below its user.
fn erase(bytes: &[u8]) -> bool {
    let decoded = UserId::new("ada").and_then(|user| {
        let mut d = Decoder::new(bytes, "planned erase");
        let erase = Erase::read(&mut d, &user)?;
        d.end().map(|()| erase)
    });
    same(decoded, bytes, |erase| {
        let mut e = Encoder::new(bytes.len());
        erase.write(&mut e);
        e.finish()
    })
}

fn slot(bytes: &[u8]) -> bool {
    live_key_in(bytes).is_some() || is_claim(bytes)
}

fn record_id(bytes: &[u8]) -> bool {
    let id = bytes.try_into().ok().and_then(|b: &[u8; 40]| RecordId::from_bytes(b).ok());
    if let Some(id) = id {
        assert_eq!(&id.to_bytes()[..], bytes);
        assert_eq!(id.to_string().parse::<RecordId>().ok(), Some(id));
    }
    id.is_some()
}

fn id_text(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|s| s.parse::<RecordId>().is_ok() | s.parse::<InteractionId>().is_ok())
}

fn frame(bytes: &[u8]) -> bool {
    frame_in(bytes)
}

fn sealed(bytes: &[u8]) -> bool {
    chunked::open(&Key::copied_from(&[7; 32]), b"context", bytes).is_ok()
}

fn envelope(bytes: &[u8]) -> bool {
    read_put(&mut &*bytes).is_ok()
}

fn item(bytes: &[u8]) -> bool {
    bytes.split_first().is_some_and(|(kind, about)| read_item(*kind, about).is_ok())
}

fn request(bytes: &[u8]) -> bool {
    match Request::decode(bytes) {
        Ok(request) => {
            assert_eq!(request.ticket.to_string().parse::<Ticket>().ok(), Some(request.ticket));
            assert!(request.verify(&[7; 32]).is_err(), "nobody signed it");
            true
        }
        Err(_) => false,
    }
}

fn sealed_head(bytes: &[u8]) -> bool {
    Head::read(Kind::Envelope, &mut &*bytes).is_ok_and(|head| Address::decode(&head.about).is_ok())
}

fn leaf(bytes: &[u8]) -> bool {
    same_text::<Leaf>(bytes)
}

/// A note, a checkpoint, a proof or a verifier key.
fn log_text(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let key = text.parse::<VerifierKey>().is_ok();
    let checkpoint =
        text.parse::<Note>().is_ok_and(|note| note.text().parse::<Checkpoint>().is_ok());
    same_text::<LogProof>(bytes) | same_text::<Note>(bytes) | checkpoint | key
}

fn leaves(bytes: &[u8]) -> bool {
    text(bytes).is_some()
        && read_bundle(bytes).is_ok_and(|leaves| {
            bundle(leaves.iter().map(Vec::as_slice)).is_ok_and(|again| again == bytes)
        })
}

fn certificate(bytes: &[u8]) -> bool {
    match text(bytes).map(str::parse::<Certificate>) {
        Some(Ok(certificate)) => {
            let _ = certificate.facts.judge();
            certificate.to_string().as_bytes() == bytes
        }
        _ => false,
    }
}

fn message(bytes: &[u8]) -> bool {
    crate::quorum::net::well_formed(bytes)
}
