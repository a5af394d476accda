//! A certificate as a page, for the person whose data was erased.

use keyfall::Error;
use keyfall::certificate::Certificate;
use maud::{DOCTYPE, Markup, html};

const PAGE_STYLE: &str = "\
body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}\
th{text-align:left;vertical-align:top;padding-right:1em;white-space:nowrap}.grade{font-size:1.3em}";

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
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Erasure certificate" }
                style { (PAGE_STYLE) }
            }
            body {
                h1 { "Erasure certificate" }
                p.grade {
                    strong { (judged.grade) } ", level " (judged.level.name()) ": "
                    (judged.level.words())
                }
                @if !judged.reasons.is_empty() {
                    h2 { "What limits it" }
                    ul { @for reason in &judged.reasons { li { (reason) } } }
                }
                h2 { "What was erased" }
                (table(certificate))
                h2 { "What this does not show" }
                p { (NOT_SHOWN) }
                p { (NOT_CHECKED) }
            }
        }
    };
    Ok(page.into_string())
}

fn table(certificate: &Certificate) -> Markup {
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
        table {
            @if let Some(user) = &body.user { tr { th { "Whose" } td { (user) } } }
            tr { th { "What" } td { (body.scope) } }
            tr { th { "Records" } td { (records) } }
            tr { th { "Derived from them" } td { (body.derived) " fell with it" } }
            @for kept in &body.kept {
                tr { th { "Kept" } td { (kept.class) ", because: " (kept.reason) } }
            }
            tr {
                th { "Asked for" }
                td {
                    (body.requested) ", by: " (said(&body.authority)) ", ground: "
                    (said(&body.ground))
                }
            }
            tr { th { "How" } td { (body.method) } }
            tr { th { "What held the key" } td { (body.cell.statement) } }
            tr { th { "In the public log" } td { "leaf " (certificate.proof.index) } }
        }
    }
}
