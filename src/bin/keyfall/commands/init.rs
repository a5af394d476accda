//! `keyfall init`.

use serde_json::json;

use crate::args::InitArgs;
use crate::shell::failure::Done;
use crate::shell::make::{Making, Spread, make};
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::show::cell::promise_json;

/// Makes a store and its cell.
pub(super) fn run(session: &Session, args: InitArgs) -> Done {
    let store = one(args.places)?;
    let spread = Spread::said(args.spread);
    let (accept_remnants, log_origin) = (args.accept_remnants, args.log_origin);
    let (single_machine, lend) = (args.single_machine, args.lend);
    let making = Making { accept_remnants, single_machine, log_origin, lend, spread };
    let may_be_lost = making.spread.as_ref().map(Spread::may_be_lost);
    let engine = make(session, &store, making)?;
    let promise = engine.promise();
    if session.json {
        return session.value(&json!({
            "store": store.display().to_string(), "id": engine.id().to_string(),
            "cell": promise_json(&promise), "keyholders_may_be_lost": may_be_lost,
        }));
    }
    line(format_args!("store {}", store.display()))?;
    line(format_args!("cell  {}", promise.place))?;
    line(format_args!("      {promise}"))?;
    let cell = if promise.quorum.is_some() {
        "The keyholders have the root key: if fewer than the threshold are left, all data is lost. \
         Copy the cell's directory to the machines that are to open the store, and keep its \
         `engine.key` secret."
    } else {
        "Lose the cell and all data is lost; copy it, and what is erased later can be brought back \
         from a backup."
    };
    line(session.fill(&format!(
        "      {cell} A backup from before the last erase restores nothing on its own: add a copy \
         in step with `keyfall copy add STORE PLACE`."
    )))
}
