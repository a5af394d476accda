//! Realms: stores that have their users among them. SPEC §9.10.

mod erasing;
mod making;
mod map;
mod program;
mod routing;
mod world;
