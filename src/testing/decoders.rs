//! Every decoder of stored bytes behind one door, for fuzzing: none may panic or allocate without bound, and what decodes
//! encodes to itself.

use std::sync::Arc;

use crate::cell::{is_claim, live_key_in};
use crate::certificate::{Certificate, Leaf};
use crate::codec::{Decoder, Encoder};
use crate::crypto::{Key, chunked};
use crate::error::Result;
use crate::ids::{BlobName, InteractionId, RecordId, UserId, UserTag};
use crate::limits::CHUNK_BYTES;
use crate::log::{Checkpoint, LogProof, Note, VerifierKey, bundle, read_bundle};
use crate::policy::Policy;
use crate::record::Entry;
use crate::scope::Erase;
use crate::sealed::{Address, Head, Kind, Request, Ticket, read_item, read_put};
use crate::secret::Secret;
use crate::store::journal::frame_in;
use crate::tree::grants::Grant;
use crate::tree::head::{HeadPage, Prefix};
use crate::tree::history::StoredFact as Fact;
use crate::tree::keys::LINK_BYTES;
use crate::tree::lineage;
use crate::tree::log::LogPage;
use crate::tree::ordered::{Ordered, OrderedNode};
use crate::tree::sets::TrainingSet;
use crate::tree::user::{UserPage, class_place};
use crate::tree::users::{UsersNode, seal_users};
use crate::tree::{Geometry, Link, Node, Page, PageKind, Ref, Sink, Spot, edges};

/// The decoders, in the order of the numbers that [`decode_anything`] takes.
pub const DECODERS: [&str; 28] = [
    "head, clear prefix",
    "head, with its list of copies",
    "page of the user tree",
    "user page",
    "page of an ordered tree",
    "record metadata",
    "cell slot",
    "record id",
    "ids as text",
    "frame of the blob log",
    "sealed object",
    "page of links",
    "page of what is still to be followed",
    "fact of a user's history",
    "policy",
    "planned erase",
    "grant",
    "training set",
    "metadata of an envelope",
    "item of a parcel",
    "request of a grantee",
    "head of something sealed",
    "page of the log",
    "leaf of the log",
    "note, checkpoint, proof, verifier key",
    "bundle of leaves",
    "certificate",
    "message to or from a keyholder",
];

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

fn ordered<const K: usize>(node: OrderedNode<K>, geometry: Geometry, last: &mut Last) -> Result<()> {
    let tree = Ordered { root: Some(Link::Loaded(Box::new(node))) };
    tree.seal(class_place(UserTag([0; 12])), geometry, last).map(|_| ())
}

/// What anybody hands in: texts of the log, and certificates.
fn public(which: usize, text: &str) -> bool {
    fn same<T: std::str::FromStr + ToString>(text: &str) -> bool {
        let parsed = text.parse::<T>();
        parsed.inspect(|value| assert_eq!(value.to_string(), text, "it is written as it was read")).is_ok()
    }
    match which {
        23 => same::<Leaf>(text),
        24 => {
            let key = text.parse::<VerifierKey>().is_ok();
            let checkpoint = text.parse::<Note>().is_ok_and(|note| note.text().parse::<Checkpoint>().is_ok());
            same::<LogProof>(text) | same::<Note>(text) | checkpoint | key
        }
        25 => {
            read_bundle(text.as_bytes()).is_ok_and(|leaves| bundle(leaves.iter().map(Vec::as_slice)) == text.as_bytes())
        }
        _ => match text.parse::<Certificate>() {
            Ok(certificate) => {
                let _ = certificate.facts.judge();
                certificate.to_string() == text
            }
            Err(_) => false,
        },
    }
}

