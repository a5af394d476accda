//! What is written for people: outputs are secured before a step that cannot be undone, nothing
//! irreplaceable is replaced, and the exit code says what happened to the data. SPEC §6, §14.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::command_line::Cli;
use crate::support::{Pace, bytes};

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Runs with a standard output that takes nothing.
fn with_full_stdout(cli: &Cli, args: &[&str]) -> Output {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    cli.command(args).stdout(full).stderr(Stdio::piped()).output().unwrap()
}

/// Runs with a standard output that nobody reads.
fn with_closed_stdout(cli: &Cli, args: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    cli.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

/// A device of the test's own: a program that replaces devices must not find the machine's. `false`
/// where none can be made.
fn device(cli: &Cli, name: &str, minor: &str) -> bool {
    let made = Command::new("mknod")
        .arg("-m")
        .arg("666")
        .arg(cli.path(name))
        .args(["c", "1", minor])
        .output();
    let usable = made.is_ok_and(|made| made.status.success())
        && std::fs::File::options().write(true).open(cli.path(name)).is_ok();
    if !usable {
        println!("skipped: no device can be made here");
    }
    usable
}

fn leftovers(cli: &Cli) -> Vec<String> {
    let names = std::fs::read_dir(cli.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("keyfall-") || name.contains(".part")).collect()
}

#[test]
fn nothing_is_erased_where_its_certificate_cannot_be_written() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"a recording");
    std::fs::create_dir(cli.path("dir")).unwrap();
    std::os::unix::fs::symlink("loop", cli.path("loop")).unwrap();
    let long = "x".repeat(300);
    let long = long.as_str();
    for (code, place) in [
        (1, "nowhere/x"),
        (2, "dir"),
        (2, "new/"),
        (2, "loop"),
        (1, long),
        (6, "store/x"),
        (6, "store.cell/x"),
    ] {
        let e = cli.fails(code, &["erase", "store", "--user", "ada", "-o", place, "--yes"]);
        assert_eq!(e.trim_end().lines().count(), 1, "{e}");
        assert_eq!(cli.run(&["get", "store", &id]).stdout, b"a recording", "{place}");
    }
    assert!(!cli.path("new").exists() && leftovers(&cli).is_empty());
}

#[test]
fn nothing_is_erased_where_the_disk_has_no_room_for_its_certificate() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"a recording");
    std::fs::create_dir(cli.path("mnt")).unwrap();
    let bin = env!("CARGO_BIN_EXE_keyfall");
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=64k tmpfs mnt && head -c 1000000 /dev/zero > mnt/full 2>/dev/null
         {bin} erase store --user ada -o mnt/ada.erased --yes 2>err; [ $? = 1 ] || exit 91
         [ -e mnt/ada.erased ] && exit 92
         {bin} get store {id} | grep -q recording || exit 93",
        dir = cli.dir.path().display()
    );
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|p| p.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let out = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
    let err = std::fs::read_to_string(cli.path("err")).unwrap_or_default();
    assert_eq!(out.status.code(), Some(0), "{err}");
    assert!(err.contains("no space left"), "{err}");
}

#[test]
fn a_certificate_is_not_replaced_unless_that_is_asked_for() {
    let cli = Cli::new();
    let kept = cli.put("ben", "audio", b"stays");
    cli.put("ada", "audio", b"goes");
    cli.ok(&["erase", "store", "--user", "ada", "-o", "it.erased", "--yes"]);
    let first = std::fs::read(cli.path("it.erased")).unwrap();
    std::os::unix::fs::symlink("it.erased", cli.path("link")).unwrap();
    cli.ok(&["key", "a.key"]);
    for place in ["it.erased", "link", "./store/../it.erased", "a.key"] {
        let e = cli.fails(6, &["erase", "store", "--user", "ben", "-o", place, "--yes"]);
        assert_eq!(e.contains("--force"), place != "a.key", "{e}");
        cli.fails(6, &["get", "store", &kept, "-o", place]);
        cli.fails(6, &["report", "store", "--user", "ben", "-o", place]);
        cli.fails(6, &["export", "store", "--user", "ben", "--to", "a.key.pub", place]);
    }
    assert_eq!(std::fs::read(cli.path("it.erased")).unwrap(), first);
    assert_eq!(cli.run(&["get", "store", &kept]).stdout, b"stays", "nothing was erased");
    cli.ok(&["erase", "store", "--user", "ben", "-o", "it.erased", "--force", "--yes"]);
    assert_ne!(std::fs::read(cli.path("it.erased")).unwrap(), first);
    cli.ok(&["certificate", "upgrade", "store", "it.erased"]);
    cli.ok(&["discard", "store", "--certificate", "it.erased"]);
}

