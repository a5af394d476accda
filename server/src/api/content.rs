//! The content of a record: whole or in part, its readers and its lineage.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::{AsyncOpening, AsyncReader, ErrorKind, RecordId, RecordInfo};
use serde::Serialize;
use std::io::SeekFrom;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::label;
use super::octets::Octets;
use super::told::{AccessJson, RecordJson};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::metering;
use crate::problem::{Answer, Problem};
use crate::range::{Part, Precondition, part, precondition};

/// Bytes of one step from the engine to the network.
const STEP: usize = 64 << 10;

/// Reads a record
///
/// With a purpose, the one in `Keyfall-Purpose` or the credential's own, the user's report names
/// the reader. Where a policy wants readers named there is no other way. A stream that an erase
/// cuts ends short of its `Content-Length`.
#[utoipa::path(
    get, path = "/v1/records/{id}", tag = "records",
    params(
        ("id" = String, Path, description = "The id of the record"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "What it is read for: a purpose of the credential"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "The entity tag for which the range is meant"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of what the caller has"),
        ("If-Match" = Option<String>, Header, description = "Entity tags of what the caller means"),
    ),
    responses(
        (status = 200, description = "The record", body = Octets, content_type = "*/*"),
        (status = 206, description = "A part of it", body = Octets, content_type = "*/*"),
        (status = 304, description = "The caller has it"),
        (status = 412, description = "It is not what the caller means"),
        (status = 416, description = "It has no such range"),
    )
)]
pub(crate) async fn get_record(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let info = readable(&app, &caller, &id).await?;
    served(&headers, &info, open(&app, &caller, &info.id)).await
}

/// What a request asks for of a record, whose reader is opened if any of it is.
///
/// # Errors
/// 412, and what opening it gives.
pub(crate) async fn served(
    headers: &HeaderMap,
    info: &RecordInfo,
    open: impl Future<Output = Answer<AsyncReader>>,
) -> Answer<Response> {
    let etag = format!("\"{}\"", info.id);
    match precondition(headers, &etag) {
        Precondition::Holds => {}
        Precondition::NotModified => {
            return Ok(described(StatusCode::NOT_MODIFIED, info).into_response());
        }
        Precondition::Failed => return Err(failed()),
    }
    match part(headers, &etag, info.length) {
        Part::Unsatisfiable => Ok(unsatisfiable(info)),
        Part::Whole => streamed(StatusCode::OK, info, open.await?, 0..info.length).await,
        Part::Bytes { first, last } => {
            let bytes = first..last + 1;
            let answer = streamed(StatusCode::PARTIAL_CONTENT, info, open.await?, bytes);
            let mut response = answer.await?;
            let range = format!("bytes {first}-{last}/{}", info.length);
            insert(&mut response, CONTENT_RANGE, &range);
            Ok(response)
        }
    }
}

/// The headers of a record, for a request that asks for them alone.
///
/// # Errors
/// 412.
pub(crate) fn headed(headers: &HeaderMap, info: &RecordInfo) -> Answer<Response> {
    match precondition(headers, &format!("\"{}\"", info.id)) {
        Precondition::Failed => Err(failed()),
        Precondition::NotModified => Ok(described(StatusCode::NOT_MODIFIED, info)),
        Precondition::Holds => {
            let mut response = described(StatusCode::OK, info);
            insert(&mut response, CONTENT_LENGTH, &info.length.to_string());
            Ok(response)
        }
    }
}

/// A record's headers
///
/// Nothing is opened, and nothing is in the user's report.
#[utoipa::path(
    head, path = "/v1/records/{id}", tag = "records",
    params(("id" = String, Path, description = "The id of the record")),
    responses(
        (status = 200, description = "The headers of the record"),
        (status = 304, description = "The caller has it"),
        (status = 412, description = "It is not what the caller means"),
    )
)]
pub(crate) async fn head_record(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let info = readable(&app, &caller, &id).await?;
    headed(&headers, &info)
}

/// Where a record comes from, and what came of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct LineageJson {
    /// The record.
    record: RecordJson,
    /// The ids of the records that it was derived of, of users that the credential is for.
    sources: Vec<String>,
    /// The ids of the records that were derived of it, of users that the credential is for.
    derived: Vec<String>,
    /// How many more records, of users that the credential is not for, it was derived of or were
    /// derived of it.
    elsewhere: usize,
    /// Whether it was kept although records that it was derived of were erased.
    detached: bool,
}

