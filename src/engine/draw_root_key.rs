//! Root keys: how one is drawn for an epoch to come.

use super::core::{Core, Writer};
use crate::catalogue::defect::Defect;
use crate::cell::{RootCell, RootKey};
use crate::crypto::{Fresh, hedge};
use crate::env::Env;
use crate::error::Result;
use crate::promise::RootId;
use crate::tree::head::HeadPage;

/// Draws the root key of the epoch after the writer's.
pub(super) fn next_root(core: &Core, writer: &Writer, head: &HeadPage) -> Result<RootKey> {
    let drawn = draw_root(&*core.options.env, &*core.cell, writer.root.id.epoch + 1, head)?;
    if core.planted(Defect::KeepRootKey) {
        return Ok(RootKey { id: drawn.id, key: writer.root.key.duplicate() });
    }
    Ok(drawn)
}

/// Draws a root key for an epoch that begins with `head`: a generator that repeats after a machine
/// was restored must not give one key to two heads, for what the one erased the other may still
/// reach.
pub(super) fn draw_root(
    env: &dyn Env,
    cell: &dyn RootCell,
    epoch: u64,
    head: &HeadPage,
) -> Result<RootKey> {
    let fresh = Fresh::new(env, hedge(&[&epoch.to_be_bytes(), &head.encode()]));
    let mut id = RootId { epoch, attempt: fresh.name()?.0 };
    cell.brand(&mut id);
    Ok(RootKey { id, key: fresh.key()? })
}
