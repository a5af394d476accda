//! What the list shows, as it is read from the engine.

use std::io::Read;
use std::sync::Arc;

use keyfall::engine::{Access, Report};
use keyfall::time::Day;
use keyfall::{
    Class, Engine, Error, ErrorKind, InteractionId, Query, RecordId, RecordInfo, Timestamp, UserId,
};

use super::desk::Session;
use super::kept::{gone, is_proof};
use super::rules::in_force;

/// Exchanges of one page.
const PAGE: usize = 40;
/// Most bytes of a text that the list shows.
const TEXT_MAX_BYTES: u64 = 2048;

/// One page of a list, with the report that it is a part of.
pub(crate) struct Listed {
    pub(crate) report: Report,
    pub(crate) days: Vec<(Day, Vec<Turn>)>,
    pub(crate) next: Option<RecordId>,
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
    pub(crate) zone: keyfall::time::Zone,
    /// For whom it is listed: its pages name what is in them.
    pub(crate) session: Arc<Session>,
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
    let (mut days, mut listed, mut next) = (Vec::<(Day, Vec<Turn>)>::new(), 0, wanted.after);
    loop {
        let found = match engine.interactions(&query.clone().after(next)) {
            Err(e) if gone(&e) => return Ok(None),
            found => found?,
        };
        for (day, run) in found.by_day(&wanted.zone) {
            for interaction in run {
                let (id, records) = (interaction.id, &interaction.records);
                let Some(turn) = turn(engine, &wanted.session, &report, id, records)? else {
                    continue;
                };
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
            return Ok(Some(Listed { report, days, next }));
        }
    }
}

fn turn(
    engine: &Engine,
    session: &Session,
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
    for info in records.iter().filter(|info| !is_proof(info)) {
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
        turn.said.push(Item { info: info.clone(), number, text: opened.0 });
    }
    turn.opened.sort_by_key(|access| access.at);
    turn.until = until.iter().copied().flatten().min();
    turn.whole = until.iter().all(|at| *at == turn.until);
    Ok((!turn.said.is_empty()).then_some(turn))
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
