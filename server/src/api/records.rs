//! Records: putting them, and listing what a user has.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keyfall::engine::{Listing, fell_from, next_id};
use keyfall::{
    Class, Engine, ErrorKind, InteractionId, Put, RecordId, RecordInfo, Timestamp, UserHandle,
    UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::label::{self, Label};
use super::octets::Octets;
use super::told::RecordJson;
use crate::answers::{Kept, PutIntent, Slot, key_used};
use crate::app::{App, no_such_handle};
use crate::auth::caller::{Caller, text};
use crate::guarded;
use crate::intake::{Intake, too_large};
use crate::metering;
use crate::private::random;
use crate::problem::{Answer, Problem};
use crate::take::Query;
use crate::words;

/// The id of a record.
#[derive(Serialize, ToSchema)]
pub(crate) struct PutAnswer {
    /// The id, which `GET /v1/records/{id}` takes.
    id: String,
}

/// Puts a record
///
/// The body is the record, of any length up to the service's limit; it streams into the store. It
/// is durable when the answer comes.
///
/// With an `Idempotency-Key` the same request stores it once, and has the same answer for a day,
/// also if the service died before it answered. Its metadata has `keyfall-put` then, unless it has
/// a name.
///
/// A name is one record's: a put with other content under it replaces the record, which is erased,
/// and needs the scope `erase` too. The same put again gives the same id.
#[utoipa::path(
    post, path = "/v1/users/{handle}/records", tag = "records",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Keyfall-Class" = String, Header, description = "Its class: `audio`, `transcript`, `action`, or one of your own"),
        ("Keyfall-Interaction" = Option<String>, Header, description = "The interaction it belongs to: a UUID of version 7. Without it the record is in one of its own"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "Why it is kept: a purpose of the credential"),
        ("Keyfall-From" = Option<Vec<String>>, Header, description = "The ids of the records that it was derived from: it falls with them. In one line with commas between, or a line for each"),
        ("Keyfall-Created" = Option<String>, Header, description = "When it was made; now, if it is not given"),
        ("Keyfall-Name" = Option<String>, Header, description = "What the application calls it: one record's within a user"),
        ("Keyfall-Meta" = Option<String>, Header, description = "What the application says of it, as `key=value`: a line for each key, for a value may have commas", pattern = "^[^=]*="),
        ("Idempotency-Key" = Option<String>, Header, description = "A random key of 16 to 255 characters: the same request with the same key stores one record"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if no other record has the name"),
        ("If-Match" = Option<String>, Header, description = "The entity tag of the record to replace: only if that has the name"),
    ),
    request_body(content = Octets, content_type = "*/*", description = "The record"),
    responses(
        (status = 201, description = "The record is stored", body = PutAnswer, headers(
            ("Location" = String, description = "The address of the record"), ("ETag" = String, description = "The id, quoted"),
            ("Repr-Digest" = String, description = "SHA-256 of what was stored (RFC 9530)"),
        )),
        (status = 412, description = "Another record has the name, or none"),
        (status = 422, description = "The Idempotency-Key was used for another request"),
    )
)]
pub(crate) async fn put_record(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let handle: UserHandle = match handle.parse() {
        Ok(handle) => handle,
        Err(_) => return Err(caller.may("put").err().unwrap_or_else(no_such_handle)),
    };
    caller.may_with("put", &handle)?;
    let most = caller.most_bytes(app.config());
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > most) {
        return Err(too_large());
    }
    let asked = AskedPut::read(&headers, headers.get(CONTENT_TYPE), &caller, &handle)?;
    app.answers().may_store().await?;
    let mut intake = Intake::new(body, most).placed(&app, &caller, &headers).await;
    let Some(key) = header(&headers, "idempotency-key")? else {
        let id = put(&app, asked, handle, &mut intake).await?;
        return Ok(stored(&id.to_string(), &intake.digest()));
    };
    let written = asked.written(&headers, &handle);
    let slot = app.answers().slot(caller.who(), &key, written.as_bytes())?;
    let once = PutOnce { app, slot, asked, handle };
    // A task of its own: a caller who goes away does not leave a put that the same request meets.
    let task = tokio::spawn(async move { once.answer(intake).await });
    task.await.unwrap_or_else(|_| Err(Problem::internal()))
}

