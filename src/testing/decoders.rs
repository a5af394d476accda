//! Every decoder of stored bytes behind one door, for fuzzing: none may panic, and what decodes encodes to itself.

use crate::cell::slot_is_live;
use crate::ids::{InteractionId, RecordId};
use crate::limits::SLOT_BYTES;
use crate::record::Entry;
use crate::tree::head::{HeadPage, Prefix};
use crate::tree::ordered::OrderedNode;
use crate::tree::user::UserPage;
use crate::tree::users::UsersNode;
use crate::tree::{Node, PageKind, Spot, edges};

/// Feeds `bytes` to the decoder that `which` picks. Returns whether they were well-formed.
pub fn decode_anything(which: u8, bytes: &[u8]) -> bool {
    match which % 9 {
        0 => Prefix::decode(bytes).is_ok(),
        1 => match HeadPage::decode(bytes) {
            Ok(head) => {
                assert_eq!(&head.encode()[..], bytes, "a head encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        2 => UsersNode::decode(bytes).is_ok() | edges(&Spot::ROOT, bytes).is_ok(),
        3 => UserPage::decode(bytes).is_ok(),
        4 => {
            let spot = Spot { kind: PageKind::Fences, owner: Some(crate::ids::UserTag([0; 12])), class: None };
            OrderedNode::decode(bytes).is_ok() | edges(&spot, bytes).is_ok()
        }
        5 => match Entry::decode(bytes) {
            Ok(entry) => {
                assert_eq!(&entry.encode()[..], bytes, "an entry encodes to what it was decoded from");
                true
            }
            Err(_) => false,
        },
        6 => bytes.try_into().is_ok_and(|slot: &[u8; SLOT_BYTES]| slot_is_live(slot)),
        7 => match bytes.try_into().ok().and_then(|b: &[u8; 40]| RecordId::from_bytes(b).ok()) {
            Some(id) => {
                assert_eq!(&id.to_bytes()[..], bytes);
                assert_eq!(id.to_string().parse::<RecordId>().ok(), Some(id));
                true
            }
            None => false,
        },
        _ => {
            std::str::from_utf8(bytes).is_ok_and(|s| s.parse::<RecordId>().is_ok() | s.parse::<InteractionId>().is_ok())
        }
    }
}
