//! The report of everything kept about a user: as JSON, as text and as a page.

use keyfall::engine::{Access, Erased, Lineage, Plan, Report, UploadState};
use keyfall::{Engine, Error, Query, RecordId, RecordInfo, Timestamp, UserId};
use keyfall_page::token;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crate::shell::failure::Done;
use crate::shell::print::{counted, printable, table};
use crate::shell::session::Session;
use crate::show::cell::{awaited, pending, promise_json};
use crate::show::copies::{copies_table, copy_json, head_json, mode};
use crate::show::erase::erase_words;
use crate::show::history::{fact_json, fact_words};
use crate::show::record::record_json;
use crate::show::rules::{
    certified_words, grant_json, grant_words, hold_json, hold_words, number, plan_json,
    policy_json, policy_words,
};
use crate::show::time::time;

/// What is kept about a user, record by record.
pub(crate) struct About {
    pub(crate) report: Report,
    pub(crate) rows: Vec<Row>,
}

/// A record, where it comes from, and who opened it.
pub(crate) struct Row {
    pub(crate) info: RecordInfo,
    lineage: Lineage,
    until: Option<Timestamp>,
    opened: Vec<Access>,
}

impl About {
    /// Reads the report of a user, and its records.
    pub(crate) fn read(engine: &Engine, user: &UserId) -> Result<Self, Error> {
        About::of(engine, engine.report(user)?)
    }

    /// Reads the records that a report is about.
    pub(crate) fn of(engine: &Engine, report: Report) -> Result<Self, Error> {
        let rows = rows(engine, &report.user)?;
        Ok(About { report, rows })
    }

    /// The number of its records, in words.
    pub(crate) fn counted(&self) -> String {
        counted(self.rows.len() as u64, "record")
    }

    /// The report as JSON.
    pub(crate) fn json(&self, session: &Session) -> Value {
        let report = &self.report;
        let history = report.history.iter().map(|(at, fact)| fact_json(*at, fact));
        let classes = report.classes.iter().map(|(class, n)| (class.to_string(), json!(n)));
        let erased = report.erased.iter().map(Gone::of);
        let copies = report.copies.iter().map(|copy| copy_json(session, copy));
        let sets = report.sets.iter().map(|(name, n)| json!({"name": name, "records": n}));
        json!({
            "user": report.user.as_str(), "created": time(report.created), "life": report.life,
            "classes": classes.collect::<Map<_, _>>(),
            "records": self.rows.iter().map(row_json).collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(),
            "holds": report.holds.iter().map(|(id, hold)| hold_json(*id, hold)).collect::<Vec<_>>(),
            "needed_by_held_records": report.needed,
            "plans": report.plans.iter().map(plan_json).collect::<Vec<_>>(),
            "policies": report.policies.iter().map(policy_json).collect::<Vec<_>>(),
            "store_policies": report.store_policies.iter().map(policy_json).collect::<Vec<_>>(),
            "next_due": report.next_due.map(time), "pending_until": report.pending.map(time),
            "awaited": awaited(session, &report.finality),
            "grants": report.grants.iter().map(|(id, g)| grant_json(*id, g)).collect::<Vec<_>>(),
            "uploads": report.uploads.iter().map(upload_json).collect::<Vec<_>>(),
            "training_sets": sets.collect::<Vec<_>>(),
            "inbox_keys_made": report.inbox_keys.iter().map(|at| time(*at)).collect::<Vec<_>>(),
            "envelopes_accepted": report.accepted,
            "erased": erased.map(|g| json!({"what": g.what, "epoch": g.epoch})).collect::<Vec<_>>(),
            "head": head_json(report.head),
            "copies": copies.collect::<Vec<_>>(),
            "cell": promise_json(&report.cell),
        })
    }

    /// The report as text, for a terminal: `out` is called for each part.
    pub(crate) fn text(&self, session: &Session, out: &mut dyn FnMut(String) -> Done) -> Done {
        let report = &self.report;
        let records: u64 = report.classes.iter().map(|(_, n)| n).sum();
        let (records, created) = (counted(records, "record"), time(report.created));
        say(out, format!("{}, since {created}: {records}", report.user))?;
        if !self.rows.is_empty() {
            out(self.records_table())?;
        }
        for (row, access) in self.accesses() {
            say(out, format!("opened: {} ({})", access_words(access), row.info.id))?;
        }
        self.said(session).into_iter().try_for_each(|text| say(out, text))?;
        if report.copies.is_empty() {
            return say(out, "no copies".to_owned());
        }
        out(copies_table(session, &report.copies))
    }