/// Feeds `bytes` to the decoder that `which` picks of [`DECODERS`]. Returns whether they were well-formed.
pub fn decode_anything(which: u8, bytes: &[u8]) -> bool {
    let owner = UserTag([0; 12]);
    match usize::from(which) % DECODERS.len() {
        0 => match Prefix::decode(bytes) {
            Ok(prefix) => {
                assert_eq!(prefix.encode()[..], bytes[..prefix.encode().len()], "a prefix encodes to itself");
                true
            }
            Err(_) => false,
        },
        1 => match HeadPage::decode(bytes) {
            Ok(head) => {
                assert_eq!(&head.encode()[..], bytes, "a head encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        2 => {
            let _ = opened(bytes).map(|page| edges(&Spot::ROOT, &page));
            page(bytes, |node: UsersNode, geometry, last| {
                seal_users(Link::Loaded(Box::new(node)), geometry, last).map(|_| ())
            })
        }
        3 => page(bytes, |node: UserPage, geometry, last| node.seal(owner, geometry, last).map(|_| ())),
        4 => {
            let spot = Spot { kind: PageKind::Fences, owner: Some(owner), class: None };
            let _ = opened(bytes).map(|page| edges(&spot, &page));
            page(bytes, ordered::<20>)
        }
        5 => match Entry::decode(bytes) {
            Ok(entry) => {
                assert_eq!(&entry.encode()[..], bytes, "an entry encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        6 => live_key_in(bytes).is_some() || is_claim(bytes),
        7 => match bytes.try_into().ok().and_then(|b: &[u8; 40]| RecordId::from_bytes(b).ok()) {
            Some(id) => {
                assert_eq!(&id.to_bytes()[..], bytes);
                assert_eq!(id.to_string().parse::<RecordId>().ok(), Some(id));
                true
            }
            None => false,
        },
        8 => {
            std::str::from_utf8(bytes).is_ok_and(|s| s.parse::<RecordId>().is_ok() | s.parse::<InteractionId>().is_ok())
        }
        9 => frame_in(bytes),
        10 => chunked::open(&Key::copied_from(&[7; 32]), b"context", bytes).is_ok(),
        11 => {
            let spot = Spot { kind: PageKind::Lineage, owner: Some(owner), class: None };
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
        12 => opened(bytes).is_some_and(|page| edges(&Spot { kind: PageKind::Falling, ..Spot::ROOT }, &page).is_ok()),
        14 => match Policy::decode(bytes) {
            Ok(policy) => {
                assert_eq!(&policy.encode()[..], bytes, "a policy encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        15 => match UserId::new("ada").and_then(|user| {
            let mut d = Decoder::new(bytes, "planned erase");
            let erase = Erase::read(&mut d, &user)?;
            d.end().map(|()| erase)
        }) {
            Ok(erase) => {
                let mut e = Encoder::new(bytes.len());
                erase.write(&mut e);
                assert_eq!(&e.finish()[..], bytes, "an erase encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        16 => match Grant::decode(bytes) {
            Ok(grant) => {
                assert_eq!(&grant.encode()[..], bytes, "a grant encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        17 => match TrainingSet::decode(bytes) {
            Ok(set) => {
                assert_eq!(&set.encode()[..], bytes, "a set encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        18 => read_put(&mut &*bytes).is_ok(),
        19 => bytes.split_first().is_some_and(|(kind, about)| read_item(*kind, about).is_ok()),
        20 => match Request::decode(bytes) {
            Ok(request) => {
                assert_eq!(request.ticket.to_string().parse::<Ticket>().ok(), Some(request.ticket));
                assert!(request.verify(&[7; 32]).is_err(), "nobody signed it");
                true
            }
            Err(_) => false,
        },
        21 => match Head::read(Kind::Envelope, &mut &*bytes) {
            Ok(head) => Address::decode(&head.about).is_ok(),
            Err(_) => false,
        },
        22 => page(bytes, |node: LogPage, geometry, last| node.seal(geometry, last).map(|_| ())),
        27 => crate::quorum::net::well_formed(bytes),
        23..=26 => std::str::from_utf8(bytes).is_ok_and(|text| public(usize::from(which) % DECODERS.len(), text)),
        _ => match Fact::decode(bytes) {
            Ok(note) => {
                assert_eq!(&note.encode()[..], bytes, "a fact encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
    }
}
