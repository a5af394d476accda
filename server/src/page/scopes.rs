//! What a form of the page names to be erased.

use keyfall::limits::KEPT_MAX;
use keyfall::time::Zone;
use keyfall::{Class, Erase, Error, InteractionId, Scope, Timestamp, UserId, When as Of};

use super::when::When;
use super::words::Words;

/// Most that is named one by one: fewer than the most planned erases of a user.
pub(crate) const MOST_TURNS: usize = 60;

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Exchanges, one by one.
    Turns(Vec<InteractionId>),
    /// A day, by its date in the zone of the page.
    Day(String),
    /// All of a class.
    Class(Class),
    Everything,
}

/// Why nothing is done by a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// It names nothing.
    Nothing,
    /// A part of it cannot be read: the rest is not all that was meant.
    Unclear,
    /// It names more than one form can.
    TooMany,
    /// It keeps more classes than so many.
    TooManyKept(usize),
    /// It keeps something, which a child does not have kept.
    Child,
}

/// The class of certificates.
///
/// # Errors
/// None that occurs.
pub(crate) fn proof_class() -> Result<Class, Error> {
    Class::new("certificate")
}

impl What {
    /// What the fields of a form name: a button that stands for one thing, or what is ticked.
    pub(crate) fn of(
        fields: &[(String, String)],
        turn: impl Fn(&str) -> Option<InteractionId>,
    ) -> Result<What, Unnamed> {
        let mut buttons = fields
            .iter()
            .filter(|(name, _)| ["one", "day", "class", "all"].contains(&name.as_str()));
        let Some((button, value)) = buttons.next() else { return ticked(fields, turn) };
        if buttons.next().is_some() {
            return Err(Unnamed::Unclear);
        }
        let what = match button.as_str() {
            "one" => turn(value).map(|turn| What::Turns(vec![turn])),
            "day" => value.parse::<jiff::civil::Date>().ok().map(|it| What::Day(it.to_string())),
            "class" => value.parse().ok().map(What::Class),
            _ => Some(What::Everything),
        };
        what.ok_or(Unnamed::Unclear)
    }

    /// How many classes an erase of it can keep. One place is for proofs of earlier erases, where
    /// they may lie within it.
    pub(crate) fn room(&self) -> usize {
        match self {
            What::Class(_) => 0,
            _ => KEPT_MAX - usize::from(self.spares_proofs()),
        }
    }

    /// The fields that name it again.
    pub(crate) fn fields(
        &self,
        number: impl Fn(InteractionId) -> u64,
    ) -> Vec<(&'static str, String)> {
        match self {
            What::Turns(turns) => {
                turns.iter().map(|turn| ("turn", number(*turn).to_string())).collect()
            }
            What::Day(date) => vec![("day", date.clone())],
            What::Class(class) => vec![("class", class.to_string())],
            What::Everything => vec![("all", "1".to_owned())],
        }
    }

    /// In words.
    pub(crate) fn words(&self, when: &When<'_>) -> String {
        match self {
            What::Turns(turns) => match turns.as_slice() {
                [one] => {
                    let at = when.moment(one.began());
                    when.words.with("what-turn", [("when", at.into())])
                }
                many => when.words.with("what-turns", [("n", many.len().into())]),
            },
            What::Day(date) => when.words.with("what-day", [("day", when.date(date).into())]),
            What::Class(class) => {
                let kind = kind(when.words, class.as_str());
                when.words.with("what-class", [("kind", kind.into())])
            }
            What::Everything => when.words.say("what-all"),
        }
    }

    /// Whether proofs of earlier erases stay although they may lie within it.
    pub(crate) fn spares_proofs(&self) -> bool {
        matches!(self, What::Day(_))
    }

    /// The erases that it takes, one for each thing that is named.
    ///
    /// # Errors
    /// `Invalid` for a date that is none.
    pub(crate) fn erases(&self, user: &UserId, zone: &Zone) -> Result<Vec<Erase>, Error> {
        let scopes = match self {
            What::Turns(turns) => {
                turns.iter().map(|turn| Scope::interaction(user.clone(), *turn)).collect()
            }
            What::Day(date) => {
                let (from, until) = span(date, zone)?;
                vec![Scope::between(user.clone(), Some(from), Some(until))]
            }
            What::Class(class) => vec![Scope::class(user.clone(), class.clone())],
            What::Everything => vec![Scope::user(user.clone())],
        };
        Ok(scopes.into_iter().map(Erase::new).collect())
    }
}

