//! Erasing, in two steps: what would go is said first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use keyfall::engine::{Foreseen, Plan, Report};
use keyfall::limits::PLANS_MAX;
use keyfall::{
    Class, Engine, Erase, Error, ErrorKind, Query, Scope, Timestamp, UserId, When as Of,
};
use maud::{Markup, html};

use super::desk::Role;
use super::done::{goes, proofs_stay};
use super::drafts::Drafts;
use super::frame::{Icon, KEPT, heading, icon};
use super::inside::{csrf, failed, missing, page, undone};
use super::judge::{Judge, Whose};
use super::kept::{PROOF_TYPE, gone};
use super::link::see;
use super::outcome::{Drafted, Outcome};
use super::planned::{self, Receipt};
use super::scopes::{MOST_TURNS, Unnamed, What, counted, place, proof_class};
use super::visit::{Filled, Visit, here, theirs};
use super::when::When;
use crate::app::App;

/// How long a planned erase can be called off.
const LATER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What an erase would do.
struct Ahead {
    /// `None` where the person is not here.
    report: Option<Report>,
    /// `None` where holds refuse it.
    seen: Option<Foreseen>,
    /// What of the class of proofs stays.
    stay: Stay,
}

/// How much of the class of proofs stays: proofs, and what is none and does not fit into one form.
#[derive(Clone, Copy, Default)]
struct Stay {
    proofs: u64,
    left: u64,
}

/// What a form names, and the classes that are ticked to stay.
struct Named {
    what: What,
    keep: Vec<Class>,
}

/// Reads a form, whole: of one that cannot be read, or that asks for more than fits, nothing is
/// done.
fn named(form: &Filled) -> Result<Named, Unnamed> {
    let session = &form.visit.session;
    let what = What::of(&form.fields, |number| session.turn(number))?;
    let mut keep: Vec<Class> = Vec::new();
    for class in form.all("keep") {
        let class = class.parse().map_err(|_| Unnamed::Unclear)?;
        if !keep.contains(&class) {
            keep.push(class);
        }
    }
    if !keep.is_empty() && is_child(&form.visit) {
        return Err(Unnamed::Child);
    }
    match what.room() {
        room if keep.len() > room => Err(Unnamed::TooManyKept(room)),
        _ => Ok(Named { what, keep }),
    }
}

/// Whether it is a child's own page. What they keep of an exchange would no longer go with what it
/// was made from: they would have it longer.
fn is_child(visit: &Visit) -> bool {
    visit.session.grant.role == Role::Child
}

/// Says what would go and what would stay, and asks.
pub(crate) async fn ask(State(app): State<App>, form: Filled) -> Response {
    let visit = &form.visit;
    let what = match named(&form) {
        Ok(named) => named.what,
        Err(why) => return nothing(visit, why),
    };
    let (user, zone, asked) =
        (visit.user().clone(), visit.session.grant.zone.clone(), what.clone());
    let whose = Whose::of(&app, &visit.session);
    let ahead = app.engine().run(move |engine| {
        let erases = asked.erases(&user, &zone)?;
        let (erases, stay) = spare(engine, &user, &asked, erases, &Judge::new(engine, &whose)?)?;
        Ok(Ahead { stay, ..ahead(engine, &user, erases)? })
    });
    match ahead.await {
        Err(e) => failed(visit, &e),
        Ok(ahead) => {
            let said = what.words(&visit.when());
            let title = visit.words().with("ask-title", [("what", said.into())]);
            page(visit, KEPT, &title, &question(visit, &what, &ahead, &title))
        }
    }
}

/// Erases, for good.
pub(crate) async fn now(State(app): State<App>, form: Filled) -> Response {
    let visit = form.visit.clone();
    let Named { what, keep } = match named(&form) {
        Ok(named) => named,
        Err(why) => return nothing(&visit, why),
    };
    let (user, zone) = (visit.user().clone(), visit.session.grant.zone.clone());
    let (said, authority) = (what.words(&visit.when()), visit.authority());
    let everything = what == What::Everything && keep.is_empty();
    let (reason, grant) = (visit.words().say("stays-reason"), visit.session.grant.clone());
    let drafts = Drafts::new(&app, &visit.session, &visit.token);
    let whose = Whose::of(&app, &visit.session);
    let done = app.engine().run(move |engine| {
        theirs(engine, &grant)?;
        let judge = Judge::new(engine, &whose)?;
        let (erases, stay) = spare(engine, &user, &what, what.erases(&user, &zone)?, &judge)?;
        let erases = erases.into_iter().enumerate().map(|(place, erase)| {
            let drafts = Arc::clone(&drafts);
            keeping(erase, &keep, &reason)
                .certified(authority.clone(), "")
                .drafted(move |draft| drafts.keep(place, draft))
        });
        let erases: Vec<_> = erases.collect();
        let drafted =
            Drafted { number: &|place| drafts.number(place), kept: &|place| drafts.kept(place) };
        let mut outcome = Outcome::of(engine, &user, (&what, said), &erases, &drafted)?;
        (outcome.proofs_stay, outcome.left) = (stay.proofs, stay.left);
        Ok(outcome)
    });
    match done.await {
        Err(e) => undone(&visit, &e),
        Ok(outcome) => {
            let all_gone = everything && (outcome.erased || !outcome.awaited.is_empty());
            let number = visit.session.remember(outcome);
            let mut response = see([], &format!("/page/done/{number}"));
            if all_gone {
                super::link::clear(&mut response);
            }
            response
        }
    }
}

