//! Uploads that go on after a break: tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) with
//! creation, creation-with-upload, checksum, expiration and termination.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE32_DNSSEC, BASE64};
use keyfall::engine::{UploadState, WrongOffset};
use keyfall::{Error, ErrorKind, Put, PutMode, RecordInfo, Timestamp, UploadId};

use super::label;
use super::octets::Octets;
use super::records::{AskedPut, header};
use super::unheard::{Unheard, beyond, cut_at, unbegun};
use crate::app::{App, User};
use crate::auth::caller::Caller;
use crate::checksum::{ALGORITHMS, Checksum};
use crate::intake::{Intake, too_large};
use crate::metering;
use crate::private::random;
use crate::problem::{Answer, Problem};
use crate::words::now;

/// The version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-with-upload,checksum,expiration,termination");
/// The media type of bytes to be appended.
const BYTES: &str = "application/offset+octet-stream";
/// Key of the metadata by which the record of an upload is found that was finished while nobody
/// heard of it.
const UPLOAD: &str = "keyfall-upload";

/// The header that a request of the protocol has, and each answer to it.
pub(crate) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_ALGORITHMS: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const RECORD: HeaderName = HeaderName::from_static("keyfall-record");

/// Asks what uploads can be
///
/// Of requests for uploads the method is that of the header `X-HTTP-Method-Override`, if they have
/// it: for networks that let few methods through.
#[utoipa::path(
    options, path = "/v1/users/{handle}/uploads", tag = "uploads", security(()),
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 204, description = "Versions, extensions and the largest record", headers(
        ("Tus-Version" = String, description = "`1.0.0`"),
        ("Tus-Extension" = String, description = "What is spoken beside the core"),
        ("Tus-Max-Size" = u64, description = "Most bytes of a record"),
        ("Tus-Checksum-Algorithm" = String, description = "What `Upload-Checksum` may name"),
    )))
)]
pub(crate) async fn describe_uploads(State(app): State<App>) -> Response {
    let headers = [
        (RESUMABLE, VERSION),
        (TUS_VERSION, VERSION),
        (TUS_EXTENSION, EXTENSIONS),
        (TUS_ALGORITHMS, ALGORITHMS),
        (TUS_MAX_SIZE, HeaderValue::from(app.config().max_record_bytes)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Begins an upload
///
/// tus 1.0.0. What is to become of it is said as for a put, by headers or, of a key of the same
/// name, by `Upload-Metadata`: `class`, `interaction`, `created`, `from`, `name`, and `type` or
/// `filetype` for the media type; other keys become metadata of the record. With a body of
/// `application/offset+octet-stream` it begins with these bytes; if they have another sum than
/// `Upload-Checksum` says, it does not begin. It lasts for a day, and falls with its user, its
/// class, its interaction and its sources. With its last byte it becomes a record, whose id is in
/// `Keyfall-Record`.
#[utoipa::path(
    post, path = "/v1/users/{handle}/uploads", tag = "uploads",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Length" = u64, Header, description = "Bytes of the record"),
        ("Upload-Metadata" = Option<String>, Header, description = "Keys, each with its value in base64 after a space, with commas between"),
        ("Upload-Checksum" = Option<String>, Header, description = "What the bytes hash to: `sha256` or `sha1`, a space, the sum in base64"),
        ("Keyfall-Class" = Option<String>, Header, description = "Its class, unless `Upload-Metadata` says it"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "Why it is kept: a purpose of the credential"),
    ),
    request_body(content = Octets, content_type = "application/offset+octet-stream", description = "The first bytes, or nothing"),
    responses(
        (status = 201, description = "It has begun", headers(
            ("Location" = String, description = "The address of the upload"),
            ("Upload-Offset" = u64, description = "Where the next bytes go"),
            ("Upload-Expires" = String, description = "Until when it lasts"),
            ("Keyfall-Record" = String, description = "The record, if all bytes came"),
        )),
        (status = 412, description = "Another version of the protocol, or what the name's precondition says"),
        (status = 415, description = "A body of another media type"),
        (status = 460, description = "The bytes have another sum than `Upload-Checksum` says; none was kept"),
    )
)]
pub(crate) async fn create_upload(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    if let Some(refused) = of_another_version(&headers) {
        return Ok(refused);
    }
    let user = caller.user(&app, "put", &handle).await?;
    let length = number(&headers, &LENGTH)?.ok_or_else(|| {
        Problem::invalid("an upload needs its length: send Upload-Length; it cannot be deferred")
    })?;
    if length > caller.most_bytes(app.config()) {
        return Err(too_large());
    }
    let brings = brings_bytes(&headers)?;
    // Refused before anything is begun.
    Checksum::read(&headers)?;
    let (asked, media_type) = described(&headers)?;
    let put = AskedPut::read(&asked, media_type.as_ref(), &caller, &user.handle)?;
    let put = put.of(user.id.clone());
    let named = asked.contains_key("keyfall-name");
    let (put, mark) = if named { (put, None) } else { marked(put)? };
    let begun = begin(&app, &caller, &user, put.length(length), mark).await?;
    // Until its client hears of the address it is nobody's.
    let unheard = Unheard::new(&app, begun.place.id);
    let there = match brings {
        true => append(&app, &caller, &begun, 0, &headers, body).await.map_err(unbegun)?,
        false => 0,
    };
    let mut response = outcome(&app, &begun, StatusCode::CREATED, there).await?;
    unheard.heard();
    if let Ok(address) = format!("/v1/uploads/{}", begun.place).parse() {
        response.headers_mut().insert(LOCATION, address);
    }
    Ok(response)
}

