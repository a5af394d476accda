//! Records.

use keyfall::RecordInfo;
use serde_json::{Value, json};

use crate::shell::print::counted;
use crate::show::time::time;

/// What is known about a record, as JSON.
pub(crate) fn record_json(info: &RecordInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "user": info.user.as_str(),
        "interaction": info.interaction.to_string(),
        "class": info.class.as_str(),
        "media_type": info.media_type,
        "purpose": info.purpose,
        "length": info.length,
        "created": time(info.created),
        "sources": info.sources,
        "detached": info.detached,
        "name": info.name,
        "meta": info.meta,
        "sha256": info.digest.map(|digest| data_encoding::HEXLOWER.encode(&digest)),
    })
}

/// What is known about a record, for a person: what, and what it is.
pub(crate) fn record_rows(info: &RecordInfo) -> Vec<(String, String)> {
    let sources = match (info.sources, info.detached) {
        (0, false) => None,
        (n, false) => Some(counted(n.into(), "record")),
        (0, true) => Some("detached from all".to_owned()),
        (n, true) => Some(format!("{}, detached from others", counted(n.into(), "record"))),
    };
    let digest = info.digest.map(|digest| data_encoding::HEXLOWER.encode(&digest));
    let purpose = Some(info.purpose.clone()).filter(|purpose| !purpose.is_empty());
    let rows = [
        ("id", Some(info.id.to_string())),
        ("user", Some(info.user.to_string())),
        ("name", info.name.clone()),
        ("class", Some(info.class.to_string())),
        ("interaction", Some(info.interaction.to_string())),
        ("type", Some(info.media_type.clone())),
        ("purpose", purpose),
        ("length", Some(info.length.to_string())),
        ("created", Some(time(info.created))),
        ("derived from", sources),
        ("sha256", digest),
    ];
    let known = rows.into_iter().filter_map(|(what, is)| Some((what.to_owned(), is?)));
    known
        .chain(info.meta.iter().map(|(key, value)| (format!("meta {key}"), value.clone())))
        .collect()
}
