//! The handlers, one file for each kind of resource.

pub(crate) mod health;
