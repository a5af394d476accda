//! Records as they are, unencrypted: what a table alone takes. An erase removes the rows.

use crate::many::tables::{Change, Table};
use crate::many::{Many, Record};

struct Plain<T>(T);

pub(crate) fn make(table: impl Table + 'static) -> Box<dyn Many> {
    Box::new(Plain(table))
}

/// Key of a record's row. Those of a user stand together.
pub(crate) fn row(record: Record) -> Vec<u8> {
    [&of_user(record.user)[..], &record.number.to_be_bytes()].concat()
}

/// How the keys of a user's rows begin.
pub(crate) fn of_user(user: u32) -> Vec<u8> {
    [&b"r"[..], &user.to_be_bytes()].concat()
}

impl<T: Table> Many for Plain<T> {
    fn put(&mut self, records: &[Record], contents: &[Vec<u8>]) {
        let rows = records.iter().zip(contents);
        let put = |(record, content): (&Record, &Vec<u8>)| Change {
            key: row(*record),
            value: Some(content.clone()),
        };
        self.0.commit(rows.map(put).collect());
    }
    fn get(&mut self, record: Record) -> Vec<u8> {
        self.0.get(&row(record)).unwrap()
    }
    fn list(&mut self, user: u32) -> usize {
        self.0.keys(&of_user(user)).len()
    }
    fn erase(&mut self, user: u32) {
        let rows = self.0.keys(&of_user(user)).into_iter();
        self.0.commit(rows.map(|key| Change { key, value: None }).collect());
    }
    fn tidy(&mut self) {
        self.0.tidy();
    }
}