/// A record's metadata, sources and derived records
///
/// What was derived of a record falls with it.
#[utoipa::path(
    get, path = "/v1/records/{id}/lineage", tag = "records",
    params(("id" = String, Path, description = "The id of the record")),
    responses((status = 200, description = "Where it comes from, and what came of it", body = LineageJson))
)]
pub(crate) async fn get_lineage(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<LineageJson>> {
    caller.may("report")?;
    let id = caller.record(&id)?;
    let (info, lineage) =
        app.engine().run(move |engine| Ok((engine.info(&id)?, engine.lineage(&id)?))).await?;
    // An id has the user's handle in it, which is nobody else's to know.
    let ids = |ids: &[RecordId]| {
        let reached = ids.iter().filter(|id| caller.reaches(id));
        reached.map(ToString::to_string).collect::<Vec<_>>()
    };
    let all = lineage.sources.iter().chain(&lineage.derived);
    Ok(Json(LineageJson {
        elsewhere: all.filter(|id| !caller.reaches(id)).count(),
        record: (&info).into(),
        sources: ids(&lineage.sources),
        derived: ids(&lineage.derived),
        detached: lineage.detached,
    }))
}

/// The readers that opened a record
///
/// Openings with a purpose are here; those of exports are, if the export named one.
#[utoipa::path(
    get, path = "/v1/records/{id}/openings", tag = "records",
    params(("id" = String, Path, description = "The id of the record")),
    responses((status = 200, description = "Who opened it, what for and when, oldest first", body = Vec<AccessJson>))
)]
pub(crate) async fn get_openings(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Vec<AccessJson>>> {
    caller.may("report")?;
    let id = caller.record(&id)?;
    let accesses = app.engine().run(move |engine| engine.accesses(&id)).await?;
    Ok(Json(accesses.iter().map(AccessJson::from).collect()))
}

/// The metadata of a record that the caller may read.
pub(crate) async fn readable(app: &App, caller: &Caller, id: &str) -> Answer<RecordInfo> {
    caller.may_read()?;
    let info = app.engine().info(&caller.record(id)?).await?;
    caller.may(&format!("read:{}", info.class))?;
    Ok(info)
}

/// Opens a record, in the caller's name if there is a purpose.
async fn open(app: &App, caller: &Caller, id: &RecordId) -> Answer<AsyncReader> {
    let Some(purpose) = caller.purpose()? else {
        return app.engine().get(id).await.map_err(|e| match e.kind() {
            ErrorKind::Refused => unnamed(),
            _ => e.into(),
        });
    };
    let reader = app.engine().get_as(id, caller.principal(), purpose).await?;
    metering::opened(caller.lists(purpose));
    Ok(reader)
}

/// That readers must be named, and this one is not.
pub(super) fn unnamed() -> Problem {
    let detail = "a policy requires that readers of this say what for; name it in Keyfall-Purpose";
    Problem::forbidden(detail)
}

/// Opens a record for any number of readers, in the caller's name.
pub(crate) async fn open_as(
    app: &App,
    caller: &Caller,
    id: &RecordId,
    purpose: &str,
) -> Answer<AsyncOpening> {
    let opening = app.engine().open_as(id, caller.principal(), purpose).await?;
    metering::opened(caller.lists(purpose));
    Ok(opening)
}

/// Bytes of a record on their way out. Where the first of them cannot be read there is a problem,
/// and no answer. Their length is set, so that a stream that an erase cuts is seen to be cut.
///
/// # Errors
/// As reading the first byte.
async fn streamed(
    status: StatusCode,
    info: &RecordInfo,
    mut reader: AsyncReader,
    bytes: Range<u64>,
) -> Answer<Response> {
    let (from, length) = (SeekFrom::Start(bytes.start), bytes.end - bytes.start);
    reader.seek(from).await.map_err(keyfall::Error::from)?;
    if length > 0 {
        // The chunk that it lies in stays open in the reader: an erase reaches it there.
        reader.read_u8().await.map_err(keyfall::Error::from)?;
        reader.seek(from).await.map_err(keyfall::Error::from)?;
    }
    let stream = ReaderStream::with_capacity(reader.take(length), STEP);
    let mut response = described(status, info);
    *response.body_mut() = Body::from_stream(metering::Counted::new(stream));
    insert(&mut response, CONTENT_LENGTH, &length.to_string());
    Ok(response)
}

fn unsatisfiable(info: &RecordInfo) -> Response {
    let detail = "the record has no such range; its length is in Content-Range";
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail);
    let mut response = problem.into_response();
    insert(&mut response, CONTENT_RANGE, &format!("bytes */{}", info.length));
    response
}

fn failed() -> Problem {
    let detail = "the record is not the one that If-Match names";
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail)
}

/// An answer with the headers of a record. What applications store is shown by no browser as a
/// page of this service.
fn described(status: StatusCode, info: &RecordInfo) -> Response {
    let mut response = status.into_response();
    insert(&mut response, CONTENT_TYPE, &info.media_type);
    insert(&mut response, ETAG, &format!("\"{}\"", info.id));
    insert(&mut response, ACCEPT_RANGES, "bytes");
    insert(&mut response, CACHE_CONTROL, "no-store");
    insert(&mut response, CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
    insert(&mut response, HeaderName::from_static("keyfall-class"), info.class.as_str());
    let interaction = info.interaction.to_string();
    insert(&mut response, HeaderName::from_static("keyfall-interaction"), &interaction);
    let created = info.created.to_string();
    insert(&mut response, HeaderName::from_static("keyfall-created"), &created);
    label::add(response.headers_mut(), info);
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
