//! Rows of PostgreSQL: one row for each object, created by `insert ... on conflict do nothing`.
//!
//! Each method is one statement, and a transaction of its own, so that a pooler in transaction
//! mode may stand between. Nothing rests on a lock or a session. A statement that creates asserts
//! in itself that the server is on the timeline that was looked at, and that it does not
//! acknowledge before it keeps.

mod failures;
mod place;
mod pool;
mod server;
mod tls;

use std::sync::Mutex;

use tokio_postgres::Row;

use self::failures::{is_no_table, is_read_only};
use self::place::{Durable as When, Place, parse};
pub use self::place::{Durable, SCHEMES};
use self::pool::{Pool, Session, Trouble, Value};
use self::server::{Known, Made, Servers};
use self::tls::connector;
use crate::port::{Created, Failure, FailureKind, Listed, Objects, Result};

/// An offset, or a length, that no row reaches.
const FAR: u64 = 1 << 30;
/// `$4` is the timeline. The answer is whether the server is fit, and how many rows were made.
const CREATE: &str = "with server as (select \
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) = $4 \
       and current_setting('synchronous_commit') <> 'off' as is_fit), \
     made as (insert into keyfall select $1, $2, $3 from server where is_fit \
       on conflict do nothing returning 1) \
     select is_fit, (select count(*) from made) from server";
const CREATE_MANAGED: &str = "with made as (insert into keyfall select $1, $2, $3 where $4 = '' \
       on conflict do nothing returning 1) \
     select true, (select count(*) from made)";
const GET: &str = "select bytes from keyfall where store = $1 and key = $2";
const GET_RANGE: &str = "select substring(bytes from $3::int4 for $4::int4) from keyfall \
     where store = $1 and key = $2";
const LIST: &str = "select key, length(bytes)::int8 from keyfall \
     where store = $1 and key > $2 and key < $3 order by key limit $4";
const HEAD: &str = "select length(bytes)::int8 from keyfall where store = $1 and key = $2";
const DELETE: &str = "delete from keyfall where store = $1 and key = $2";

/// Objects in the table `keyfall` of a database, at a URL: `postgres://user@host/database` with
/// the options `store` (its name, `keyfall` if there is none; a table holds many), `durable`
/// ([`Durable`]), `accept` (a promoted server), `timeout` (seconds), `prepared` (`on` where no
/// pooler stands between, or one that follows prepared statements), `sslmode`, `sslrootcert` and
/// those of `tokio-postgres`. The environment adds `PGPASSWORD`, and what the URL does not say:
/// `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT`.
///
/// Calls block. They may be made from a thread of an asynchronous runtime, which they keep.
pub struct PostgresObjects {
    place: Place,
    pool: Pool,
    known: Mutex<Known>,
}

impl PostgresObjects {
    /// The objects at a URL. Nothing is asked yet; the server is looked at, and the table made, by
    /// the first request that creates.
    ///
    /// # Errors
    /// `Refused` for a URL, or an environment, that names no place, and for a URL with a password.
    pub fn at(url: &str) -> Result<Self> {
        let place = parse(url)?;
        let tls = place.roots.as_ref().map(connector).transpose();
        let tls = tls.map_err(|e| Failure::refused(format!("{}: {e}", place.url)))?;
        let pool = Pool::new(&place, tls)?;
        Ok(PostgresObjects { place, pool, known: Mutex::default() })
    }

    fn servers(&self) -> Servers<'_> {
        Servers { place: &self.place, pool: &self.pool, known: &self.known }
    }

    /// The rows of a request that reads. Without a table there are none.
    fn rows(&self, name: &str, statement: &str, more: Vec<Value>) -> Result<Vec<Row>> {
        self.pool.with(|session| {
            let mut values = vec![Value::Text(self.place.store.clone())];
            values.extend(more);
            match self.pool.ask(session, statement, values) {
                Err(Trouble::Server(e)) if is_no_table(&e) => Ok(Vec::new()),
                Err(Trouble::Server(e)) if is_read_only(&e) => Err(self.servers().standby()),
                answered => answered.map_err(|e| self.pool.failure(name, &e)),
            }
        })
    }

    /// One try to create, over a connection whose server was looked at.
    fn create_at(&self, session: &mut Session, name: &str, bytes: &[u8]) -> Result<Created> {
        let servers = self.servers();
        let looked = servers.known().server.clone().filter(|_| session.is_checked);
        let server = looked.map_or_else(|| servers.check(session), Ok)?;
        let timeline = server.timeline;
        let values = vec![
            Value::Text(self.place.store.clone()),
            Value::Text(name.to_owned()),
            Value::Bytes(bytes.to_vec()),
            Value::Text(timeline.clone()),
        ];
        let managed = self.place.durable == When::Managed;
        let statement = if managed { CREATE_MANAGED } else { CREATE };
        let rows = servers.ask(session, name, statement, values)?;
        let row = rows.first().ok_or_else(|| servers.refused("the server says nothing"))?;
        let (is_fit, made): (bool, i64) = (row.get(0), row.get(1));
        if !is_fit {
            // The connection goes, and the next one is looked at.
            return Err(Failure::unknown(format!(
                "{}: {name}: another server answers, or synchronous_commit was switched off",
                self.place.url
            )));
        }
        // What is there is acknowledged as well, by the answer that it exists.
        servers.wait_for_standbys(session, name, &timeline)?;
        let this = Made::of(name, bytes);
        if made == 0 {
            servers.note_there(session, this)?;
            return Ok(Created::Exists);
        }
        if let Some(this) = this {
            servers.known().last = Some(this);
        }
        Ok(Created::Here { versioned: false })
    }
}

impl Objects for PostgresObjects {
    fn place(&self) -> String {
        self.place.url.clone()
    }

    fn is_far(&self) -> bool {
        true
    }

    /// A row stays in the server's files and in its log until vacuum and checkpoints let go of it.
    fn keeps_deleted(&self) -> bool {
        true
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let made = self.pool.with(|session| self.create_at(session, name, bytes));
        if made.as_ref().is_err_and(|e| e.kind == FailureKind::Unknown) {
            self.servers().known().unanswered = Made::of(name, bytes);
        }
        made
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let rows = self.rows(name, GET, vec![Value::Text(name.to_owned())])?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let values = vec![
            Value::Text(name.to_owned()),
            Value::Number(from.min(FAR) as i64 + 1),
            Value::Number(len.min(FAR) as i64),
        ];
        let rows = self.rows(name, GET_RANGE, values)?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        let begin = format!("{folder}/");
        let after = if after < begin.as_str() { begin } else { after.to_owned() };
        let values = vec![
            Value::Text(after),
            // '0' follows '/'.
            Value::Text(format!("{folder}0")),
            Value::Number(i64::try_from(limit).unwrap_or(i64::MAX)),
        ];
        let rows = self.rows(folder, LIST, values)?;
        let listed = |row: &Row| Listed { name: row.get(0), size: row.get::<_, i64>(1) as u64 };
        Ok(rows.iter().map(listed).collect())
    }

    fn head(&self, name: &str) -> Result<Option<u64>> {
        let rows = self.rows(name, HEAD, vec![Value::Text(name.to_owned())])?;
        Ok(rows.first().map(|row| row.get::<_, i64>(0) as u64))
    }

    fn delete(&self, name: &str) -> Result<()> {
        {
            let servers = self.servers();
            let mut known = servers.known();
            if known.last.as_ref().is_some_and(|last| last.name == name) {
                known.last = None;
            }
        }
        self.rows(name, DELETE, vec![Value::Text(name.to_owned())]).map(|_| ())
    }
}
