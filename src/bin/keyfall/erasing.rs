//! `keyfall erase`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use keyfall::cell::{Awaited, Finality};
use keyfall::certificate::Certificate;
use keyfall::engine::{Foreseen, Request};
use keyfall::env::{Env, System};
use keyfall::{Engine, Erase, Erasure, Error, ErrorKind, Scope, UserId, When};
use serde_json::json;

use crate::certificate::{self, KeptDraft};
use crate::commands::{Done, out_file, promise_json};
use crate::outfile::{OutFile, Replace, untellable};
use crate::output::{self, Failure, counted, line, progress};
use crate::remedy::{fill, word};
use crate::stores::{absolute, look, open};

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

/// What an erase would take, in words.
fn foreseen(foreseen: &Foreseen) -> String {
    if foreseen.already {
        return "it was erased before, and nothing is left of it".to_owned();
    }
    let derived = match (foreseen.derived, foreseen.following) {
        (0, false) => String::new(),
        (n, false) => format!(", and {n} derived from them"),
        (n, true) => format!(", and more than {n} derived from them"),
    };
    match &foreseen.records {
        None => format!("an unknown number of records falls (damaged pages){derived}"),
        Some(classes) if classes.is_empty() => match foreseen.here {
            true => "no record of it is here; what arrives late is refused".to_owned(),
            false => "nobody of that name is in this store; what arrives late is refused".to_owned(),
        },
        Some(classes) => {
            let each: Vec<String> = classes.iter().map(|(class, n)| format!("{n} {class}")).collect();
            let total: u64 = classes.iter().map(|(_, n)| n).sum();
            format!("{} ({}){derived}", counted(total, "record"), each.join(", "))
        }
    }
}

/// Says what an erase would take, and changes nothing.
pub(crate) fn foresee(engine: &Engine, erase: &Erase, json: bool) -> Done {
    let (what, found) = (described(erase), engine.would_erase(erase.clone())?);
    if !json {
        return line(format_args!("would erase {what}: {}", foreseen(&found)));
    }
    let classes = found.records.as_ref().map(|classes| {
        classes.iter().map(|(class, n)| (class.to_string(), json!(n))).collect::<serde_json::Map<_, _>>()
    });
    let records = found.records.as_ref().map(|classes| classes.iter().map(|(_, n)| n).sum::<u64>());
    output::value(&json!({
        "would_erase": what, "records": records, "classes": classes, "derived": found.derived,
        "more_derived": found.following, "already": found.already, "user_is_here": found.here,
    }))
}

/// What to ask before an erase: what would fall is looked up for somebody who sits there alone.
pub(crate) fn question(engine: &Engine, erase: &Erase, when: &str) -> Result<String, Error> {
    let found = match engine.would_erase(erase.clone()) {
        Ok(found) => foreseen(&found),
        // The erase itself says so, and has it in the user's history.
        Err(e) if e.kind() == ErrorKind::Held => "some of it is under a legal hold".to_owned(),
        Err(e) => return Err(e),
    };
    Ok(format!("Erase {}{when} ({found})?", described(erase)))
}

/// Asks whether to go on, where somebody sits there.
pub(crate) fn ask(yes: bool, question: impl FnOnce() -> Result<String, Error>, what: &str) -> Done {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, format!("to erase {what} without being asked, add --yes")).into());
    }
    write!(io::stderr(), "{} [y/N] ", output::printable(&question()?))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Invalid, "nothing was erased").into()),
    }
}

/// Where the certificate of an erase goes, and what it is to say.
pub(crate) struct Output {
    pub(crate) place: PathBuf,
    pub(crate) force: bool,
    pub(crate) request: Request,
}

/// Room for a certificate, taken before there is anything to certify.
struct Waiting {
    place: PathBuf,
    file: OutFile,
    /// Where the certificate goes when what it was to be written through, a pipe or a device, does not take it.
    spare: Option<(PathBuf, OutFile)>,
}

impl Waiting {
    fn prepare((store, cell): (&Path, Option<&Path>), output: &Output, bytes: u64) -> Result<Self, Error> {
        let mut file = out_file(store, cell, &output.place, output.force)?.private();
        file.reserve(bytes)?;
        let spare = if file.is_through() { Some(Self::spare(store, bytes)?) } else { None };
        Ok(Waiting { place: output.place.clone(), file, spare })
    }

