//! `keyfall list`.

use std::io::{self, StdoutLock, Write};
use std::path::PathBuf;

use keyfall::engine::Listing;
use keyfall::{Engine, Error, Query, RecordInfo};

use crate::args::ListArgs;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{counted, table};
use crate::shell::realms::{Whose, all_shards, shard_of};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::show::record::record_json;
use crate::show::time::time;

/// Most records of one page.
const PAGE: usize = 1000;

/// Lists records page by page: there may be more than fit into memory.
pub(super) fn run(session: &Session, args: ListArgs) -> Done {
    let mut query = Query::default()
        .user(args.user)
        .class(args.class)
        .interaction(args.interaction)
        .from(args.after)
        .until(args.before)
        .newest_first(args.newest);
    if let Some(prefix) = args.prefix {
        query = query.name_prefix(prefix);
    }
    let store = one(args.places)?;
    let stores = match &query.user {
        Some(user) => vec![shard_of(session, store, Whose::User(user))?],
        None => all_shards(session, store)?,
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let named = query.name_prefix.is_some();
    let mut out = Lines { out: io::stdout().lock(), json: session.json, begun: false, named };
    let mut away = Vec::new();
    for at in &stores {
        let engine = match look(&at.0, &at.1) {
            // Of a realm the others are shown all the same, and what is missing is told last.
            Err(e) if stores.len() > 1 => {
                away.push((at, e));
                continue;
            }
            opened => opened?,
        };
        // The first page first: for a user that is not here, nothing is printed but the error.
        let mut page = page_of(&engine, &mut query, left)?;
        loop {
            left -= page.records.len() as u64;
            out.records(&page.records)?;
            (query.after, query.after_name) = (page.next, page.next_name);
            if left == 0 || query.after.is_none() && query.after_name.is_none() {
                break;
            }
            page = page_of(&engine, &mut query, left)?;
        }
        (query.after, query.after_name) = (None, None);
    }
    out.end()?;
    incomplete(&away, stores.len())
}

/// Fails if of some shards of a realm nothing was shown.
fn incomplete(away: &[(&(Session, PathBuf), Error)], of: usize) -> Done {
    let Some((at, first)) = away.first() else { return Ok(()) };
    // What the text says to do is about that shard.
    at.0.about(&at.1);
    let shards = counted(of as u64, "shard");
    let text = match away.len() {
        n if n == of => format!("none of {shards} opens: {first}"),
        n => format!("{n} of {shards} did not open, and nothing of their users is shown: {first}"),
    };
    Err(Error::new(first.kind(), text).into())
}

fn page_of(engine: &Engine, query: &mut Query, left: u64) -> Result<Listing, Error> {
    query.limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE);
    if left == 0 { Ok(Listing::default()) } else { engine.list(query) }
}

/// Records on standard output: one JSON array, or one table.
struct Lines {
    out: StdoutLock<'static>,
    json: bool,
    /// Whether a record was written.
    begun: bool,
    /// Whether names are shown.
    named: bool,
}

impl Lines {
    fn records(&mut self, records: &[RecordInfo]) -> io::Result<()> {
        if self.json {
            return records.iter().try_for_each(|info| {
                let before = if std::mem::replace(&mut self.begun, true) { "," } else { "[" };
                // As the other commands print an array.
                let shown = format!("{:#}", record_json(info)).replace('\n', "\n  ");
                write!(self.out, "{before}\n  {shown}")
            });
        }
        if records.is_empty() {
            return Ok(());
        }
        let begun = std::mem::replace(&mut self.begun, true);
        let headings = ["ID", "USER", "CLASS", "TYPE", "LENGTH", "CREATED", "NAME"];
        let headings = if begun { [""; 7] } else { headings };
        let shown = if self.named { 7 } else { 6 };
        let rows = records.iter().map(|r| {
            let mut row = vec![
                r.id.to_string(),
                r.user.to_string(),
                r.class.to_string(),
                r.media_type.clone(),
                r.length.to_string(),
                time(r.created),
                r.name.clone().unwrap_or_default(),
            ];
            row.truncate(shown);
            row
        });
        let headings = &headings[..shown];
        writeln!(self.out, "{}", table(headings, rows))
    }

    fn end(mut self) -> Done {
        if self.json {
            writeln!(self.out, "{}", if self.begun { "\n]" } else { "[]" })?;
        }
        Ok(self.out.flush()?)
    }
}
