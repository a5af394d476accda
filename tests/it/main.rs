//! One binary for all integration tests.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests: they panic, look at the clock, and nobody links them"
)]

mod support;

mod architecture;
mod cells;
mod certificates;
mod chunked;
mod command_line;
mod corpus;
mod damage;
mod decoders;
mod due;
mod durability;
mod engine;
mod errors;
mod grants;
mod holds;
mod inbox;
mod judged;
mod keyholders;
mod kill;
mod late;
mod levels;
mod lineage;
mod linear;
mod log;
mod memory;
mod pages;
mod ports;
mod power;
mod protocol;
mod report;
mod residue;
mod simulation;
mod sled_store;
mod trees;
mod vectors;
mod writes;
mod wycheproof;