/// Begins an upload, if the principal may have one more of the user.
async fn begin(
    app: &App,
    caller: &Caller,
    of: &User,
    put: Put,
    mark: Option<String>,
) -> Answer<Begun> {
    let _turn = app.begins().take(&of.handle.to_string()).await;
    let uploads = app.engine().uploads();
    if !app.begun().has_room(caller.who(), &uploads.list(&of.id).await?) {
        let detail = "this principal has 64 unfinished uploads of this user, or all together have \
                      256; finish or end one of them";
        return Err(Problem::new(StatusCode::CONFLICT, "limit", detail));
    }
    let id = uploads.begin(put).await.map_err(label::refused)?;
    let state = uploads.state(&id).await?;
    app.begun().note(id, caller.who(), state.expires, now());
    Ok(Begun::of(Place { id, mark }, &state))
}

/// How far an upload is
///
/// Of one whose last byte came, and of which nobody could say so, this makes the record.
#[utoipa::path(
    head, path = "/v1/uploads/{id}", tag = "uploads",
    params(
        ("id" = String, Path, description = "The upload, as `Location` had it"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
    ),
    responses(
        (status = 200, description = "Where the next bytes go", headers(
            ("Upload-Offset" = u64, description = "Where the next bytes go"),
            ("Upload-Length" = u64, description = "Bytes of the record"),
            ("Upload-Expires" = String, description = "Until when it lasts"),
            ("Upload-Metadata" = String, description = "What was said of it"),
            ("Keyfall-Record" = String, description = "The record, if it is one by now"),
        )),
        (status = 412, description = "Another version of the protocol"),
    )
)]
pub(crate) async fn head_upload(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    if let Some(refused) = of_another_version(&headers) {
        return Ok(refused);
    }
    let place = Place::read(&caller, &id)?;
    let state = match app.engine().uploads().state(&place.id).await {
        Ok(state) if place.is_of(&state) => state,
        Ok(_) => return Err(no_such_upload()),
        Err(e) if e.kind() == ErrorKind::Absent => {
            let info = place.finished(&app).await?;
            let mut response = became(StatusCode::OK, &info);
            let told = response.headers_mut();
            told.insert(LENGTH, HeaderValue::from(info.length));
            told.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Ok(response);
        }
        Err(e) => return Err(e.into()),
    };
    // If all bytes came, and nobody could say so, the client sends no more: it ends here.
    if state.length == Some(state.offset) {
        may_end(&caller, &state)?;
    }
    let begun = Begun::of(place, &state);
    let mut response = outcome(&app, &begun, StatusCode::OK, state.offset).await?;
    let told = response.headers_mut();
    if let Some(length) = state.length {
        told.insert(LENGTH, HeaderValue::from(length));
    }
    told.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(metadata) = metadata(&state) {
        told.insert(METADATA, metadata);
    }
    Ok(response)
}