#[test]
fn an_output_takes_the_mode_of_what_it_replaces_and_leaves_links_and_devices_alone() {
    let cli = Cli::new();
    let content = bytes(3, 100_000);
    let id = cli.put("ada", "audio", &content);
    let mode = |name: &str| cli.path(name).symlink_metadata().unwrap().permissions().mode() & 0o777;
    std::fs::write(cli.path("private"), "old").unwrap();
    std::fs::set_permissions(cli.path("private"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(cli.path("private.part"), "my own").unwrap();
    cli.ok(&["get", "store", &id, "-o", "private"]);
    assert_eq!(
        (std::fs::read(cli.path("private")).unwrap(), mode("private")),
        (content.clone(), 0o600)
    );
    assert_eq!(std::fs::read(cli.path("private.part")).unwrap(), b"my own");
    std::os::unix::fs::symlink("private", cli.path("link")).unwrap();
    let inode = cli.path("private").metadata().unwrap().ino();
    cli.ok(&["get", "store", &id, "-o", "link"]);
    assert!(cli.path("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(mode("private"), 0o600);
    assert_ne!(
        cli.path("private").metadata().unwrap().ino(),
        inode,
        "it was written whole, and renamed"
    );
    std::os::unix::fs::symlink("to-be-made", cli.path("dangling")).unwrap();
    cli.ok(&["get", "store", &id, "-o", "dangling"]);
    assert_eq!(std::fs::read(cli.path("to-be-made")).unwrap(), content);
    // A new file has the mode that any program's would have.
    let script = format!("umask 027; {} key pair", env!("CARGO_BIN_EXE_keyfall"));
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(cli.dir.path())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!((mode("pair"), mode("pair.pub")), (0o600, 0o640));
    if device(&cli, "null", "3") {
        cli.ok(&["get", "store", &id, "-o", "null"]);
        assert!(cli.path("null").symlink_metadata().unwrap().file_type().is_char_device());
    }
    assert!(Command::new("mkfifo").arg(cli.path("fifo")).status().unwrap().success());
    let child = cli.command(&["get", "store", &id, "-o", "fifo"]).spawn().unwrap();
    let mut through = Vec::new();
    std::fs::File::open(cli.path("fifo")).unwrap().read_to_end(&mut through).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(through == content && cli.path("fifo").metadata().unwrap().file_type().is_fifo());
    // As /dev/stdout is one.
    std::os::unix::fs::symlink("/proc/self/fd/1", cli.path("stdout")).unwrap();
    for place in ["-", "stdout", "/proc/self/fd/1"] {
        assert!(cli.run(&["get", "store", &id, "-o", place]).stdout == content, "{place}");
    }
    let file = std::fs::File::create(cli.path("redirected")).unwrap();
    assert!(
        cli.command(&["get", "store", &id, "-o", "stdout"])
            .stdout(file)
            .status()
            .unwrap()
            .success()
    );
    assert!(std::fs::read(cli.path("redirected")).unwrap() == content);
    assert!(cli.path("stdout").symlink_metadata().unwrap().is_symlink());
    cli.fails(6, &["get", "store", &id, "-o", "store"]);
    std::fs::create_dir(cli.path("dir")).unwrap();
    cli.fails(2, &["get", "store", &id, "-o", "dir"]);
    cli.fails(6, &["get", "store", &id, "-o", "store/log/x"]);
    assert_eq!(leftovers(&cli), ["private.part"]);
}

#[test]
fn a_certificate_that_a_device_does_not_take_is_kept_elsewhere() {
    let cli = Cli::new();
    let key = cli.ok(&["log", "key", "store"]);
    let mut spares = 0;
    if device(&cli, "full", "7") {
        let id = cli.put("ada", "audio", b"goes");
        let out = cli.run(&["erase", "store", "--user", "ada", "-o", "full", "--yes"]);
        let e = stderr(&out);
        assert_eq!(out.status.code(), Some(12), "{e}");
        assert!(e.contains("not to be repeated"), "{e}");
        cli.fails(3, &["get", "store", &id]);
        let spare = e.split_whitespace().find(|word| word.ends_with(".erased")).unwrap();
        cli.ok(&["certificate", "verify", spare, "--key", &key]);
        spares += 1;
    }
    // To standard output: the certificate alone stands there.
    cli.put("ben", "audio", b"goes");
    let out = cli.run(&["erase", "store", "--user", "ben", "-o", "-", "--yes"]);
    assert!(
        out.status.success() && stderr(&out).contains("erased everything of user ben"),
        "{}",
        stderr(&out)
    );
    std::fs::write(cli.path("ben.erased"), &out.stdout).unwrap();
    cli.ok(&["certificate", "verify", "ben.erased", "--key", &key]);
    cli.put("cat", "audio", b"goes");
    let out = with_closed_stdout(&cli, &["erase", "store", "--user", "cat", "-o", "-", "--yes"]);
    assert_eq!(out.status.code(), Some(12), "{}", stderr(&out));
    cli.fails(3, &["list", "store", "--user", "cat"]);
    assert_eq!(
        leftovers(&cli).len(),
        spares + 1,
        "one for each certificate that had nowhere to go"
    );
}

#[test]
fn what_is_done_and_not_printed_has_its_own_exit_code() {
    let cli = Cli::new();
    std::fs::write(cli.path("wake.wav"), "sound").unwrap();
    let put = ["put", "store", "--user", "ada", "--class", "audio", "wake.wav"];
    for out in [with_full_stdout(&cli, &put), with_closed_stdout(&cli, &put)] {
        let e = stderr(&out);
        assert_eq!(out.status.code(), Some(12), "{e}");
        assert!(e.contains("must not be repeated") && e.trim_end().lines().count() == 1, "{e}");
        let id = e.split_whitespace().last().unwrap();
        assert_eq!(
            cli.run(&["get", "store", id]).stdout,
            b"sound",
            "its id is told on standard error: {e}"
        );
    }
    let out = with_full_stdout(&cli, &[&put[..], &["--json"]].concat());
    let told: serde_json::Value = serde_json::from_str(&stderr(&out)).unwrap();
    assert_eq!((out.status.code(), &told["error"]["done"]), (Some(12), &true.into()));
    let id = told["error"]["answer"]["id"].as_str().unwrap();
    assert_eq!(cli.run(&["get", "store", id]).stdout, b"sound");
    let who = ["--reason", "a court asks", "--authority", "Amtsgericht"];
    let hold = [&["hold", "add", "store", "--user", "ben"][..], &who].concat();
    cli.put("ben", "audio", b"x");
    assert_eq!(with_full_stdout(&cli, &hold).status.code(), Some(12));
    assert_eq!(
        with_full_stdout(&cli, &["erase", "store", "--user", "ada", "--yes"]).status.code(),
        Some(12)
    );
    cli.fails(3, &["list", "store", "--user", "ada"]);
    // What only reads has failed, or nobody wanted it any more.
    assert_eq!(with_full_stdout(&cli, &["list", "store"]).status.code(), Some(1));
    assert_eq!(with_closed_stdout(&cli, &["list", "store"]).status.code(), Some(0));
    assert_eq!(with_closed_stdout(&cli, &["status", "store"]).status.code(), Some(0));
}

#[test]
fn what_fails_after_an_erase_does_not_hide_it() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"goes");
    cli.put("ada", "transcript", b"stays");
    // No copy of the certificate can be kept in the store.
    cli.ok(&["policy", "set", "store", "--class", "certificate", "--until", "2020-01-01"]);
    let args = ["erase", "store", "--user", "ada", "--class", "audio", "-o", "ada.erased", "--yes"];
    let out = cli.run(&args);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stderr(&out).contains("could not be kept in the store"), "{}", stderr(&out));
    let key = cli.ok(&["log", "key", "store"]);
    cli.ok(&["certificate", "verify", "ada.erased", "--key", &key]);
    // A name that its own certificate cannot hold is no wrong usage of an erase that is done.
    cli.put("a\u{7f}b", "audio", b"goes");
    let out = cli.run(&["erase", "store", "--user", "a\u{7f}b", "-o", "odd.erased", "--yes"]);
    match out.status.code() {
        Some(0) => assert!(cli.path("odd.erased").exists()),
        code => {
            assert_eq!(code, Some(12), "{}", stderr(&out));
            assert!(stderr(&out).contains("not to be repeated"), "{}", stderr(&out));
        }
    }
    cli.fails(3, &["list", "store", "--user", "a\u{7f}b"]);
}

#[test]
fn a_discard_looks_at_its_certificates_first() {
    let cli = Cli::new();
    cli.put("ada", "audio", &bytes(1, 50_000));
    cli.ok(&["erase", "store", "--user", "ada", "-o", "ada.erased", "--yes"]);
    std::fs::write(cli.path("no.erased"), "no certificate").unwrap();
    let blobs = |cli: &Cli| {
        serde_json::from_str::<serde_json::Value>(&cli.ok(&["status", "store", "--json"])).unwrap()
            ["blobs"]
            .clone()
    };
    let before = blobs(&cli);
    cli.fails(
        1,
        &["discard", "store", "--certificate", "ada.erased", "--certificate", "nowhere.erased"],
    );
    assert!(!cli.run(&["discard", "store", "--certificate", "no.erased"]).status.success());
    assert_eq!(blobs(&cli), before, "nothing was discarded");
    cli.ok(&["discard", "store", "--certificate", "ada.erased"]);
    assert_ne!(blobs(&cli), before);
    assert!(leftovers(&cli).is_empty());
}

#[test]
fn what_is_unsealed_into_a_directory_with_other_things_leaves_them() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"sound");
    cli.ok(&["key", "ada.key"]);
    cli.ok(&["export", "store", "--user", "ada", "--to", "ada.key.pub", "sealed"]);
    let whole = std::fs::read(cli.path("sealed")).unwrap();
    std::fs::write(cli.path("cut"), &whole[..whole.len() - 10]).unwrap();
    std::fs::create_dir(cli.path("out")).unwrap();
    assert!(!cli.run(&["unseal", "--key", "ada.key", "cut", "out"]).status.success());
    assert_eq!(
        std::fs::read_dir(cli.path("out")).unwrap().count(),
        0,
        "the directory stays, and nothing in it"
    );
    cli.ok(&["unseal", "--key", "ada.key", "sealed", "out"]);
    assert!(cli.path("out/report.html").exists());
}

