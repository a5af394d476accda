//! What is asked of a server before anything is written there, and after: whether it keeps what it
//! acknowledges, and whether it is the one that acknowledged what came before.
//!
//! A standby that is promoted begins a new timeline, and so does a server that is set back to an
//! earlier time. What was acknowledged and had not reached it is gone, and nothing in it says so.
//! So the store remembers its servers, by system identifier and timeline, and a handle the last
//! object that was acknowledged to it: the log of a server is lost from its end only, so that if
//! this object is there, all are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio_postgres::Row;

use super::failures::{is_no_right, is_read_only};
use super::place::{Durable, Place};
use super::pool::{Pool, Session, Trouble, Value};
use crate::port::{Failure, Result};

/// Bytes at the beginning of an object that tell it from every other one.
const IDENTITY: usize = 64;
/// The folder of probes.
const PROBE: &str = "probe/";
/// The folder of the servers that the store knows.
const SERVERS: &str = "server/";

/// What makes the table; ciphertext does not compress, and is read in slices.
const TABLE: &str = "create table keyfall (store text collate \"C\" not null, \
     key text collate \"C\" not null, bytes bytea not null, primary key (store, key)); \
     alter table keyfall alter bytes set storage external";

const LOOK: &str = "select (select system_identifier::text from pg_control_system()), \
     pg_is_in_recovery(), \
     case when pg_is_in_recovery() then '' \
       else substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end, \
     current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), \
     current_setting('fsync'), pg_has_role(current_user, 'pg_monitor', 'usage'), \
     to_regclass('keyfall') is not null";

/// A service may not say as much.
const LOOK_MANAGED: &str = "select 'managed', pg_is_in_recovery(), '', \
     current_setting('synchronous_commit'), '', 'on', true, to_regclass('keyfall') is not null";

const KNOWN: &str = "select key from keyfall where store = $1 and key > $2 and key < $3";
const REMEMBER: &str = "insert into keyfall values ($1, $2, $3) on conflict do nothing";
const IS_THERE: &str = "select 1 from keyfall where store = $1 and key = $2 \
     and substring(bytes from 1 for $3::int4) = $4";

/// How many standbys have all that is committed by now, or at the time of an earlier question.
const REACHED: &str = "with asked as (select \
       case $1 when '' then pg_current_wal_flush_lsn() else $1::pg_lsn end as upto) \
     select upto::text, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), count(pid) \
     from asked left join pg_stat_replication \
       on sync_state in ('sync', 'quorum') and flush_lsn >= upto \
     group by upto";

/// What a handle knows of its server.
#[derive(Default)]
pub(super) struct Known {
    pub(super) server: Option<Server>,
    /// The last object that was acknowledged to this handle.
    pub(super) last: Option<Made>,
    /// The last one that was sent without an answer.
    pub(super) unanswered: Option<Made>,
}

/// An object that this handle made: its name and first bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) name: String,
    first: Vec<u8>,
}

impl Made {
    /// `None` for a probe, which is deleted again.
    pub(super) fn of(name: &str, bytes: &[u8]) -> Option<Self> {
        let first = bytes[..bytes.len().min(IDENTITY)].to_vec();
        (!name.starts_with(PROBE)).then(|| Made { name: name.to_owned(), first })
    }
}

/// Which server, and which of its histories.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    system: String,
    /// Eight hexadecimal digits; none of a managed server.
    pub(super) timeline: String,
}

impl Server {
    /// As a person says it, and its key in the table has it.
    fn name(&self) -> String {
        match u32::from_str_radix(&self.timeline, 16) {
            Ok(timeline) => format!("{}-{timeline}", self.system),
            Err(_) => self.system.clone(),
        }
    }
}

/// The answer of a server to a look.
struct Looked {
    server: Server,
    is_standby: bool,
    synchronous: String,
    standbys: String,
    fsync: String,
    sees_standbys: bool,
    has_table: bool,
}

/// A handle's view of the server that it writes to.
pub(super) struct Servers<'a> {
    pub(super) place: &'a Place,
    pub(super) pool: &'a Pool,
    pub(super) known: &'a Mutex<Known>,
}