    fn records_table(&self) -> String {
        let labelled = self.is_labelled();
        let rows = self.rows.iter().map(|row| {
            let info = &row.info;
            let mut cells = vec![
                info.id.to_string(),
                info.class.to_string(),
                info.media_type.clone(),
                info.length.to_string(),
                time(info.created),
                row.until.map(time).unwrap_or_default(),
                info.purpose.clone(),
                origin(row),
            ];
            cells.extend(labelled.then(|| label(row)));
            cells
        });
        let headings = [
            "ID",
            "CLASS",
            "TYPE",
            "LENGTH",
            "CREATED",
            "UNTIL",
            "WHY",
            "ORIGIN",
            "NAME, METADATA",
        ];
        table(&headings[..if labelled { 9 } else { 8 }], rows)
    }

    /// Whether some record has a name or metadata.
    fn is_labelled(&self) -> bool {
        self.rows.iter().any(|row| row.info.name.is_some() || !row.info.meta.is_empty())
    }

    /// What the text says between the records and the copies, a line each.
    fn said(&self, session: &Session) -> Vec<String> {
        let report = &self.report;
        let held = report.holds.iter().map(|(id, hold)| {
            let (on, since, id) = (hold_words(hold), time(hold.since), number(*id));
            format!("held: {on}, {}, by {}, since {since} ({id})", hold.reason, hold.authority)
        });
        let mut said: Vec<String> = held.collect();
        said.extend(needed(report.needed));
        said.extend(
            report.uploads.iter().map(|it| format!("unfinished upload: {}", upload_words(it))),
        );
        said.extend(shared(report).into_iter().map(|grant| format!("granted: {grant}")));
        said.extend(limits(session, report));
        said.extend(report.history.iter().map(|(at, fact)| {
            let told = fact_words(fact);
            let colon = if told.reason.is_empty() { "" } else { ": " };
            format!("{}: {}{colon}{}", time(*at), told.what, told.reason)
        }));
        let erased = report.erased.iter().map(Gone::of);
        said.extend(erased.map(|gone| format!("erased: {} (epoch {})", gone.what, gone.epoch)));
        said.extend(inbox(report));
        said
    }

    fn accesses(&self) -> impl Iterator<Item = (&Row, &Access)> {
        self.rows.iter().flat_map(|row| row.opened.iter().map(move |access| (row, access)))
    }

    /// The report as a page, complete in itself.
    pub(crate) fn page(&self, session: &Session) -> String {
        let title = format!("What is kept about {}", self.report.user);
        let body = html! {
            p.lead { "Since " (time(self.report.created)) ". State: " (self.report.head) "." }
            (self.page_of_records())
            (self.page_of_rules(session))
            (self.page_of_past())
            (self.page_of_places())
        };
        keyfall_page::document(&title, &body)
    }

    fn page_of_records(&self) -> Markup {
        html! {
            section.day {
                header { h2 { "Records" } @if !self.rows.is_empty() { p { (self.counted()) } } }
                @if self.rows.is_empty() { p { "None." } } @else {
                    ul.turns { @for row in &self.rows { (self.page_of_record(row)) } }
                }
            }
            @if !self.report.uploads.is_empty() {
                section.card {
                    h2 { "Uploads that are not finished" }
                    ul { @for upload in &self.report.uploads { li { (upload_words(upload)) } } }
                }
            }
            section.card {
                h2 { "Who opened what" }
                p.soft { "As far as the application said who opened it." }
                ul { @for (row, access) in self.accesses() {
                    li {
                        (access_words(access)) " (" (row.info.class) " " code { (row.info.id) } ")"
                    }
                } }
            }
        }
    }

