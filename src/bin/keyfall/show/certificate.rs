//! A certificate as a page, for the person whose data was erased.

use keyfall::Error;
use keyfall::certificate::{Certificate, Grade};
use maud::{Markup, html};

const NOT_SHOWN: &str = "\
That nobody copied keys or plaintext before; that the operator ran this software unmodified; that \
the scope was all there was about you. Keep this file: somebody who finds a key that it calls \
destroyed can prove it false.";

const NOT_CHECKED: &str = "\
This page was made from the certificate and not checked; the file itself can be, with the log's \
public key.";

/// The page, complete in itself. It shows the certificate, and does not verify it.
pub(crate) fn page(certificate: &Certificate) -> Result<String, Error> {
    let judged = certificate.facts.judge()?;
    // Nothing here was checked, so nothing is green.
    let mood = if judged.grade == Grade::Pending { "note wait" } else { "note" };
    let body = html! {
        p.lead { (NOT_CHECKED) }
        div class=(mood) {
            p {
                strong { (judged.grade) } ", level " (judged.level.name()) ": "
                (judged.level.words())
            }
        }
        @if !judged.reasons.is_empty() {
            section.card {
                h2 { "What limits it" }
                ul { @for reason in &judged.reasons { li { (reason) } } }
            }
        }
        section.card { h2 { "What was erased" } (facts(certificate)) }
        section.card { h2 { "What this does not show" } p { (NOT_SHOWN) } }
    };
    Ok(keyfall_page::document("Erasure certificate", &body))
}

fn facts(certificate: &Certificate) -> Markup {
    let body = &certificate.facts.body;
    let said = |text: &str| if text.is_empty() { "not said".to_owned() } else { text.to_owned() };
    let records = match &body.records {
        None => "not counted: pages were damaged".to_owned(),
        Some(records) if records.is_empty() => "none was there".to_owned(),
        Some(records) => {
            records.iter().map(|(class, n)| format!("{n} {class}")).collect::<Vec<_>>().join(", ")
        }
    };
    html! {
        dl.facts {
            @if let Some(user) = &body.user { dt { "Whose" } dd { (user) } }
            dt { "What" } dd { (body.scope) }
            dt { "Records" } dd { (records) }
            dt { "Derived from them" } dd { (body.derived) " fell with it" }
            @for kept in &body.kept {
                dt { "Kept" } dd { (kept.class) ", because: " (kept.reason) }
            }
            dt { "Asked for" }
            dd {
                (body.requested) ", by: " (said(&body.authority)) ", ground: "
                (said(&body.ground))
            }
            dt { "How" } dd { (body.method) }
            dt { "What held the key" } dd { (body.cell.statement) }
            dt { "In the public log" } dd { "leaf " (certificate.proof.index) }
        }
    }
}
