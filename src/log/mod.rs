//! The log: append-only, one leaf for each commit that erased. It says that something was erased
//! and when, never who or what; what binds a leaf to an erase is a hiding commitment that the
//! holder of the certificate can open.
//!
//! A machine without I/O: hashes, proofs, notes and tiles. An operator who changes a published log
//! can be convicted by anyone who kept a checkpoint. The holder of the log's private key can sign
//! anything, and must not be believed beyond what the certificate says.
//!
//! Sources: RFC 9162 (2.1), C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-proof,
//! tlog-cosignature.

mod checkpoint;
mod hash;
mod note;
mod proof;
mod tiles;

pub use checkpoint::{Checkpoint, LogProof};
pub use hash::{Frontier, HASH_BYTES, Hash};
pub(crate) use hash::{FullTree, base64};
pub use note::{Note, Signer, VerifierKey};
pub use proof::{
    Extent, Subtrees, consistency, inclusion, root, verify_consistency, verify_inclusion,
};
pub use tiles::{
    ReadFile, SeeLeaf, TILE_WIDTH, TileWriter, Tiles, WriteFile, bundle, bundle_path, check_files,
    read_bundle, tile_path,
};