/// Every file in a place, with its bytes.
fn files(place: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if !place.is_dir() {
        return vec![(place.to_owned(), std::fs::read(place).unwrap())];
    }
    let mut all: Vec<_> =
        std::fs::read_dir(place).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect();
    all.sort();
    all
}

#[test]
fn no_output_lands_in_any_store_cell_or_keyholder() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"sound");
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["init", "other", "--accept-remnants"]);
    cli.ok(&["init", "far", "--cell", "keys/far", "--accept-remnants"]);
    cli.ok(&["keyholder", "init", "kh", "--accept-remnants"]);
    std::fs::write(cli.path("ada.inbox"), cli.ok(&["inbox", "store", "--user", "ada"])).unwrap();
    std::fs::write(cli.path("said"), "wake me").unwrap();
    std::os::unix::fs::symlink("other.cell", cli.path("link")).unwrap();
    cli.ok(&["erase", "store", "--user", "nobody", "-o", "no.erased", "--yes"]);
    cli.ok(&["key", "a.key"]);
    cli.ok(&["export", "store", "--user", "ada", "--to", "a.key.pub", "sealed"]);
    let others = ["other", "other.cell", "far", "far.cell", "keys", "kh"];
    let before = others.map(|name| files(&cli.path(name)));
    for place in [
        "store.cell/slot-a",
        "store/log/00000001.log",
        "other.cell/slot-a",
        "other.cell/new",
        "link/slot-b",
        "other/log/00000001.log",
        "other/keyfall",
        "other/not/yet",
        "replica/new",
        "far.cell",
        "keys/far/slot-a",
        "kh/identity",
        "kh/stores/new",
    ] {
        for args in [
            &["get", "store", &id, "-o", place, "--force"][..],
            &["report", "store", "--user", "ada", "-o", place, "--force"],
            &["export", "store", "--user", "ada", "--to", "a.key.pub", place, "--force"],
            &[
                "seal",
                "--to",
                "ada.inbox",
                "--user",
                "ada",
                "--class",
                "audio",
                "said",
                "-o",
                place,
                "--force",
            ],
            &["erase", "store", "--user", "ada", "-o", place, "--force", "--yes"],
            &["certificate", "upgrade", "store", "no.erased", "-o", place, "--force"],
            &["key", place],
        ] {
            let e = cli.fails(6, args);
            assert_eq!(e.trim_end().lines().count(), 1, "{args:?}: {e}");
        }
    }
    for dir in ["other", "other/new", "other.cell", "link/new", "kh/new", "keys/far", "replica/new"]
    {
        cli.fails(6, &["export", "store", "--user", "ada", dir]);
        cli.fails(6, &["unseal", "--key", "a.key", "sealed", dir]);
        cli.fails(6, &["certificate", "get", "store", "--user", "ada", dir]);
        cli.fails(6, &["log", "export", "store", dir]);
        cli.fails(6, &["demo", "--keep", dir]);
    }
    for place in
        ["other/new", "other.cell/new", "link/new", "kh/new", "keys/far/new", "replica/new"]
    {
        cli.fails(6, &["backup", "store", place]);
        cli.fails(6, &["copy", "add", "store", place]);
        cli.fails(6, &["restore", "--cell", "store.cell", "--into", place, "replica"]);
        cli.fails(6, &["init", place, "--accept-remnants"]);
        cli.fails(6, &["init", "fresh", "--cell", place, "--accept-remnants"]);
        cli.fails(6, &["keyholder", "init", place, "--accept-remnants"]);
    }
    assert!(!cli.path("fresh").exists());
    assert_eq!(others.map(|name| files(&cli.path(name))), before);
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"sound");
}

