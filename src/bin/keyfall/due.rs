//! `keyfall tend`, `plan` and `policy`: what is erased when its time has come.

use std::path::Path;
use std::time::Duration;

use keyfall::engine::Due;
use keyfall::env::{Env, System};
use keyfall::{Class, Engine, Erase, Error, Policy, Query, Scope, Timestamp, UserId};
use serde_json::json;

use crate::args::{PlanCommand, PolicyCommand};
use crate::commands::{Done, one};
use crate::erasing::{ask, described, question};
use crate::keyholders;
use crate::output::{self, block, counted, hold_id, line, progress, table, value};
use crate::remedy::{fill, typed, word};
use crate::stores::{doubted, look, open, open_as_it_is};

/// What is due, in words.
pub(crate) fn words(due: Due) -> &'static str {
    match due {
        Due::Planned => "a planned erase",
        Due::Limit => "a limit that passes",
        Due::InboxKey => "an old inbox key is destroyed",
        Due::Pending => "what is pending becomes final",
        Due::Following => "what an erase or a policy left to be looked at",
        _ => "something of a user whose pages cannot be read",
    }
}

/// Does what is due.
pub(crate) fn tend(store: &Path, cell: Option<&Path>, (clock_is_right, json): (bool, bool)) -> Done {
    let awaiting = keyholders::awaiting(store, cell);
    let engine = open_as_it_is(store, cell)?;
    if clock_is_right {
        engine.trust_clock()?;
    }
    let bar = progress("records taken out", None);
    let done = engine.tend(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if done.waiting {
        return Err(doubted(&engine).into());
    }
    let status = engine.status()?;
    let next = status.next_due.map(output::time);
    let came = awaiting.map(|awaiting| awaiting.came(&status.finality)).unwrap_or_default();
    if json {
        let mut told = output::tended(&done);
        told["next_due"] = json!(next);
        told["awaited"] = json!(output::awaited(&status.finality));
        told["keyholders"] = json!(came);
        return value(&told);
    }
    line(format_args!(
        "{} done; {} passed a limit; {} fell; {} refused, since they are held",
        counted(done.planned, "planned erase"),
        counted(done.expired, "record"),
        counted(done.derived, "derived record"),
        done.refused
    ))?;
    if done.damaged > 0 {
        line(format_args!(
            "{} passed over, since the pages are damaged; restore the store from a copy",
            counted(done.damaged, "user")
        ))?;
    }
    for trouble in &done.troubles {
        line(fill(&trouble.to_string()))?;
    }
    if done.inbox_keys > 0 {
        line(format_args!("{} destroyed", counted(done.inbox_keys, "old inbox key")))?;
    }
    if done.finalized {
        line("what was pending is final")?;
    } else if let Some(pending) = output::pending(&status.finality) {
        line(pending)?;
    }
    came.iter().try_for_each(line)?;
    line(next.map_or("nothing is due later".to_owned(), |at| format!("next due {at}")))
}

/// Plans an erase.
pub(crate) fn plan(engine: &Engine, erase: Erase, delay: Duration, (yes, json): (bool, bool)) -> Done {
    let what = described(&erase);
    let when = format!(" in {}, unless it is cancelled", output::span(delay));
    ask(yes, || question(engine, &erase, &when), &what)?;
    let user = match erase.scope() {
        Scope::User { user, .. } => user.clone(),
        Scope::Record(id) => engine.info(id)?.user,
    };
    let due = Timestamp(System.now().0.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)));
    let plan = engine.erase_at(erase, due)?;
    if json {
        let mut told = output::plan(&plan);
        told["user"] = json!(user.as_str());
        return value(&told);
    }
    let id = hold_id(plan.id);
    line(format_args!(
        "{what} is erased at {}, by whichever keyfall has the store open then, or next",
        output::time(due)
    ))?;
    if plan.held {
        let held = format!("`keyfall hold list STORE --user {}`", word(user.as_str()));
        line(format_args!(
            "some of it is under a legal hold now ({}): unless that is lifted by then, it is refused",
            fill(&held)
        ))?;
    }
    let cancel = format!("keyfall plan cancel STORE --user {} --id {id}", word(user.as_str()));
    line(format_args!("to cancel: {}", typed(&cancel)))
}

