//! Readers: they seek, and deliver nothing after an erase. SPEC §6, §10.

use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::testing::Defect;
use keyfall::{Class, ErrorKind, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, user};

#[test]
fn a_reader_seeks() {
    let world = World::new(2, SMALL_PAGES);
    let content = bytes(2, 700_000);
    let id = world.put("ada", Class::audio(), &content);
    let mut reader = world.engine().get(&id).unwrap();
    for at in [0, 699_999, 16_384, 262_144, 5, 500_000] {
        reader.seek(SeekFrom::Start(at)).unwrap();
        let mut some = [0; 20_000];
        let n = reader.read(&mut some).unwrap();
        assert!(n > 0);
        assert_eq!(some[..n], content[at as usize..at as usize + n]);
    }
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 699_997);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, content[699_997..]);
    reader.seek(SeekFrom::Start(1 << 40)).unwrap();
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0, "nothing follows the end");
}

#[test]
fn a_reader_delivers_nothing_after_the_erase_returned() {
    let world = World::new(8, SMALL_PAGES);
    let engine = world.engine().clone();
    let id = world.put("ada", Class::audio(), &bytes(8, 100_000));
    let mut reader = engine.get(&id).unwrap();
    let mut some = [0; 1000];
    assert!(reader.read(&mut some).unwrap() > 0);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(
        error_kind(reader.read_some(&mut some)),
        ErrorKind::Erased,
        "not even what was opened already"
    );
}

#[test]
fn a_reader_that_is_not_closed_is_found_out() {
    let world = World::with_defect(8, SMALL_PAGES, Some(Defect::ForgetCache));
    let engine = world.engine().clone();
    let id = world.put("ada", Class::audio(), &bytes(8, 100_000));
    let mut reader = engine.get(&id).unwrap();
    let mut some = [0; 1000];
    assert!(reader.read(&mut some).unwrap() > 0);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(reader.read_some(&mut some).is_ok(), "the test above would see a reader that goes on");
}

#[test]
fn reads_race_an_erase_and_none_ends_after_it() {
    for seed in 0..20 {
        let world = World::new(100 + seed, SMALL_PAGES);
        let engine = world.engine().clone();
        let id = world.put("ada", Class::audio(), &bytes(seed, 400_000));
        let returned = AtomicBool::new(false);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let Ok(mut reader) = engine.get(&id) else { return };
                    let mut some = [0; 700];
                    loop {
                        let after = returned.load(Ordering::SeqCst);
                        match reader.read_some(&mut some) {
                            Ok(0) => {
                                reader.seek(SeekFrom::Start(0)).unwrap();
                            }
                            Ok(_) => assert!(
                                !after,
                                "a byte was delivered to a call made after the erase returned"
                            ),
                            Err(e) => return assert_eq!(e.kind(), ErrorKind::Erased),
                        }
                    }
                });
            }
            s.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(200 * seed));
                engine.erase(Scope::user(user("ada"))).unwrap();
                returned.store(true, Ordering::SeqCst);
            });
        });
    }
}
