//! One binary for all integration tests.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests: they panic, look at the clock, and nobody links them"
)]

mod common;
mod support;

mod backups;
mod cell_places;
mod cells;
mod certificates;
mod chunked;
mod cleaning;
mod clock;
mod command_line;
mod corpus;
mod damage;
mod decoders;
mod delivery;
mod documents;
mod due;
mod durability;
mod engine;
mod error_kinds;
mod errors;
mod forked;
mod forks;
mod grants;
mod guards;
mod holds;
mod house;
mod inbox;
mod judged;
mod keep_derived;
mod keyholders;
mod kill;
mod late;
mod levels;
mod lineage;
mod linear;
mod links;
mod log;
mod memory;
mod names;
mod opening;
mod outputs;
mod ownership;
mod pages;
mod ports;
mod power;
mod processes;
mod protocol;
mod quorum;
mod read_only;
mod realm;
mod remains;
mod reopen;
mod report;
mod residue;
mod short;
mod simulation;
mod sled_store;
mod speech;
mod times;
mod told;
mod trees;
mod vectors;
mod watch;
mod writes;
mod wycheproof;