/// `--force` destroyed them.
#[test]
fn no_force_replaces_a_secret_key_nor_a_copy_of_a_slot_or_of_a_cells_place() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"sound");
    cli.ok(&["init", "other", "--accept-remnants"]);
    cli.ok(&["init", "far", "--cell", "keys/far", "--accept-remnants"]);
    cli.ok(&["keyholder", "init", "kh", "--accept-remnants"]);
    std::fs::copy(cli.path("other.cell/slot-a"), cli.path("slot")).unwrap();
    std::fs::copy(cli.path("kh/identity"), cli.path("identity.bak")).unwrap();
    std::fs::copy(cli.path("far.cell"), cli.path("place")).unwrap();
    cli.ok(&["key", "k.key"]);
    std::os::unix::fs::symlink("k.key", cli.path("link")).unwrap();
    for place in ["slot", "identity.bak", "place", "k.key", "link"] {
        let before = std::fs::read(cli.path(place)).unwrap();
        let get = ["get", "store", &id, "-o", place, "--force"];
        let erase = ["erase", "store", "--user", "ada", "--yes", "-o", place, "--force"];
        for args in [&get[..5], &get[..], &erase[..]] {
            let e = cli.fails(6, args);
            assert!(e.contains("which is never replaced; name another file"), "{e}");
        }
        assert_eq!(std::fs::read(cli.path(place)).unwrap(), before, "{place}");
    }
    let e = cli.fails(6, &["get", "store", &id, "-o", "k.key", "--force"]);
    assert!(e.contains("k.key holds a secret key"), "{e}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"sound", "nothing was erased");
}

