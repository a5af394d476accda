//! What a choice of how long makes of the policies in force. It sets an age, within what the service
//! keeps; whatever else a policy says stays: a number, a date, who has to be named, what is
//! certified.

use std::time::Duration;

use keyfall::engine::Report;
use keyfall::{Class, Engine, Error, Policy, UserId};

use super::kept::gone;

/// The policy in force for a class, or for what of it is kept for one purpose: the person's own
/// before the store's, and of each the one for the purpose first.
pub(super) fn in_force<'p>(
    own: &'p [Policy],
    store: &'p [Policy],
    class: &Class,
    purpose: Option<&str>,
) -> Option<&'p Policy> {
    [own, store].into_iter().find_map(|policies| {
        let of_class = || policies.iter().filter(|policy| policy.class == *class);
        let of_purpose = of_class().find(|policy| policy.purpose.as_deref() == purpose);
        of_purpose.or_else(|| of_class().find(|policy| policy.purpose.is_none()))
    })
}

/// The same, as a policy of just that class and purpose; one without a limit if there is none.
fn holding(own: &[Policy], store: &[Policy], class: &Class, purpose: Option<&str>) -> Policy {
    let found = in_force(own, store, class, purpose).cloned();
    let found = found.unwrap_or_else(|| Policy::new(class.clone()));
    // A number counts the records of a class, and none that have a policy of their purpose.
    let max_records = found.max_records.filter(|_| purpose.is_none());
    Policy { purpose: purpose.map(str::to_owned), max_records, ..found }
}

/// An age, with no end as the longest.
fn long(age: Option<Duration>) -> Duration {
    age.unwrap_or(Duration::MAX)
}

fn end(age: Duration) -> Option<Duration> {
    (age < Duration::MAX).then_some(age)
}

/// What holds for a class, or for what of it is kept for one purpose.
struct Rule {
    /// The policy in force.
    now: Policy,
    /// For how long the store keeps it at most.
    store: Option<Duration>,
}

impl Rule {
    /// The longest age that may be set: what the store's policy says or, if that is longer, what
    /// is set now. With `shorten` nothing longer than what is set now.
    fn longest(&self, shorten: bool) -> Option<Duration> {
        let now = long(self.now.max_age);
        end(if shorten { now } else { now.max(long(self.store)) })
    }

    /// What it becomes by a choice.
    fn by(&self, age: Option<Duration>, shorten: bool) -> Policy {
        let max_age = end(long(age).min(long(self.longest(shorten))));
        let mut policy = Policy { max_age, ..self.now.clone() };
        if (max_age, policy.max_records, policy.until) == (None, None, None) {
            // Of a policy without a limit nothing is kept beyond it, and nothing certified.
            (policy.keep_derived, policy.certified) = (None, None);
        }
        policy
    }
}

/// All that a choice is about.
pub(super) struct Rules {
    own: Vec<Policy>,
    store: Vec<Policy>,
    all: Vec<Rule>,
    /// Whether something is held.
    pub(super) held: bool,
}

/// What a choice comes to.
pub(super) struct Changes {
    /// What is to be set; nothing where it holds already.
    pub(super) policies: Vec<Policy>,
    /// Those of them whose records are counted: each record by one.
    pub(super) counted: Vec<Policy>,
}

impl Rules {
    /// What holds for somebody.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(super) fn read(engine: &Engine, user: &UserId) -> Result<Self, Error> {
        let report = match engine.report(user) {
            Err(e) if gone(&e) => None,
            report => Some(report?),
        };
        let store = engine.policies(None).list()?;
        let own = report.as_ref().map(|report| report.policies.clone()).unwrap_or_default();
        let held = report.as_ref().is_some_and(|report| !report.holds.is_empty());
        let mut all = Vec::new();
        for class in classes(report.as_ref(), &store) {
            let of_class = own.iter().chain(&store).filter(|policy| policy.class == class);
            let mut purposes = vec![None];
            for purpose in of_class.map(|policy| policy.purpose.as_deref()) {
                if !purposes.contains(&purpose) {
                    purposes.push(purpose);
                }
            }
            for purpose in purposes {
                let now = holding(&own, &store, &class, purpose);
                let store = in_force(&[], &store, &class, purpose);
                all.push(Rule { now, store: store.and_then(|policy| policy.max_age) });
            }
        }
        Ok(Rules { own, store, all, held })
    }

    /// Whether a choice may be made: it has to hold for each class. Without an end each goes on to
    /// the store's.
    pub(super) fn allow(&self, age: Option<Duration>, shorten: bool) -> bool {
        let within = |rule: &Rule| long(age) <= long(rule.longest(shorten));
        (age.is_none() && !shorten) || self.all.iter().all(within)
    }

    /// Whether a choice is what holds now.
    pub(super) fn hold(&self, age: Option<Duration>) -> bool {
        self.all.iter().all(|rule| match age {
            Some(_) => rule.now.max_age == age,
            None => long(rule.now.max_age) >= long(rule.store),
        })
    }

    /// For how long all of it is kept now, if that is the same for each class.
    pub(super) fn same(&self) -> Option<Option<Duration>> {
        one(self.all.iter().map(|rule| rule.now.max_age))
    }

    /// For how long all of it can be kept, if that is the same for each class.
    pub(super) fn longest(&self) -> Option<Option<Duration>> {
        one(self.all.iter().map(|rule| rule.longest(false)))
    }

    /// Whether nothing of it can be kept so long.
    pub(super) fn too_long(&self, age: Option<Duration>) -> bool {
        self.all.iter().all(|rule| long(age) > long(rule.longest(false)))
    }

    /// Whether a number or a date may end something sooner than its age.
    pub(super) fn sooner(&self) -> bool {
        let limited = |rule: &Rule| rule.now.max_records.is_some() || rule.now.until.is_some();
        self.all.iter().any(limited)
    }

    /// What a choice comes to: for each class and purpose the policy in force, with another age.
    pub(super) fn by(&self, age: Option<Duration>, shorten: bool) -> Changes {
        let mut own = self.own.clone();
        let mut changes = Changes { policies: Vec::new(), counted: Vec::new() };
        // That of a class comes before those of its purposes.
        for rule in &self.all {
            let policy = rule.by(age, shorten);
            let (class, purpose) = (&policy.class, policy.purpose.as_deref());
            if holding(&own, &self.store, class, purpose) == policy {
                continue;
            }
            let had = own.iter().any(|p| p.class == *class && p.purpose.as_deref() == purpose);
            let of_class = changes.policies.iter().find(|p| p.class == *class);
            // Where a policy of the class took these records over, they are counted with it.
            if had || of_class.is_none_or(|p| long(policy.max_age) < long(p.max_age)) {
                changes.counted.push(policy.clone());
            }
            own.retain(|p| p.class != *class || p.purpose.as_deref() != purpose);
            own.push(policy.clone());
            changes.policies.push(policy);
        }
        changes
    }
}

