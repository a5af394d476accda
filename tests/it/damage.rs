//! Damaged files and hostile surroundings: each gives a clear error or the right result, never a
//! panic. SPEC §7, §9.

use std::path::{Path, PathBuf};

use crate::command_line::Cli;
use crate::support::{bytes, in_namespace};

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn any_file_cut_or_flipped_is_an_error_or_the_right_result() {
    let cli = Cli::new();
    let contents: Vec<(String, Vec<u8>)> = (0..6u8)
        .map(|n| {
            let content = bytes(n.into(), 3000 * usize::from(n) + 1);
            (cli.put(&format!("user-{n}"), "audio", &content), content)
        })
        .collect();
    cli.ok(&["erase", "store", "--user", "user-5", "--yes"]);
    let mut all = Vec::new();
    files(&cli.path("store"), &mut all);
    files(&cli.path("store.cell"), &mut all);
    let (mut right, mut told) = (0, 0);
    for file in all.iter().filter(|f| !f.ends_with("lock")) {
        let whole = std::fs::read(file).unwrap();
        let len = whole.len();
        let mut states: Vec<Vec<u8>> =
            vec![Vec::new(), whole[..len / 2].to_vec(), whole[..len.saturating_sub(1)].to_vec()];
        for at in [0, 5, 33, 60, len / 3, len / 2, len - len.min(40), len.saturating_sub(1)] {
            if at < len {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x10;
                states.push(flipped);
            }
        }
        for (n, state) in states.iter().enumerate() {
            let scratch = tempfile::tempdir().unwrap();
            copy_tree(&cli.path("store"), &scratch.path().join("store"));
            copy_tree(&cli.path("store.cell"), &scratch.path().join("store.cell"));
            std::fs::write(scratch.path().join(file.strip_prefix(cli.dir.path()).unwrap()), state)
                .unwrap();
            let world = Cli { dir: scratch };
            for (id, content) in [&contents[1], &contents[4], &contents[5]] {
                let out = world.run(&["get", "store", id]);
                let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
                let what =
                    format!("{} state {n}: {:?} {stderr}", file.display(), out.status.code());
                assert!(!stderr.contains("panicked"), "{what}");
                assert!(stderr.lines().count() <= 1, "{what}");
                match out.status.code() {
                    Some(0) => {
                        assert_ne!(id, &contents[5].0, "erased, and back: {what}");
                        assert_eq!(&out.stdout, content, "{what}");
                        right += 1;
                    }
                    Some(3) => {
                        assert_eq!(id, &contents[5].0, "alive, and called erased: {what}");
                        right += 1;
                    }
                    // 6: a log cut back to before the erase is an older store.
                    Some(1 | 4 | 5 | 6) => told += 1,
                    _ => panic!("{what}"),
                }
            }
        }
    }
    println!("{right} right results, {told} clear errors");
    assert!(right > 50 && told > 20);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let cli = Cli::empty();
    let bin = env!("CARGO_BIN_EXE_keyfall");
    std::fs::write(cli.path("small"), bytes(1, 20_000)).unwrap();
    std::fs::write(cli.path("big"), bytes(2, 40_000_000)).unwrap();
    std::fs::create_dir(cli.path("mnt")).unwrap();
    let script = format!(
        "cd {dir} && mount -t tmpfs -o size=16m tmpfs mnt && {bin} init mnt/store --cell cell --accept-remnants >/dev/null || exit 90
         id=$({bin} put mnt/store --user ada --class audio small) || exit 91
         {bin} put mnt/store --user ada --class audio big 2>err; [ $? = 1 ] || exit 92
         grep -q 'no space left' err || exit 93
         {bin} get mnt/store $id | cmp - small || exit 94
         second=$({bin} put mnt/store --user ben --class audio small) || exit 95
         {bin} erase mnt/store --user ada --yes >/dev/null || exit 96
         {bin} get mnt/store $id 2>/dev/null; [ $? = 3 ] || exit 97
         {bin} get mnt/store $second | cmp - small || exit 98",
        dir = cli.dir.path().display()
    );
    if let Some(out) = in_namespace(&script) {
        let err = std::fs::read_to_string(cli.path("err")).unwrap_or_default();
        assert_eq!(out.status.code(), Some(0), "{err} {}", String::from_utf8_lossy(&out.stderr));
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_read_only_directory_is_said() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    let bin = env!("CARGO_BIN_EXE_keyfall");
    let script = format!(
        "cd {dir} && mkdir plain || exit 89
         for at in store plain; do mount --bind $at $at && mount -o remount,ro,bind $at || exit 90; done
         {bin} put store --user ada --class audio /dev/null 2>err; [ $? = 1 ] || exit 91
         {bin} init plain/new --accept-remnants 2>>err; [ $? = 1 ] || exit 92",
        dir = cli.dir.path().display()
    );
    if let Some(out) = in_namespace(&script) {
        let err = std::fs::read_to_string(cli.path("err")).unwrap_or_default();
        assert_eq!(out.status.code(), Some(0), "{err} {}", String::from_utf8_lossy(&out.stderr));
        assert!(err.contains("Read-only file system") && !err.contains("panicked"), "{err}");
        assert_eq!(err.lines().count(), 2, "{err}");
    }
}

/// `list` left the last record out, `get` called it absent, and after an erase the root key was
/// told to be destroyed.
#[test]
fn a_command_that_only_reads_tells_damage_to_the_last_commit() {
    let cli = Cli::new();
    let first = cli.put("ada", "audio", b"first");
    let log = cli.path("store/log/00000001.log");
    for act in [
        &["put", "store", "--user", "ben", "--class", "audio", "/dev/null"][..],
        &["erase", "store", "--user", "ben", "--yes"],
    ] {
        cli.ok(act);
        let whole = std::fs::read(&log).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() - 100] ^= 1;
        std::fs::write(&log, flipped).unwrap();
        for read in [
            &["list", "store"][..],
            &["get", "store", &first],
            &["status", "store"],
            &["audit", "store"],
        ] {
            let e = cli.fails(5, read);
            assert!(e.contains("damaged") && e.contains("restore"), "{e}");
        }
        std::fs::write(&log, whole).unwrap();
        assert_eq!(cli.run(&["get", "store", &first]).stdout, b"first");
    }
}