#[test]
fn nobody_else_writes_to_the_file_that_says_where_a_cell_is() {
    let cli = Cli::empty();
    let bin = env!("CARGO_BIN_EXE_keyfall");
    let script = format!("umask 000; {bin} init store --cell keys/cell --accept-remnants");
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(cli.dir.path())
            .output()
            .unwrap()
            .status
            .success()
    );
    let mode = cli.path("store.cell").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o644, 0, "{mode:o}");
}

/// Whether the file system has files without a name.
fn has_unnamed_files(dir: &Path) -> bool {
    use rustix::fs::{Mode, OFlags};
    let has =
        rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).is_ok();
    if !has {
        println!("skipped: this file system has no files without a name");
    }
    has
}

#[test]
fn what_is_cut_short_leaves_no_plaintext() {
    let cli = Cli::new();
    let content = bytes(1, 20 << 20);
    let id = cli.put("ada", "audio", &content);
    if !has_unnamed_files(cli.dir.path()) {
        return;
    }
    let began = std::time::Instant::now();
    cli.ok(&["get", "store", &id, "-o", "whole"]);
    let mut typical = Pace(began.elapsed());
    assert_eq!(std::fs::read(cli.path("whole")).unwrap(), content);
    let mut cut = 0;
    for round in 0..40 {
        let mut child = cli.command(&["get", "store", &id, "-o", "new"]).spawn().unwrap();
        std::thread::sleep(typical.moment(round * 370));
        child.kill().unwrap();
        let whole = child.wait().unwrap().success();
        typical.ended(whole);
        cut += u32::from(!whole);
        assert_eq!(leftovers(&cli), Vec::<String>::new());
        // There, it is whole.
        assert!(std::fs::read(cli.path("new")).map_or(true, |there| there == content));
        let _ = std::fs::remove_file(cli.path("new"));
    }
    assert!(cut > 5, "{cut} of them were cut");
}

