//! `keyfall policy`: retention.

use std::path::Path;
use std::time::Duration;

use keyfall::env::{Env, System};
use keyfall::{Class, Engine, Error, ErrorKind, Policy, Query, RecordInfo, Timestamp, UserId};
use serde_json::json;

use crate::args::PolicyCommand;
use crate::shell::ask::ask;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{counted, line};
use crate::shell::session::Session;
use crate::shell::stores::{doubted, look, open};
use crate::show::rules::{policy_json, policy_words};

/// Sets, removes and lists policies.
pub(super) fn run(session: &Session, command: PolicyCommand) -> Done {
    match command {
        PolicyCommand::Set {
            places,
            class,
            user,
            purpose,
            max_age,
            max_records,
            until,
            readers_named,
            keep_derived,
            authority,
            ground,
            yes,
        } => {
            let asked = authority.is_some() || ground.is_some();
            let certified =
                asked.then(|| (authority.unwrap_or_default(), ground.unwrap_or_default()));
            let policy = Policy {
                class,
                purpose,
                max_age,
                max_records,
                until,
                readers_named,
                keep_derived,
                certified,
            };
            let store = one(places)?;
            check_limited(session, &store, &policy)?;
            set(session, &open(session, &store)?, user.as_ref(), &policy, yes)
        }
        PolicyCommand::Unset { places, class, user, purpose, yes } => {
            let engine = open(session, &one(places)?)?;
            let unset =
                |all: &mut Vec<Policy>| all.retain(|p| p.class != class || p.purpose != purpose);
            let user = user.as_ref();
            ask_if_any_fall(&engine, &Change { user, class: &class, apply: &unset }, yes)?;
            let removed = found(&engine, user, &class, purpose.as_deref())?;
            engine.policies(user).unset(&class, purpose.as_deref())?;
            if session.json {
                return session.value(&json!({
                    "class": class.as_str(), "user": user.map(UserId::as_str), "unset": true,
                    "removed": removed.as_ref().map(policy_json),
                }));
            }
            let removed = removed.map_or(String::new(), |policy| policy_words(&policy));
            line(format_args!("removed the policy of {}: {removed}", whose(user)))
        }
        PolicyCommand::List { places, user } => {
            let engine = look(session, &one(places)?)?;
            let policies = engine.policies(user.as_ref()).list()?;
            if session.json {
                let policies: Vec<_> = policies.iter().map(policy_json).collect();
                let user = user.as_ref().map(UserId::as_str);
                return session.value(&json!({"user": user, "policies": policies}));
            }
            if policies.is_empty() {
                return line(match &user {
                    Some(user) => format!("user {user} has no policy of its own"),
                    None => "the store has no policy".to_owned(),
                });
            }
            policies.iter().try_for_each(|policy| line(policy_words(policy)))
        }
    }
}

