//! Who calls, and what that caller may do.
//!
//! A *credential* is a principal with scopes, users, purposes and an end. It is shown by a token of
//! this service, which is given out once and kept as a hash, or by a client certificate; the *book*
//! holds these, in a file. The token of an issuer (`jwt`) says its credential itself. A *caller* is
//! the credential of one request.

pub(crate) mod book;
pub(crate) mod caller;
pub(crate) mod credential;
pub(crate) mod jwt;
pub(crate) mod limit;
