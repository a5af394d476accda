//! The contract of the port.

use std::sync::Arc;

use keyfall::store::{ObjectLog, Store};
use keyfall::testing::store_conformance;

use crate::places::fresh;

#[test]
fn the_log_keeps_the_contract_of_stores() {
    for place in fresh() {
        eprintln!("{}", place.name);
        store_conformance(|| {
            let log = ObjectLog::open_or_create(Arc::clone(&place.objects)).unwrap();
            Arc::new(log) as Arc<dyn Store>
        });
    }
}
