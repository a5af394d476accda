//! `keyfall erase`.

use std::io::{self, IsTerminal, Write};

use keyfall::cell::Retirement;
use keyfall::engine::{Erase, When};
use keyfall::{Engine, Error, ErrorKind, Scope};
use serde_json::json;

use crate::commands::{Done, promise_json};
use crate::output::{self, line, progress, value};

pub(crate) fn described(erase: &Erase) -> String {
    let kept: String = erase.kept().iter().map(|class| format!(", but for class {class}")).collect();
    let scope = match erase.scope() {
        Scope::Record(id) => format!("record {id}"),
        Scope::User { user, class, when } => {
            let class = class.as_ref().map_or("everything".to_owned(), |c| format!("class {c}"));
            let when = match when {
                When::Ever => String::new(),
                When::Interaction(id) => format!(", interaction {id}"),
                When::Between { from, until } => format!(
                    "{}{}",
                    from.map_or(String::new(), |t| format!(", from {}", output::time(t))),
                    until.map_or(String::new(), |t| format!(", before {}", output::time(t)))
                ),
            };
            format!("{class} of user {user}{when}")
        }
    };
    format!("{scope}{kept}")
}

/// Asks whether to go on, where somebody sits there.
pub(crate) fn ask(yes: bool, question: &str, what: &str) -> Done {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, format!("to erase {what} without being asked, add --yes")).into());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Invalid, "nothing was erased").into()),
    }
}

/// Erases, having asked, and follows what fell with it.
pub(crate) fn run(engine: &Engine, erase: Erase, yes: bool, json: bool) -> Done {
    let what = described(&erase);
    ask(yes, &format!("Erase {what}, in every copy, for ever?"), &what)?;
    let done = engine.erase(erase)?;
    let bar = progress("derived records taken out of lists", None);
    let derived = done.derived + engine.tend(&mut |n| bar.set_position(n))?.derived;
    bar.finish_and_clear();
    let promise = engine.promise();
    let until = match done.retirement {
        Some(Retirement::Scheduled(until)) => Some(output::time(until)),
        Some(Retirement::Destroyed) => None,
        None => done.pending.map(output::time),
    };
    let state = match done.retirement {
        Some(Retirement::Destroyed) => "destroyed",
        Some(Retirement::Scheduled(_)) => "scheduled",
        None => "pending",
    };
    if json {
        return value(&json!({
            "erased": what, "records": done.records, "derived": derived, "already": done.already, "epoch": done.epoch,
            "completed": output::time(done.completed), "root_key": state,
            "until": until, "cell": promise_json(&promise),
        }));
    }
    if done.already {
        return line(format_args!("{what} had been erased already; the store is at epoch {}", done.epoch));
    }
    let records =
        done.records.map_or("an unknown number of records (damaged pages)".to_owned(), |n| format!("{n} records"));
    let with = if derived == 0 { String::new() } else { format!(", and {derived} derived from them") };
    line(format_args!("erased {what}: {records}{with}; epoch {}", done.epoch))?;
    match until {
        None => line(format_args!("root key of epoch {} destroyed: {}", done.epoch - 1, promise.statement)),
        Some(until) => {
            line(format_args!("root key of epoch {} pending until {until}: {}", done.epoch - 1, promise.statement))
        }
    }
}