/// Puts a record of the user with a handle.
async fn put(
    app: &App,
    asked: AskedPut,
    handle: UserHandle,
    intake: &mut Intake,
) -> Answer<RecordId> {
    let class = asked.class.clone();
    // The user is looked up by the thread that stages the put.
    let put = move |engine: &Engine| Ok(asked.of(engine.user_of(&handle)?));
    let id = match app.engine().put_by(put, &mut *intake).await {
        Ok(id) => id,
        Err(e) => return Err(intake.problem().unwrap_or_else(|| label::refused(e))),
    };
    metering::put(&class, intake.length());
    Ok(id)
}

/// Key of the metadata by which a record is found whose answer was lost.
const MARK: &str = "keyfall-put";

/// A put under an `Idempotency-Key`.
struct PutOnce {
    app: App,
    slot: Slot,
    asked: AskedPut,
    handle: UserHandle,
}

impl PutOnce {
    /// Puts the record, or finds it.
    async fn answer(mut self, mut intake: Intake) -> Answer<Response> {
        let kept = self.slot.look()?;
        self.check_there(&kept).await?;
        if !self.slot.is_of(&kept) {
            return Err(key_used());
        }
        let found = match (&kept.answer, &kept.put) {
            (Some((_, answer)), _) => Found::of(answer),
            (None, Some(intent)) => self.find(intent).await?,
            (None, None) => None,
        };
        if let Some(found) = found {
            return self.again(found, intake).await;
        }
        let is_first = kept.put.is_none();
        let intent = match kept.put {
            Some(intent) => intent,
            None => self.intent().await?,
        };
        self.asked.label.mark(MARK, &intent.mark);
        self.asked.interaction = Some(intent.id.parse::<RecordId>()?.interaction());
        self.slot.keep_put(intent).map_err(Problem::of_io)?;
        let put = put(&self.app, self.asked, self.handle, &mut intake).await;
        if is_first && put.as_ref().is_err_and(was_not_put) && self.slot.keep_nothing().is_err() {
            tracing::warn!("it could not be noted that nothing was put under a key");
        }
        let found = Found { id: put?.to_string(), digest: intake.digest() };
        found.keep(&self.slot);
        Ok(found.answer())
    }

    /// Fails where the record that was put has fallen, whatever is asked for now: what it was is
    /// told to nobody, and it is not put again.
    async fn check_there(&self, kept: &Kept) -> Answer<()> {
        let id = match (&kept.answer, &kept.put) {
            (Some((_, answer)), _) => answer["id"].as_str(),
            // For the request itself it is looked for more closely.
            (None, Some(intent)) if !self.slot.is_of(kept) => Some(&*intent.id),
            _ => None,
        };
        // Any other id is that of an erase.
        let fell = match id.and_then(|id| id.parse::<RecordId>().ok()) {
            Some(id) => has_fallen(&self.app.engine().info(&id).await),
            None => kept.fell,
        };
        match fell {
            true if kept.put.is_some() => Err(fallen()),
            true => Err(self.forget()),
            false => Ok(()),
        }
    }

    /// Lets go of what is kept; the answer is that what was put has fallen.
    fn forget(&self) -> Problem {
        self.slot.forget().map_or_else(Problem::of_io, |()| fallen())
    }

    /// The record that was put, if it was.
    ///
    /// # Errors
    /// 410 if it was put and fell. Of an interaction that was given it is taken to be among those
    /// that were put into it since and fell: which of them it was nobody can say any more.
    async fn find(&self, intent: &PutIntent) -> Answer<Option<Found>> {
        let (id, mark) = (intent.id.parse::<RecordId>()?, intent.mark.clone());
        let (handle, named) = (self.handle, self.asked.label.name().map(str::to_owned));
        let had = intent.had.as_ref().map(|had| had.parse::<RecordId>()).transpose()?;
        let drawn = self.asked.interaction.is_none();
        let found = self.app.engine().run(move |engine| {
            let there = match engine.user_of(&handle) {
                Ok(user) => there(engine, user, &id, named.as_deref(), &mark),
                Err(e) => Err(e),
            };
            match there {
                // Where its interaction was drawn it is this one; else the same put is done once.
                Ok(Some(info)) if named.is_none() || drawn => {
                    return Ok(Looked::There(Found::from(&info)));
                }
                Ok(Some(_)) => return Ok(Looked::NotPut),
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::Erased => {}
                Err(e) => return Err(e),
            }
            let what_it_met_fell = had.is_some_and(|had| has_fallen(&engine.info(&had)));
            match what_it_met_fell || fell_from(engine, &id)? {
                true => Ok(Looked::Fallen),
                false => Ok(Looked::NotPut),
            }
        });
        match found.await? {
            Looked::There(found) => found.ok_or_else(Problem::internal).map(Some),
            Looked::NotPut => Ok(None),
            Looked::Fallen => Err(self.forget()),
        }
    }