    fn page_of_record(&self, row: &Row) -> Markup {
        let info = &row.info;
        let said = [
            ("Why", info.purpose.clone()),
            ("Until", row.until.map(time).unwrap_or_default()),
            ("Origin", origin(row)),
            ("Name, metadata", label(row)),
        ];
        html! {
            li.turn.filed {
                div.said {
                    time.at { (time(info.created)) }
                    p {
                        strong { (info.class) } ", " (token(&info.media_type)) ", "
                        (info.length) " bytes"
                    }
                    dl.facts {
                        @for (what, text) in said.iter().filter(|(_, text)| !text.is_empty()) {
                            dt { (what) } dd { (token(text)) }
                        }
                        dt { "Id" } dd { code { (info.id) } }
                    }
                }
            }
        }
    }

    fn page_of_rules(&self, session: &Session) -> Markup {
        let report = &self.report;
        html! {
            section.card {
                h2 { "Holds" }
                @if report.holds.is_empty() { p { "None." } } @else {
                    ul { @for (id, hold) in &report.holds {
                        li {
                            (hold_words(hold)) ": " (hold.reason) ", by " (hold.authority)
                            ", since " (time(hold.since)) " (" (number(*id)) ")"
                        }
                    } }
                }
                @if let Some(needed) = needed(report.needed) { p { (needed) } }
            }
            (part("Who may open what", "No third party.", &shared(report)))
            (part("Until when", "No limit is set.", &limits(session, report)))
        }
    }

    fn page_of_past(&self) -> Markup {
        let report = &self.report;
        let history: Vec<String> = report
            .history
            .iter()
            .map(|(at, fact)| {
                let told = fact_words(fact);
                let reason = if told.reason.is_empty() { "" } else { ". Reason: " };
                format!("{}: {}{reason}{}", time(*at), told.what, told.reason)
            })
            .collect();
        let erased = report.erased.iter().map(Gone::of);
        let erased: Vec<String> =
            erased.map(|gone| format!("{} (epoch {})", gone.what, gone.epoch)).collect();
        html! {
            (part("What was done", "Nothing beyond putting and erasing.", &history))
            (part("What was erased", "Nothing that is still known of.", &erased))
        }
    }

    fn page_of_places(&self) -> Markup {
        let copies = self.report.copies.iter();
        let copies: Vec<String> =
            copies.map(|copy| format!("{}, {}", copy.entry.place, mode(copy.entry.mode))).collect();
        html! {
            (part("Where the copies are", "The store knows of no copy.", &copies))
            footer {
                @if let Some(inbox) = inbox(&self.report) { p { (inbox) } }
                p { "Keys: " (self.report.cell) "." }
            }
        }
    }
}

/// The name of a record, and what was said of it.
fn label(row: &Row) -> String {
    let meta = row.info.meta.iter().map(|(key, value)| format!("{key}={value}"));
    row.info.name.iter().cloned().chain(meta).collect::<Vec<_>>().join("; ")
}

fn upload_words(upload: &UploadState) -> String {
    let of = upload.length.map(|length| format!(" of {length}")).unwrap_or_default();
    let (class, kind, expires) = (&upload.class, &upload.media_type, time(upload.expires));
    let why =
        if upload.purpose.is_empty() { String::new() } else { format!(", {}", upload.purpose) };
    let meta = upload.meta.iter().map(|(key, value)| format!(", {key}={value}"));
    let label: String = upload.name.iter().map(|name| format!(", {name}")).chain(meta).collect();
    format!(
        "{class} ({kind}), {}{of} bytes{why}{label}; it falls at {expires} unless it is finished",
        upload.offset
    )
}

fn upload_json(upload: &UploadState) -> Value {
    json!({
        "id": upload.id.to_string(), "class": upload.class.as_str(),
        "interaction": upload.interaction.to_string(), "media_type": upload.media_type,
        "purpose": upload.purpose, "name": upload.name, "meta": upload.meta,
        "offset": upload.offset, "length": upload.length, "expires": time(upload.expires),
    })
}

/// Prints a line that may hold what others wrote.
fn say(out: &mut dyn FnMut(String) -> Done, text: String) -> Done {
    out(printable(&text))
}

/// A part of the page: what it lists, or that there is nothing.
fn part(title: &str, nothing: &str, items: &[String]) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            @if items.is_empty() { p { (nothing) } } @else {
                ul { @for item in items { li { (item) } } }
            }
        }
    }
}