/// What all are, if they are the same.
fn one(mut all: impl Iterator<Item = Option<Duration>>) -> Option<Option<Duration>> {
    let first = all.next()?;
    all.all(|age| age == first).then_some(first)
}

/// The classes of a choice, whether or not there is anything of them.
const BASIC: [fn() -> Class; 3] = [Class::audio, Class::transcript, Class::action];

/// The classes of a choice: what is kept of the person, what rules are about, and what comes.
fn classes(report: Option<&Report>, store: &[Policy]) -> Vec<Class> {
    let mut classes = BASIC.map(|class| class()).to_vec();
    let own = report.into_iter().flat_map(|report| &report.policies);
    let kept = report.into_iter().flat_map(|report| &report.classes);
    let kept = kept.filter(|(_, n)| *n > 0).map(|(class, _)| class);
    for class in kept.chain(own.chain(store).map(|policy| &policy.class)) {
        if class.as_str() != "certificate" && !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn made(own: Vec<Policy>, store: Vec<Policy>) -> Rules {
        let of = |purpose| Rule {
            now: holding(&own, &store, &Class::audio(), purpose),
            store: in_force(&[], &store, &Class::audio(), purpose).and_then(|p| p.max_age),
        };
        let all = [None, Some("advice")].map(of).into();
        Rules { own, store, all, held: false }
    }

    fn audio() -> Policy {
        Policy::new(Class::audio())
    }

    /// A policy of a whole class is before those that the store has for a purpose of it.
    #[test]
    fn what_the_store_says_of_a_purpose_holds_on() {
        let advice = audio().purpose("advice").max_age(DAY).readers_named();
        let rules = made(Vec::new(), vec![advice.clone()]);
        assert!(!rules.allow(Some(92 * DAY), false) && rules.allow(None, false));
        assert!(rules.hold(None) && !rules.hold(Some(DAY)));
        assert!(rules.by(None, false).policies.is_empty(), "it holds already");
        let short = rules.by(Some(DAY / 2), false);
        let ten = |policy: Policy| Policy { max_age: Some(DAY / 2), ..policy };
        assert_eq!(short.policies, [ten(audio()), ten(advice.clone())]);
        assert_eq!(short.counted.len(), 1, "each record once");
        // Even where the class is given a policy, that of the purpose is not lengthened.
        let number = vec![audio().max_records(4).max_age(DAY / 2)];
        let again = made(number, vec![advice]);
        let open = again.by(None, false).policies;
        assert_eq!(open[0], audio().max_records(4));
        assert_eq!((open[1].max_age, open[1].purpose.as_deref()), (Some(DAY), Some("advice")));
    }

    #[test]
    fn all_but_the_age_of_a_policy_stays() {
        let until = keyfall::Timestamp(4_000_000_000_000);
        let full = audio().max_records(9).until(until).readers_named().max_age(30 * DAY);
        let full = full.certified("the office", "article 17").keep_derived("alarms ring on");
        for (own, store) in [(vec![], vec![full.clone()]), (vec![full.clone()], vec![])] {
            let changes = made(own, store).by(Some(DAY), false).policies;
            assert_eq!(changes[0], Policy { max_age: Some(DAY), ..full.clone() });
        }
        let kept = vec![audio().max_age(DAY).keep_derived("alarms ring on")];
        let open = made(kept, Vec::new()).by(None, false).policies;
        assert_eq!(open[0], audio(), "without a limit it is about nothing");
    }

    #[test]
    fn who_may_only_shorten_lengthens_no_class() {
        let day = made(vec![audio().max_age(DAY)], Vec::new());
        for (age, may) in [(Some(DAY / 2), true), (Some(DAY), true), (Some(2 * DAY), false)] {
            assert_eq!(day.allow(age, true), may);
            assert!(
                day.by(age, true).policies.iter().all(|p| p.max_age.is_some_and(|age| age <= DAY))
            );
        }
        assert!(!day.allow(None, true) && day.by(None, true).policies.is_empty());
        let longest = made(vec![audio().max_age(60 * DAY)], vec![audio().max_age(30 * DAY)]);
        assert_eq!(longest.longest(), Some(Some(60 * DAY)), "what holds may stay");
    }
}
