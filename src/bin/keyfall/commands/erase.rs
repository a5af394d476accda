//! `keyfall erase`.

use std::path::Path;

use keyfall::certificate::Certificate;
use keyfall::promise::{Awaited, Finality};
use keyfall::{Engine, Erase, Erasure, Error, ErrorKind, Scope, UserId, When};
use serde_json::{Value, json};

use crate::args::EraseArgs;
use crate::commands::certificate;
use crate::commands::delivery::{Delivery, Wanted};
use crate::commands::draft::KeptDraft;
use crate::commands::plan;
use crate::shell::ask::ask;
use crate::shell::failure::{Done, Failure};
use crate::shell::outfile::Replace;
use crate::shell::places::one;
use crate::shell::print::{block, counted, line, progress};
use crate::shell::realms::{Whose, shard_of};
use crate::shell::remedy::word;
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::cell::{awaited, pending, promise_json};
use crate::show::erase::{erase_words, foreseen_json, foreseen_words};
use crate::show::time::{span, time};

/// Room for what a certificate says besides what was typed.
const CERTIFICATE_BYTES: usize = 64 << 10;

/// Erases, now or later, or says what an erase would take.
pub(super) fn run(session: &Session, args: EraseArgs) -> Done {
    let erase = named(&args)?;
    let (session, store) = &shard_of(session, one(args.places)?, Whose::of(erase.scope()))?;
    if args.dry_run {
        return foresee(session, &look(session, store)?, &erase);
    }
    if let Some(delay) = args.delay {
        let engine = open(session, store)?;
        let when = format!(" in {}, unless it is cancelled", span(delay));
        ask(args.yes, || question(&engine, &erase, &when), &erase_words(&erase))?;
        let asked = !(args.authority.is_empty() && args.ground.is_empty());
        let erase = if asked { erase.certified(args.authority, args.ground) } else { erase };
        return plan::add(session, &engine, erase, delay);
    }
    let (replace, authority, ground) = (Replace::forced(args.force), args.authority, args.ground);
    let wanted = args.output.map(|place| Wanted { place, replace, authority, ground });
    erase_now(session, store, erase, wanted, args.yes)
}

/// Whether a user is here.
pub(super) fn lives(engine: &Engine, user: &UserId) -> bool {
    let gone = |e: &Error| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased);
    !engine.holds(user).list().is_err_and(|e| gone(&e))
}

