//! The page of a user: hear it, erase it, be sure. Rendered here; without scripts only the check of
//! a proof and the state of what plays are lacking.

pub(crate) mod archive;
mod assets;
mod awaited;
mod by_code;
pub(crate) mod card;
pub(crate) mod desk;
mod done;
mod drafts;
mod entry;
mod erase;
pub(crate) mod frame;
#[cfg(test)]
mod how_long;
#[cfg(test)]
mod in_seven_days;
mod inside;
mod judge;
mod keep;
pub(crate) mod kept;
pub(crate) mod link;
mod list;
mod nowhere;
mod numbers;
pub(crate) mod outcome;
mod pace;
#[cfg(test)]
mod persons;
pub(crate) mod planned;
pub(crate) mod proofs;
mod rows;
mod rules;
mod scopes;
mod size;
mod sound;
mod spoken;
mod sure;
#[cfg(test)]
mod trial;
mod turns;
mod visit;
mod when;
pub(crate) mod words;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::routing::{get, post};

use crate::app::App;

/// Most bytes of a form.
const FORM_MAX_BYTES: usize = 64 << 10;

/// The routes of the page.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/page", get(list::list))
        .route("/page/enter/{token}", get(link::ask).post(link::enter))
        .route("/page/leave", post(link::leave))
        .route("/page/records/{id}", get(sound::get).head(sound::head))
        .route("/page/export.zip", get(sound::export))
        .route("/page/erase", post(erase::ask))
        .route("/page/erase/now", post(erase::now))
        .route("/page/erase/later", post(erase::later))
        .route("/page/erase/cancel", post(erase::cancel))
        .route("/page/done/{number}", get(done::done))
        .route("/page/proofs", get(proofs::list))
        .route("/page/proofs/{name}", get(proofs::download))
        .route("/page/receipt", get(by_code::ask).post(by_code::show))
        .route("/page/check", get(proofs::check))
        .route("/page/keep", get(keep::ask).post(keep::set))
        .route("/page/sure", get(sure::sure))
        .route("/page/assets/{name}", get(assets::asset))
        .route("/", get(nowhere::root))
        .route("/page/{*rest}", get(nowhere::missing))
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
        .layer(map_response(|response| async { frame::guard(response) }))
}
