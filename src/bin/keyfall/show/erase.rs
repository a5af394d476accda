//! What an erase names, and what it would take.

use keyfall::engine::Foreseen;
use keyfall::{Erase, Scope, When};
use serde_json::{Map, Value, json};

use crate::shell::print::counted;
use crate::show::time::time;

/// What an erase names, in words.
pub(crate) fn erase_words(erase: &Erase) -> String {
    let kept = erase.kept().iter().map(|class| format!(", but for class {class}"));
    let scope = match erase.scope() {
        Scope::Record(id) => format!("record {id}"),
        Scope::User { user, class, when } => {
            let class = class.as_ref().map_or("everything".to_owned(), |c| format!("class {c}"));
            format!("{class} of user {user}{}", when_words(when))
        }
    };
    let derived = erase.derived_kept().map_or("", |_| ", but for what was derived from it");
    format!("{scope}{}{derived}", kept.collect::<String>())
}

fn when_words(when: &When) -> String {
    match when {
        When::Ever => String::new(),
        When::Interaction(id) => format!(", interaction {id}"),
        When::Between { from, until } => {
            let from = from.map_or(String::new(), |t| format!(", from {}", time(t)));
            let until = until.map_or(String::new(), |t| format!(", before {}", time(t)));
            from + &until
        }
    }
}

/// What an erase would take, in words.
pub(crate) fn foreseen_words(foreseen: &Foreseen) -> String {
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
            false => {
                "nobody of that name is in this store; what arrives late is refused".to_owned()
            }
        },
        Some(classes) => {
            let each: Vec<String> =
                classes.iter().map(|(class, n)| format!("{n} {class}")).collect();
            let total: u64 = classes.iter().map(|(_, n)| n).sum();
            format!("{} ({}){derived}", counted(total, "record"), each.join(", "))
        }
    }
}

/// What an erase would take, as JSON.
pub(crate) fn foreseen_json(erase: &Erase, foreseen: &Foreseen) -> Value {
    let classes = foreseen.records.as_ref();
    let total = classes.map(|classes| classes.iter().map(|(_, n)| n).sum::<u64>());
    let classes = classes.map(|classes| {
        classes.iter().map(|(class, n)| (class.to_string(), json!(n))).collect::<Map<_, _>>()
    });
    json!({
        "would_erase": erase_words(erase), "records": total, "classes": classes,
        "derived": foreseen.derived, "more_derived": foreseen.following,
        "already": foreseen.already, "user_is_here": foreseen.here,
    })
}
