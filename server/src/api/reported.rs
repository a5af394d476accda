//! In which form a report is given: JSON, the same with a context for linked data, or a page that
//! is complete in itself.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use keyfall_page::token;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::report::ReportJson;

/// A form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    LinkedData,
    Page,
}

impl Form {
    /// The form that a caller wants most (RFC 9110, 12.5.1); JSON if it is none.
    pub(super) fn wanted(headers: &HeaderMap) -> Form {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<(String, f32)> =
            lines.flat_map(|line| line.split(',')).map(range).collect();
        let wants = |names: &[&str]| {
            let of = |name: &&str| ranges.iter().find(|(range, _)| range == name).map(|(_, q)| *q);
            names.iter().find_map(of).unwrap_or(0.0)
        };
        let json = wants(&["application/json", "application/*", "*/*"]);
        let page = wants(&["text/html", "text/*", "*/*"]);
        let linked = wants(&["application/ld+json"]);
        if linked > json.max(page) || linked > 0.0 && linked == json && page <= linked {
            return Form::LinkedData;
        }
        if page > json { Form::Page } else { Form::Json }
    }

    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::LinkedData => "application/ld+json",
            Form::Page => "text/html; charset=utf-8",
        }
    }

    /// A report in this form.
    pub(super) fn text(self, report: &ReportJson) -> serde_json::Result<String> {
        let mut value = serde_json::to_value(report)?;
        match self {
            Form::Json => {}
            Form::LinkedData => value["@context"] = context(),
            Form::Page => return Ok(page(&value)),
        }
        Ok(value.to_string())
    }
}

/// A range of media types, and how much it is wanted.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, weight.unwrap_or(1.0))
}

/// What the names in a report mean: those of Dublin Core where there is one, else this format's own.
fn context() -> Value {
    let date = |of: &str| json!({"@id": of, "@type": "xsd:dateTime"});
    json!({
        "@vocab": "urn:keyfall:report:",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "id": "http://purl.org/dc/terms/identifier",
        "created": date("http://purl.org/dc/terms/created"),
        "media_type": "http://purl.org/dc/terms/format",
        "length": "http://purl.org/dc/terms/extent",
        "at": date("http://purl.org/dc/terms/date"),
        "since": date("urn:keyfall:report:since"),
        "until": date("urn:keyfall:report:until"),
        "due": date("urn:keyfall:report:due"),
    })
}

/// The lists of a report that stand below the records, with their titles.
const LISTS: [(&str, &str); 8] = [
    ("holds", "Legal holds"),
    ("plans", "Erases that are planned"),
    ("policies", "How long records are kept"),
    ("store_policies", "How long records are kept where nothing else is said"),
    ("grants", "Third parties that may open records"),
    ("training_sets", "Training sets"),
    ("history", "What happened"),
    ("erased", "What was erased"),
];

/// The page of a report.
fn page(report: &Value) -> String {
    let none = Vec::new();
    let list = |name: &str| report[name].as_array().unwrap_or(&none);
    let title = format!("What is kept about {}", text(&report["user"]));
    let body = html! {
        p.lead { "Since " (text(&report["created"])) ". " (text(&report["promise"])) }
        section.day {
            header { h2 { "Records" } p { (list("records").len()) } }
            @if list("records").is_empty() { p { "None." } } @else {
                ul.turns { @for record in list("records") { li.turn.filed {
                    div.said { (facts(record, &["opened"])) (opened(record)) }
                } } }
            }
        }
        @for (name, title) in LISTS {
            @if !list(name).is_empty() {
                section.card { h2 { (title) } @for one in list(name) { (facts(one, &[])) } }
            }
        }
        section.card { h2 { "In all" } (facts(report, &["user", "promise"])) }
    };
    keyfall_page::document(&title, &body)
}

/// Who opened a record.
fn opened(record: &Value) -> Markup {
    html! {
        @for access in record["opened"].as_array().unwrap_or(&Vec::new()) {
            p.soft {
                "Opened by " (text(&access["principal"])) ", for " (text(&access["purpose"]))
                ", " (text(&access["at"]))
            }
        }
    }
}

/// What is said of something, without lists of things that stand elsewhere.
fn facts(of: &Value, but: &[&str]) -> Markup {
    let none = Map::new();
    let all = of.as_object().unwrap_or(&none).iter();
    let said = all.filter(|(name, value)| {
        let things = value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
        !but.contains(&name.as_str()) && !things && !text(value).is_empty()
    });
    html! {
        dl.facts {
            @for (name, value) in said {
                dt { (name.replace('_', " ")) }
                dd { (token(&text(value))) }
            }
        }
    }
}

/// A value in words; nothing for one that says nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(all) => {
            let said = all.iter().map(|(name, value)| (name, text(value)));
            let said = said.filter(|(_, value)| !value.is_empty());
            said.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn the_form_that_is_wanted_most_is_given() {
    use axum::http::HeaderValue;
    let wanted = |accept: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Form::wanted(&headers)
    };
    assert_eq!(Form::wanted(&HeaderMap::new()), Form::Json);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, form) in [
        ("*/*", Form::Json),
        ("application/json", Form::Json),
        ("text/html", Form::Page),
        (browser, Form::Page),
        ("text/html;q=0.5, application/json", Form::Json),
        ("application/ld+json", Form::LinkedData),
        ("application/ld+json, application/json;q=0.9", Form::LinkedData),
        ("application/ld+json;q=0.1, */*", Form::Json),
        ("image/png", Form::Json),
    ] {
        assert_eq!(wanted(accept), form, "{accept}");
    }
}
