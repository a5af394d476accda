//! The erasure certificate: what was erased, for whom, by what method, what the cell said of the
//! destroyed key, and that it is in the log. It is checked with the file and the log's public
//! key; nothing here reads a store or opens a seal.
//!
//! Invariants. The issuer never writes the grade: each reader works it out from the facts again.
//! Every byte is bound: the facts by the leaf's commitment, leaf and facts by a signature whose key
//! is in the leaf, the leaf by the log's proof, the words above by being what the facts give.
//!
//! ```text
//! certificate = head in words ‖ "keyfall/certificate@v1" ‖ JSON
//!               ‖ empty line ‖ signature line                            (a C2SP signed note)
//!               ‖ empty line ‖ log proof                                 (C2SP tlog-proof)
//!               ‖ [empty line ‖ log proof of the leaf that made it final]
//! ```

mod draft;
mod facts;
mod judge;
mod leaf;
mod plain;
mod text;
mod verify;
mod written;

pub use draft::Draft;
#[cfg(feature = "keyholders")]
pub(crate) use facts::key_commitment_bytes;
pub use facts::{
    ALGORITHMS, Body, CellFacts, Copies, Destroyed, Earlier, Kept, Keyholders, METHOD, Outcome,
    Retired, Said, Slot, VERIFICATION, key_commitment,
};
pub use judge::{Facts, Grade, Judged, heard};
pub use leaf::{Ends, Leaf, SLOTS_MIN, slots};
pub use text::Certificate;
pub use verify::{Cosigned, Trust, Verified, same_history};
