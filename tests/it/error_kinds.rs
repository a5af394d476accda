//! The kind of an error says what to do about it, wherever it comes from. SPEC §6.

use std::io::Read;

use keyfall::{Class, Error, ErrorKind, Scope};

use crate::command_line::Cli;
use crate::support::{SMALL_PAGES, World, bytes, user};

#[test]
fn an_error_that_came_through_a_reader_keeps_its_kind() {
    // A play that an erase cut off was told as an error of the system.
    let world = World::new(1, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), &bytes(1, 900_000));
    let mut reader = world.engine().get(&id).unwrap();
    let mut some = [0; 100];
    reader.read_exact(&mut some).unwrap();
    world.engine().erase(Scope::user(user("ada"))).unwrap();
    let read = |reader: &mut keyfall::Reader| reader.read_to_end(&mut Vec::new()).unwrap_err();
    let e = Error::io("playing", read(&mut reader));
    assert_eq!(e.kind(), ErrorKind::Erased);
    assert!(e.to_string().starts_with("playing: "), "{e}");
    assert_eq!(Error::from(read(&mut reader)).kind(), ErrorKind::Erased);
    let twice = std::io::Error::from(Error::io("playing", read(&mut reader)));
    assert_eq!(Error::io("again", twice).kind(), ErrorKind::Erased);
    assert_eq!(
        Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull)).kind(),
        ErrorKind::Full
    );
    assert_eq!(Error::from(std::io::Error::other("x")).kind(), ErrorKind::Io);
}

#[test]
fn the_copy_that_is_the_store_itself_is_reported_as_such() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["copy", "add", "store", "replica"]);
    std::fs::remove_dir_all(cli.path("store")).unwrap();
    std::fs::write(cli.path("said"), "x").unwrap();
    let out = cli.run(&[
        "put",
        "replica",
        "--cell",
        "store.cell",
        "--user",
        "ada",
        "--class",
        "audio",
        "said",
    ]);
    let e = String::from_utf8(out.stderr).unwrap();
    // Or it is refused since it does not own the cell.
    assert!(out.status.code() == Some(11) || e.contains("if this store is that copy"), "{e}");
}
