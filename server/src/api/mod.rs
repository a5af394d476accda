//! The handlers, one file for each kind of resource.

mod backups;
pub(crate) mod content;
mod credentials;
mod erasures;
pub(crate) mod export;
mod facts;
pub(crate) mod health;
mod label;
pub(crate) mod log;
mod octets;
pub(crate) mod openings;
mod records;
mod report;
mod reported;
mod rules;
mod sharing;
mod status;
mod told;
mod unheard;
pub(crate) mod uploads;
mod users;

use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// The routes, with the document that describes them, which begins as it is given.
pub(crate) fn router(document: OpenApi) -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(document)
        .routes(routes!(users::create_user))
        .routes(routes!(users::get_user))
        .routes(routes!(users::get_report))
        .routes(routes!(crate::page::link::create_page_link))
        .routes(routes!(export::export))
        .routes(routes!(export::seal_export))
        .routes(routes!(records::put_record, records::list_records))
        .routes(routes!(content::get_record, content::head_record))
        .routes(routes!(content::get_lineage))
        .routes(routes!(content::get_openings, openings::open_record))
        .routes(routes!(openings::get_opening, openings::head_opening, openings::close_opening))
        .routes(routes!(uploads::describe_uploads, uploads::create_upload))
        .routes(routes!(uploads::head_upload, uploads::append_upload, uploads::end_upload))
        .routes(routes!(erasures::erase))
        .routes(routes!(erasures::get_erasure, erasures::cancel_erasure))
        .routes(routes!(erasures::list_plans))
        .routes(routes!(rules::add_hold, rules::list_holds))
        .routes(routes!(rules::lift_hold))
        .routes(routes!(
            rules::set_user_policy,
            rules::list_user_policies,
            rules::unset_user_policy
        ))
        .routes(routes!(rules::set_policy, rules::list_policies, rules::unset_policy))
        .routes(routes!(sharing::add_grant, sharing::list_grants))
        .routes(routes!(sharing::revoke_grant))
        .routes(routes!(sharing::open_request))
        .routes(routes!(sharing::get_inbox))
        .routes(routes!(sharing::accept))
        .routes(routes!(log::key))
        .routes(routes!(log::checkpoint))
        .routes(routes!(log::verify))
        .routes(routes!(status::status))
        .routes(routes!(status::metrics))
        .routes(routes!(backups::back_up))
        .routes(routes!(credentials::create_credential, credentials::list_credentials))
        .routes(routes!(credentials::end_credential))
        .routes(routes!(credentials::renew_credential))
        // A tile's path has slashes in it, which a document cannot say.
        .route("/log/tile/{level}/{*path}", axum::routing::get(log::tile))
}
