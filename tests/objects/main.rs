//! The store on an object log: its conformance, what a bad network does to it, how many requests it
//! makes; over memory, a directory, and the servers that the environment names.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod ahead;
mod beside;
mod cache;
#[cfg(feature = "postgres")]
#[path = "../../objects/tests/cluster/mod.rs"]
mod cluster;
mod cold;
#[expect(dead_code, unreachable_pub, reason = "another crate of tests takes the rest of it")]
#[path = "../it/common.rs"]
mod common;
mod conformance;
mod copies;
mod corpus;
mod cut_short;
mod cuts;
mod earlier;
mod engines;
mod far;
mod figures;
mod full;
mod grace;
mod hosts;
mod in_use;
mod inits;
mod late;
mod listing;
mod mistakes;
mod neighbours;
mod network;
mod openers;
mod openings;
mod paused;
mod places;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
mod ratios;
mod readers;
mod realms;
mod refused;
mod removed;
mod reopened;
mod rounds;
mod set_back;
mod silent;
mod space;
#[path = "../it/speech.rs"]
mod speech;
mod standby;
mod strays;
mod takeover;
mod turns;
mod under_way;
mod volumes;
mod wrapped;
