//! Records.

use keyfall::RecordInfo;
use serde_json::{Value, json};

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
    })
}
