//! `keyfalld`: the engine as a service over HTTP.
//!
//! | module | holds |
//! |---|---|
//! | `span` | lengths of time in the configuration |
//! | `address` | where a request comes from, with proxies between |
//! | `config` | what the file, the environment and the flags say |
//! | `problem` | errors as callers see them (RFC 9457) |
//! | `private` | files and randomness that only this service sees |
//! | `renewed` | files that are read again when they change |
//! | `socket` | connections, how many there may be and how long they may be quiet |
//! | `patience` | bodies that must move |
//! | `places` | places for what waits for the network |
//! | `peer` | the client of a connection, by its certificate |
//! | `crl` | lists of revoked client certificates |
//! | `tls` | the service's certificate, and those of its clients |
//! | `watch` | what the engine told of its state, and what looks saw |
//! | `looks` | looks at copies, keyholders and users who were erased |
//! | `words` | how values are written in JSON and read from it |
//! | `manual` | completions for shells, and the man page |
//! | `logging` | the log on standard error |
//! | `metering`, `helps` | what is counted for operators, and what it says |
//! | `take` | JSON, queries and texts of a request |
//! | `range` | which part of a record a request asks for |
//! | `checksum` | what the bytes of an upload are said to hash to |
//! | `overriding` | the method of an upload's request |
//! | `heads` | what no request may have in its headers |
//! | `intake`, `outlet` | bodies on their way in and out |
//! | `answers` | answers that a repeated request gets again |
//! | `openings` | the openings that are not over |
//! | `begun` | whose the unfinished uploads of each user are |
//! | `receipts` | certificates of planned erases, until somebody comes for them |
//! | `auth` | credentials, and what a caller may do |
//! | `app` | what every handler shares |
//! | `api` | the handlers, one file for each kind of resource |
//! | `openapi` | the document that describes the service |
//! | `page` | the page of a user |
//! | `door` | what requests come to, before and after there is a service |
//! | `standby` | waiting until the writer of a store is gone |
//! | `router` | which path leads to which handler, and what lies around all of them |
//! | `standing` | gauges of the engine, its keyholders, its disk and its jobs |
//! | `serve` | the listener, and how the service stops |

mod address;
mod answers;
mod api;
mod app;
mod auth;
mod begun;
mod checksum;
mod config;
mod crl;
mod door;
mod gone;
mod guarded;
mod heads;
mod helps;
mod intake;
mod logging;
mod looks;
mod manual;
mod metering;
mod openapi;
mod openings;
mod outlet;
mod overriding;
mod page;
mod patience;
mod peer;
mod places;
mod private;
mod problem;
mod range;
mod receipts;
mod remedy;
mod renewed;
mod router;
mod serve;
mod socket;
mod span;
mod spare;
mod standby;
mod standing;
mod take;
mod tls;
mod watch;
mod words;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use keyfall::ErrorKind;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::auth::jwt::Jwt;
use crate::config::{Ask, Config};

fn main() -> ExitCode {
    // What is stored, names and tokens stay out of core dumps, and out of other processes' reach.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let config = match config::ask() {
        Ok(Ask::Run(config)) => *config,
        Ok(Ask::Check(config)) => return checked(&config),
        Ok(Ask::Document) => return print(&openapi::text()),
        Ok(Ask::Manual(manual)) => {
            return match manual::write(&manual, config::command()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => failed(&e),
            };
        }
        Err(e) => return unusable(&*e),
    };
    // Let go of last: what was said is written then.
    let _log = match logging::start(&config) {
        Ok(log) => log,
        Err(e) => return failed(&e),
    };
    match serve::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&*e),
    }
}

/// Looks at the files that the configuration names.
fn checked(config: &Config) -> ExitCode {
    match tls::Tls::open(config).and_then(|_| Jwt::open(config)) {
        Ok(_) => {
            for name in config::no_settings() {
                let told = format!("keyfalld: {name} is in the environment, and is no setting");
                let _ = writeln!(std::io::stderr(), "{told}");
            }
            print(&config.in_force())
        }
        Err(e) => failed(&e),
    }
}

/// Writes a text to standard output.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says what is wrong with what the program was told.
fn unusable(error: &dyn Error) -> ExitCode {
    say(error);
    ExitCode::from(ErrorKind::Invalid.exit_code())
}

/// Says why the program ends; the code is that of the command line (docs/cli.md).
fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    say(error);
    ExitCode::from(error.downcast_ref::<keyfall::Error>().map_or(1, |e| e.kind().exit_code()))
}

fn say(error: &dyn Error) {
    use std::io::Write;
    // If nobody reads it, the exit code still says what there is to say.
    let _ = writeln!(std::io::stderr(), "keyfalld: {error}");
}
