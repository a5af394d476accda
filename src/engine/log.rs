//! The public log: every commit that erases adds a leaf to it, in the same commit. A checkpoint is
//! signed only when the root keys that its leaves call destroyed are, as far as the cell's promise
//! goes; one under the certificate of a pending erase says that they are not.

use super::core::Core;
use super::ready::ready;
use super::retire::settle;
use crate::catalogue::leaf::log_page;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::ORIGIN_MAX_BYTES;
use crate::log::Signer;
use crate::pages::PageSource;
use crate::sync::locked;
use crate::tree::log::LogPage;

/// The name of a store's log, if its owner gave none.
pub(super) fn origin(given: Option<&str>, store: StoreId) -> Result<String> {
    let origin = given.map_or_else(|| format!("keyfall.invalid/{store}"), str::to_owned);
    if origin.len() > ORIGIN_MAX_BYTES {
        return Err(Error::invalid(format!(
            "the name of a log has at most {ORIGIN_MAX_BYTES} bytes"
        )));
    }
    // A name that no note can bear is found out before anything is made.
    Signer::ed25519(&origin, &[0; 32]).map(|_| origin)
}

/// As [`with_log`], for what is signed: every root key that a leaf calls destroyed is.
pub(super) fn with_final_log<T>(
    core: &Core,
    see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>,
) -> Result<T> {
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    if locked(&core.awaiting).is_some() {
        settle(core, &mut writer)?;
    }
    let awaited = locked(&core.awaiting).clone();
    if let Some(awaited) = awaited {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the log is not signed while an erase in it is pending: {awaited}; run `Engine::run_due` and ask again"
            ),
        ));
    }
    show(core, see)
}

/// Shows the log to `see`, having made sure that what it tells of has happened.
pub(super) fn with_log<T>(
    core: &Core,
    see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>,
) -> Result<T> {
    core.process.check()?;
    core.check_watched()?;
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    show(core, see)
}

/// Shows the log as it is now; the caller holds the writer.
fn show<T>(core: &Core, see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>) -> Result<T> {
    let state = core.state();
    let pages = core.pages();
    see(&log_page(&core.view(&state, &pages))?, &pages)
}