    /// Where the record is found that is about to be put. The engine draws the interaction that is
    /// not given: it knows the time, and what was erased.
    async fn intent(&self) -> Answer<PutIntent> {
        let mark = random::<10>().map_err(Problem::of_io)?;
        let mark = data_encoding::BASE32_DNSSEC.encode(&mark);
        let (handle, named) = (self.handle, self.asked.label.name().map(str::to_owned));
        let AskedPut { class, purpose, interaction, .. } = &self.asked;
        let (class, purpose, interaction) = (class.clone(), purpose.clone(), *interaction);
        let drawn = self.app.engine().run(move |engine| {
            let user = engine.user_of(&handle)?;
            let had = match named.map(|name| engine.find(&user, &name)) {
                Some(Err(e)) if e.kind() != ErrorKind::Absent => return Err(e),
                Some(Ok(info)) => Some(info.id.to_string()),
                Some(Err(_)) | None => None,
            };
            let put = Put::new(user, class).purpose(purpose);
            let put = interaction.into_iter().fold(put, Put::interaction);
            Ok((next_id(engine, &put)?.to_string(), had))
        });
        let (id, had) = drawn.await.map_err(label::refused)?;
        Ok(PutIntent { id, mark, had })
    }

    /// The answer to the same request, if its body is the same.
    async fn again(&self, found: Found, mut intake: Intake) -> Answer<Response> {
        let read = tokio::io::copy(&mut intake, &mut tokio::io::sink()).await;
        if read.is_err() {
            return Err(intake.problem().unwrap_or_else(Problem::internal));
        }
        if intake.digest() != found.digest {
            return Err(key_used());
        }
        found.keep(&self.slot);
        Ok(found.answer())
    }
}

/// What is seen of a record that was about to be put.
enum Looked {
    /// `None` without a digest, which each put has.
    There(Option<Found>),
    NotPut,
    Fallen,
}

/// The record that was put, if it is there: by its mark, or by its name and the id that was noted.
fn there(
    engine: &Engine,
    user: UserId,
    noted: &RecordId,
    named: Option<&str>,
    mark: &str,
) -> keyfall::Result<Option<RecordInfo>> {
    if let Some(name) = named {
        return match engine.find(&user, name) {
            Ok(info) => Ok((info.id == *noted).then_some(info)),
            Err(e) if e.kind() == ErrorKind::Absent => Ok(None),
            Err(e) => Err(e),
        };
    }
    let query = keyfall::Query::default().user(user).interaction(noted.interaction()).limit(1000);
    let mut after = None;
    loop {
        let page = engine.list(&query.clone().after(after))?;
        if let Some(info) = page.records.iter().find(|info| has_mark(info, mark)) {
            // A list does not have the digest of one that was derived.
            return engine.info(&info.id).map(Some);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(None),
        }
    }
}

fn has_mark(info: &RecordInfo, mark: &str) -> bool {
    info.meta.get(MARK).is_some_and(|there| there == mark)
}

fn has_fallen<T>(looked: &keyfall::Result<T>) -> bool {
    looked.as_ref().is_err_and(|e| e.kind() == ErrorKind::Erased)
}

/// The answer where what was put has fallen.
fn fallen() -> Problem {
    keyfall::Error::new(ErrorKind::Erased, "what was put has fallen").into()
}

/// Whether a failed put is known to have stored nothing.
fn was_not_put(problem: &Problem) -> bool {
    problem.status.is_client_error() || problem.status == StatusCode::INSUFFICIENT_STORAGE
}