/// The erase that the arguments name.
fn named(args: &EraseArgs) -> Result<Erase, Error> {
    let scope = match (&args.user, args.record) {
        (Some(user), None) => {
            let when = match (args.interaction, args.after, args.before) {
                (Some(id), ..) => When::Interaction(id),
                (None, None, None) => When::Ever,
                (None, from, until) => When::Between { from, until },
            };
            Scope::User { user: user.clone(), class: args.class.clone(), when }
        }
        (None, Some(id)) => Scope::Record(id),
        _ => {
            let text = "name what to erase: --user, or --record";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    };
    let reason = args.reason.as_deref().unwrap_or_default();
    let kept = args.keep.iter().cloned();
    let erase = kept.fold(Erase::new(scope), |erase, class| erase.keep(class, reason));
    let erase = match &args.keep_derived {
        Some(reason) => erase.keep_derived(reason),
        None => erase,
    };
    Ok(match args.final_within {
        Some(window) => erase.final_within(window),
        None => erase,
    })
}

/// Says what an erase would take, and changes nothing.
fn foresee(session: &Session, engine: &Engine, erase: &Erase) -> Done {
    let found = engine.would_erase(erase.clone())?;
    if session.json {
        return session.value(&foreseen_json(erase, &found));
    }
    line(format_args!("would erase {}: {}", erase_words(erase), foreseen_words(&found)))
}

/// What to ask before an erase, with what would fall.
fn question(engine: &Engine, erase: &Erase, when: &str) -> Result<String, Error> {
    let found = match engine.would_erase(erase.clone()) {
        Ok(found) => foreseen_words(&found),
        // The erase itself says so, and records it in the user's history.
        Err(e) if e.kind() == ErrorKind::Held => "some of it is under a legal hold".to_owned(),
        Err(e) => return Err(e),
    };
    Ok(format!("Erase {}{when} ({found})?", erase_words(erase)))
}

/// Erases, having asked, and follows what fell with it.
fn erase_now(
    session: &Session,
    store: &Path,
    mut erase: Erase,
    wanted: Option<Wanted>,
    yes: bool,
) -> Done {
    let what = erase_words(&erase);
    let when = ", in every copy, for ever";
    ask(yes, || question(&look(session, store)?, &erase, when), &what)?;
    let mut copy = Copy::of(&erase);
    let mut delivery = None;
    if let Some(wanted) = wanted {
        let room = room(&erase, &what, &wanted);
        erase = erase.certified(&wanted.authority, &wanted.ground);
        let prepared = Delivery::prepare(session, store, wanted, room)?;
        erase = erase.drafted(prepared.draft.keep(session));
        delivery = Some(prepared);
    }
    let engine = open(session, store)?;
    let was_here = match erase.scope() {
        Scope::User { user, .. } => Some(lives(&engine, user)),
        Scope::Record(_) => None,
    };
    if let Some(delivery) = &delivery {
        delivery.draft.check_left(&engine)?;
        copy = copy.of_living(&engine);
    }
    let draft = delivery.as_ref().map(|delivery| delivery.draft.clone());
    let done = engine.erase(erase).map_err(|e| match &draft {
        Some(draft) => draft.after(e),
        None => e,
    })?;

    // It is done: nothing that fails from here on may look as if it were not.
    let aside = delivery.as_ref().is_some_and(Delivery::is_stdout);
    let certify = |delivery| certify(session, &engine, delivery, &done, copy);
    let (certified, late) = match delivery.map(certify) {
        None => (None, None),
        Some(Ok(certified)) => (certified, None),
        Some(Err(e)) => (None, Some(e)),
    };
    let derived = done.derived + follow(session, &engine);
    let outcome = Outcome { what: &what, was_here, derived, certified, draft: draft.as_ref() };
    let told = outcome.tell(session, &engine, &done, aside);
    late.map_or(told, |e| Err(Failure::Late(e)))
}

/// Bytes that a certificate may take: what was typed is in it a few times, escaped.
fn room(erase: &Erase, what: &str, wanted: &Wanted) -> u64 {
    let typed = what.len() + wanted.authority.len() + wanted.ground.len();
    let kept =
        erase.kept().len() + erase.derived_kept().map_or(0, |_| keyfall::limits::CLASSES_MAX);
    (CERTIFICATE_BYTES + 16 * typed + 4096 * kept) as u64
}

/// Among whose records a copy of the certificate is kept: a user that lives on keeps its own
/// certificates, and nothing is kept of one that was erased.
enum Copy {
    Nobody,
    User(UserId),
    /// The user of the record that was erased, whom the certificate names.
    OfRecord,
}

impl Copy {
    fn of(erase: &Erase) -> Copy {
        match erase.scope() {
            Scope::User { class: None, when: When::Ever, .. } if erase.kept().is_empty() => {
                Copy::Nobody
            }
            Scope::User { class: Some(class), .. } if class.as_str() == certificate::CLASS => {
                Copy::Nobody
            }
            Scope::User { user, .. } => Copy::User(user.clone()),
            Scope::Record(_) => Copy::OfRecord,
        }
    }

    /// The same, unless the user was never here: the copy of a certificate does not create it.
    fn of_living(self, engine: &Engine) -> Copy {
        match self {
            Copy::User(user) if !lives(engine, &user) => Copy::Nobody,
            copy => copy,
        }
    }

    fn user(self, certificate: &Certificate) -> Option<UserId> {
        match self {
            Copy::Nobody => None,
            Copy::User(user) => Some(user),
            Copy::OfRecord => {
                let name = certificate.facts.body.user.clone();
                name.and_then(|name| UserId::new(name).ok())
            }
        }
    }
}

/// Signs the certificate of an erase, keeps a copy of it and delivers it. What was erased already
/// has none.
fn certify(
    session: &Session,
    engine: &Engine,
    delivery: Delivery,
    done: &Erasure,
    copy: Copy,
) -> Result<Option<Certified>, Error> {
    let Some(unsigned) = &done.certificate else { return Ok(None) };
    let (draft, place) = (delivery.draft.clone(), delivery.place.display().to_string());
    let mut grade = None;
    let written = unsigned.sign().and_then(|certificate| {
        let judged = certificate.facts.judge();
        grade = Some(judged.map_or_else(|e| e.to_string(), |judged| judged.grade.to_string()));
        if let Some(user) = copy.user(&certificate)
            && let Err(e) = certificate::keep(engine, &user, &certificate)
        {
            session.warn(&e.context(
                "erased and certified; only a copy of the certificate could not be kept in the \
                 store",
            ));
        }
        delivery.write(&certificate)
    });
    match written {
        Ok(()) => Ok(Some(Certified { place, grade: grade.unwrap_or_default() })),
        Err(e) => {
            let grade = grade.map_or(String::new(), |grade| format!(" ({grade})"));
            let again = draft.made().map_or(String::new(), |draft| {
                format!("; `keyfall certificate upgrade STORE {}` makes it again", word(draft))
            });
            Err(e.context(format!(
                "erased, and not to be repeated; only its certificate{grade} could not be \
                 written to its place{again}"
            )))
        }
    }
}

/// Follows derived records that the erase left for later; returns how many fell.
fn follow(session: &Session, engine: &Engine) -> u64 {
    let bar = progress("derived records taken out of lists", None);
    let tended = engine.run_due(&mut |n| bar.set_position(n));
    bar.finish_and_clear();
    match tended {
        Ok(mut tended) => {
            let derived = std::mem::take(&mut tended.derived);
            session.tended(&tended);
            derived
        }
        Err(e) => {
            session.warn(&e.context(
                "erased; only taking derived records out of lists failed, and is tried again",
            ));
            0
        }
    }
}

/// Where a certificate is, and what it is worth.
struct Certified {
    place: String,
    grade: String,
}

/// What became of an erase, besides what the engine says.
struct Outcome<'o> {
    what: &'o str,
    /// Whether the user was here, where the erase names one.
    was_here: Option<bool>,
    derived: u64,
    certified: Option<Certified>,
    draft: Option<&'o KeptDraft>,
}