/// Appends to an upload
///
/// One with a name that may replace a record needs the scope `erase` too, as its creation did.
///
/// What came before a connection broke is kept: ask with HEAD how much that is. With
/// `Upload-Checksum` all of the bytes are kept or none. With the last byte the upload becomes a
/// record.
#[utoipa::path(
    patch, path = "/v1/uploads/{id}", tag = "uploads",
    params(
        ("id" = String, Path, description = "The upload, as `Location` had it"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "Where the bytes go: where it ends"),
        ("Upload-Checksum" = Option<String>, Header, description = "What the bytes hash to: `sha256` or `sha1`, a space, the sum in base64"),
    ),
    request_body(content = Octets, content_type = "application/offset+octet-stream", description = "The bytes"),
    responses(
        (status = 204, description = "They are there, and durable", headers(
            ("Upload-Offset" = u64, description = "Where the next bytes go"),
            ("Upload-Expires" = String, description = "Until when it lasts"),
            ("Keyfall-Record" = String, description = "The record, if all bytes came"),
        )),
        (status = 409, description = "It ends elsewhere: `Upload-Offset` says where"),
        (status = 412, description = "Another version of the protocol, or what the name's precondition says"),
        (status = 415, description = "A body of another media type"),
        (status = 460, description = "The bytes have another sum than `Upload-Checksum` says; none was kept"),
    )
)]
pub(crate) async fn append_upload(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    if let Some(refused) = of_another_version(&headers) {
        return Ok(refused);
    }
    let place = Place::read(&caller, &id)?;
    if !brings_bytes(&headers)? {
        return Err(another_type());
    }
    let offset = number(&headers, &OFFSET)?
        .ok_or_else(|| Problem::invalid("say in Upload-Offset where the bytes go"))?;
    let state = match app.engine().uploads().state(&place.id).await {
        Ok(state) if place.is_of(&state) => state,
        Ok(_) => return Err(no_such_upload()),
        // The answer to its last bytes was lost, and they come again.
        Err(e) if e.kind() == ErrorKind::Absent => return ended(&app, &place, offset).await,
        Err(e) => return Err(e.into()),
    };
    may_end(&caller, &state)?;
    if state.offset != offset {
        return Ok(elsewhere(state.offset));
    }
    let begun = Begun::of(place, &state);
    match append(&app, &caller, &begun, offset, &headers, body).await {
        Ok(there) => outcome(&app, &begun, StatusCode::NO_CONTENT, there).await,
        // Another request brought bytes meanwhile; the last of all, maybe.
        Err(problem) if ["offset", "absent"].contains(&problem.kind) => {
            match app.engine().uploads().state(&begun.place.id).await {
                Ok(state) => Ok(elsewhere(state.offset)),
                Err(e) if e.kind() == ErrorKind::Absent => ended(&app, &begun.place, offset).await,
                Err(e) => Err(e.into()),
            }
        }
        // It says what came before it was cut.
        Err(problem) if problem.kind == "cut" => {
            let state = app.engine().uploads().state(&begun.place.id).await?;
            let there = HeaderValue::from(state.offset);
            let whole = headers.contains_key("upload-checksum");
            let problem = Problem { detail: cut_at(state.offset, whole).into(), ..problem };
            let mut response = problem.into_response();
            response.headers_mut().insert(OFFSET, there);
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

/// Fails unless the caller may have an upload become its record, or end it: with a name that may be
/// another record's by then, that one is erased.
fn may_end(caller: &Caller, state: &UploadState) -> Answer<()> {
    match (&state.name, state.mode) {
        (None, _) | (Some(_), PutMode::IfAbsent) => Ok(()),
        (Some(_), _) => caller.may_with("erase", &state.id.handle()),
    }
}

/// The answer to bytes for an upload that is a record by now.
async fn ended(app: &App, place: &Place, offset: u64) -> Answer<Response> {
    let info = place.finished(app).await?;
    Ok(match info.length == offset {
        true => became(StatusCode::NO_CONTENT, &info),
        false => elsewhere(info.length),
    })
}

/// Ends an upload
///
/// What came of it is erased.
#[utoipa::path(
    delete, path = "/v1/uploads/{id}", tag = "uploads",
    params(
        ("id" = String, Path, description = "The upload, as `Location` had it"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
    ),
    responses(
        (status = 204, description = "Nothing of it is left"),
        (status = 412, description = "Another version of the protocol"),
    )
)]
pub(crate) async fn end_upload(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    if let Some(refused) = of_another_version(&headers) {
        return Ok(refused);
    }
    let place = Place::read(&caller, &id)?;
    let state = app.engine().uploads().state(&place.id).await?;
    if !place.is_of(&state) {
        return Err(no_such_upload());
    }
    may_end(&caller, &state)?;
    app.engine().uploads().abort(&place.id).await?;
    app.begun().forget(&place.id);
    Ok((StatusCode::NO_CONTENT, [(RESUMABLE, VERSION)]).into_response())
}

/// Where an upload is: its id, and the mark of the record that it becomes if that has no name.
struct Place {
    id: UploadId,
    mark: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.mark {
            Some(mark) => write!(f, "{}.{mark}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl Place {
    /// An upload as it stands in a path, if the caller may put something of its user.
    fn read(caller: &Caller, text: &str) -> Answer<Self> {
        let (id, mark) = match text.split_once('.') {
            Some((id, mark)) => (id, Some(mark.to_owned())),
            None => (text, None),
        };
        let id: UploadId = id.parse().map_err(|_| no_such_upload())?;
        caller.may_with("put", &id.handle())?;
        Ok(Place { id, mark })
    }

    /// Whether it is the address that the creation of an upload gave, to its last character.
    fn is_of(&self, state: &UploadState) -> bool {
        match &state.name {
            Some(_) => self.mark.is_none(),
            None => self.mark.is_some() && state.meta.get(UPLOAD) == self.mark.as_ref(),
        }
    }

    /// The record that an upload became which is not there any more.
    async fn finished(&self, app: &App) -> Answer<RecordInfo> {
        if let Some(info) = self.marked(app).await? {
            return Ok(info);
        }
        let id = self.id;
        match app.engine().run(move |engine| engine.uploads().may_have_fallen(&id)).await? {
            true => Err(Error::new(ErrorKind::Erased, "a record of it has fallen").into()),
            false => Err(no_such_upload()),
        }
    }

    /// The record with the mark of an upload, if that has one.
    async fn marked(&self, app: &App) -> Answer<Option<RecordInfo>> {
        let Some(mark) = &self.mark else { return Ok(None) };
        let user = app.user(&self.id.handle().to_string()).await?;
        let query =
            keyfall::Query::default().user(user.id).interaction(Some(self.id.interaction()));
        let mut after = None;
        loop {
            let page = app.engine().list(query.clone().limit(1000).after(after)).await?;
            let is_it = |info: &RecordInfo| info.meta.get(UPLOAD) == Some(mark);
            if let Some(info) = page.records.into_iter().find(is_it) {
                return Ok(Some(info));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }
}

/// An unfinished upload, and what was said of it when it began.
struct Begun {
    place: Place,
    /// `None` for one that the program itself began, and is to finish.
    length: Option<u64>,
    expires: Timestamp,
}

impl Begun {
    fn of(place: Place, state: &UploadState) -> Self {
        Begun { place, length: state.length, expires: state.expires }
    }
}

fn no_such_upload() -> Problem {
    let detail = "there is no such upload here: it became a record, or take the address that its \
                  creation gave";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}

/// A put whose record can be found by a mark.
fn marked(put: Put) -> Answer<(Put, Option<String>)> {
    let drawn = random::<10>().map_err(Problem::of_io)?;
    let mark = BASE32_DNSSEC.encode(&drawn);
    Ok((put.meta(UPLOAD, &mark), Some(mark)))
}

/// The answer to a request of another version of the protocol: it says which are spoken.
fn of_another_version(headers: &HeaderMap) -> Option<Response> {
    if headers.get(RESUMABLE) == Some(&VERSION) {
        return None;
    }
    let detail = "this path speaks tus 1.0.0; send Tus-Resumable: 1.0.0";
    let refused = Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail);
    let mut response = refused.into_response();
    response.headers_mut().insert(TUS_VERSION, VERSION);
    response.headers_mut().insert(RESUMABLE, VERSION);
    Some(response)
}

/// A header that is a number.
fn number(headers: &HeaderMap, name: &HeaderName) -> Answer<Option<u64>> {
    let Some(text) = header(headers, name.as_str())? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(Problem::invalid(format!("{name} is not a number of bytes"))),
    }
}

/// Whether a request brings bytes of the payload.
fn brings_bytes(headers: &HeaderMap) -> Answer<bool> {
    let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !headers.contains_key("transfer-encoding");
    match headers.get(CONTENT_TYPE) {
        Some(media_type) if media_type == BYTES => Ok(true),
        _ if is_empty => Ok(false),
        _ => Err(another_type()),
    }
}

fn another_type() -> Problem {
    let detail = "bytes of an upload have the type application/offset+octet-stream";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
}

/// The headers of a put that the headers and the metadata of an upload stand for, and its media
/// type.
fn described(headers: &HeaderMap) -> Answer<(HeaderMap, Option<HeaderValue>)> {
    let (mut asked, mut media_type) = (headers.clone(), None);
    let pairs = header(headers, METADATA.as_str())?.unwrap_or_default();
    for pair in pairs.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64
            .decode(value.trim().as_bytes())
            .ok()
            .and_then(|value| String::from_utf8(value).ok())
            .ok_or_else(|| Problem::invalid("a value of Upload-Metadata is not text in base64"))?;
        let set = |asked: &mut HeaderMap, name: &'static str| {
            let name = HeaderName::from_static(name);
            let value = as_header(value.as_bytes())?;
            asked.entry(name).or_insert(value);
            Ok::<(), Problem>(())
        };
        match key {
            "class" => set(&mut asked, "keyfall-class")?,
            "interaction" => set(&mut asked, "keyfall-interaction")?,
            "created" => set(&mut asked, "keyfall-created")?,
            "name" => set(&mut asked, "keyfall-name")?,
            "from" => {
                for source in value.split_whitespace() {
                    asked.append("keyfall-from", as_header(source.as_bytes())?);
                }
            }
            "type" | "filetype" if value.is_empty() => {}
            "type" | "filetype" => media_type = Some(as_header(value.as_bytes())?),
            key if key == UPLOAD => {}
            key => {
                asked.append("keyfall-meta", as_header(format!("{key}={value}").as_bytes())?);
            }
        }
    }
    Ok((asked, media_type))
}

fn as_header(value: &[u8]) -> Answer<HeaderValue> {
    HeaderValue::from_bytes(value).map_err(|_| {
        Problem::invalid("a value of Upload-Metadata has a line break or another control character")
    })
}

/// What was said of an upload, as its creation could have said it.
fn metadata(state: &UploadState) -> Option<HeaderValue> {
    let said = state.meta.iter().filter(|(key, _)| *key != UPLOAD);
    let own = [("class", state.class.as_str()), ("type", state.media_type.as_str())];
    let pairs: Vec<String> = own
        .into_iter()
        .chain(state.name.as_deref().map(|name| ("name", name)))
        .chain(said.map(|(key, value)| (key.as_str(), value.as_str())))
        .map(|(key, value)| format!("{key} {}", BASE64.encode(value.as_bytes())))
        .collect();
    HeaderValue::from_str(&pairs.join(",")).ok()
}

/// Appends a body, and says how many bytes are there then.
async fn append(
    app: &App,
    caller: &Caller,
    begun: &Begun,
    offset: u64,
    headers: &HeaderMap,
    body: Body,
) -> Answer<u64> {
    let most = begun.length.unwrap_or(app.config().max_record_bytes);
    let left = most.saturating_sub(offset);
    if number(headers, &CONTENT_LENGTH)?.is_some_and(|bytes| bytes > left) {
        return Err(beyond());
    }
    app.answers().may_store().await?;
    let checksum = Checksum::read(headers)?;
    let (uploads, id, whole) = (app.engine().uploads(), &begun.place.id, checksum.is_some());
    let intake = Intake::new(body, left).checked(checksum);
    let mut intake = intake.placed(app, caller, headers).await;
    let appended = match whole {
        true => uploads.append_whole(id, offset, &mut intake).await,
        false => uploads.append(id, offset, &mut intake).await,
    };
    match appended {
        Ok(there) => Ok(there),
        Err(_) if intake.problem().is_some_and(|problem| problem.kind == "too-large") => {
            Err(beyond())
        }
        Err(e) => Err(intake.problem().unwrap_or_else(|| {
            let cause = std::error::Error::source(&e);
            match cause.is_some_and(|cause| cause.is::<WrongOffset>()) {
                true => Problem::new(StatusCode::CONFLICT, "offset", ELSEWHERE),
                false => e.into(),
            }
        })),
    }
}

const ELSEWHERE: &str = "the upload does not end there; go on where Upload-Offset says";

/// The answer to bytes that do not go where an upload ends.
fn elsewhere(offset: u64) -> Response {
    let mut response = Problem::new(StatusCode::CONFLICT, "offset", ELSEWHERE).into_response();
    response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    response
}

/// The answer when so many bytes are there; with the last one the upload becomes a record.
async fn outcome(app: &App, begun: &Begun, status: StatusCode, there: u64) -> Answer<Response> {
    let Begun { place, length, expires } = begun;
    if length.is_none_or(|length| there < length) {
        let mut response = reached(status, there);
        if let Some(date) = http_date(*expires) {
            response.headers_mut().insert(EXPIRES, date);
        }
        return Ok(response);
    }
    let id = match app.engine().uploads().finish(&place.id).await {
        Ok(id) => id,
        // Two requests saw its last byte.
        Err(e) if e.kind() == ErrorKind::Absent => {
            return Ok(became(status, &place.finished(app).await?));
        }
        Err(e) => return Err(label::refused(e)),
    };
    app.begun().forget(&place.id);
    let info = app.engine().info(&id).await?;
    metering::put(&info.class, info.length);
    Ok(became(status, &info))
}

/// The answer where so many bytes are there.
fn reached(status: StatusCode, there: u64) -> Response {
    (status, [(RESUMABLE, VERSION), (OFFSET, HeaderValue::from(there))]).into_response()
}

/// The answer that says which record an upload became.
fn became(status: StatusCode, info: &RecordInfo) -> Response {
    let mut response = reached(status, info.length);
    let id = info.id.to_string();
    if let (Ok(value), Ok(address)) = (id.parse(), format!("/v1/records/{id}").parse()) {
        response.headers_mut().insert(RECORD, value);
        response.headers_mut().insert(CONTENT_LOCATION, address);
    }
    response
}

/// A point in time as HTTP writes it (RFC 9110, 5.6.7).
fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().ok()
}
