//! A write that is given up with an unknown outcome and arrives later: its own engine takes it for
//! nobody else's, and goes on.

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::store::{ObjectLog, Store};
use keyfall::{Engine, ErrorKind, Scope};
use keyfall_objects::Patience;

use crate::engines::{options, put, read, user};
use crate::silent::Silent;

#[test]
fn a_late_write_of_ones_own_is_no_other_engine() {
    for erases in [false, true] {
        let objects = Arc::new(Silent::default());
        let log = ObjectLog::create(objects.clone()).unwrap().patience(Patience::of_tries(2));
        let (log, cell) = (Arc::new(log), Arc::new(MemoryCell::new()));
        let engine = Engine::init(log.clone(), cell.clone(), options()).unwrap();
        let [ada, ben] = [1, 2].map(|n| put(&engine, n, b"before").unwrap());
        objects.falls_silent();
        let failed = match erases {
            false => put(&engine, 3, b"late").map(drop).unwrap_err(),
            true => engine.erase(Scope::user(user(2))).map(drop).unwrap_err(),
        };
        assert!(failed.may_have_happened(), "{failed}");
        objects.arrives();
        // Whoever asks between the failure and the next opening, as a reader may.
        let e = log.confirm().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{e}");
        assert!(read(&engine, &ada).is_err(), "it is closed");
        engine.reopen().unwrap();
        assert_eq!(read(&engine, &ada).unwrap(), b"before");
        let ben = read(&engine, &ben).map_err(|e| e.kind());
        assert_eq!(ben, if erases { Err(ErrorKind::Erased) } else { Ok(b"before".to_vec()) });
        put(&engine, 4, b"after").unwrap();
        engine.erase(Scope::user(user(4))).unwrap();
    }
}
