//! What the list shows, as it is read from the engine.

use std::io::Read;
use std::sync::Arc;

use keyfall::engine::{Access, Report};
use keyfall::time::Day;
use keyfall::{
    Class, Engine, Error, ErrorKind, InteractionId, Query, RecordId, RecordInfo, Timestamp, UserId,
};

use super::desk::Session;
use super::judge::{Judge, Whose};
use super::kept::gone;
use super::rules::in_force;
use super::size::{HEAD, said_length, wav_length};

/// Exchanges of one page.
const PAGE: usize = 40;
/// Most bytes of a text that the list shows.
const TEXT_MAX_BYTES: u64 = 2048;

/// One page of a list, with the report that it is a part of.
pub(crate) struct Listed {
    pub(crate) report: Report,
    pub(crate) days: Vec<(Day, Vec<Turn>)>,
    pub(crate) next: Option<RecordId>,
    /// When the oldest of what is kept began.
    pub(crate) oldest: Option<Timestamp>,
    /// The devices of the newest records.
    pub(crate) devices: Vec<String>,
}

/// One exchange.
pub(crate) struct Turn {
    pub(crate) id: InteractionId,
    /// What the session calls it.
    pub(crate) number: u64,
    pub(crate) said: Vec<Item>,
    /// When the first of it goes by a policy.
    pub(crate) until: Option<Timestamp>,
    /// Whether all of it goes then.
    pub(crate) whole: bool,
    /// Whether a policy keeps a number of its kind: what comes may have it go sooner.
    pub(crate) numbered: bool,
    pub(crate) purposes: Vec<String>,
    pub(crate) opened: Vec<Access>,
    pub(crate) held: bool,
}

/// A record of an exchange.
pub(crate) struct Item {
    pub(crate) info: RecordInfo,
    /// What the session calls it.
    pub(crate) number: u64,
    pub(crate) text: Text,
    /// For how many seconds it is heard.
    pub(crate) seconds: Option<u64>,
}

/// What can be read of a record in the list.
pub(crate) enum Text {
    /// It is no text.
    None,
    /// Its text, or the first part of it.
    Shown { text: String, cut: bool },
    /// Whoever opens it is recorded, so the list does not.
    Named,
}

/// What is listed.
pub(crate) struct Wanted {
    pub(crate) class: Option<Class>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) after: Option<RecordId>,
    pub(crate) device: Option<String>,
    pub(crate) zone: keyfall::time::Zone,
    /// For whom it is listed: its pages name what is in them.
    pub(crate) session: Arc<Session>,
    pub(super) whose: Whose,
}

/// The member of a record's metadata that names where it came from.
const DEVICE: &str = "device";
/// Records whose devices are known.
const RECENT: usize = 1000;
/// Most devices that are offered.
const DEVICES: usize = 50;

/// The device that a record came from.
pub(super) fn device(info: &RecordInfo) -> Option<&str> {
    info.meta.get(DEVICE).map(String::as_str).filter(|device| !device.is_empty())
}

