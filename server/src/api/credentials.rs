//! Credentials: the admin makes them, lists them and ends them.

use std::io;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::openings::close_of;
use crate::app::App;
use crate::auth::book::{OF_THE_BOOK, Renewed};
use crate::auth::caller::Caller;
use crate::auth::credential::{Credential, Proof, ScopeName, Users, fresh_token, hash};
use crate::peer::CertificateName;
use crate::private::random;
use crate::problem::{Answer, Problem};
use crate::take::JsonBody;
use crate::words;

/// A credential to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredential {
    /// Who acts with it; the reports of users name it.
    principal: String,
    /// What may be done: `put`, `read`, `read:CLASS`, `report`, `erase`, `rules`, `inbox`,
    /// `page`, `status`, `backup`, `admin`.
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<String>,
    /// With whose records: `"any"`, or a list of handles.
    users: Users,
    /// For which purposes; `*` is any.
    #[serde(default)]
    purposes: Vec<String>,
    /// The purpose of a request that names none.
    #[serde(default)]
    default_purpose: Option<String>,
    /// When it ends; never, if it is not given.
    #[serde(default)]
    until: Option<String>,
    /// Most bytes of a record that is put with it; the service's limit, if none is given.
    #[serde(default)]
    max_record_bytes: Option<u64>,
    /// The client certificate that shows it, in place of a token.
    #[serde(default)]
    certificate: Option<CertificateName>,
}

/// A credential.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
pub(crate) struct CredentialJson {
    /// Its name in addresses.
    id: String,
    /// Who acts with it.
    principal: String,
    /// What may be done.
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<String>,
    /// With whose records.
    users: Users,
    /// For which purposes.
    purposes: Vec<String>,
    /// The purpose of a request that names none.
    default_purpose: Option<String>,
    /// When it ends.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Whether it has passed its end: it opens nothing until that is taken back.
    ended: bool,
    /// Most bytes of a record that is put with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_record_bytes: Option<u64>,
    /// The client certificate that shows it, in place of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateName>,
    /// The token, once: only its hash is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<Credential> for CredentialJson {
    fn from(of: Credential) -> Self {
        CredentialJson {
            certificate: of.certificate().cloned(),
            ended: of.ended(words::now()),
            id: of.id,
            principal: of.principal,
            scopes: of.scopes,
            users: of.users,
            purposes: of.purposes,
            default_purpose: of.default_purpose,
            until: of.until,
            max_record_bytes: of.max_record_bytes,
            token: None,
        }
    }
}

/// Makes a credential
///
/// The answer has its token, which cannot be read again. With `certificate` it has none: a client
/// certificate shows the credential, and has one at a time.
#[utoipa::path(
    post, path = "/v1/credentials", tag = "credentials",
    request_body(content = NewCredential, example = json!({
        "principal": "support desk", "scopes": ["read:audio", "report"], "users": "any",
        "purposes": ["support case"]
    })),
    responses((status = 201, description = "The credential, with its token", body = CredentialJson,
        headers(("Location" = String, description = "The address of the credential")),
        example = json!({
            "id": "c_ctib0q1hv7lqmtpg", "principal": "support desk",
            "scopes": ["read:audio", "report"], "users": "any", "purposes": ["support case"],
            "default_purpose": null, "until": null, "ended": false, "token": "kf_EXAMPLE"
        })))
)]
pub(crate) async fn create_credential(
    State(app): State<App>,
    caller: Caller,
    JsonBody(new): JsonBody<NewCredential>,
) -> Answer<Response> {
    caller.may("admin")?;
    let until = new.until.as_deref().map(words::point_to_come).transpose()?;
    let failed = Problem::of_io;
    let certificate = new.certificate.map(checked).transpose()?;
    let (proof, token) = match certificate {
        Some(certificate) => (Proof::Certificate { certificate }, None),
        None => {
            let token = fresh_token().map_err(failed)?;
            (Proof::Token { token: hash(&token) }, Some(token.to_string()))
        }
    };
    let id = data_encoding::BASE32_DNSSEC.encode(&random::<10>().map_err(failed)?);
    let credential = Credential {
        id: format!("{OF_THE_BOOK}{id}"),
        principal: new.principal,
        scopes: new.scopes,
        users: new.users.canonical(),
        purposes: new.purposes,
        default_purpose: new.default_purpose,
        over: false,
        until: until.map(|until| until.to_string()),
        max_record_bytes: new.max_record_bytes,
        proof,
    };
    if let Some(fault) = credential.fault() {
        return Err(Problem::invalid(fault));
    }
    if !app.book().add(credential.clone(), words::now()).map_err(failed)? {
        return Err(Problem::new(StatusCode::CONFLICT, "exists", TAKEN));
    }
    let location = format!("/v1/credentials/{}", credential.id);
    let json = CredentialJson { token, ..credential.into() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(json)).into_response())
}

