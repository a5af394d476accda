//! Keys of ordered trees that more than one tree reads or writes: of records, of links between
//! them, and of training sets.

use crate::codec::Decoder;
use crate::crypto;
use crate::error::Result;
use crate::ids::{ClassTag, InteractionId, RecordId};

/// A key: interaction 16 ‖ ordinal 4, or a fence.
pub(crate) type OrderedKey<const K: usize = 20> = [u8; K];
/// The smallest key of 20 bytes.
pub(crate) const KEY_MIN: OrderedKey = [0; 20];
/// The largest key of 20 bytes.
pub(crate) const KEY_MAX: OrderedKey = [0xFF; 20];

/// Bytes of a link's key.
pub(crate) const LINK_BYTES: usize = WHAT + 1 + 4 + 32;
/// Key of a link between two records, or of what is known of one (see `lineage.rs`).
pub(crate) type LinkKey = OrderedKey<LINK_BYTES>;
/// Bytes of a record's key in its class: interaction 16 ‖ ordinal 4.
const RECORD_BYTES: usize = 20;
/// Where a link's key says what it is.
pub(crate) const WHAT: usize = 6 + RECORD_BYTES;

/// Names a set within the tree.
pub(crate) type SetTag = [u8; 20];

/// The key of a record in its class's tree.
pub(crate) fn record_key(interaction: InteractionId, ordinal: u32) -> OrderedKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&interaction.0);
    key[16..].copy_from_slice(&ordinal.to_be_bytes());
    key
}

/// Interaction and ordinal of a key in a class's tree.
pub(crate) fn split_record_key(key: &OrderedKey) -> Result<(InteractionId, u32)> {
    let mut d = Decoder::new(key, "record key");
    let interaction =
        InteractionId::from_bytes(d.array()?).map_err(|_| Decoder::new(&[], "record key").bad())?;
    Ok((interaction, d.u32()?))
}

/// The key of a link between a record and another, or of what is known of the record alone.
pub(crate) fn link_key(
    class: ClassTag,
    record: &OrderedKey,
    what: u8,
    other: Option<&RecordId>,
) -> LinkKey {
    let mut key = [0; LINK_BYTES];
    key[..6].copy_from_slice(&class.0);
    key[6..WHAT].copy_from_slice(record);
    key[WHAT] = what;
    if let Some(other) = other {
        // Users first: following many links comes to each user once.
        key[WHAT + 1..WHAT + 5].copy_from_slice(&other.user.0[..4]);
        key[WHAT + 5..].copy_from_slice(&crypto::hedge(&[&other.to_bytes()]));
    }
    key
}

/// The record whose link this is: its class and its key in the class.
pub(crate) fn whose(key: &LinkKey) -> (ClassTag, OrderedKey) {
    let (mut class, mut record) = ([0; 6], [0; RECORD_BYTES]);
    class.copy_from_slice(&key[..6]);
    record.copy_from_slice(&key[6..WHAT]);
    (ClassTag(class), record)
}

pub(crate) fn set_tag(name: &str) -> SetTag {
    let mut tag = [0; 20];
    tag.copy_from_slice(&crypto::hedge(&[name.as_bytes()])[..20]);
    tag
}
