//! The service as its callers see it: each test starts the program.

mod access;
mod backups;
mod certificates;
mod checksums;
mod deploy;
mod document;
mod erasures;
mod jwt;
mod kit;
mod metrics;
mod names;
mod openings;
mod others;
mod page;
mod places;
mod planned;
mod privacy;
mod records;
mod revoked;
mod standby;
mod stop;
mod tls;
mod uploads;