/// What is ticked: all of it, or nothing at all.
fn ticked(
    fields: &[(String, String)],
    turn: impl Fn(&str) -> Option<InteractionId>,
) -> Result<What, Unnamed> {
    let mut turns = Vec::new();
    for (_, value) in fields.iter().filter(|(name, _)| name == "turn") {
        let turn = turn(value).ok_or(Unnamed::Unclear)?;
        if !turns.contains(&turn) {
            turns.push(turn);
        }
    }
    match turns.len() {
        0 => Err(Unnamed::Nothing),
        n if n > MOST_TURNS => Err(Unnamed::TooMany),
        _ => Ok(What::Turns(turns)),
    }
}

/// From when until when a date goes on in a zone.
///
/// # Errors
/// `Invalid` for what is no date.
pub(crate) fn span(date: &str, zone: &Zone) -> Result<(Timestamp, Timestamp), Error> {
    let noon: Timestamp = format!("{date}T12:00:00Z").parse()?;
    // Zones are at most 14 hours ahead: the day that is meant is this one or one beside it.
    let days = [-1, 0, 1].map(|step: i64| {
        zone.day(Timestamp(noon.0.saturating_add_signed(step * 24 * 60 * 60 * 1000)))
    });
    let day = days.into_iter().find(|day| day.to_string() == date);
    let span = day.unwrap_or_else(|| zone.day(noon)).span();
    Ok((span.from, span.before))
}

/// A class in words: `recordings`.
pub(crate) fn kind(words: Words<'_>, class: &str) -> String {
    let id = format!("kind-{class}");
    if words.has(&id) { words.say(&id) } else { words.quoted(class) }
}

/// A number of records in words: `3 recordings`.
pub(crate) fn counted(words: Words<'_>, class: &str, n: u64) -> String {
    let id = match class {
        NO_PROOF => "count-no-proof".to_owned(),
        class => format!("count-{class}"),
    };
    if words.has(&id) {
        words.with(&id, [("n", n.into())])
    } else {
        words.with("count-other", [("n", n.into()), ("class", words.quoted(class).into())])
    }
}

/// What is counted of the class of proofs where the proofs themselves stay: what is none of them.
pub(crate) const NO_PROOF: &str = "no proof";

/// Counts by class, of what is named: of a day or of exchanges no proof goes.
pub(crate) fn called<'c>(what: &What, class: &'c str) -> &'c str {
    let proofs = matches!(what, What::Everything | What::Class(_));
    if class == "certificate" && !proofs { NO_PROOF } else { class }
}

/// The place of a class among others: what is said, what is written of it, what is done, the rest by
/// name. The engine's own order means nothing.
pub(crate) fn place(class: &str) -> (usize, String) {
    let known = ["audio", "transcript", "action"];
    (known.iter().position(|one| *one == class).unwrap_or(known.len()), class.to_owned())
}

/// Several things, joined as the language does it.
pub(crate) fn joined(words: Words<'_>, things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => {
            let (some, last) = (some.join(", "), last.clone());
            words.with("and", [("some", some.into()), ("last", last.into())])
        }
    }
}

/// What a planned erase takes, in words: what it names, except what stays of that.
pub(crate) fn erase_words(erase: &Erase, when: &When<'_>) -> String {
    let what = scope_words(erase.scope(), when);
    let kept = erase.kept().iter().map(|class| kind(when.words, class.as_str()));
    match kept.collect::<Vec<_>>() {
        kept if kept.is_empty() => what,
        kept => {
            let kept = joined(when.words, &kept);
            when.words.with("what-except", [("what", what.into()), ("kept", kept.into())])
        }
    }
}

/// What a scope names, in words: the page names less than an application can.
fn scope_words(scope: &Scope, when: &When<'_>) -> String {
    let part = |id: &InteractionId| {
        let at = when.moment(id.began());
        when.words.with("what-part", [("when", at.into())])
    };
    match scope {
        Scope::Record(id) => part(&id.interaction()),
        Scope::User { class: Some(_), when: Of::Interaction(id), .. } => part(id),
        Scope::User { when: Of::Interaction(id), .. } => What::Turns(vec![*id]).words(when),
        Scope::User { class, when: Of::Between { from, until }, .. } => {
            between(class.as_ref(), *from, *until, when)
        }
        Scope::User { class: Some(class), .. } => What::Class(class.clone()).words(when),
        Scope::User { .. } => What::Everything.words(when),
    }
}

