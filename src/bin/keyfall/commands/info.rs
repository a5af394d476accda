//! `keyfall info`.

use crate::args::InfoArgs;
use crate::shell::failure::Done;
use crate::shell::print::{block, printable};
use crate::shell::realms::shard_of;
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::shell::which::which;
use crate::show::record::{record_json, record_rows};

/// Shows what is known of a record.
pub(super) fn run(session: &Session, args: InfoArgs) -> Done {
    let (store, wanted) = which(args.which)?;
    let (session, store) = &shard_of(session, store, wanted.whose())?;
    let engine = look(session, store)?;
    let info = engine.info(&wanted.id(&engine)?)?;
    if session.json {
        return session.value(&record_json(&info));
    }
    let rows = record_rows(&info);
    let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    let line = |(what, is): &(String, String)| format!("{what:width$}  {}", printable(is));
    block(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}
