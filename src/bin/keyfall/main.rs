//! `keyfall`: the command line over the library's public API.
//!
//! The rooms, from the ground up: `args` is the grammar, `shell` what every command needs of the
//! world around it, `show` the engine's values in words and as JSON, `bench` measures, `commands`
//! does what is asked for. A room imports only from those below it.

mod args;
mod bench;
mod commands;
mod shell;
mod show;

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::ErrorKind as Usage;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, Id};
use keyfall::{Error, ErrorKind};

use crate::args::Args;
use crate::shell::failure::Failure;
use crate::shell::remedy::fill;
use crate::shell::session::Session;

/// The exit code of a command that is done, while its output could not be written.
const UNTOLD: u8 = 12;

fn main() -> ExitCode {
    // Keys stay out of core dumps, and out of other processes' reach.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    hide_panics_of_sled();
    let matches = command().try_get_matches();
    let args = matches.and_then(|matches| Ok((Args::from_arg_matches(&matches)?, matches)));
    let (args, matches) = match args {
        Ok(args) => args,
        Err(e) => return usage(&e),
    };
    let session = Session::new(args.json, args.cell, args.take_over).waiting(args.wait);
    let session = session.caching(args.object_cache);
    #[cfg(feature = "objects")]
    shell::waiting::tell_of_waiting(&session);
    let session = session.of_user(user(&matches)).after_unknown(args.command.if_unknown());
    let acts = args.command.acts();
    match commands::run(&session, args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(tell(&session, failure, acts)),
    }
}

/// The command line. A variable that is empty names nothing, as everywhere.
fn command() -> Command {
    let all = Args::command();
    let named = all.get_arguments().filter_map(|arg| Some((arg.get_id().clone(), arg.get_env()?)));
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let empty: Vec<Id> = named.filter(|(_, name)| is_empty(name)).map(|(id, _)| id).collect();
    let unset = |arg: Arg| arg.env(Resettable::Reset);
    empty.into_iter().fold(all, |all, id| all.mut_arg(id, unset))
}

/// The user that a command names, as it was typed.
fn user(matches: &ArgMatches) -> Option<String> {
    let mut deepest = matches;
    while let Some((_, below)) = deepest.subcommand() {
        deepest = below;
    }
    let named = deepest.try_get_raw("user").ok().flatten().and_then(|mut named| named.next());
    named.and_then(|name| name.to_str()).map(str::to_owned)
}

/// sled panics on some damage and some failing disks. The store turns that into an error, which is
/// told once.
fn hide_panics_of_sled() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("/sled-")) {
            tell(panic);
        }
    }));
}

/// Tells wrong usage, as JSON if that is asked for; help and the version go out as they are.
fn usage(e: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    // A value that the library refused: what it says to do, as that is typed.
    let refused = e.kind() == Usage::ValueValidation;
    if !json && refused {
        eprint!("{}", fill(&e.render().to_string(), None));
        return ExitCode::from(ErrorKind::Invalid.exit_code());
    }
    if !json || !e.use_stderr() {
        e.exit();
    }
    let text = match e.kind() {
        Usage::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing; see --help".to_owned()
        }
        _ => fill(&e.render().to_string(), None),
    };
    // The first paragraph says what is wrong; the rest is for a person at a terminal.
    let text = text.split("\n\n").next().unwrap_or_default();
    let words = text.strip_prefix("error: ").unwrap_or(text).split_whitespace();
    let text = words.collect::<Vec<_>>().join(" ");
    Session::new(true, None, false).error(&Error::new(ErrorKind::Invalid, text));
    ExitCode::from(ErrorKind::Invalid.exit_code())
}

/// Tells why a command ended early; `acts` is whether it changes something. Returns the exit code.
fn tell(session: &Session, failure: Failure, acts: bool) -> u8 {
    match failure {
        // A reader that goes away before the answer does not miss it. But somebody must know what
        // was done.
        Failure::ClosedPipe | Failure::Untold { closed: true, .. } if !acts => 0,
        Failure::Untold { error, lost, .. } if acts => {
            session.untold(&error, &lost);
            UNTOLD
        }
        Failure::ClosedPipe => {
            session.untold(&Error::new(ErrorKind::Io, "nobody reads the output"), "");
            UNTOLD
        }
        Failure::Late(e) => {
            session.error(&e);
            UNTOLD
        }
        Failure::Error(e) | Failure::Untold { error: e, .. } => {
            session.error(&e);
            e.kind().exit_code()
        }
    }
}