fn between(
    class: Option<&Class>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    when: &When<'_>,
) -> String {
    let day = from.map(|from| when.zone.day(from).to_string());
    if let (None, Some(day)) = (class, day)
        && span(&day, when.zone).is_ok_and(|(first, end)| (Some(first), Some(end)) == (from, until))
    {
        return What::Day(day).words(when);
    }
    let what = class.map_or(What::Everything, |class| What::Class(class.clone())).words(when);
    let (id, from, until) = match (from, until) {
        (Some(from), Some(until)) => ("what-between", Some(from), Some(until)),
        (Some(from), None) => ("what-from", Some(from), None),
        (None, Some(until)) => ("what-before", None, Some(until)),
        (None, None) => return what,
    };
    let said = |at: Option<Timestamp>| at.map(|at| when.moment(at)).unwrap_or_default();
    when.words.with(
        id,
        [("what", what.into()), ("from", said(from).into()), ("until", said(until).into())],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_the_zone() {
        for (zone, from) in [
            ("UTC", "2026-03-01T00:00:00Z"),
            ("Europe/Berlin", "2026-02-28T23:00:00Z"),
            ("Pacific/Kiritimati", "2026-02-28T10:00:00Z"),
            ("Pacific/Niue", "2026-03-01T11:00:00Z"),
        ] {
            let found = span("2026-03-01", &zone.parse().expect("a zone")).expect("a day");
            assert_eq!(found.0.to_string(), from, "{zone}");
        }
    }

    #[test]
    fn a_button_counts_more_than_what_is_ticked() {
        let form = |fields: &[(&str, &str)]| {
            let fields: Vec<_> =
                fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            What::of(&fields, |id| id.parse().ok())
        };
        let id = "019b76da-a800-7001-8001-010101010101";
        assert_eq!(
            form(&[("turn", id), ("day", "2026-03-01")]),
            Ok(What::Day("2026-03-01".into()))
        );
        assert!(matches!(form(&[("turn", id), ("turn", id)]), Ok(What::Turns(t)) if t.len() == 1));
        assert_eq!(form(&[("csrf", "x")]), Err(Unnamed::Nothing));
    }

    /// Of what was ticked, what could not be read was passed over.
    #[test]
    fn a_form_is_read_whole_or_not_at_all() {
        let id = |n: usize| format!("019b76da-a800-7001-8001-{n:012x}");
        let form = |fields: &[(&str, &str)]| {
            let fields: Vec<_> =
                fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            What::of(&fields, |id| id.parse().ok())
        };
        let ids: Vec<String> = (0..=MOST_TURNS).map(id).collect();
        let turns: Vec<(&str, &str)> = ids.iter().map(|id| ("turn", id.as_str())).collect();
        assert_eq!(form(&turns), Err(Unnamed::TooMany));
        let most = form(&turns[1..]);
        assert!(matches!(most, Ok(What::Turns(turns)) if turns.len() == MOST_TURNS));
        for unclear in [
            &[("turn", &*ids[0]), ("turn", "x")][..],
            &[("one", "x")],
            &[("day", "yesterday")],
            &[("day", "2026-03-01"), ("day", "2026-03-02")],
            &[("all", "1"), ("class", "audio")],
        ] {
            assert_eq!(form(unclear), Err(Unnamed::Unclear), "{unclear:?}");
        }
    }

    /// A planned erase that keeps a class was called everything.
    #[test]
    fn what_is_planned_is_named_without_what_stays() {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let ada = UserId::new("ada").expect("a name");
        let note = Class::new("note").expect("a class");
        let erase = Erase::new(Scope::user(ada)).keep(note, "wanted");
        let erase = erase.keep(Class::transcript(), "wanted");
        for (tag, said) in [
            ("en", "everything, except “note” and transcripts"),
            ("de", "alles, bis auf „note“ und Mitschriften"),
        ] {
            let when = When { words: Words::of(tag), zone: &zone, now: Timestamp(0) };
            assert_eq!(erase_words(&erase, &when), said);
        }
    }

    /// A planned erase of a part of a day was called all of that day.
    #[test]
    fn what_is_planned_is_named_as_far_as_it_goes() {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let when = When { words: Words::of("en"), zone: &zone, now };
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let ada = UserId::new("ada").expect("a name");
        let (from, until) = (at("2026-11-26T23:00:00Z"), at("2026-11-27T23:00:00Z"));
        let said = |from, until| scope_words(&Scope::between(ada.clone(), from, until), &when);
        assert_eq!(said(from, until), "all of 27 November");
        let noon = at("2026-11-27T11:00:00Z");
        assert_eq!(
            said(from, noon),
            "everything, from 27 November, 00:00 until 27 November, 12:00"
        );
        assert_eq!(said(noon, None), "everything, from 27 November, 12:00");
        assert_eq!(said(None, noon), "everything, before 27 November, 12:00");
        let class = Scope::User {
            user: ada.clone(),
            class: Some(Class::audio()),
            when: Of::Between { from, until },
        };
        assert_eq!(
            scope_words(&class, &when),
            "all recordings, from 27 November, 00:00 until 28 November, 00:00"
        );
        let all = Scope::class(ada, Class::audio());
        assert_eq!(scope_words(&all, &when), "all recordings");
    }
}