    fn spare(store: &Path, bytes: u64) -> Result<(PathBuf, OutFile), Error> {
        let mut drawn = [0; 4];
        System.fill(&mut drawn)?;
        let name = format!("keyfall-{:08x}.erased", u32::from_be_bytes(drawn));
        let beside = absolute(store)?.parent().map(Path::to_owned).unwrap_or_default();
        let open = |dir: &Path| {
            let mut file = OutFile::create(&dir.join(&name), Replace::Ordinary)?.private();
            file.reserve(bytes).map(|()| (dir.join(&name), file))
        };
        open(&beside).or_else(|_| open(&std::env::temp_dir()))
    }

    /// Where its draft lies: a name beside a pipe or a descriptor is none.
    fn draft(&self) -> KeptDraft {
        KeptDraft::beside(self.spare.as_ref().map_or(self.place.as_path(), |(place, _)| place.as_path()))
    }

    /// Writes it; the error says where it is to be found then. Where it is found, its draft goes.
    fn write(mut self, certificate: &Certificate, draft: &KeptDraft) -> Result<(), Error> {
        let text = certificate.to_string();
        let place = &self.place;
        let written = self.file.write_all(text.as_bytes()).map_err(|e| untellable(place, e));
        let written = written.and_then(|()| self.file.finish()).inspect(|_| draft.remove());
        let (Err(e), Some((place, mut file))) = (&written, self.spare) else {
            return written;
        };
        let saved = file.write_all(text.as_bytes()).map_err(|e| untellable(&place, e));
        match saved.and_then(|()| file.finish()) {
            Ok(()) => {
                draft.remove();
                Err(Error::new(e.kind(), format!("{e}; the certificate is in {}", place.display())))
            }
            Err(also) => Err(Error::new(e.kind(), format!("{e}; {also}"))),
        }
    }
}

/// Room for what a certificate says beside what was typed.
const CERTIFICATE_BYTES: usize = 64 << 10;

/// Whether a user is here.
pub(crate) fn lives(engine: &Engine, user: &UserId) -> bool {
    !engine.holds(user).is_err_and(|e| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased))
}

/// Erases, having asked, and follows what fell with it.
pub(crate) fn run(
    (store, cell): (&Path, Option<&Path>),
    mut erase: Erase,
    output: Option<Output>,
    (yes, json): (bool, bool),
) -> Done {
    let what = described(&erase);
    ask(yes, || question(&look(store, cell)?, &erase, ", in every copy, for ever"), &what)?;
    let whose = match erase.scope() {
        Scope::User { class: None, when: When::Ever, .. } if erase.kept().is_empty() => Err(()),
        Scope::User { class: Some(class), .. } if class.as_str() == certificate::CLASS => Err(()),
        Scope::User { user, .. } => Ok(Some(user.clone())),
        Scope::Record(_) => Ok(None),
    };
    // What was typed stands in it, a few times and escaped.
    let bytes = |request: &Request| {
        CERTIFICATE_BYTES
            + 16 * (what.len() + request.authority.len() + request.ground.len())
            + 4096 * erase.kept().len()
    };
    let waiting = output.as_ref().map(|output| Waiting::prepare((store, cell), output, bytes(&output.request) as u64));
    let waiting = waiting.transpose()?;
    let aside = waiting.as_ref().is_some_and(|waiting| waiting.file.is_stdout());
    if let Some(output) = &output {
        erase = erase.certified(output.request.clone());
    }
    // Should the certificate fail to be written in the end, it is made of this.
    let draft = waiting.as_ref().map(Waiting::draft);
    if let Some(draft) = &draft {
        erase = erase.drafted(draft.keep());
    }
    let engine = open(store, cell)?;
    draft.as_ref().map_or(Ok(()), |draft| draft.check_left(&engine))?;
    // A user that was never here is not made by the copy of a certificate.
    let whose = whose.and_then(|user| match &user {
        Some(name) if output.is_some() && !lives(&engine, name) => Err(()),
        _ => Ok(user),
    });
    let done = engine.erase(erase).map_err(|e| match &draft {
        Some(draft) => draft.after(e),
        None => e,
    })?;

    // It is done: nothing that fails from here on may look as if it were not.
    let mut late = None;
    let mut certified = None;
    if let (Some(waiting), Some(draft), Some(unsigned)) = (waiting, &draft, &done.certificate) {
        let place = waiting.place.clone();
        let outcome = unsigned.sign().map_err(|e| (e, None)).and_then(|certificate| {
            let grade = certificate.facts.judge().map_or_else(|e| e.to_string(), |judged| judged.grade.to_string());
            // A user that goes on living keeps its own certificates; of one that was erased nothing is kept.
            let name = certificate.facts.body.user.clone().and_then(|name| UserId::new(name).ok());
            if let Some(user) = whose.ok().and_then(|user| user.or(name))
                && let Err(e) = certificate::keep(&engine, &user, &certificate)
            {
                output::warn(
                    &e.context("erased and certified; only a copy of the certificate could not be kept in the store"),
                );
            }
            waiting.write(&certificate, draft).map_err(|e| (e, Some(grade.clone())))?;
            Ok(grade)
        });
        match outcome {
            Ok(grade) => certified = Some((place, grade)),
            Err((e, grade)) => {
                let grade = grade.map_or(String::new(), |grade| format!(" ({grade})"));
                let again = draft.made().map_or(String::new(), |draft| {
                    format!("; `keyfall certificate upgrade STORE {}` makes it again", word(draft))
                });
                late = Some(e.context(format!(
                    "erased at epoch {}, and not to be repeated; only its certificate{grade} could not be put where it was to go{again}",
                    done.epoch
                )));
            }
        }
    }
    let bar = progress("derived records taken out of lists", None);
    let mut derived = done.derived;
    match engine.tend(&mut |n| bar.set_position(n)) {
        Ok(mut tended) => {
            derived += std::mem::take(&mut tended.derived);
            output::due(&tended);
        }
        Err(e) => {
            output::warn(&e.context("erased; only taking derived records out of lists failed, and is tried again"))
        }
    }
    bar.finish_and_clear();
    let told = told(&engine, &done, (&what, derived, certified), (draft.as_ref(), aside, json));
    late.map_or(told, |e| Err(Failure::Late(e)))
}