/// Reads one page; `None` where the user is not here.
///
/// # Errors
/// `Corrupt`, `Io`.
pub(crate) fn read(
    engine: &Engine,
    user: &UserId,
    wanted: &Wanted,
) -> Result<Option<Listed>, Error> {
    let report = match engine.report(user) {
        Ok(report) => report,
        Err(e) if gone(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let query = Query::default().user(user.clone()).newest_first(true).limit(PAGE);
    let query = query.class(wanted.class.clone()).until(wanted.until);
    let (oldest, devices) = (oldest(engine, user)?, devices(engine, user)?);
    let judge = Judge::new(engine, &wanted.whose)?;
    let is_of = |info: &RecordInfo| match &wanted.device {
        Some(wanted) => device(info) == Some(wanted),
        None => true,
    };
    let (mut days, mut listed, mut next) = (Vec::<(Day, Vec<Turn>)>::new(), 0, wanted.after);
    loop {
        let found = match engine.interactions(&query.clone().after(next)) {
            Err(e) if gone(&e) => return Ok(None),
            found => found?,
        };
        for (day, run) in found.by_day(&wanted.zone) {
            for interaction in run {
                let (id, records) = (interaction.id, &interaction.records);
                if !records.iter().any(is_of) {
                    continue;
                }
                let of = (&*wanted.session, &judge);
                let Some(turn) = turn(engine, of, &report, id, records)? else { continue };
                listed += 1;
                match days.last_mut().filter(|(last, _)| *last == day) {
                    Some((_, turns)) => turns.push(turn),
                    None => days.push((day, vec![turn])),
                }
            }
        }
        next = found.next;
        // Proofs are exchanges of their own, which are not listed: a page is not empty for them.
        if next.is_none() || listed >= PAGE / 2 {
            return Ok(Some(Listed { report, days, next, oldest, devices }));
        }
    }
}

/// When the oldest of what is kept of somebody began.
fn oldest(engine: &Engine, user: &UserId) -> Result<Option<Timestamp>, Error> {
    match engine.list(&Query::default().user(user.clone()).limit(1)) {
        Err(e) if gone(&e) => Ok(None),
        listing => Ok(listing?.records.first().map(|info| info.interaction.began())),
    }
}

/// The devices that the newest records came from.
fn devices(engine: &Engine, user: &UserId) -> Result<Vec<String>, Error> {
    let query = Query::default().user(user.clone()).newest_first(true).limit(RECENT);
    let records = match engine.list(&query) {
        Err(e) if gone(&e) => Vec::new(),
        listing => listing?.records,
    };
    let mut devices: Vec<_> = records.iter().filter_map(device).map(str::to_owned).collect();
    devices.sort();
    devices.dedup();
    devices.truncate(DEVICES);
    Ok(devices)
}

fn turn(
    engine: &Engine,
    (session, judge): (&Session, &Judge),
    report: &Report,
    id: InteractionId,
    records: &[RecordInfo],
) -> Result<Option<Turn>, Error> {
    let mut turn = Turn {
        id,
        number: session.number_of_turn(id),
        said: Vec::new(),
        until: None,
        whole: true,
        numbered: false,
        purposes: Vec::new(),
        opened: Vec::new(),
        held: false,
    };
    let mut until = Vec::new();
    for info in records {
        if judge.is_proof(engine, info)? {
            continue;
        }
        let opened = match (text(engine, info), engine.accesses(&info.id)) {
            // It was erased meanwhile.
            (Err(e), _) | (_, Err(e)) if gone(&e) => continue,
            (text, opened) => (text?, opened?),
        };
        turn.opened.extend(opened.1);
        match engine.until(&info.id) {
            Err(e) if gone(&e) => continue,
            end => until.push(end?),
        }
        let purpose = Some(&*info.purpose).filter(|purpose| !purpose.is_empty());
        let policy = in_force(&report.policies, &report.store_policies, &info.class, purpose);
        turn.numbered |= policy.is_some_and(|policy| policy.max_records.is_some());
        if !info.purpose.is_empty() && !turn.purposes.contains(&info.purpose) {
            turn.purposes.push(info.purpose.clone());
        }
        turn.held |= report.holds.iter().any(|(_, hold)| {
            hold.class.as_ref().is_none_or(|class| *class == info.class)
                && hold.interaction.is_none_or(|interaction| interaction == id)
        });
        let number = session.number_of(info.id);
        let seconds = seconds(engine, info)?;
        turn.said.push(Item { info: info.clone(), number, text: opened.0, seconds });
    }
    turn.opened.sort_by_key(|access| access.at);
    turn.until = until.iter().copied().flatten().min();
    turn.whole = until.iter().all(|at| *at == turn.until);
    Ok((!turn.said.is_empty()).then_some(turn))
}

/// For how long a recording is heard, where that is known without hearing it.
fn seconds(engine: &Engine, info: &RecordInfo) -> Result<Option<u64>, Error> {
    if let Some(said) = said_length(&info.meta) {
        return Ok(Some(said));
    }
    let kind = info.media_type.split(';').next().unwrap_or_default().trim();
    if !["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"].contains(&kind) {
        return Ok(None);
    }
    let mut reader = match engine.get(&info.id) {
        // Whoever opens it is recorded, so the list does not.
        Err(e) if e.kind() == ErrorKind::Refused || gone(&e) => return Ok(None),
        reader => reader?,
    };
    let mut head = Vec::with_capacity(HEAD);
    match reader.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(Error::from) {
        Err(e) if gone(&e) => Ok(None),
        read => read.map(|_| wav_length(&head, info.length)),
    }
}

fn text(engine: &Engine, info: &RecordInfo) -> Result<Text, Error> {
    let media_type = info.media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.starts_with("text/") && media_type != "application/json" {
        return Ok(Text::None);
    }
    let mut reader = match engine.get(&info.id) {
        Err(e) if e.kind() == ErrorKind::Refused => return Ok(Text::Named),
        reader => reader?,
    };
    let mut bytes = Vec::new();
    reader.by_ref().take(TEXT_MAX_BYTES).read_to_end(&mut bytes)?;
    let cut = info.length > TEXT_MAX_BYTES;
    let text = String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').trim().to_owned();
    let text = if media_type == "application/json" { flat(&text).unwrap_or(text) } else { text };
    Ok(Text::Shown { text, cut })
}

/// The members of an object, as people read them.
pub(super) fn flat(text: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let members = object.iter().map(|(name, value)| match value {
        serde_json::Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    Some(members.collect::<Vec<_>>().join(", "))
}