fn rows(engine: &Engine, user: &UserId) -> Result<Vec<Row>, Error> {
    let mut query = Query::default().user(user.clone());
    let mut rows = Vec::new();
    loop {
        let page = engine.list(&query)?;
        for info in page.records {
            let (lineage, opened) = (engine.lineage(&info.id)?, engine.accesses(&info.id)?);
            let until = engine.until(&info.id)?;
            rows.push(Row { info, lineage, until, opened });
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(rows),
        }
    }
}

fn row_json(row: &Row) -> Value {
    let ids = |ids: &[RecordId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let opened = row.opened.iter();
    let opened = opened.map(|a| json!({"by": a.principal, "purpose": a.purpose, "at": time(a.at)}));
    let mut record = record_json(&row.info);
    record["derived_from"] = json!(ids(&row.lineage.sources));
    record["source_of"] = json!(ids(&row.lineage.derived));
    record["until"] = json!(row.until.map(time));
    record["opened"] = json!(opened.collect::<Vec<_>>());
    record
}

/// What was erased in one go.
struct Gone {
    what: String,
    epoch: u64,
}

impl Gone {
    fn of(part: &Erased) -> Gone {
        match part {
            Erased::Span { class, from, until, epoch } => {
                let class = match class {
                    None => "everything".to_owned(),
                    Some(Some(class)) => format!("class {class}"),
                    Some(None) => "a class that holds nothing now".to_owned(),
                };
                let what = format!("{class} from {} to {}", time(*from), time(*until));
                Gone { what, epoch: *epoch }
            }
            Erased::Single { number, epoch } => {
                Gone { what: format!("{number} single interactions or records"), epoch: *epoch }
            }
            _ => Gone { what: format!("{part:?}"), epoch: 0 },
        }
    }
}

fn access_words(access: &Access) -> String {
    format!("{}, by {}, for {}", time(access.at), access.principal, access.purpose)
}

/// That records cannot be erased, since others that are held were derived from them.
fn needed(records: u64) -> Option<String> {
    let records = (records > 0).then(|| counted(records, "record"))?;
    Some(format!("{records} cannot be erased: records derived from them are held"))
}

/// The grantees that may open records, and the training sets that the records are in.
fn shared(report: &Report) -> Vec<String> {
    let grants = report.grants.iter().map(|(id, grant)| grant_words(*id, grant));
    let in_set =
        |(name, n): &(String, u64)| format!("{} in training set {name}", counted(*n, "record"));
    grants.chain(report.sets.iter().map(in_set)).collect()
}

/// What is erased automatically, and when.
fn limits(session: &Session, report: &Report) -> Vec<String> {
    let planned = |plan: &Plan| {
        let held = if plan.held { ", held now" } else { "" };
        let certified = plan.erase.certified_for();
        let certified = certified
            .map_or(String::new(), |(who, why)| format!(", {}", certified_words(who, why)));
        let what = erase_words(&plan.erase);
        format!("erase of {what} planned for {}{held}{certified}", time(plan.due))
    };
    let mut all: Vec<String> = report.plans.iter().map(planned).collect();
    all.extend(report.policies.iter().map(policy_words));
    let of_store = report.store_policies.iter();
    all.extend(of_store.map(|policy| format!("for everybody: {}", policy_words(policy))));
    all.extend(report.next_due.map(|due| format!("next due {}", time(due))));
    all.extend(pending(&report.finality).map(|pending| session.fill(&pending)));
    all
}

/// Whether records may lie elsewhere, sealed to an inbox key that lives.
fn inbox(report: &Report) -> Option<String> {
    let made = report.inbox_keys.first()?;
    Some(format!(
        "envelopes sealed since {} can be opened; {} were accepted, and copies of them may lie \
         where they came from",
        time(*made),
        report.accepted
    ))
}

fn origin(row: &Row) -> String {
    let from = match row.lineage.sources.len() {
        0 if row.lineage.detached => "detached".to_owned(),
        0 => String::new(),
        n => format!("derived from {n}"),
    };
    let to = row.lineage.derived.len();
    let comma = if from.is_empty() { "" } else { ", " };
    if to == 0 { from } else { format!("{from}{comma}source of {to}") }
}
