//! Holds and policies.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use keyfall::engine::Hold;
use keyfall::{Class, Policy};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::told::{HoldJson, PolicyJson};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::{Answer, Problem};
use crate::take::{JsonBody, Query};
use crate::words::{self, number, read_number};

/// A hold to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHold {
    /// Only records of this class.
    #[serde(default)]
    class: Option<String>,
    /// Only records of this interaction.
    #[serde(default)]
    interaction: Option<String>,
    /// Why they are held.
    reason: String,
    /// The person or office that orders it.
    authority: String,
}

/// Why a hold is lifted, and who orders it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lift {
    /// Why it is lifted.
    reason: String,
    /// The person or office that orders it.
    authority: String,
}

/// The number of a hold or a grant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Numbered {
    /// 16 hexadecimal digits.
    number: String,
}

/// Adds a hold
///
/// Until it is lifted, every erase that would touch what it covers is refused.
#[utoipa::path(
    post, path = "/v1/users/{handle}/holds", tag = "rules",
    request_body(content = NewHold, example = json!({
        "class": "audio", "reason": "case 4711", "authority": "Amtsgericht Mitte"
    })),
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 201, description = "The hold stands", body = Numbered,
        example = json!({"number": "0000000000000003"})))
)]
pub(crate) async fn add_hold(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    JsonBody(new): JsonBody<NewHold>,
) -> Answer<Response> {
    let user = caller.user(&app, "rules", &handle).await?;
    let mut hold = Hold::new(new.reason, new.authority);
    hold.class = words::class(new.class.as_deref())?;
    hold.interaction = words::interaction(new.interaction.as_deref())?;
    let id = app.engine().run(move |engine| engine.holds(&user.id).add(hold)).await?;
    Ok((StatusCode::CREATED, Json(Numbered { number: number(id) })).into_response())
}

/// Lists the holds on a user's records
///
/// Those that stand; lifted ones are in the history of the report.
#[utoipa::path(
    get, path = "/v1/users/{handle}/holds", tag = "rules",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The holds", body = Vec<HoldJson>))
)]
pub(crate) async fn list_holds(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<Vec<HoldJson>>> {
    let user = caller.user(&app, "report", &handle).await?;
    let holds = app.engine().run(move |engine| engine.holds(&user.id).list()).await?;
    Ok(Json(holds.iter().map(HoldJson::from).collect()))
}

/// Lifts a hold
///
/// What it covered may be erased again; why it was lifted, and who ordered it, is in the history.
#[utoipa::path(
    post, path = "/v1/users/{handle}/holds/{number}/lift", tag = "rules", request_body = Lift,
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("number" = String, Path, description = "The number of the hold"),
    ),
    responses((status = 204, description = "It is lifted"))
)]
pub(crate) async fn lift_hold(
    State(app): State<App>,
    caller: Caller,
    Path((handle, id)): Path<(String, String)>,
    JsonBody(lift): JsonBody<Lift>,
) -> Answer<StatusCode> {
    let user = caller.user(&app, "rules", &handle).await?;
    let id = read_number(&id).ok_or_else(no_such_hold)?;
    let lifted = move |engine: &keyfall::Engine| {
        engine.holds(&user.id).lift(id, &lift.reason, &lift.authority)
    };
    app.engine().run(lifted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicy {
    /// The class whose records it limits.
    class: String,
    /// Only of records that were put for this purpose.
    #[serde(default)]
    purpose: Option<String>,
    /// They are kept at most so long: `90d`.
    #[serde(default)]
    max_age: Option<String>,
    /// At most so many of them are kept; the oldest fall.
    #[serde(default)]
    max_records: Option<u64>,
    /// They are kept until then.
    #[serde(default)]
    until: Option<String>,
    /// Whether those that read them must be named.
    #[serde(default)]
    readers_named: bool,
}

impl NewPolicy {
    fn read(self) -> Answer<Policy> {
        let mut policy = Policy::new(Class::new(self.class)?);
        policy.purpose = self.purpose;
        policy.max_age = self.max_age.as_deref().map(words::span).transpose()?;
        policy.max_records = self.max_records;
        policy.until = self.until.as_deref().map(words::point).transpose()?;
        policy.readers_named = self.readers_named;
        Ok(policy)
    }
}

/// Which policy.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// The class whose records it limits.
    class: String,
    /// The purpose, if it has one.
    purpose: Option<String>,
}

/// How many records fall with a policy.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dry {
    /// Sets nothing, and says how many records would fall at once.
    #[serde(default)]
    dry_run: bool,
}

/// What a policy would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct WouldExpire {
    /// Always true.
    dry_run: bool,
    /// How many records would fall at once.
    records: u64,
}