/// Says what was erased, on standard error where the certificate goes to standard output.
fn told(
    engine: &Engine,
    done: &Erasure,
    (what, derived, certified): (&str, u64, Option<(PathBuf, String)>),
    (draft, aside, json): (Option<&KeptDraft>, bool, bool),
) -> Done {
    let mut text = Vec::new();
    // Of an erase before that was cut short.
    let left = draft.filter(|_| done.already).and_then(KeptDraft::left);
    let promise = engine.promise();
    let state = match &done.finality {
        Finality::Final => "destroyed",
        Finality::Pending { awaited } if matches!(awaited[..], [Awaited::Medium(_)]) => "scheduled",
        Finality::Pending { .. } => "pending",
    };
    let awaited = output::awaited(&done.finality);
    let until = (state != "destroyed")
        .then(|| done.finality.until().map_or(format!(": {}", awaited.join("; ")), |at| format!(" until {at}")));
    if json {
        let told = output::with_due(json!({
            "erased": what, "records": done.records, "derived": derived, "already": done.already, "epoch": done.epoch,
            "completed": output::time(done.completed), "root_key": state, "until": done.finality.until().map(output::time), "awaited": awaited, "cell": promise_json(&promise),
            "certificate": certified.map(|(place, _)| place.display().to_string()),
            "draft": left.map(|place| place.display().to_string()),
        }));
        text.push(format!("{told:#}"));
    } else if done.already {
        text.push(format!("{what} had been erased already; the store is at epoch {}", done.epoch));
        text.extend(output::pending(&done.finality));
        text.extend(draft.map(|_| match left {
            Some(left) => fill(&format!(
                "no certificate was written; the draft of one is there: `keyfall certificate upgrade STORE {}` makes it",
                word(left)
            )),
            None => "there is nothing to certify: no certificate was written".to_owned(),
        }));
    } else {
        let records = match done.records {
            None => "an unknown number of records (damaged pages)".to_owned(),
            Some(0) => "nothing of it was here; what arrives late is refused".to_owned(),
            Some(n) => counted(n, "record"),
        };
        let with = if derived == 0 { String::new() } else { format!(", and {derived} derived from them") };
        text.push(format!("erased {what}: {records}{with}; epoch {}", done.epoch));
        let until = until.map_or("destroyed".to_owned(), |until| format!("pending{until}"));
        text.push(format!("root key of epoch {} {until}: {promise}", done.epoch - 1));
        text.extend(certified.map(|(place, grade)| format!("certificate {}: {grade}", place.display())));
    }
    if aside {
        text.iter().for_each(|line| output::aside(line));
        return Ok(());
    }
    text.into_iter().try_for_each(|text| if json { output::block(text) } else { line(text) })
}
