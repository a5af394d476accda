//! Records: putting them, and listing what a user has.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::{Class, Put, RecordId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::report::record_json;
use crate::app::App;
use crate::auth::caller::{Caller, text};
use crate::intake::{Intake, too_large};
use crate::metering;
use crate::problem::{Answer, Problem};
use crate::words;

/// The id of a record.
#[derive(Serialize, ToSchema)]
pub(crate) struct PutAnswer {
    /// The id, 64 characters.
    id: String,
}

/// Puts a record
///
/// The body is the record, of any length up to the service's limit; it streams into the store. It
/// is durable when the answer comes.
#[utoipa::path(
    post, path = "/v1/users/{handle}/records", tag = "records",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Keyfall-Class" = String, Header, description = "Its class: `audio`, `transcript`, `action`, or one of your own"),
        ("Keyfall-Interaction" = Option<String>, Header, description = "The interaction it belongs to: a UUID of version 7. Without it the record is in one of its own"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "Why it is kept: a purpose of the credential"),
        ("Keyfall-From" = Option<String>, Header, description = "The id of a record that it was derived from, once for each: it falls with them"),
        ("Keyfall-Created" = Option<String>, Header, description = "When it was made; now, if it is not given"),
        ("Idempotency-Key" = Option<String>, Header, description = "A random key of 16 to 255 characters: the same request with the same key puts nothing twice, for a day"),
    ),
    request_body(content = Vec<u8>, content_type = "*/*", description = "The record"),
    responses(
        (status = 201, description = "The record is stored", body = PutAnswer, headers(
            ("Location" = String), ("ETag" = String, description = "The id, quoted"),
            ("Repr-Digest" = String, description = "SHA-256 of what was stored (RFC 9530)"),
        )),
    )
)]
pub(crate) async fn put_record(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let user = caller.user(&app, "put", &handle).await?;
    let purpose = caller.purpose()?.unwrap_or_default().to_owned();
    let class = header(&headers, "keyfall-class")?.ok_or_else(|| {
        Problem::invalid("a record needs a class; name it in the header Keyfall-Class")
    })?;
    let class = Class::new(class)?;
    let most = app.config().max_record_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > most) {
        return Err(too_large());
    }
    let mut put = Put::new(user.id, class.clone()).purpose(purpose);
    if let Some(media_type) = headers.get(CONTENT_TYPE) {
        put = put.media_type(text(media_type.as_bytes())?);
    }
    if let Some(id) = header(&headers, "keyfall-interaction")? {
        put = put.interaction(id.parse()?);
    }
    if let Some(created) = header(&headers, "keyfall-created")? {
        put = put.created(words::point(&created)?);
    }
    for source in headers.get_all("keyfall-from") {
        let source: RecordId = text(source.as_bytes())?.parse()?;
        caller.may_with("put", &source.handle())?;
        put = put.derived_from(source);
    }
    let mut intake = Intake::new(body, most);
    let id = match app.engine().put(put, &mut intake).await {
        Ok(id) => id,
        Err(e) => return Err(intake.problem().unwrap_or_else(|| e.into())),
    };
    metering::put(&class, intake.length());
    Ok(stored(&id, &intake.digest()))
}

fn stored(id: &RecordId, digest: &[u8; 32]) -> Response {
    let digest = format!("sha-256=:{}:", data_encoding::BASE64.encode(digest));
    let headers = [
        (LOCATION.as_str(), format!("/v1/records/{id}")),
        (ETAG.as_str(), format!("\"{id}\"")),
        ("repr-digest", digest),
    ];
    (StatusCode::CREATED, headers, Json(PutAnswer { id: id.to_string() })).into_response()
}

/// A header's value, if it is given.
fn header(headers: &HeaderMap, name: &str) -> Answer<Option<String>> {
    headers.get(name).map(|value| text(value.as_bytes())).transpose()
}

/// What to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only records of this class.
    class: Option<String>,
    /// Only records of this interaction.
    interaction: Option<String>,
    /// Only of interactions that began then or later.
    from: Option<String>,
    /// Only of interactions that began before.
    until: Option<String>,
    /// `asc` (the default) or `desc`.
    order: Option<String>,
    /// Most records of a page: 1 to 10,000; 100 if it is not given.
    limit: Option<usize>,
    /// After this record: `next` of the page before.
    after: Option<String>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordPage {
    /// The metadata of each.
    records: Vec<Value>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

/// Lists the records of a user, in pages
#[utoipa::path(
    get, path = "/v1/users/{handle}/records", tag = "records",
    params(("handle" = String, Path, description = "The handle of the user"), Asked),
    responses((status = 200, description = "A page of records", body = RecordPage,
        headers(("Link" = String, description = "The next page, as `rel=\"next\"`"))))
)]
pub(crate) async fn list_records(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer<Response> {
    let user = caller.user(&app, "report", &handle).await?;
    let newest_first = match asked.order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Problem::invalid("order is asc or desc")),
    };
    let limit = asked.limit.unwrap_or(100);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::invalid("limit is 1 to 10000"));
    }
    let query = keyfall::Query::default()
        .user(user.id)
        .class(words::class(asked.class.as_deref())?)
        .interaction(words::interaction(asked.interaction.as_deref())?)
        .from(asked.from.as_deref().map(words::point).transpose()?)
        .until(asked.until.as_deref().map(words::point).transpose()?)
        .newest_first(newest_first)
        .limit(limit)
        .after(asked.after.as_deref().map(str::parse::<RecordId>).transpose()?);
    let page = app.engine().list(query).await?;
    let records = page.records.iter().map(record_json).collect();
    let next = page.next.map(|id| id.to_string());
    let link = next.as_ref().map(|next| asked.link(&handle, limit, next));
    let mut response =
        Json(json!({"records": Value::Array(records), "next": next})).into_response();
    response
        .headers_mut()
        .insert("cache-control", axum::http::HeaderValue::from_static("no-store"));
    if let Some(link) = link.and_then(|link| link.parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

impl Asked {
    /// The address of the next page.
    fn link(&self, handle: &str, limit: usize, next: &str) -> String {
        let given = [
            ("class", &self.class),
            ("interaction", &self.interaction),
            ("from", &self.from),
            ("until", &self.until),
            ("order", &self.order),
        ];
        let mut query = format!("limit={limit}");
        for (name, value) in given {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        format!("</v1/users/{handle}/records?{query}&after={next}>; rel=\"next\"")
    }
}

/// A value as it stands in a query.
fn escaped(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    value.bytes().map(escape).collect()
}