/// Lists and cancels plans.
pub(crate) fn plans(command: PlanCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        PlanCommand::Cancel { places, user, id } => {
            open(&one(places)?, cell)?.cancel(&user, id)?;
            let id = hold_id(id);
            if json { value(&json!({"id": id, "cancelled": true})) } else { line(format_args!("cancelled {id}")) }
        }
        PlanCommand::List { places, user } => {
            let plans = look(&one(places)?, cell)?.plans(&user)?;
            if json {
                let plans: Vec<_> = plans.iter().map(output::plan).collect();
                return value(&json!({"user": user.as_str(), "plans": plans}));
            }
            if plans.is_empty() {
                return line("nothing is planned");
            }
            let rows = plans.iter().map(|plan| {
                let (due, planned) = (output::time(plan.due), output::time(plan.planned));
                let held = if plan.held { "yes" } else { "no" };
                vec![hold_id(plan.id), due, described(&plan.erase), planned, held.to_owned()]
            });
            block(table(&["ID", "DUE", "WHAT", "PLANNED", "HELD"], rows))
        }
    }
}

/// A change of a set of policies.
type Change<'c> = dyn Fn(&mut Vec<Policy>) + 'c;
/// A user, the policies that hold for it, its own and the store's, and its records.
type OfOne = (UserId, [Vec<Policy>; 2], Vec<Kept>);

/// A record, as limits see it.
struct Kept {
    began: Timestamp,
    /// Whether it passed a limit of time.
    passed: bool,
    /// Whether the number of its class holds for it: its policy is the class's.
    counts: bool,
}

/// A change of policies falls upon records that are there already: asks, as an erase does, where any pass a limit by it now.
fn ask_if_any_fall(engine: &Engine, user: Option<&UserId>, (class, change): (&Class, &Change<'_>), yes: bool) -> Done {
    if yes {
        return Ok(());
    }
    let records = falling(engine, user, class, change)?;
    if records == 0 {
        return Ok(());
    }
    let what = format!("{} of class {class} past the limit now", counted(records, "record"));
    let question = format!("Erase {what}, with what was derived from them, in every copy, for ever?");
    ask(yes, || Ok(question), &what)
}

/// How many records of a class pass a limit now, once the policies of the store or of one user are changed.
fn falling(
    engine: &Engine,
    user: Option<&UserId>,
    class: &Class,
    change: &dyn Fn(&mut Vec<Policy>),
) -> Result<u64, Error> {
    let mut store = engine.policies(None)?;
    if user.is_none() {
        change(&mut store);
        let limits = |p: &Policy| p.max_age.is_some() || p.max_records.is_some() || p.until.is_some();
        if !store.iter().any(|p| p.class == *class && limits(p)) {
            return Ok(0);
        }
    }
    let rules_of = |whose: &UserId| -> Result<[Vec<Policy>; 2], Error> {
        let mut own = engine.policies(Some(whose))?;
        if user.is_some() {
            change(&mut own);
        }
        Ok([own, store.clone()])
    };
    let now = System.now();
    let mut falling = 0;
    let mut of_one: Option<OfOne> = None;
    let mut query = Query { user: user.cloned(), class: Some(class.clone()), ..Query::default() };
    loop {
        let page = engine.list(&query)?;
        for record in page.records {
            if of_one.as_ref().is_none_or(|(whose, ..)| *whose != record.user) {
                falling += of_one.take().map_or(0, |(_, rules, records)| passing(class, &rules, &records));
                of_one = Some((record.user.clone(), rules_of(&record.user)?, Vec::new()));
            }
            if let Some((_, rules, records)) = &mut of_one {
                let began = record.interaction.began();
                let policy = holding(class, rules, &record.purpose);
                let by_age = policy.and_then(|p| p.max_age).map(|age| began.0.saturating_add(millis(age)));
                let until = policy.and_then(|p| p.until).map(|until| until.0);
                let passed = by_age.into_iter().chain(until).min().is_some_and(|at| at <= now.0);
                records.push(Kept { began, passed, counts: policy.is_some_and(|p| p.purpose.is_none()) });
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(falling + of_one.map_or(0, |(_, rules, records)| passing(class, &rules, &records))),
        }
    }
}

/// The policy that holds for a record: the user's own before the store's, and of each the one for its purpose first.
fn holding<'p>(class: &Class, rules: &'p [Vec<Policy>; 2], purpose: &str) -> Option<&'p Policy> {
    rules.iter().find_map(|policies| {
        let of_class = || policies.iter().filter(|p| p.class == *class);
        let for_purpose = of_class().find(|p| p.purpose.as_deref() == Some(purpose));
        for_purpose.or_else(|| of_class().find(|p| p.purpose.is_none()))
    })
}