/// Plans the erase for later.
pub(crate) async fn later(State(app): State<App>, form: Filled) -> Response {
    let visit = form.visit.clone();
    let Named { what, keep } = match named(&form) {
        Ok(named) => named,
        Err(why) => return nothing(&visit, why),
    };
    let (user, zone) = (visit.user().clone(), visit.session.grant.zone.clone());
    let said = what.words(&visit.when());
    let reason = visit.words().say("stays-reason");
    let (due, authority) = (later_than(&visit.when()), visit.authority());
    let grant = visit.session.grant.clone();
    let receipts = Arc::clone(app.receipts());
    let whose = Whose::of(&app, &visit.session);
    let planned = app.engine().run(move |engine| {
        here(engine, &grant)?;
        // First: a day that is erased spares the record that it may lie in.
        let receipt = Receipt::new(engine, &receipts, &user, &what)?;
        let judge = Judge::new(engine, &whose)?;
        let (erases, stay) = spare(engine, &user, &what, what.erases(&user, &zone)?, &judge)?;
        let erases = erases.into_iter().map(|erase| keeping(erase, &keep, &reason));
        let erases = erases.map(|erase| receipt.certify(erase, &authority)).collect();
        let mut outcome = plan_all(engine, &user, erases, (due, &receipt));
        outcome.what = said;
        (outcome.proofs_stay, outcome.left) = (stay.proofs, stay.left);
        outcome.kept = keep.iter().map(ToString::to_string).collect();
        if outcome.planned.is_some() || outcome.unsure {
            outcome.code = receipt.code();
        } else {
            receipt.drop(engine, &receipts);
        }
        Ok(outcome)
    });
    match planned.await {
        Err(e) => undone(&visit, &e),
        Ok(outcome) => {
            let number = visit.session.remember(outcome);
            see([], &format!("/page/done/{number}"))
        }
    }
}

