//! Unfinished uploads.

use keyfall::{Class, ErrorKind, Put, UserId};

use super::{Cli, json};

#[test]
fn unfinished_uploads_are_listed_and_aborted() {
    let cli = Cli::new();
    let upload = {
        let engine = keyfall::open(cli.path("store")).unwrap();
        let put = Put::new(UserId::new("ada").unwrap(), Class::audio()).length(8).name("a.wav");
        let upload = engine.uploads().begin(put).unwrap();
        engine.uploads().append(&upload, 0, &b"RIFF"[..]).unwrap();
        upload.to_string()
    };
    let listed = json(&cli.ok(&["upload", "list", "store", "--user", "ada", "--json"]));
    let it = &listed["uploads"][0];
    assert_eq!((it["id"].as_str(), &it["offset"]), (Some(upload.as_str()), &4.into()));
    assert_eq!((&it["length"], it["name"].as_str()), (&8.into(), Some("a.wav")));
    assert!(cli.ok(&["upload", "list", "store", "--user", "ada"]).contains("4 B of 8 B"));
    cli.ok(&["upload", "abort", "store", "--id", &upload]);
    cli.fails(3, &["upload", "abort", "store", "--id", &upload]);
    let none = cli.ok(&["upload", "list", "store", "--user", "ada"]);
    assert_eq!(none, "there are no unfinished uploads");
    cli.fails(2, &["upload", "abort", "store", "--id", "none"]);
    let engine = keyfall::open(cli.path("store")).unwrap();
    let state = engine.uploads().state(&upload.parse().unwrap());
    assert_eq!(state.unwrap_err().kind(), ErrorKind::Erased);
}
