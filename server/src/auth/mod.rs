//! Who calls, and what that caller may do.
//!
//! A *credential* is a principal with scopes, users, purposes and an end. Its token is given out
//! once and kept as a hash. The *book* holds the credentials, in a file; a *caller* is the
//! credential of one request.

pub(crate) mod book;
pub(crate) mod caller;
pub(crate) mod credential;
pub(crate) mod limit;