/// A record that was put before.
struct Found {
    id: String,
    digest: [u8; 32],
}

impl Found {
    fn from(info: &RecordInfo) -> Option<Self> {
        info.digest.map(|digest| Found { id: info.id.to_string(), digest })
    }

    fn of(answer: &Value) -> Option<Self> {
        let digest = data_encoding::BASE64.decode(answer["digest"].as_str()?.as_bytes()).ok()?;
        Some(Found { id: answer["id"].as_str()?.to_owned(), digest: digest.try_into().ok()? })
    }

    /// It was put: an answer that cannot be kept is still the answer.
    fn keep(&self, slot: &Slot) {
        let digest = data_encoding::BASE64.encode(&self.digest);
        let answer = json!({"id": self.id, "digest": digest});
        if slot.keep_answer(StatusCode::CREATED, answer).is_err() {
            tracing::warn!("an answer could not be kept; its request may be answered otherwise");
        }
    }

    fn answer(&self) -> Response {
        stored(&self.id, &self.digest)
    }
}

/// What headers ask to be put.
pub(super) struct AskedPut {
    class: Class,
    purpose: String,
    media_type: Option<String>,
    interaction: Option<InteractionId>,
    created: Option<Timestamp>,
    sources: Vec<RecordId>,
    label: Label,
}

impl AskedPut {
    /// What headers ask to be put of a user.
    ///
    /// # Errors
    /// 400 for headers that are wrong, 403.
    pub(super) fn read(
        headers: &HeaderMap,
        media_type: Option<&HeaderValue>,
        caller: &Caller,
        handle: &UserHandle,
    ) -> Answer<Self> {
        let purpose = caller.purpose()?.unwrap_or_default().to_owned();
        let class = header(headers, "keyfall-class")?.ok_or_else(|| {
            Problem::invalid("a record needs a class; name it in the header Keyfall-Class")
        })?;
        let class = Class::new(class)?;
        not_of_proofs(&class)?;
        let media_type = media_type.map(|value| text(value.as_bytes())).transpose()?;
        let interaction =
            header(headers, "keyfall-interaction")?.map(|id| id.parse()).transpose()?;
        let created =
            header(headers, "keyfall-created")?.map(|at| words::point(&at)).transpose()?;
        let mut sources = Vec::new();
        for line in headers.get_all("keyfall-from") {
            for source in text(line.as_bytes())?.split(',') {
                let source: RecordId = source.trim().parse()?;
                caller.may_with("put", &source.handle())?;
                sources.push(source);
            }
        }
        let label = Label::read(headers, caller, handle)?;
        Ok(AskedPut { class, purpose, media_type, interaction, created, sources, label })
    }

    /// All of the request but its body, for the comparison with one under the same key.
    fn written(&self, headers: &HeaderMap, handle: &UserHandle) -> String {
        const SAY: [&str; 9] = [
            "content-type",
            "keyfall-class",
            "keyfall-interaction",
            "keyfall-created",
            "keyfall-from",
            "keyfall-name",
            "keyfall-meta",
            "if-none-match",
            "if-match",
        ];
        let said = SAY.iter().flat_map(|name| {
            let values = headers.get_all(*name).into_iter();
            values.map(move |value| format!("{name}: {:?}", value.as_bytes()))
        });
        let own = [format!("POST record {handle}"), format!("purpose: {}", self.purpose)];
        own.into_iter().chain(said).collect::<Vec<_>>().join("\n")
    }

    /// The put of a user.
    pub(super) fn of(self, user: UserId) -> Put {
        let mut put = Put::new(user, self.class).purpose(self.purpose);
        if let Some(media_type) = self.media_type {
            put = put.media_type(media_type);
        }
        if let Some(interaction) = self.interaction {
            put = put.interaction(interaction);
        }
        if let Some(created) = self.created {
            put = put.created(created);
        }
        self.label.on(self.sources.into_iter().fold(put, Put::derived_from))
    }
}

/// Fails for the class in which this service keeps its proofs: what lies there, people take for one,
/// and an erase of a day leaves it.
///
/// # Errors
/// 409.
pub(super) fn not_of_proofs(class: &Class) -> Answer<()> {
    if class.as_str() != PROOFS {
        return Ok(());
    }
    let detail = "the class certificate is for the proofs that this service keeps; take another";
    Err(Problem::new(StatusCode::CONFLICT, "refused", detail))
}