/// How many of one user's records of a class, oldest first, pass a limit: by age, by date, or since there are too many.
fn passing(class: &Class, rules: &[Vec<Policy>; 2], records: &[Kept]) -> u64 {
    let most = holding(class, rules, "").and_then(|p| p.max_records).unwrap_or(u64::MAX);
    let counted: Vec<Timestamp> = records.iter().filter(|r| r.counts).map(|r| r.began).collect();
    let over = counted.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
    // The oldest interactions go whole.
    let before = over.checked_sub(1).and_then(|last| counted.get(last)).copied();
    let falls = |r: &&Kept| r.passed || r.counts && before.is_some_and(|before| r.began <= before);
    records.iter().filter(falls).count() as u64
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Sets, takes back and lists policies.
pub(crate) fn policies(command: PolicyCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        PolicyCommand::Set { places, class, user, purpose, max_age, max_records, until, readers_named, yes } => {
            let policy = Policy { class, purpose, max_age, max_records, until, readers_named };
            let engine = open(&one(places)?, cell)?;
            let set = |all: &mut Vec<Policy>| {
                all.retain(|p| p.class != policy.class || p.purpose != policy.purpose);
                all.push(policy.clone());
            };
            ask_if_any_fall(&engine, user.as_ref(), (&policy.class, &set), yes)?;
            engine.set_policy(user.as_ref(), &policy)?;
            let done = engine.tend(&mut |_| {})?;
            if done.waiting {
                output::warn(&doubted(&engine));
            }
            if json {
                let mut told = output::policy(&policy);
                told["user"] = json!(user.as_ref().map(UserId::as_str));
                told["expired"] = json!(done.expired);
                return value(&told);
            }
            line(output::limits(&policy))?;
            if done.expired > 0 {
                line(format_args!("{} passed it, and fell", counted(done.expired, "record")))
            } else {
                Ok(())
            }
        }
        PolicyCommand::Unset { places, class, user, purpose, yes } => {
            let engine = open(&one(places)?, cell)?;
            let unset = |all: &mut Vec<Policy>| all.retain(|p| p.class != class || p.purpose != purpose);
            ask_if_any_fall(&engine, user.as_ref(), (&class, &unset), yes)?;
            engine.unset_policy(user.as_ref(), &class, purpose.as_deref())?;
            if json { value(&json!({"class": class.as_str(), "unset": true})) } else { line("taken back") }
        }
        PolicyCommand::List { places, user } => {
            let policies = look(&one(places)?, cell)?.policies(user.as_ref())?;
            if json {
                return value(&json!({"policies": policies.iter().map(output::policy).collect::<Vec<_>>()}));
            }
            if policies.is_empty() {
                return line("no policies");
            }
            policies.iter().try_for_each(|policy| line(output::limits(policy)))
        }
    }
}