#[test]
fn an_export_says_what_stands_in_its_way() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"sound");
    std::fs::create_dir_all(cli.path("out/records")).unwrap();
    std::fs::write(cli.path(&format!("out/records/{id}.bin")), "sound").unwrap();
    let e = cli.fails(1, &["export", "store", "--user", "ada", "out"]);
    assert!(e.contains(&format!("{id}.bin")) && e.contains("cut short"), "{e}");
    cli.ok(&["key", "a.key"]);
    cli.ok(&["export", "store", "--user", "ada", "--to", "a.key.pub", "sealed"]);
    let e = cli.fails(1, &["unseal", "--key", "a.key", "sealed", "out"]);
    assert!(e.contains("out/records") && e.contains("cut short"), "{e}");
}

#[test]
fn what_is_about_a_person_is_for_its_owner_to_read() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"sound");
    cli.put("ada", "transcript", b"wake me");
    let mode = |name: &str| cli.path(name).metadata().unwrap().permissions().mode() & 0o777;
    cli.ok(&["get", "store", &id, "-o", "sound"]);
    cli.ok(&["report", "store", "--user", "ada", "-o", "report"]);
    cli.ok(&["export", "store", "--user", "ada", "out"]);
    cli.ok(&["erase", "store", "--user", "ada", "--class", "audio", "-o", "ada.erased", "--yes"]);
    cli.ok(&["certificate", "get", "store", "--user", "ada", "certificates"]);
    let record = format!("out/records/{id}.bin");
    for file in ["sound", "report", "out/report.json", "out/report.html", &record, "ada.erased"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    for entry in std::fs::read_dir(cli.path("certificates")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for dir in ["out", "out/records", "certificates"] {
        assert_eq!(mode(dir), 0o700, "{dir}");
    }
}

#[test]
fn what_fails_takes_away_what_it_made_and_nothing_else() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"sound");
    cli.fails(4, &["export", "store", "--user", "nobody", "out"]);
    cli.fails(4, &["certificate", "get", "store", "--user", "nobody", "certificates"]);
    cli.fails(4, &["certificate", "get", "store", "--user", "ada", "certificates"]);
    assert!(!cli.path("out").exists() && !cli.path("certificates").exists());
    cli.ok(&["backup", "store", "old"]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    std::fs::create_dir(cli.path("empty")).unwrap();
    std::fs::create_dir_all(cli.path("taken.keys/slot-a")).unwrap();
    let inode = cli.path("empty").metadata().unwrap().ino();
    cli.fails(6, &["restore", "--cell", "store.cell", "--into", "empty", "old"]);
    assert!(
        !cli.run(&["init", "empty", "--cell", "taken.keys", "--accept-remnants"]).status.success()
    );
    assert_eq!(
        cli.path("empty").metadata().unwrap().ino(),
        inode,
        "it is the directory that was there"
    );
    assert_eq!(std::fs::read_dir(cli.path("empty")).unwrap().count(), 0);
}