/// Refuses a policy without a limit: it would silently replace the existing one.
fn check_limited(session: &Session, store: &Path, policy: &Policy) -> Result<(), Error> {
    if policy.has_limit() {
        return Ok(());
    }
    session.about(store);
    let text = format!(
        "a policy needs a limit: --max-age, --max-records or --until, or --readers-named; \
         `keyfall policy unset STORE --class {}` removes the one that is set",
        policy.class
    );
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Sets a policy, having asked if records fall at once.
fn set(
    session: &Session,
    engine: &Engine,
    user: Option<&UserId>,
    policy: &Policy,
    yes: bool,
) -> Done {
    let set = |all: &mut Vec<Policy>| {
        all.retain(|p| p.class != policy.class || p.purpose != policy.purpose);
        all.push(policy.clone());
    };
    ask_if_any_fall(engine, &Change { user, class: &policy.class, apply: &set }, yes)?;
    let replaced = found(engine, user, &policy.class, policy.purpose.as_deref())?;
    let outranked = match user {
        Some(_) => outranked(engine, user, policy)?,
        None => Vec::new(),
    };
    engine.policies(user).set(policy)?;
    tell_set(session, engine, &Set { user, policy, replaced, outranked })
}

/// The policy of a class and purpose, if one is set: the store's, or the user's own.
fn found(
    engine: &Engine,
    user: Option<&UserId>,
    class: &Class,
    purpose: Option<&str>,
) -> Result<Option<Policy>, Error> {
    let all = engine.policies(user).list()?;
    Ok(all.into_iter().find(|p| p.class == *class && p.purpose.as_deref() == purpose))
}

/// The store's policies that no longer apply to a user, or to the records of one purpose, once the
/// user has this one: any of the user's own for the class comes before all of the store's.
fn outranked(
    engine: &Engine,
    user: Option<&UserId>,
    policy: &Policy,
) -> Result<Vec<Policy>, Error> {
    let class = policy.class.clone();
    let store = engine.policies(None).list()?;
    let mut own = engine.policies(user).list()?;
    own.retain(|p| p.class != policy.class || p.purpose != policy.purpose);
    let before = Rules { own: own.clone(), store: store.clone(), class };
    own.push(policy.clone());
    let after = Rules { own, store: store.clone(), class: policy.class.clone() };
    // The purposes that some policy tells apart, and all others.
    let mut purposes: Vec<String> = store.iter().filter_map(|p| p.purpose.clone()).collect();
    purposes.extend(policy.purpose.clone());
    purposes.push(String::new());
    let lost = |purpose: &String| {
        let applied = before.policy(purpose)?;
        (after.policy(purpose) != Some(applied)).then_some(applied)
    };
    let lost: Vec<&Policy> = purposes.iter().filter_map(lost).collect();
    Ok(store.iter().filter(|p| lost.contains(p)).cloned().collect())
}

/// Whose policy it is, in words.
fn whose(user: Option<&UserId>) -> String {
    user.map_or("the store, for all users".to_owned(), |user| format!("user {user}"))
}

/// A policy that was just set.
struct Set<'p> {
    user: Option<&'p UserId>,
    policy: &'p Policy,
    /// The one whose place it took, of the same user, class and purpose.
    replaced: Option<Policy>,
    /// The store's that no longer apply to its user, or to that user's records of its purpose.
    outranked: Vec<Policy>,
}

/// Does what is due by a policy that was just set, and says what it replaced and what fell.
fn tell_set(session: &Session, engine: &Engine, set: &Set<'_>) -> Done {
    let Set { user, policy, replaced, outranked } = set;
    let done = engine.run_due(&mut |_| {})?;
    if done.waiting {
        session.warn(&doubted(engine));
    }
    if session.json {
        let mut told = policy_json(policy);
        told["user"] = json!(user.map(UserId::as_str));
        told["replaced"] = json!(replaced.as_ref().map(policy_json));
        told["instead_of_store"] = outranked.iter().map(policy_json).collect();
        told["expired"] = json!(done.expired);
        return session.value(&told);
    }
    line(format_args!("policy of {}: {}", whose(*user), policy_words(policy)))?;
    if let Some(replaced) = replaced {
        line(format_args!("it replaces: {}", policy_words(replaced)))?;
    }
    for outranked in outranked {
        line(format_args!(
            "for this user it takes the place of the store's: {}",
            policy_words(outranked)
        ))?;
        if outranked.readers_named && !policy.readers_named {
            line("for these records readers need not be named any more")?;
        }
    }
    if done.expired == 0 {
        return Ok(());
    }
    line(format_args!("{} passed it, and fell", counted(done.expired, "record")))
}

/// A change of the store's policies for a class, or of one user's.
struct Change<'c> {
    user: Option<&'c UserId>,
    class: &'c Class,
    apply: &'c dyn Fn(&mut Vec<Policy>),
}

/// Asks, as an erase does, if records that are there already pass a limit by the change.
fn ask_if_any_fall(engine: &Engine, change: &Change<'_>, yes: bool) -> Done {
    if yes {
        return Ok(());
    }
    let records = change.falling(engine)?;
    if records == 0 {
        return Ok(());
    }
    let class = change.class;
    let mut set = Vec::new();
    (change.apply)(&mut set);
    let derived = match set.first().map(|policy| policy.keep_derived.is_some()) {
        Some(true) => "",
        Some(false) => ", with what was derived from them",
        None => ", with what was derived from them unless the policy that is left keeps it",
    };
    let what = format!("{} of class {class} past the limit now", counted(records, "record"));
    let question = format!("Erase {what}{derived}, in every copy, for ever?");
    ask(yes, || Ok(question), &what)
}

