//! A user's inbox: the private keys to which envelopes are sealed, and which envelopes were
//! accepted. It falls with every erase of the user's.
//!
//! ```text
//! key = 1 ‖ number of the inbox key 8 ‖ zeros 11   -> made 8 ‖ private key 32 (X-Wing)
//! key = 2 ‖ number of the inbox key 8 ‖ SHA-256 of the envelope's head, the first 11 bytes
//!       -> record id 40
//! ```

use std::ops::ControlFlow;

use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::secret::Secret;

const PRIVATE: u8 = 1;
const ACCEPTED: u8 = 2;

/// A private key of a user's inbox.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) number: u64,
    pub(crate) made: Timestamp,
    pub(crate) key: Key,
}

/// Names an envelope: the number of its inbox key, and a hash of its head.
pub(crate) type EnvelopeName = (u64, [u8; 11]);

/// The inbox of one user.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) tree: Ordered,
}

fn key(what: u8, number: u64, rest: [u8; 11]) -> OrderedKey {
    let mut key = [0; 20];
    key[0] = what;
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&rest);
    key
}

impl Inbox {
    pub(crate) fn place(owner: UserTag) -> Place {
        Place { kind: PageKind::Inbox, owner: Some(owner) }
    }

    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        private: &Private,
    ) -> Result<()> {
        let mut e = Encoder::new(40);
        e.u64(private.made.0).bytes(private.key.bytes());
        self.tree.insert(
            editor,
            Self::place(owner),
            key(PRIVATE, private.number, [0; 11]),
            e.finish(),
        )
    }

    /// Drops a private key, and what was accepted by it.
    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        number: u64,
    ) -> Result<()> {
        for what in [PRIVATE, ACCEPTED] {
            let (low, high) = (key(what, number, [0; 11]), key(what, number, [0xFF; 11]));
            self.tree.remove_range(editor, Self::place(owner), &low, &high)?;
        }
        Ok(())
    }

    /// All private keys, the newest last.
    pub(crate) fn keys(&self, pages: &dyn Pages, owner: UserTag) -> Result<Vec<Private>> {
        let mut keys = Vec::new();
        let (low, high) = (key(PRIVATE, 0, [0; 11]), key(PRIVATE, u64::MAX, [0xFF; 11]));
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(pages, Self::place(owner), range, &mut |at, value| {
            let (mut k, mut d) =
                (Decoder::new(&at[1..], "inbox key"), Decoder::new(value, "inbox key"));
            let made = Timestamp(d.u64()?);
            let key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
            d.end()?;
            keys.push(Private { number: k.u64()?, made, key });
            Ok(ControlFlow::Continue(()))
        })?;
        keys.sort_by_key(|key| (key.made, key.number));
        Ok(keys)
    }

    pub(crate) fn accept(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        envelope: EnvelopeName,
        record: &RecordId,
    ) -> Result<()> {
        let value = Secret::copied_from(&record.to_bytes());
        self.tree.insert(editor, Self::place(owner), key(ACCEPTED, envelope.0, envelope.1), value)
    }

    /// The record that an envelope became.
    pub(crate) fn accepted(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        envelope: EnvelopeName,
    ) -> Result<Option<RecordId>> {
        let there =
            self.tree.get(pages, Self::place(owner), &key(ACCEPTED, envelope.0, envelope.1))?;
        there
            .map(|id| {
                Decoder::new(&id, "accepted envelope")
                    .array()
                    .and_then(|id| RecordId::from_bytes(&id))
            })
            .transpose()
    }

    /// How many envelopes were accepted, of those whose key lives.
    pub(crate) fn count(&self, pages: &dyn Pages, owner: UserTag) -> Result<u64> {
        let mut count = 0;
        let (low, high) = (key(ACCEPTED, 0, [0; 11]), key(ACCEPTED, u64::MAX, [0xFF; 11]));
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(pages, Self::place(owner), range, &mut |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }
}