/// Plans all of these erases, or none of them.
fn plan_all(
    engine: &Engine,
    user: &UserId,
    erases: Vec<Erase>,
    (due, receipt): (Timestamp, &Receipt),
) -> Outcome {
    let mut outcome = Outcome::default();
    let planned = engine.plans(user).list().map_or(0, |plans| plans.len());
    if planned + erases.len() > PLANS_MAX {
        outcome.failed = Some(ErrorKind::Limit);
        return outcome;
    }
    let (mut plans, wanted, mut failed) = (Vec::new(), erases.len(), None);
    for erase in erases {
        match engine.erase_at(erase, due) {
            Ok(plan) => plans.push(plan),
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    if let Some(e) = failed {
        outcome.failed = Some(e.kind());
        // What failed may be planned all the same.
        let own = || receipt.plans(engine, user);
        match own() {
            Ok(stand) if stand.len() == wanted => (plans, outcome.failed) = (stand, None),
            Ok(stand) => {
                outcome.unsure = e.may_have_happened() && stand.len() == plans.len();
                // Nobody asked for a part of it.
                let stays = |plan: &Plan| engine.plans(user).cancel(plan.id).is_err();
                plans = stand.into_iter().filter(stays).collect();
                if let (false, Ok(stand)) = (plans.is_empty(), own()) {
                    plans = stand;
                }
            }
            Err(_) => outcome.unsure = e.may_have_happened() || !plans.is_empty(),
        }
    }
    outcome.planned = plans.first().map(|plan| plan.due);
    outcome.held = plans.iter().any(|plan| plan.held);
    outcome
}

/// Calls a planned erase off. A child would have more kept by it.
pub(crate) async fn cancel(State(app): State<App>, form: Filled) -> Response {
    if is_child(&form.visit) {
        return refused(&form.visit, "planned-child");
    }
    let user = form.visit.user().clone();
    let Some(id) = form.field("plan").and_then(|id| id.parse().ok()) else {
        return missing(&form.visit);
    };
    let receipts = Arc::clone(app.receipts());
    let done = app.engine().run(move |engine| planned::cancel(engine, &receipts, &user, id)).await;
    match done {
        Ok(()) => see([], "/page?said=cancelled"),
        Err(e) if gone(&e) => see([], "/page?said=late"),
        Err(e) => undone(&form.visit, &e),
    }
}

fn later_than(when: &When<'_>) -> Timestamp {
    Timestamp(when.now.0.saturating_add(LATER_MS))
}

/// An erase that keeps these classes.
fn keeping(erase: Erase, keep: &[Class], reason: &str) -> Erase {
    keep.iter().fold(erase, |erase, class| erase.keep(class.clone(), reason))
}

/// Keeps proofs of earlier erases, where they lie within what is named. Whatever else is kept in
/// their class goes, record by record.
fn spare(
    engine: &Engine,
    user: &UserId,
    what: &What,
    mut erases: Vec<Erase>,
    judge: &Judge,
) -> Result<(Vec<Erase>, Stay), Error> {
    let proofs = proof_class()?;
    let mut stay = Stay::default();
    let Some(Scope::User { when: Of::Between { from, until }, .. }) =
        erases.first().map(Erase::scope).filter(|_| what.spares_proofs())
    else {
        return Ok((erases, stay));
    };
    let query = Query::default().user(user.clone()).class(proofs.clone());
    let query = query.from(*from).until(*until);
    let (mut after, mut others, mut kept) = (None, Vec::new(), false);
    loop {
        let listing = match engine.list(&query.clone().after(after)) {
            Err(e) if gone(&e) => break,
            listing => listing?,
        };
        for info in listing.records {
            if judge.is_proof(engine, &info)? {
                kept = true;
                stay.proofs += u64::from(info.media_type == PROOF_TYPE);
            } else {
                others.push(info.id);
            }
        }
        after = listing.next;
        if after.is_none() {
            break;
        }
    }
    if !kept {
        // All of the day goes as it is.
        return Ok((erases, stay));
    }
    stay.left = others.len().saturating_sub(MOST_TURNS) as u64;
    let keep = |erase: Erase| erase.keep(proofs.clone(), "proofs of earlier erases");
    erases = erases.into_iter().map(keep).collect();
    erases.extend(others.into_iter().take(MOST_TURNS).map(|id| Erase::new(Scope::record(id))));
    Ok((erases, stay))
}

fn ahead(engine: &Engine, user: &UserId, erases: Vec<Erase>) -> Result<Ahead, Error> {
    let report = match engine.report(user) {
        Err(e) if gone(&e) => None,
        report => Some(report?),
    };
    let mut sum: Option<Foreseen> = None;
    let mut held = false;
    for erase in erases {
        match engine.would_erase(erase) {
            Ok(seen) => sum = Some(sum.map_or(seen.clone(), |sum| added(sum, seen))),
            Err(e) if e.kind() == ErrorKind::Held => held = true,
            Err(e) if gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    if held {
        return Ok(Ahead { report, seen: None, stay: Stay::default() });
    }
    let mut seen = match sum {
        Some(seen) => seen,
        None => nowhere(engine, user)?,
    };
    let counts = seen.records.iter_mut();
    counts.for_each(|counts| counts.sort_by_key(|(class, _)| place(class.as_str())));
    Ok(Ahead { report, seen: Some(seen), stay: Stay::default() })
}

/// What an erase of nothing would do.
fn nowhere(engine: &Engine, user: &UserId) -> Result<Foreseen, Error> {
    let first = Timestamp(0);
    let scope = keyfall::Scope::between(user.clone(), Some(first), Some(Timestamp(1)));
    engine.would_erase(Erase::new(scope))
}

fn added(mut sum: Foreseen, seen: Foreseen) -> Foreseen {
    sum.records = match (sum.records.take(), seen.records) {
        (Some(mut counts), Some(more)) => {
            for (class, n) in more {
                match counts.iter_mut().find(|(of, _)| *of == class) {
                    Some((_, sum)) => *sum += n,
                    None => counts.push((class, n)),
                }
            }
            Some(counts)
        }
        _ => None,
    };
    sum.derived += seen.derived;
    sum.following |= seen.following;
    sum.already &= seen.already;
    sum
}

fn question(visit: &Visit, what: &What, ahead: &Ahead, title: &str) -> Markup {
    let words = visit.words();
    let Some(seen) = &ahead.seen else {
        return html! {
            (heading(title))
            (held(visit, ahead))
            div.actions { a.button href=(KEPT) { (words.say("back-list")) } }
        };
    };
    let later = visit.when().moment(later_than(&visit.when()));
    let later_lead = if is_child(visit) { "later-lead-child" } else { "later-lead" };
    let keepable = keepable(visit, seen);
    let keeps = !keepable.is_empty();
    html! {
        (heading(title))
        p.lead { (words.say("ask-lead")) }
        form method="post" action="/page/erase/now" {
            (csrf(visit))
            @let fields = what.fields(|turn| visit.session.number_of_turn(turn));
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            section.card { h2 { (words.say("goes-title")) } (goes(words, seen, what, keeps)) }
            section.card { h2 { (words.say("stays-title")) } (stays(visit, what, &keepable, ahead.stay)) }
            div.choices {
                div.choice {
                    div {
                        h2 { (words.say("later-title")) }
                        p { (words.with(later_lead, [("when", later.into())])) }
                    }
                    button formaction="/page/erase/later" { (words.say("later-button")) }
                }
                div.choice {
                    div { h2 { (words.say("now-title")) } p { (words.say("now-lead")) } }
                    button.danger { (words.say("now-button")) }
                }
            }
        }
        div.actions { a.button.quiet href=(KEPT) { (words.say("back-nothing")) } }
    }
}

/// What of it can be kept, if it is of several classes.
fn keepable<'s>(visit: &Visit, seen: &'s Foreseen) -> Vec<&'s (Class, u64)> {
    let counts = seen.records.as_deref().unwrap_or_default();
    let of = |apart: &'static [&str]| {
        counts.iter().filter(move |(class, _)| !apart.contains(&class.as_str()))
    };
    if of(&["certificate"]).count() < 2 || is_child(visit) {
        return Vec::new();
    }
    of(&["audio", "certificate"]).collect()
}

fn stays(visit: &Visit, what: &What, keepable: &[&(Class, u64)], stay: Stay) -> Markup {
    let words = visit.words();
    html! {
        @if !keepable.is_empty() {
            fieldset {
                legend.soft {
                    (words.say("stays-choose"))
                    @if keepable.len() > what.room() {
                        " " (words.with("stays-most", [("n", what.room().into())]))
                    }
                }
                @for (class, n) in keepable {
                    label.check {
                        input type="checkbox" name="keep" value=(class);
                        span { (words.with("stays-keep", [
                            ("what", counted(words, class.as_str(), *n).into()),
                        ])) }
                    }
                }
            }
        }
        @if *what == What::Everything { p { (words.say("stays-nothing")) } } @else {
            @for line in proofs_stay(words, stay.proofs, stay.left) { p { (line) } }
            p { (words.say("stays-rest")) }
        }
    }
}

fn held(visit: &Visit, ahead: &Ahead) -> Markup {
    let (words, when) = (visit.words(), visit.when());
    html! {
        div.note.bad role="alert" {
            (icon(Icon::Info))
            div {
                p { strong { (words.say("held-title")) } }
                p { (words.say("held-lead")) }
                @if let Some(report) = &ahead.report {
                    ul { @for (_, hold) in &report.holds {
                        li { (words.with("held-row", [
                            ("reason", hold.reason.clone().into()),
                            ("authority", hold.authority.clone().into()),
                            ("since", when.date_of(hold.since).into()),
                        ])) }
                    } }
                    @if report.needed > 0 {
                        p { (words.with("held-needed", [("n", report.needed.into())])) }
                    }
                }
            }
        }
    }
}

/// Says why nothing was done.
fn nothing(visit: &Visit, why: Unnamed) -> Response {
    let words = visit.words();
    let lead = match why {
        Unnamed::Nothing => {
            let (title, lead) = (words.say("what-nothing-title"), words.say("what-nothing-lead"));
            return said(visit, StatusCode::OK, &title, &lead);
        }
        Unnamed::Unclear => words.say("what-unclear-lead"),
        Unnamed::TooMany => words.with("what-many-lead", [("n", MOST_TURNS.into())]),
        Unnamed::TooManyKept(n) => words.with("stays-many-lead", [("n", n.into())]),
        Unnamed::Child => return refused(visit, "stays-child-lead"),
    };
    said(visit, StatusCode::BAD_REQUEST, &words.say("failed-nothing-title"), &lead)
}

/// Says that it is not for a child to do.
fn refused(visit: &Visit, lead: &str) -> Response {
    let (title, lead) = (visit.words().say("refused-title"), visit.words().say(lead));
    said(visit, StatusCode::FORBIDDEN, &title, &lead)
}

fn said(visit: &Visit, status: StatusCode, title: &str, lead: &str) -> Response {
    let body = html! {
        (heading(title))
        p.lead role="alert" { (lead) }
        div.actions { a.button href=(KEPT) { (visit.words().say("back-list")) } }
    };
    let mut response = page(visit, KEPT, title, &body);
    *response.status_mut() = status;
    response
}
