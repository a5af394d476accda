//! The service as its callers see it: each test starts the program.

mod access;
mod document;
mod erasures;
mod kit;
mod names;
mod others;
mod privacy;
mod records;
mod stop;
