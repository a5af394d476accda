//! `keyfall erase`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use keyfall::cell::Retirement;
use keyfall::engine::{Erase, When};
use keyfall::{Engine, Error, ErrorKind, Scope, UserId};
use serde_json::json;

use crate::certificate;
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
pub(crate) fn run(engine: &Engine, erase: Erase, output: Option<&Path>, yes: bool, json: bool) -> Done {
    let what = described(&erase);
    ask(yes, &format!("Erase {what}, in every copy, for ever?"), &what)?;
    let whose = match erase.scope() {
        Scope::User { class: None, when: When::Ever, .. } if erase.kept().is_empty() => Err(()),
        Scope::User { class: Some(class), .. } if class.as_str() == certificate::CLASS => Err(()),
        Scope::User { user, .. } => Ok(Some(user.clone())),
        Scope::Record(_) => Ok(None),
    };
    let done = engine.erase(erase)?;
    let certificate = done.certificate.as_ref().map(|unsigned| unsigned.sign()).transpose()?;
    if let (Some(file), Some(certificate)) = (output, &certificate) {
        certificate::write(certificate, file)?;
        // A user that goes on living keeps its own certificates; of one that was erased nothing is kept.
        let name = certificate.facts.body.user.clone().and_then(|name| UserId::new(name).ok());
        if let Some(user) = whose.ok().and_then(|user| user.or(name)) {
            certificate::keep(engine, &user, certificate)?;
        }
    }
    let bar = progress("derived records taken out of lists", None);
    let derived = done.derived + engine.tend(&mut |n| bar.set_position(n))?.derived;
    bar.finish_and_clear();
    let promise = engine.promise();
    let (state, until) = match &done.retirement {
        None => ("pending", done.pending.map(|at| format!("until {at}"))),
        Some(Retirement::Scheduled(until)) => ("scheduled", Some(format!("until {until}"))),
        Some(Retirement::Stated { statements, needed }) if statements.len() < *needed => {
            ("pending", Some(format!("with {} of {needed} keyholders' statements", statements.len())))
        }
        Some(_) => ("destroyed", None),
    };
    if json {
        return value(&json!({
            "erased": what, "records": done.records, "derived": derived, "already": done.already, "epoch": done.epoch,
            "completed": output::time(done.completed), "root_key": state, "until": until, "cell": promise_json(&promise),
            "certificate": certificate.and(output).map(|file| file.display().to_string()),
        }));
    }
    if done.already {
        line(format_args!("{what} had been erased already; the store is at epoch {}", done.epoch))?;
        return if output.is_some() { line("there is nothing to certify: no certificate was written") } else { Ok(()) };
    }
    let records = match done.records {
        None => "an unknown number of records (damaged pages)".to_owned(),
        Some(0) => "nothing of it was here; what arrives late is refused".to_owned(),
        Some(n) => format!("{n} records"),
    };
    let with = if derived == 0 { String::new() } else { format!(", and {derived} derived from them") };
    line(format_args!("erased {what}: {records}{with}; epoch {}", done.epoch))?;
    let until = until.map_or("destroyed".to_owned(), |until| format!("pending {until}"));
    line(format_args!("root key of epoch {} {until}: {promise}", done.epoch - 1))?;
    match (output, certificate) {
        (Some(file), Some(certificate)) => {
            line(format_args!("certificate {}: {}", file.display(), certificate.facts.judge()?.grade))
        }
        _ => Ok(()),
    }
}
