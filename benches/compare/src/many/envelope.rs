//! A key per user and an envelope for each record, as one who is careful builds it on a table.
//!
//! ```text
//! master key   outside of the table, here in memory
//! user key     random, in a row of its own: nonce 12 ‖ AES-256-GCM(master key, user key)
//! data key     random, for one record:      nonce 12 ‖ AES-256-GCM(user key, data key)
//! record       after its data key in one row:          AES-256-GCM(data key, content)
//! ```
//! Each seal binds what it is for, the user and, but for a user key, the record's number. A data
//! key seals once, so its nonce is zero and is not stored. New user keys become durable in the
//! batch that needs them; unwrapped ones stay in memory. An erase removes the user's key and rows
//! in one batch. What it does not do: the table's old files and backups keep the wrapped user key,
//! and the master key opens it.

use std::collections::HashMap;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};

use crate::many::plain::{of_user, row};
use crate::many::tables::{Change, Table};
use crate::many::{Many, Record};

const NONCE: usize = 12;
const KEY: usize = 32;
const TAG: usize = 16;
/// A nonce and a key sealed under it.
const WRAPPED: usize = NONCE + KEY + TAG;

struct Envelopes<T> {
    table: T,
    master: Aes256Gcm,
    /// Unwrapped user keys.
    keys: HashMap<u32, [u8; KEY]>,
}

pub(crate) fn make(table: impl Table + 'static) -> Box<dyn Many> {
    let master = cipher(&random::<KEY>());
    Box::new(Envelopes { table, master, keys: HashMap::new() })
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn cipher(key: &[u8; KEY]) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(key).unwrap()
}

fn seal(cipher: &Aes256Gcm, nonce: [u8; NONCE], msg: &[u8], aad: &[u8]) -> Vec<u8> {
    cipher.encrypt(&nonce.into(), Payload { msg, aad }).unwrap()
}

fn open(cipher: &Aes256Gcm, nonce: [u8; NONCE], msg: &[u8], aad: &[u8]) -> Vec<u8> {
    cipher.decrypt(&nonce.into(), Payload { msg, aad }).unwrap()
}

/// Seals a key under another one.
fn wrap(cipher: &Aes256Gcm, key: &[u8; KEY], aad: &[u8]) -> Vec<u8> {
    let nonce = random::<NONCE>();
    [&nonce[..], &seal(cipher, nonce, key, aad)].concat()
}

fn unwrap(cipher: &Aes256Gcm, wrapped: &[u8], aad: &[u8]) -> [u8; KEY] {
    let (nonce, sealed) = wrapped.split_at(NONCE);
    open(cipher, nonce.try_into().unwrap(), sealed, aad).try_into().unwrap()
}

/// What a user key is bound to; also the key of its row.
fn user_row(user: u32) -> Vec<u8> {
    [&b"k"[..], &user.to_be_bytes()].concat()
}

/// What a record's data key or content is bound to.
fn bound(what: &[u8], record: Record) -> Vec<u8> {
    [what, &record.user.to_be_bytes(), &record.number.to_be_bytes()].concat()
}

/// A record's row: the wrapped data key, and the content under it.
fn sealed(user: &Aes256Gcm, record: Record, content: &[u8]) -> Vec<u8> {
    let data = random::<KEY>();
    let mut row = wrap(user, &data, &bound(b"data key", record));
    row.extend(seal(&cipher(&data), [0; NONCE], content, &bound(b"content", record)));
    row
}

impl<T: Table> Envelopes<T> {
    /// The user's key as it is kept, if the user has one.
    fn known(&mut self, user: u32) -> Option<[u8; KEY]> {
        if let Some(key) = self.keys.get(&user) {
            return Some(*key);
        }
        let row = user_row(user);
        let key = unwrap(&self.master, &self.table.get(&row)?, &row);
        self.keys.insert(user, key);
        Some(key)
    }
}

impl<T: Table> Many for Envelopes<T> {
    fn put(&mut self, records: &[Record], contents: &[Vec<u8>]) {
        let mut changes = Vec::with_capacity(2 * records.len());
        for (record, content) in records.iter().zip(contents) {
            let key = self.known(record.user).unwrap_or_else(|| {
                let (key, row) = (random::<KEY>(), user_row(record.user));
                let wrapped = wrap(&self.master, &key, &row);
                changes.push(Change { key: row, value: Some(wrapped) });
                self.keys.insert(record.user, key);
                key
            });
            let value = sealed(&cipher(&key), *record, content);
            changes.push(Change { key: row(*record), value: Some(value) });
        }
        self.table.commit(changes);
    }
    fn get(&mut self, record: Record) -> Vec<u8> {
        let user = cipher(&self.known(record.user).unwrap());
        let row = self.table.get(&row(record)).unwrap();
        let (wrapped, content) = row.split_at(WRAPPED);
        let data = unwrap(&user, wrapped, &bound(b"data key", record));
        open(&cipher(&data), [0; NONCE], content, &bound(b"content", record))
    }
    fn list(&mut self, user: u32) -> usize {
        // Numbers stand in clear in the keys: nothing is opened.
        self.table.keys(&of_user(user)).len()
    }
    fn erase(&mut self, user: u32) {
        let rows = std::iter::once(user_row(user)).chain(self.table.keys(&of_user(user)));
        let changes = rows.map(|key| Change { key, value: None }).collect();
        self.table.commit(changes);
        self.keys.remove(&user);
    }
    fn tidy(&mut self) {
        self.table.tidy();
    }
}
