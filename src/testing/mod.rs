//! For tests of this crate and of adapters outside it.
