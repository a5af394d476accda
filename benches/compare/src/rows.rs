//! What a key-value store is asked for, and a key per user on top of it: the shredding that one
//! builds oneself.

use std::collections::HashMap;

use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, KeyInit};

use crate::measure::{Peer, RECORD, content};

/// Bytes by which a record is found again.
const MARK: usize = 32;

/// Marks of the first, the last and some records between.
pub(crate) fn marks(user: u32, n: u32) -> Vec<Vec<u8>> {
    let some = [0, n / 7, n / 3, n / 2, n - n / 4 - 1, n - 1];
    some.iter().map(|record| content(user, *record, MARK)).collect()
}

/// A key-value store, durable where it says so.
pub(crate) trait Rows {
    /// Adds rows; durable when it returns.
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>);
    fn get(&mut self, key: &[u8]) -> Vec<u8>;
    /// Removes every row whose key begins so; durable when it returns.
    fn remove(&mut self, prefix: &[u8]);
    /// Has the files rid of what was removed, as its documentation says.
    fn vacuum(&mut self) {}
}

fn key(user: u32, record: u32) -> Vec<u8> {
    [&b"r"[..], &user.to_be_bytes(), &record.to_be_bytes()].concat()
}

/// Records as they are; an erase removes them and has the files rid of them.
struct Plain<R>(R);

pub(crate) fn plain(rows: impl Rows + 'static) -> Box<dyn Peer> {
    Box::new(Plain(rows))
}

impl<R: Rows> Peer for Plain<R> {
    fn fill(&mut self, user: u32, n: u32) {
        self.0.put(&mut (0..n).map(|record| (key(user, record), content(user, record, RECORD))));
    }
    fn put(&mut self, user: u32, record: u32, content: &[u8]) {
        self.0.put(&mut std::iter::once((key(user, record), content.to_vec())));
    }
    fn get(&mut self, user: u32, record: u32) -> usize {
        self.0.get(&key(user, record)).len()
    }
    fn erase(&mut self, user: u32) {
        self.0.remove(&key(user, 0)[..5]);
        self.0.vacuum();
    }
    fn traces(&mut self, user: u32, n: u32) -> Vec<Vec<u8>> {
        marks(user, n)
    }
}

/// Records under a key of the user's, which is a row too; an erase removes that row.
struct Keyed<R> {
    rows: R,
    keys: HashMap<u32, [u8; 32]>,
}

pub(crate) fn keyed(rows: impl Rows + 'static) -> Box<dyn Peer> {
    Box::new(Keyed { rows, keys: HashMap::new() })
}

fn key_row(user: u32) -> Vec<u8> {
    [&b"k"[..], &user.to_be_bytes()].concat()
}

fn nonce(record: u32) -> aes_gcm::Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&record.to_be_bytes());
    nonce.into()
}

impl<R: Rows> Keyed<R> {
    fn cipher(&mut self, user: u32) -> Aes256Gcm {
        let rows = &mut self.rows;
        let key = self.keys.entry(user).or_insert_with(|| {
            let mut key = [0; 32];
            getrandom::fill(&mut key).unwrap();
            rows.put(&mut std::iter::once((key_row(user), key.to_vec())));
            key
        });
        Aes256Gcm::new_from_slice(key).unwrap()
    }
}

impl<R: Rows> Peer for Keyed<R> {
    fn fill(&mut self, user: u32, n: u32) {
        let cipher = self.cipher(user);
        let sealed = |record| cipher.encrypt(&nonce(record), &content(user, record, RECORD)[..]).unwrap();
        self.rows.put(&mut (0..n).map(|record| (key(user, record), sealed(record))));
    }
    fn put(&mut self, user: u32, record: u32, content: &[u8]) {
        let sealed = self.cipher(user).encrypt(&nonce(record), content).unwrap();
        self.rows.put(&mut std::iter::once((key(user, record), sealed)));
    }
    fn get(&mut self, user: u32, record: u32) -> usize {
        let sealed = self.rows.get(&key(user, record));
        self.cipher(user).decrypt(&nonce(record), &sealed[..]).unwrap().len()
    }
    fn erase(&mut self, user: u32) {
        self.rows.remove(&key_row(user));
    }
    fn traces(&mut self, user: u32, _: u32) -> Vec<Vec<u8>> {
        vec![self.keys[&user].to_vec()]
    }
}
