//! Attributes of a file: what of a record they become, and what of a record becomes them.

use keyfall::{Class, Put, RecordId, RecordInfo, UserId};
use object_store::{Attribute, AttributeValue, Attributes, ObjectMeta, Result, path::Path};

use crate::error::{about_put, no_path};

/// The media type of a file of which nothing was said; it is not shown as an attribute.
const NOTHING_SAID: &str = "application/octet-stream";
/// Keys of what is no metadata of the caller's own begin with this.
const HTTP: &str = "http:";
/// Keys of the caller's own metadata, where a record keeps them for another one.
const OWN: &str = "own:";
/// In the metadata of one put alone: a put under a condition is never the same as another.
pub(crate) const ONCE: &str = "keyfall:once";

/// What is to be put for a file with these attributes.
pub(crate) fn to_put(
    path: &Path,
    user: UserId,
    class: &Class,
    attributes: &Attributes,
) -> Result<Put> {
    let (mut class, mut said) = (by_type(attributes).unwrap_or(class.clone()), Vec::new());
    let mut change: Vec<Box<dyn FnOnce(Put) -> Put>> = Vec::new();
    for (key, value) in attributes {
        let value = value.as_ref().to_owned();
        match key {
            Attribute::ContentType => change.push(Box::new(move |put| put.media_type(value))),
            Attribute::Metadata(key) => match key.as_ref() {
                "keyfall-class" => class = Class::new(value).map_err(|e| about_put(path, e))?,
                "keyfall-purpose" => change.push(Box::new(move |put| put.purpose(value))),
                "keyfall-interaction" => {
                    let id = value.parse().map_err(|e| about_put(path, e))?;
                    change.push(Box::new(move |put| put.interaction(id)));
                }
                "keyfall-from" => {
                    for id in value.split(',') {
                        let id: RecordId = id.trim().parse().map_err(|e| about_put(path, e))?;
                        change.push(Box::new(move |put| put.derived_from(id)));
                    }
                }
                key if key.starts_with(HTTP) || key.starts_with("keyfall") => {
                    return Err(no_path(
                        path,
                        "metadata has keys that begin with http: or keyfall",
                    ));
                }
                key => said.push((key.to_owned(), value)),
            },
            other => match header(other) {
                Some(name) => said.push((format!("{HTTP}{name}"), value)),
                None => return Err(no_path(path, "an attribute that is not known here")),
            },
        }
    }
    let put = change.into_iter().fold(Put::new(user, class), |put, change| change(put));
    Ok(said.into_iter().fold(put, |put, (key, value)| put.meta(key, value)))
}

/// Has a record keep attributes for another one, as they are ([`kept`]).
pub(crate) fn keep(put: Put, attributes: &Attributes) -> Put {
    attributes.iter().fold(put, |put, (key, value)| {
        let key = match key {
            Attribute::ContentType => format!("{HTTP}content-type"),
            Attribute::Metadata(key) => format!("{OWN}{key}"),
            other => format!("{HTTP}{}", header(other).unwrap_or_default()),
        };
        put.meta(key, value.as_ref())
    })
}

/// The attributes that a record keeps for another one.
pub(crate) fn kept(info: &RecordInfo) -> Attributes {
    let all = info.meta.iter().filter_map(|(key, value)| {
        let attribute = match (key.strip_prefix(OWN), key.strip_prefix(HTTP)) {
            (Some(own), _) => Attribute::Metadata(own.to_owned().into()),
            (None, Some("content-type")) => Attribute::ContentType,
            (None, name) => of_header(name?)?,
        };
        Some((attribute, value.clone()))
    });
    all.collect()
}

/// The class of what nothing else is said of, by its media type.
fn by_type(attributes: &Attributes) -> Option<Class> {
    match attributes.get(&Attribute::ContentType)?.split('/').next()? {
        "audio" => Some(Class::audio()),
        "text" => Some(Class::transcript()),
        _ => None,
    }
}

fn header(attribute: &Attribute) -> Option<&'static str> {
    Some(match attribute {
        Attribute::ContentDisposition => "content-disposition",
        Attribute::ContentEncoding => "content-encoding",
        Attribute::ContentLanguage => "content-language",
        Attribute::CacheControl => "cache-control",
        Attribute::StorageClass => "storage-class",
        _ => return None,
    })
}

fn of_header(name: &str) -> Option<Attribute> {
    Some(match name {
        "content-disposition" => Attribute::ContentDisposition,
        "content-encoding" => Attribute::ContentEncoding,
        "content-language" => Attribute::ContentLanguage,
        "cache-control" => Attribute::CacheControl,
        "storage-class" => Attribute::StorageClass,
        _ => return None,
    })
}

/// Attributes of a record.
pub(crate) fn attributes(info: &RecordInfo) -> Attributes {
    let mut all = Attributes::new();
    if info.media_type != NOTHING_SAID {
        all.insert(Attribute::ContentType, AttributeValue::from(info.media_type.clone()));
    }
    for (key, value) in info.meta.iter().filter(|(key, _)| *key != ONCE) {
        let header = key.strip_prefix(HTTP).and_then(of_header);
        let attribute = header.unwrap_or_else(|| Attribute::Metadata(key.clone().into()));
        all.insert(attribute, AttributeValue::from(value.clone()));
    }
    all
}

/// The entity tag of a record: its id.
pub(crate) fn e_tag(id: &RecordId) -> String {
    format!("\"{id}\"")
}

/// The record that an entity tag names.
pub(crate) fn of_e_tag(e_tag: &str) -> Option<RecordId> {
    e_tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// What object_store tells of a file.
pub(crate) fn meta(location: Path, info: &RecordInfo) -> ObjectMeta {
    let ms = i64::try_from(info.created.0).ok();
    ObjectMeta {
        location,
        last_modified: ms.and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_default(),
        size: info.length,
        e_tag: Some(e_tag(&info.id)),
        version: None,
    }
}
