//! The page of a user.

use axum::Router;

use crate::app::App;

/// The routes of the page.
pub(crate) fn router(_app: &App) -> Router<App> {
    Router::new()
}