impl Outcome<'_> {
    /// Says what was erased, on standard error if the certificate goes to standard output.
    fn tell(&self, session: &Session, engine: &Engine, done: &Erasure, aside: bool) -> Done {
        let lines = if session.json {
            vec![format!("{:#}", session.with_due(self.json(session, engine, done)))]
        } else if done.already {
            self.already_words(session, engine, done)
        } else {
            self.words(session, engine, done)
        };
        if aside {
            lines.iter().for_each(|line| session.aside(line));
            return Ok(());
        }
        lines.into_iter().try_for_each(|text| if session.json { block(text) } else { line(text) })
    }

    /// The draft of an earlier erase that was cut short.
    fn left(&self, done: &Erasure) -> Option<&Path> {
        self.draft.filter(|_| done.already).and_then(KeptDraft::left)
    }

    fn json(&self, session: &Session, engine: &Engine, done: &Erasure) -> Value {
        let place = self.certified.as_ref().map(|certified| &certified.place);
        json!({
            "erased": self.what, "records": done.records, "derived": self.derived,
            "already": done.already, "user_was_here": self.was_here, "epoch": begun(engine, done),
            "completed": time(done.completed),
            "root_key": root_key(&done.finality), "until": done.finality.until().map(time),
            "awaited": awaited(session, &done.finality), "cell": promise_json(&engine.promise()),
            "certificate": place,
            "draft": self.left(done).map(|place| place.display().to_string()),
        })
    }

    fn already_words(&self, session: &Session, engine: &Engine, done: &Erasure) -> Vec<String> {
        let epoch = engine.head().epoch;
        let mut said =
            vec![format!("{} had been erased already; the store is at epoch {epoch}", self.what)];
        said.extend(pending(&done.finality).map(|pending| session.fill(&pending)));
        said.extend(self.draft.map(|_| match self.left(done) {
            Some(left) => session.fill(&format!(
                "no certificate was written; the draft of one is left, and \
                 `keyfall certificate upgrade STORE {}` makes it",
                word(left)
            )),
            None => "there is nothing to certify: no certificate was written".to_owned(),
        }));
        said
    }

    fn words(&self, session: &Session, engine: &Engine, done: &Erasure) -> Vec<String> {
        let records = match done.records {
            None => "an unknown number of records (damaged pages)".to_owned(),
            Some(0) if self.was_here == Some(false) => {
                "nobody of this name was here; what arrives late is refused".to_owned()
            }
            Some(0) => "nothing of it was here; what arrives late is refused".to_owned(),
            Some(n) => counted(n, "record"),
        };
        let with = match self.derived {
            0 => String::new(),
            n => format!(", and {n} derived from them"),
        };
        let state = match (&done.finality, done.finality.until()) {
            (Finality::Final, _) => "destroyed".to_owned(),
            (_, Some(at)) => format!("pending until {at}"),
            (finality, None) => format!("pending: {}", awaited(session, finality).join("; ")),
        };
        let epoch = begun(engine, done).map_or(String::new(), |epoch| format!("; epoch {epoch}"));
        let mut said = vec![
            format!("erased {}: {records}{with}{epoch}", self.what),
            format!("root key of epoch {} {state}: {}", done.epoch - 1, engine.promise()),
        ];
        let certified = self.certified.as_ref();
        said.extend(certified.map(|it| format!("certificate {}: {}", it.place, it.grade)));
        said
    }
}

/// The epoch that began with an erase; one that waits for others has begun none yet.
fn begun(engine: &Engine, done: &Erasure) -> Option<u64> {
    Some(done.epoch).filter(|epoch| *epoch <= engine.head().epoch)
}

/// What became of the old root key.
fn root_key(finality: &Finality) -> &'static str {
    match finality {
        Finality::Final => "destroyed",
        Finality::Pending { awaited } if matches!(awaited[..], [Awaited::Medium(_)]) => "scheduled",
        Finality::Pending { .. } => "pending",
    }
}
