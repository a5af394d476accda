//! `keyfall report`.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::args::ReportArgs;
use crate::shell::failure::Done;
use crate::shell::outfile::Replace;
use crate::shell::outside::out_file;
use crate::shell::places::one;
use crate::shell::print::{block, line};
use crate::shell::realms::{Whose, shard_of};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::show::report::About;

/// Prints the report about a user, or writes it to a file: text, JSON or a page.
pub(super) fn run(session: &Session, args: ReportArgs) -> Done {
    let user = args.user;
    let (session, store) = &shard_of(session, one(args.places)?, Whose::User(&user))?;
    // The file first: a slip in its name should not cost opening the store.
    let place = args.output.filter(|place| place != Path::new("-"));
    let replace = Replace::forced(args.force);
    let out = place.as_ref().map(|place| out_file(session, store, place, replace)).transpose()?;
    let engine = look(session, store)?;
    let about = About::read(&engine, &user)?;
    let (Some(place), Some(out)) = (place, out) else {
        return write(session, &about, args.html, &mut |text| block(text));
    };
    let mut out = out.private();
    write(session, &about, args.html, &mut |text| Ok(writeln!(out, "{text}")?))?;
    let silent = out.is_stdout();
    out.finish()?;
    if silent {
        return Ok(());
    }
    if session.json {
        let (file, records) = (place.display().to_string(), about.rows.len());
        return session.value(&json!({"user": user.as_str(), "file": file, "records": records}));
    }
    line(format_args!("report of {user} in {}: {}", place.display(), about.counted()))
}

fn write(
    session: &Session,
    about: &About,
    html: bool,
    out: &mut dyn FnMut(String) -> Done,
) -> Done {
    if html {
        return out(about.page(session));
    }
    if session.json {
        return out(format!("{:#}", session.with_due(about.json(session))));
    }
    about.text(session, out)
}