#[test]
fn a_certificate_goes_to_an_open_descriptor_and_through_a_pipe() {
    let cli = Cli::new();
    let key = cli.ok(&["log", "key", "store"]);
    let bin = env!("CARGO_BIN_EXE_keyfall");
    for (name, script) in [
        ("ada", format!("{bin} erase store --user ada --yes -o /dev/fd/3 3>ada.erased")),
        (
            "ben",
            format!(
                "mkfifo pipe && (cat pipe >ben.erased & {bin} erase store --user ben --yes -o pipe; wait)"
            ),
        ),
    ] {
        let id = cli.put(name, "audio", b"goes");
        let out =
            Command::new("sh").args(["-c", &script]).current_dir(cli.dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", stderr(&out));
        cli.fails(3, &["get", "store", &id]);
        cli.ok(&["certificate", "verify", &format!("{name}.erased"), "--key", &key]);
    }
    let mut left = std::fs::read_dir(cli.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(left.all(|name| !name.contains("draft") && !name.starts_with("keyfall-")));
}

#[test]
fn a_certificate_of_nobody_makes_no_user() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"goes");
    let users = |cli: &Cli| {
        serde_json::from_str::<serde_json::Value>(&cli.ok(&["status", "store", "--json"])).unwrap()
            ["users"]
            .clone()
    };
    let before = users(&cli);
    cli.ok(&[
        "erase",
        "store",
        "--user",
        "ghost",
        "--class",
        "audio",
        "--yes",
        "-o",
        "ghost.erased",
    ]);
    cli.ok(&[
        "erase",
        "store",
        "--user",
        "spirit",
        "--before",
        "2020-01-01",
        "--yes",
        "-o",
        "spirit.erased",
    ]);
    assert_eq!(users(&cli), before);
    for name in ["ghost", "spirit"] {
        assert!(!cli.run(&["list", "store", "--user", name]).status.success());
        assert!(cli.path(&format!("{name}.erased")).exists());
    }
    // Of one that lives a copy is kept.
    cli.ok(&["erase", "store", "--user", "ada", "--class", "audio", "--yes", "-o", "ada.erased"]);
    cli.ok(&["certificate", "get", "store", "--user", "ada", "certificates"]);
}

#[test]
fn the_verifier_says_by_its_exit_code_that_its_answer_could_not_be_written() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"goes");
    cli.ok(&["erase", "store", "--user", "ada", "--yes", "-o", "ada.erased"]);
    std::fs::write(cli.path("no.erased"), "no certificate").unwrap();
    let key = cli.ok(&["log", "key", "store"]);
    let verify = |out: Stdio, files: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfall-verify"));
        command
            .args(files)
            .args(["--key", &key])
            .current_dir(cli.dir.path())
            .stdout(out)
            .stderr(Stdio::piped());
        let out = command.output().unwrap();
        assert!(!stderr(&out).contains("panicked"), "{}", stderr(&out));
        out.status.code()
    };
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    assert_eq!(verify(Stdio::piped(), &["ada.erased"]), Some(0));
    for out in [full(), closed()] {
        assert_eq!(verify(out, &["ada.erased"]), Some(12));
    }
    // That one does not hold is said all the same.
    assert_eq!(verify(full(), &["ada.erased", "no.erased"]), Some(5));
    assert_eq!(verify(closed(), &["no.erased", "ada.erased"]), Some(5));
}

#[test]
fn an_output_goes_to_a_descriptor_of_this_process_alone_and_into_no_store_by_it() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"recording");
    let slot = || std::fs::read(cli.path("store.cell/slot-a")).unwrap();
    let before = slot();
    std::fs::write(cli.path("victim"), "untouched").unwrap();
    let appended = std::fs::File::options().append(true).open(cli.path("victim")).unwrap();
    let mut other = Command::new("sleep").arg("60").stdout(appended).spawn().unwrap();
    let place = format!("/proc/{}/fd/1", other.id());
    let out = cli.run(&["get", "store", &id, "-o", &place]);
    other.kill().unwrap();
    other.wait().unwrap();
    let e = stderr(&out);
    assert!(out.status.code() == Some(2) && e.contains(&place), "{e}");
    assert_eq!(std::fs::read(cli.path("victim")).unwrap(), b"untouched");
    let bin = env!("CARGO_BIN_EXE_keyfall");
    let run = |script: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).current_dir(cli.dir.path()).output().unwrap()
    };
    for place in ["/dev/fd/3", "/proc/self/fd/3"] {
        let out = run(&format!("{bin} get store {id} -o {place} 3>>store.cell/slot-a"));
        assert_eq!(out.status.code(), Some(6), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(slot() == before);
        let _ = std::fs::remove_file(cli.path("back"));
        assert!(run(&format!("{bin} get store {id} -o {place} 3>>back")).status.success());
        assert_eq!(std::fs::read(cli.path("back")).unwrap(), b"recording");
    }
    // By way of an open directory.
    let out = run(&format!("{bin} get store {id} -o /proc/self/fd/3/slot-a 3<store.cell"));
    assert!(!out.status.success() && slot() == before);
}