impl Servers<'_> {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refused(&self, why: &str) -> Failure {
        Failure::refused(format!("{}: {why}", self.place.url))
    }

    /// A server that would not keep what it acknowledges, or may have lost some of it.
    fn unfit(&self, why: &str) -> Failure {
        Failure::unfit(format!("{}: {why}", self.place.url))
    }

    pub(super) fn ask(
        &self,
        session: &Session,
        what: &str,
        statement: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>> {
        self.pool.ask(session, statement, values).map_err(|e| match &e {
            Trouble::Server(e) if is_read_only(e) => self.standby(),
            _ => self.pool.failure(what, &e),
        })
    }

    /// Looks at a server over a new connection, before anything is written: refuses one that
    /// would not keep what it acknowledges, or may have lost some of it.
    pub(super) fn check(&self, session: &mut Session) -> Result<Server> {
        let looked = self.look(session)?;
        self.check_settings(&looked)?;
        if !looked.has_table {
            self.make_table(session)?;
        }
        if self.place.durable != Durable::Managed {
            self.check_history(session, &looked.server)?;
        }
        self.known().server = Some(looked.server.clone());
        session.is_checked = true;
        Ok(looked.server)
    }

    fn look(&self, session: &Session) -> Result<Looked> {
        let managed = self.place.durable == Durable::Managed;
        let statement = if managed { LOOK_MANAGED } else { LOOK };
        let rows = self.ask(session, "looking at the server", statement, Vec::new())?;
        let row = rows.first().ok_or_else(|| self.refused("the server says nothing"))?;
        Ok(Looked {
            server: Server { system: row.get(0), timeline: row.get(2) },
            is_standby: row.get(1),
            synchronous: row.get(3),
            standbys: row.get(4),
            fsync: row.get(5),
            sees_standbys: row.get(6),
            has_table: row.get(7),
        })
    }

    fn check_settings(&self, looked: &Looked) -> Result<()> {
        if looked.is_standby {
            return Err(self.standby());
        }
        if looked.fsync != "on" {
            return Err(self.unfit(
                "fsync is off: a power cut may lose what the server \
                 acknowledged; switch it on",
            ));
        }
        let off = looked.synchronous == "off";
        let k = match self.place.durable {
            Durable::Standby(k) => k,
            Durable::Local if !looked.standbys.is_empty() && !self.place.durable_is_said => {
                return Err(self.unfit(
                    "this server has synchronous standbys, and the URL does not say when a commit \
                     is durable; add durable=standby(1), or durable=local if none of them is ever \
                     promoted",
                ));
            }
            Durable::Local | Durable::Managed if off => return Err(self.not_synchronous(looked)),
            Durable::Local | Durable::Managed => return Ok(()),
        };
        if off || looked.synchronous == "local" {
            return Err(self.not_synchronous(looked));
        }
        if looked.standbys.is_empty() {
            return Err(self.unfit(&format!(
                "durable=standby({k}) and synchronous_standby_names is empty; name the standbys \
                 there"
            )));
        }
        if !looked.sees_standbys {
            return Err(self.refused(
                "the role does not see how far standbys are; have an owner of the server run: \
                 grant pg_monitor to ROLE",
            ));
        }
        Ok(())
    }

    fn not_synchronous(&self, looked: &Looked) -> Failure {
        self.unfit(&format!(
            "synchronous_commit is {}: the server acknowledges before it keeps; set it to on",
            looked.synchronous
        ))
    }

    /// What a standby is: of no use, or one in the midst of a failover.
    pub(super) fn standby(&self) -> Failure {
        let text = format!(
            "{}: this server is a standby; name the primary, or several hosts and \
             target_session_attrs=read-write",
            self.place.url
        );
        match self.known().server {
            Some(_) => Failure::unknown(text),
            None => Failure::refused(text),
        }
    }

    fn make_table(&self, session: &Session) -> Result<()> {
        self.pool.run(session, TABLE).map_err(|e| match &e {
            Trouble::Server(inner) if is_no_right(inner) => self.refused(&format!(
                "the role may not make the table; have an owner run: {TABLE}; \
                     grant select, insert, delete on keyfall to ROLE"
            )),
            Trouble::Server(inner) if is_read_only(inner) => self.standby(),
            // Another one made it at the same moment: the next try finds it.
            Trouble::Server(inner) => {
                Failure::unknown(format!("{}: making the table: {inner}", self.place.url))
            }
            Trouble::Late => self.pool.failure("making the table", &e),
        })
    }

    /// Refuses a server that may lack what another one acknowledged, unless it was shown to have
    /// it, or is accepted by name.
    fn check_history(&self, session: &Session, server: &Server) -> Result<()> {
        let store = || Value::Text(self.place.store.clone());
        let after = Value::Text(SERVERS.to_owned());
        // '0' follows '/'.
        let before = Value::Text(SERVERS.replace('/', "0"));
        let what = "looking at what the store knows of servers";
        let rows = self.ask(session, what, KNOWN, vec![store(), after, before])?;
        let names: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        let key = format!("{SERVERS}{}", server.name());
        let (before, last) = {
            let known = self.known();
            (known.server.clone().filter(|before| before != server), known.last.clone())
        };
        let is_known = names.contains(&key);
        let is_proven = match (&before, &last) {
            (Some(before), Some(last)) if !self.has(session, last)? => {
                return Err(self.lost(before, server, &last.name));
            }
            (Some(_), last) => last.is_some(),
            (None, _) => false,
        };
        if is_known && (before.is_none() || last.is_none() || is_proven) {
            return Ok(());
        }
        let accepted = self.place.accept.as_deref();
        let is_accepted = accepted == Some("any") || accepted == Some(&*server.name());
        if !names.is_empty() && !is_proven && !is_accepted {
            return Err(self.stranger(&names, server));
        }
        let values = vec![store(), Value::Text(key), Value::Bytes(server.name().into_bytes())];
        self.ask(session, "remembering the server", REMEMBER, values).map(|_| ())
    }

    fn has(&self, session: &Session, made: &Made) -> Result<bool> {
        let values = vec![
            Value::Text(self.place.store.clone()),
            Value::Text(made.name.clone()),
            Value::Number(IDENTITY as i64),
            Value::Bytes(made.first.clone()),
        ];
        Ok(!self.ask(session, "looking for the last object", IS_THERE, values)?.is_empty())
    }

    /// Notes that something of this name is there, durably: the last object of this handle, if it
    /// was sent without an answer and it is that.
    pub(super) fn note_there(&self, session: &Session, made: Option<Made>) -> Result<()> {
        let unanswered = self.known().unanswered.clone();
        if let Some(made) = made.filter(|made| unanswered.as_ref() == Some(made))
            && self.has(session, &made)?
        {
            let mut known = self.known();
            (known.last, known.unanswered) = (Some(made), None);
        }
        Ok(())
    }

    fn lost(&self, before: &Server, server: &Server, name: &str) -> Failure {
        self.unfit(&format!(
            "server {} has taken the place of {}, and lacks {name}, which was acknowledged: it was \
             promoted, or set back, without the last commits; restore the store from a copy, or \
             bring the former server back",
            server.name(),
            before.name()
        ))
    }

    fn stranger(&self, names: &[String], server: &Server) -> Failure {
        let last = names.iter().max_by_key(|name| {
            let timeline = name.rsplit_once('-').and_then(|(_, n)| n.parse::<u32>().ok());
            timeline.unwrap_or(0)
        });
        let last = last.and_then(|name| name.strip_prefix(SERVERS)).unwrap_or_default();
        let now = server.name();
        self.unfit(&format!(
            "server {now} has taken the place of {last}: a standby was promoted, or the server set \
             back, and the last commits that were acknowledged may be missing; compare it with a \
             copy in step or a backup, and add accept={now} to the URL if it has everything"
        ))
    }

    /// Waits until the standbys have what was committed; `Unknown` if they do not get it in time.
    /// A server whose wait for them was cut short says that all is well, so it is asked.
    pub(super) fn wait_for_standbys(
        &self,
        session: &Session,
        name: &str,
        timeline: &str,
    ) -> Result<()> {
        let Durable::Standby(k) = self.place.durable else { return Ok(()) };
        let began = Instant::now();
        let (mut upto, mut pause) = (String::new(), Duration::from_millis(2));
        loop {
            let values = vec![Value::Text(upto.clone())];
            let rows = self.ask(session, "asking for standbys", REACHED, values)?;
            let row = rows.first().ok_or_else(|| self.refused("the server says nothing"))?;
            let (there, on, have): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
            if on != timeline {
                return Err(Failure::unknown(format!(
                    "{}: {name}: another server answers, a standby was promoted",
                    self.place.url
                )));
            }
            if have >= i64::from(k) {
                return Ok(());
            }
            if began.elapsed() >= self.place.timeout {
                return Err(Failure::unknown(format!(
                    "{}: {name} is on the primary, and {have} of {k} synchronous standbys have it",
                    self.place.url
                )));
            }
            upto = there;
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}
