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
mod report;
mod sealed;
mod small;
mod stores;

use std::process::ExitCode;

use clap::Parser;
use keyfall::{Error, ErrorKind};
use output::Failure;

/// Done, and only what was to be written of it could not be.
const UNTOLD: u8 = 12;

/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 erased, 4 absent, 5 corrupt, 6 refused, 7 held, 11 another engine owns the store;
/// 12 is no kind of error.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::Erased => 3,
        ErrorKind::Absent => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Refused => 6,
        ErrorKind::Held => 7,
        ErrorKind::Fenced => 11,
        _ => 1,
    }
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
    let args = args::Args::parse();
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
