//! What the engine returns, in words and as JSON.
//!
//! A file imports only from those named before it: page, time, cell, copies, record, audit, erase,
//! rules, history, report, certificate.

pub(crate) mod audit;
pub(crate) mod cell;
pub(crate) mod certificate;
pub(crate) mod copies;
pub(crate) mod erase;
pub(crate) mod history;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod rules;
pub(crate) mod time;