/// The class of the proofs that this service keeps.
const PROOFS: &str = "certificate";

fn stored(id: &str, digest: &[u8; 32]) -> Response {
    let headers = [
        (LOCATION.as_str(), format!("/v1/records/{id}")),
        (ETAG.as_str(), format!("\"{id}\"")),
        ("repr-digest", label::digest_value(digest)),
    ];
    (StatusCode::CREATED, headers, Json(PutAnswer { id: id.to_owned() })).into_response()
}

/// A header's value, if it is given.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Answer<Option<String>> {
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
    /// Only the record with this name.
    name: Option<String>,
    /// Only records with a name that begins so, in the order of names.
    prefix: Option<String>,
    /// `asc` (the default) or `desc`: the oldest first, or the newest.
    #[param(value_type = Option<Order>, inline)]
    order: Option<String>,
    /// Most records of a page: 1 to 10,000; 100 if it is not given.
    limit: Option<usize>,
    /// After this record, or after this name if `prefix` is given: `next` of the page before.
    after: Option<String>,
}

/// The order of a listing.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is what the documentation says; a wrong one is told in words")]
enum Order {
    Asc,
    Desc,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordPage {
    /// The metadata of each.
    records: Vec<RecordJson>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

/// Lists the records of a user, in pages
///
/// Without their content. Erased records are not listed.
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
    let limit = asked.limit.unwrap_or(100);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::invalid("limit is 1 to 10000"));
    }
    // From before it is read.
    let of = user.id.clone();
    let live = app.engine().run(move |engine| Ok(engine.live(&of))).await?;
    let page = match &asked.name {
        Some(name) => asked.named(&app, user.id, name).await?,
        None => app.engine().list(asked.query(user.id)?.limit(limit)).await?,
    };
    let records = page.records.iter().map(RecordJson::from).collect();
    let next = page.next_name.or(page.next.map(|id| id.to_string()));
    let link = next.as_ref().map(|next| asked.link(&handle, limit, next));
    let body = RecordPage { records, next };
    let mut response = guarded::json(live, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(link) = link.and_then(|link| link.parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

impl Asked {
    /// What the engine is to list.
    fn query(&self, user: UserId) -> Answer<keyfall::Query> {
        let newest_first = match self.order.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::invalid("order is asc or desc")),
        };
        let query = keyfall::Query::default()
            .user(user)
            .class(words::class(self.class.as_deref())?)
            .interaction(words::interaction(self.interaction.as_deref())?)
            .from(self.from.as_deref().map(words::point).transpose()?)
            .until(self.until.as_deref().map(words::point).transpose()?)
            .newest_first(newest_first);
        Ok(match &self.prefix {
            Some(prefix) => query.name_prefix(prefix).after_name(self.after.clone()),
            None => query.after(self.after.as_deref().map(str::parse::<RecordId>).transpose()?),
        })
    }

    /// The record with a name, as a page of one or of none.
    async fn named(&self, app: &App, user: UserId, name: &str) -> Answer<Listing> {
        let others = [&self.class, &self.interaction, &self.from, &self.until, &self.prefix];
        if others.iter().any(|other| other.is_some()) {
            return Err(Problem::invalid("name is of one record; ask for nothing else with it"));
        }
        let name = name.to_owned();
        let found = app.engine().run(move |engine| engine.find(&user, &name)).await;
        let mut listing = Listing::default();
        match found {
            Err(e) if e.kind() == ErrorKind::Absent => {}
            found => listing.records.push(found?),
        }
        Ok(listing)
    }

    /// The address of the next page.
    fn link(&self, handle: &str, limit: usize, next: &str) -> String {
        let given = [
            ("class", &self.class),
            ("interaction", &self.interaction),
            ("from", &self.from),
            ("until", &self.until),
            ("prefix", &self.prefix),
            ("order", &self.order),
        ];
        let mut query = format!("limit={limit}");
        for (name, value) in given {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        format!("</v1/users/{handle}/records?{query}&after={}>; rel=\"next\"", escaped(next))
    }
}

/// A value as it stands in a query.
fn escaped(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    value.bytes().map(escape).collect()
}