/// Checks what a certificate is to be known by.
fn checked(name: CertificateName) -> Answer<CertificateName> {
    match name {
        CertificateName::Uri(uri) if uri.contains(':') && (3..=2048).contains(&uri.len()) => {
            Ok(CertificateName::Uri(uri))
        }
        CertificateName::Uri(_) => Err(Problem::invalid(
            "a certificate's uri is a whole URI, as it stands in the certificate",
        )),
        CertificateName::Sha256(digest) => {
            let hex = digest.replace(':', "").to_ascii_lowercase();
            match data_encoding::HEXLOWER.decode(hex.as_bytes()) {
                Ok(bytes) if bytes.len() == 32 => Ok(CertificateName::Sha256(hex)),
                _ => Err(Problem::invalid(
                    "a certificate's sha256 is 64 hexadecimal digits: \
                     openssl x509 -noout -fingerprint -sha256 -in FILE",
                )),
            }
        }
    }
}

/// Lists the credentials
///
/// The admin's own, which is in a file, is not among them.
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

/// What a credential is to have when its end is taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renewal {
    /// When it ends, if not when it was to end before.
    #[serde(default)]
    until: Option<String>,
}

/// Takes back that a credential ended
///
/// A clock that ran ahead ends a credential for good, even after it is corrected. This restores the
/// credential, with the same token. It is refused if the credential's end has passed by the clock of
/// now and no new one is given. A credential that was ended with DELETE is not there any more.
#[utoipa::path(
    post, path = "/v1/credentials/{id}/renewal", tag = "credentials", request_body = Renewal,
    params(("id" = String, Path, description = "The id of the credential")),
    responses((status = 200, description = "It is in force", body = CredentialJson))
)]
pub(crate) async fn renew_credential(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(renewal): JsonBody<Renewal>,
) -> Answer<Json<CredentialJson>> {
    caller.may("admin")?;
    let until = renewal.until.as_deref().map(words::point).transpose()?;
    let until = until.map(|until| until.to_string());
    let refused = |kind, detail: &'static str| Problem::new(StatusCode::CONFLICT, kind, detail);
    match app.book().renew(&id, until, words::now()).map_err(Problem::of_io)? {
        Renewed::Stands(credential) => Ok(Json((*credential).into())),
        Renewed::Absent => Err(absent()),
        Renewed::Past => Err(refused("refused", "its end is past; say in until when it ends")),
        Renewed::Taken => Err(refused("exists", TAKEN)),
    }
}

const TAKEN: &str = "a credential is for this certificate already; end that one first";

fn absent() -> Problem {
    let detail = "there is no such credential; the list has all";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}

/// Ends a credential
///
/// What it has open is closed.
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
    let ended = app.book().remove(&id).map_err(unsaved);
    close_of(&app, &id).await;
    match ended? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(absent()),
    }
}

/// That a credential ended, and the book could not be written.
fn unsaved(error: io::Error) -> Problem {
    let problem = Problem::of_io(error);
    let why = match problem.kind {
        "full" => "there is no space left",
        _ => "the service failed, and its log says why",
    };
    let detail = format!(
        "the credential opens nothing any more, but {why}: a service that starts again would take \
         it; repeat the request once that is corrected"
    );
    Problem { detail: detail.into(), ..problem }
}