impl Change<'_> {
    /// How many records of the class pass a limit once the change is made.
    fn falling(&self, engine: &Engine) -> Result<u64, Error> {
        let mut store = engine.policies(None).list()?;
        if self.user.is_none() {
            (self.apply)(&mut store);
            let limits =
                |p: &Policy| p.max_age.is_some() || p.max_records.is_some() || p.until.is_some();
            if !store.iter().any(|p| p.class == *self.class && limits(p)) {
                return Ok(0);
            }
        }
        let now = System.now();
        let (mut falling, mut of_one): (u64, Option<OfOne>) = (0, None);
        let class = Some(self.class.clone());
        let mut query = Query::default().user(self.user.cloned()).class(class);
        loop {
            let page = engine.list(&query)?;
            for record in page.records {
                if of_one.as_ref().is_none_or(|one| one.user != record.user) {
                    let own = self.policies_of(engine, &record.user)?;
                    let rules = Rules { class: self.class.clone(), own, store: store.clone() };
                    let next = OfOne { user: record.user.clone(), rules, records: Vec::new() };
                    falling += of_one.replace(next).map_or(0, |one| one.passing());
                }
                if let Some(one) = &mut of_one {
                    one.records.push(one.rules.of(&record, now));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(falling + of_one.map_or(0, |one| one.passing())),
            }
        }
    }

    /// A user's own policies once the change is made.
    fn policies_of(&self, engine: &Engine, user: &UserId) -> Result<Vec<Policy>, Error> {
        let mut own = engine.policies(Some(user)).list()?;
        if self.user.is_some() {
            (self.apply)(&mut own);
        }
        Ok(own)
    }
}

/// The policies that apply to a user's records of a class.
struct Rules {
    class: Class,
    own: Vec<Policy>,
    store: Vec<Policy>,
}

impl Rules {
    /// The policy for a purpose: the user's own before the store's, and of each the one for the
    /// purpose first.
    fn policy(&self, purpose: &str) -> Option<&Policy> {
        [&self.own, &self.store].into_iter().find_map(|policies| {
            let of_class = || policies.iter().filter(|p| p.class == self.class);
            let for_purpose = of_class().find(|p| p.purpose.as_deref() == Some(purpose));
            for_purpose.or_else(|| of_class().find(|p| p.purpose.is_none()))
        })
    }

    fn of(&self, record: &RecordInfo, now: Timestamp) -> Limited {
        let began = record.interaction.began();
        let policy = self.policy(&record.purpose);
        let by_age = policy.and_then(|p| p.max_age).map(|age| began.0.saturating_add(millis(age)));
        let until = policy.and_then(|p| p.until).map(|until| until.0);
        let passed = by_age.into_iter().chain(until).min().is_some_and(|at| at <= now.0);
        Limited { began, passed, counts: policy.is_some_and(|p| p.purpose.is_none()) }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A record, as limits see it.
struct Limited {
    began: Timestamp,
    /// Whether it passed a limit of time.
    passed: bool,
    /// Whether the limit on the number of records applies to it: its policy is the class's.
    counts: bool,
}

/// One user's records of a class, oldest first.
struct OfOne {
    user: UserId,
    rules: Rules,
    records: Vec<Limited>,
}

impl OfOne {
    /// How many of them pass a limit: by age, by date, or since there are too many.
    fn passing(&self) -> u64 {
        let most = self.rules.policy("").and_then(|p| p.max_records).unwrap_or(u64::MAX);
        let counted: Vec<Timestamp> =
            self.records.iter().filter(|r| r.counts).map(|r| r.began).collect();
        let over = counted.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        // The oldest interactions go whole.
        let before = over.checked_sub(1).and_then(|last| counted.get(last)).copied();
        let falls =
            |r: &&Limited| r.passed || r.counts && before.is_some_and(|before| r.began <= before);
        self.records.iter().filter(falls).count() as u64
    }
}
