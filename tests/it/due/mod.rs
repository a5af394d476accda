//! What happens by itself: planned erases, limits that pass, erases that become final. SPEC §6.4,
//! §6.5.

mod certified;
mod keeper;
mod limits;
mod plans;
mod program;
mod windows;