/// Sets a policy of a user
///
/// It replaces one of the same class and purpose, and holds instead of the store's.
#[utoipa::path(
    put, path = "/v1/users/{handle}/policies", tag = "rules", request_body = NewPolicy,
    params(("handle" = String, Path, description = "The handle of the user"), Dry),
    responses(
        (status = 200, description = "Of a dry run: how many records would fall", body = WouldExpire),
        (status = 204, description = "It is set"),
    )
)]
pub(crate) async fn set_user_policy(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    Query(dry): Query<Dry>,
    JsonBody(new): JsonBody<NewPolicy>,
) -> Answer<Response> {
    let user = caller.user(&app, "rules", &handle).await?;
    set(&app, Some(user.id), new.read()?, dry.dry_run).await
}

/// Sets a policy of the store
///
/// It replaces one of the same class and purpose, and holds where a user has none.
#[utoipa::path(
    put, path = "/v1/policies", tag = "rules", request_body = NewPolicy, params(Dry),
    responses(
        (status = 200, description = "Of a dry run: how many records would fall", body = WouldExpire),
        (status = 204, description = "It is set"),
    )
)]
pub(crate) async fn set_policy(
    State(app): State<App>,
    caller: Caller,
    Query(dry): Query<Dry>,
    JsonBody(new): JsonBody<NewPolicy>,
) -> Answer<Response> {
    caller.may("rules")?;
    caller.may_with_anybody()?;
    let policy = new.read()?;
    if !policy.has_limit() {
        // It would put an end to the limit that stands, where somebody forgot a field. Of a user it
        // says that none of the store's holds.
        return Err(Problem::invalid(
            "a policy of the store needs max_age, max_records, until or readers_named; DELETE \
             removes the one that stands",
        ));
    }
    set(&app, None, policy, dry.dry_run).await
}

async fn set(
    app: &App,
    user: Option<keyfall::UserId>,
    policy: Policy,
    dry_run: bool,
) -> Answer<Response> {
    let falls = app.engine().run(move |engine| {
        let policies = engine.policies(user.as_ref());
        if dry_run {
            return policies.would_expire(&policy).map(Some);
        }
        policies.set(&policy).map(|()| None)
    });
    Ok(match falls.await? {
        Some(records) => Json(WouldExpire { dry_run: true, records }).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Lists the policies of a user
///
/// Where there are none, those of the store hold.
#[utoipa::path(
    get, path = "/v1/users/{handle}/policies", tag = "rules",
    params(("handle" = String, Path, description = "The handle of the user")),
    responses((status = 200, description = "The policies that hold instead of the store's", body = Vec<PolicyJson>))
)]
pub(crate) async fn list_user_policies(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Json<Vec<PolicyJson>>> {
    let user = caller.user(&app, "report", &handle).await?;
    let found = app.engine().run(move |engine| engine.policies(Some(&user.id)).list()).await?;
    Ok(Json(found.iter().map(PolicyJson::from).collect()))
}

/// Lists the policies of the store
///
/// A user's own of the same class and purpose hold instead.
#[utoipa::path(
    get, path = "/v1/policies", tag = "rules",
    responses((status = 200, description = "The policies", body = Vec<PolicyJson>))
)]
pub(crate) async fn list_policies(
    State(app): State<App>,
    caller: Caller,
) -> Answer<Json<Vec<PolicyJson>>> {
    caller.may("rules")?;
    let found = app.engine().run(|engine| engine.policies(None).list()).await?;
    Ok(Json(found.iter().map(PolicyJson::from).collect()))
}

/// Removes a policy of a user
///
/// From then on that of the store holds, if there is one.
#[utoipa::path(
    delete, path = "/v1/users/{handle}/policies", tag = "rules",
    params(("handle" = String, Path, description = "The handle of the user"), Which),
    responses((status = 204, description = "It is removed"))
)]
pub(crate) async fn unset_user_policy(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    Query(which): Query<Which>,
) -> Answer<StatusCode> {
    let user = caller.user(&app, "rules", &handle).await?;
    unset(&app, Some(user.id), which).await
}

/// Removes a policy of the store
///
/// What it did not let fall yet stays until something else ends it.
#[utoipa::path(
    delete, path = "/v1/policies", tag = "rules", params(Which),
    responses((status = 204, description = "It is removed"))
)]
pub(crate) async fn unset_policy(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Answer<StatusCode> {
    caller.may("rules")?;
    caller.may_with_anybody()?;
    unset(&app, None, which).await
}

async fn unset(app: &App, user: Option<keyfall::UserId>, which: Which) -> Answer<StatusCode> {
    let class = Class::new(which.class)?;
    let unset = move |engine: &keyfall::Engine| {
        engine.policies(user.as_ref()).unset(&class, which.purpose.as_deref())
    };
    app.engine().run(unset).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_hold() -> Problem {
    let detail = "there is no hold with this number; GET of the user's holds shows the numbers";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}
