//! `keyfall`: the command line over the library's public API.

mod args;
mod bench;
mod certificate;
mod commands;
mod copies;
mod corpus;
mod demo;
mod due;
mod erasing;
mod grants;
mod guarded;
mod holds;
mod import;
mod inbox;
mod keyholders;
mod lineage;
mod log;
mod outfile;
mod output;
mod remedy;
mod report;
mod sealed;
mod small;
mod stores;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind as Usage;
use keyfall::{Error, ErrorKind};
use output::Failure;

/// Done, and only what was to be written of it could not be.
const UNTOLD: u8 = 12;

/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 erased, 4 absent, 5 corrupt, 6 refused, 7 held, 8 in use, 11 another engine owns the store;
/// 12 is no kind of error.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::Erased => 3,
        ErrorKind::Absent => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Refused | ErrorKind::Mismatch | ErrorKind::Limit | ErrorKind::Medium => 6,
        ErrorKind::Held => 7,
        ErrorKind::Locked => 8,
        ErrorKind::Fenced => 11,
        _ => 1,
    }
}

/// Wrong usage, as JSON where that is asked for; help and the version as they are.
fn usage(e: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !json || !e.use_stderr() {
        e.exit();
    }
    let text = match e.kind() {
        Usage::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing; see --help".to_owned(),
        _ => e.render().to_string(),
    };
    // The first paragraph says what is wrong; what follows is for a person at a terminal.
    let text = text.split("\n\n").next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ");
    output::error(true, &Error::new(ErrorKind::Invalid, text));
    ExitCode::from(exit_code(ErrorKind::Invalid))
}

fn main() -> ExitCode {
    // Keys stay out of core dumps, and out of other processes' reach.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // sled panics on some damage and some failing disks; the store turns that into an error, which is told once.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("/sled-")) {
            tell(panic);
        }
    }));
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(e) => return usage(&e),
    };
    let json = args.json;
    if args.take_over {
        stores::take_over();
    }
    output::set_json(json);
    let acts = args.command.acts();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        // Who went away before an answer was read does not miss it; of what was done somebody must know.
        Err(Failure::ClosedPipe | Failure::Untold { closed: true, .. }) if !acts => ExitCode::SUCCESS,
        Err(Failure::Untold { error, lost, .. }) if acts => {
            output::untold(&error, &lost);
            ExitCode::from(UNTOLD)
        }
        Err(Failure::ClosedPipe) => {
            output::untold(&Error::new(ErrorKind::Io, "nobody reads the output"), "");
            ExitCode::from(UNTOLD)
        }
        Err(Failure::Late(e)) => {
            output::error(json, &e);
            ExitCode::from(UNTOLD)
        }
        Err(Failure::Error(e) | Failure::Untold { error: e, .. }) => {
            output::error(json, &e);
            ExitCode::from(exit_code(e.kind()))
        }
    }
}
