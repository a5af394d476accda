//! The engine over memory ports: each rule once, small. SPEC §5, §6, §8.

mod cache;
mod copies;
mod erases;
mod faulty_copies;
mod fences;
mod interactions;
mod lists;
mod named_uploads;
mod opening;
mod openings;
mod readers;
mod records;
mod space;
mod uploads;
