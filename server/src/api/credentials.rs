//! Credentials: the admin makes them, lists them and ends them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use keyfall::UserHandle;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::credential::{Credential, SCOPES, Users, fresh_token, hash};
use crate::private::random;
use crate::problem::{Answer, Problem};
use crate::words;

/// A credential to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredential {
    /// Who acts with it; the reports of users name it.
    #[schema(example = "support desk")]
    principal: String,
    /// What may be done: `put`, `read`, `read:CLASS`, `report`, `erase`, `rules`, `inbox`,
    /// `page`, `status`, `admin`.
    #[schema(example = json!(["read:audio", "report"]))]
    scopes: Vec<String>,
    /// With whose records: `"any"`, or a list of handles.
    #[schema(value_type = Value, example = "any")]
    users: Users,
    /// For which purposes; `*` is any.
    #[serde(default)]
    #[schema(example = json!(["support case"]))]
    purposes: Vec<String>,
    /// The purpose of a request that names none.
    #[serde(default)]
    default_purpose: Option<String>,
    /// When it ends; never, if it is not given.
    #[serde(default)]
    until: Option<String>,
}

/// A credential.
#[derive(Serialize, ToSchema)]
pub(crate) struct CredentialJson {
    /// Its name in addresses.
    id: String,
    /// Who acts with it.
    principal: String,
    /// What may be done.
    scopes: Vec<String>,
    /// With whose records.
    #[schema(value_type = Value)]
    users: Users,
    /// For which purposes.
    purposes: Vec<String>,
    /// The purpose of a request that names none.
    default_purpose: Option<String>,
    /// When it ends.
    until: Option<String>,
    /// The token, once: only its hash is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<Credential> for CredentialJson {
    fn from(of: Credential) -> Self {
        CredentialJson {
            id: of.id,
            principal: of.principal,
            scopes: of.scopes,
            users: of.users,
            purposes: of.purposes,
            default_purpose: of.default_purpose,
            until: of.until,
            token: None,
        }
    }
}

/// Makes a credential
///
/// The answer has its token, which cannot be read again.
#[utoipa::path(
    post, path = "/v1/credentials", tag = "credentials", request_body = NewCredential,
    responses((status = 201, description = "The credential, with its token", body = CredentialJson,
        headers(("Location" = String))))
)]
pub(crate) async fn create_credential(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewCredential>,
) -> Answer<Response> {
    caller.may("admin")?;
    let until = new.until.as_deref().map(words::point).transpose()?;
    check(&new)?;
    let failed = |_| Problem::internal();
    let token = fresh_token().map_err(failed)?;
    let id = data_encoding::BASE32_DNSSEC.encode(&random::<10>().map_err(failed)?);
    let credential = Credential {
        id: format!("c_{id}"),
        principal: new.principal,
        scopes: new.scopes,
        users: new.users,
        purposes: new.purposes,
        default_purpose: new.default_purpose,
        until: until.map(|until| until.to_string()),
        token: hash(&token),
    };
    app.book().add(credential.clone()).map_err(failed)?;
    let location = format!("/v1/credentials/{}", credential.id);
    let json = CredentialJson { token: Some(token.to_string()), ..credential.into() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(json)).into_response())
}

/// Checks what a credential says.
fn check(new: &NewCredential) -> Answer<()> {
    let short = |text: &str, most: usize| !text.trim().is_empty() && text.len() <= most;
    if !short(&new.principal, 255) {
        return Err(Problem::invalid("a principal has 1 to 255 bytes"));
    }
    let known = |scope: &String| match scope.strip_prefix("read:") {
        Some(class) => keyfall::Class::new(class).is_ok(),
        None => SCOPES.contains(&scope.as_str()),
    };
    if new.scopes.is_empty() || new.scopes.len() > 64 || !new.scopes.iter().all(known) {
        return Err(Problem::invalid(format!(
            "a credential has 1 to 64 scopes, of these: {}, read:CLASS",
            SCOPES.join(", ")
        )));
    }
    if let Users::List(list) = &new.users
        && (list.len() > 1000 || list.iter().any(|one| one.parse::<UserHandle>().is_err()))
    {
        return Err(Problem::invalid("users is \"any\", or a list of at most 1000 handles"));
    }
    let served = |purpose: &String| short(purpose, 255);
    if new.purposes.len() > 64 || !new.purposes.iter().all(served) {
        return Err(Problem::invalid("a credential has at most 64 purposes, of 1 to 255 bytes"));
    }
    match &new.default_purpose {
        Some(purpose) if !new.purposes.contains(purpose) => {
            Err(Problem::invalid("the default purpose must be one of the purposes"))
        }
        _ => Ok(()),
    }
}

/// Lists the credentials
#[utoipa::path(
    get, path = "/v1/credentials", tag = "credentials",
    responses((status = 200, description = "The credentials, without their tokens", body = Vec<CredentialJson>))
)]
pub(crate) async fn list_credentials(
    State(app): State<App>,
    caller: Caller,
) -> Answer<Json<Vec<CredentialJson>>> {
    caller.may("admin")?;
    Ok(Json(app.book().list().into_iter().map(CredentialJson::from).collect()))
}

/// Ends a credential
#[utoipa::path(
    delete, path = "/v1/credentials/{id}", tag = "credentials",
    params(("id" = String, Path, description = "The id of the credential")),
    responses((status = 204, description = "It opens nothing any more"))
)]
pub(crate) async fn end_credential(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    caller.may("admin")?;
    match app.book().remove(&id).map_err(|_| Problem::internal())? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "absent",
            "there is no such credential; the list has all",
        )),
    }
}
