//! How often one principal may ask.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tower_governor::governor::GovernorConfigBuilder;

use super::caller::Caller;
use crate::config::Config;
use crate::problem::{Answer, Problem};
