//! `keyfall standby` and `keyfall watch --beat`, as processes: who is waited for, when it is
//! replaced, and what comes in its place.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::paused::{bring, made, program};

const KEYFALL: &str = env!("CARGO_BIN_EXE_keyfall");

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn new(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.env_remove("KEYFALL_STORE").env_remove("KEYFALL_CELL").spawn().unwrap())
    }

    fn keyfall(args: &[&str]) -> Self {
        Running::new(Command::new(KEYFALL).args(args))
    }

    /// Fails if it ends within this time.
    fn stays(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            if let Some(status) = self.0.try_wait().unwrap() {
                let [out, err] = self.said();
                panic!("it ended after {:?}, {status}: {out} {err}", began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its exit code, once it ends by itself; what it wrote.
    fn ends(mut self) -> (Option<i32>, String, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > Duration::from_secs(60) {
                self.0.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let [out, err] = self.said();
        (status.code(), out, err)
    }

    fn said(&mut self) -> [String; 2] {
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        [out, err]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts a record, and gives its id.
fn put(store: &str, cell: &str, dir: &Path) -> String {
    let file = dir.join("said");
    std::fs::write(&file, "turn on the light").unwrap();
    let what = ["put", store, "--cell", cell, "--user", "ada", "--class", "transcript"];
    program(None, &[&what[..], &[file.to_str().unwrap()]].concat())
}

/// What another machine has: the cell as it was made. The program that comes after the standby
/// finds store and cell, and reads.
#[test]
fn a_writer_that_leaves_signs_is_replaced_once_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let store = format!("file://{}", at("store"));
    let _keyholders = made(dir.path(), None, &store, &["--accept-remnants"]);
    let (cell, other) = (at("cell"), at("other"));
    bring(Path::new(&cell), Path::new(&other));
    let id = put(&store, &cell, dir.path());
    let mut writer = Running::keyfall(&["watch", &store, "--cell", &cell, "--beat", "200ms"]);
    writer.stays(Duration::from_secs(1));

    let then = r#"echo "for $KEYFALL_STORE with $KEYFALL_CELL"; exec "$0" get "$1""#;
    let wait = ["standby", &store, "--cell", &other, "--every", "200ms", "--gone-after", "2s"];
    let then = ["--", "sh", "-c", then, KEYFALL, &id];
    let mut standby = Running::keyfall(&[&wait[..], &then].concat());
    standby.stays(Duration::from_secs(5));
    writer.stays(Duration::ZERO);

    writer.0.kill().unwrap();
    let killed = Instant::now();
    let (code, out, err) = standby.ends();
    println!("{:?} from the kill to the end of the program: {out} {err}", killed.elapsed());
    assert_eq!(code, Some(0), "{out} {err}");
    let (took, rest) = out.split_once('\n').unwrap();
    assert!(took.starts_with(&format!("took over {store} at ")), "{out}");
    assert_eq!(rest, format!("for {store} with {other}\nturn on the light"));
    assert!(err.contains("standing by\n") && err.contains("the writer is gone"), "{err}");
    assert!(!err.contains("no writer ever left a sign"), "{err}");
}

#[test]
fn while_a_probe_succeeds_the_writer_lives() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (store, cell) = (format!("file://{}", at("store")), at("cell"));
    let _keyholders = made(dir.path(), None, &store, &["--accept-remnants"]);
    let id = put(&store, &cell, dir.path());
    let alive = at("alive");
    std::fs::write(&alive, "").unwrap();
    let probe = format!("test -e '{alive}'");
    let wait = ["standby", &store, "--cell", &cell, "--every", "100ms", "--gone-after", "1s"];
    let probed = [&wait[..], &["--probe", &probe, "--json"]].concat();
    let mut standby = Running::keyfall(&probed);
    standby.stays(Duration::from_secs(4));
    std::fs::remove_file(&alive).unwrap();
    let (code, out, err) = standby.ends();
    assert_eq!(code, Some(0), "{out} {err}");
    assert!(out.starts_with(r#"{"took_over":{"#), "{out}");
    assert_eq!(program(None, &["get", &store, "--cell", &cell, &id]), "turn on the light");

    // Nobody ever left a sign: without a probe it waits, and says why.
    let mut blind = Running::keyfall(&wait);
    blind.stays(Duration::from_secs(3));
    blind.0.kill().unwrap();
    assert!(blind.said()[1].contains("no writer ever left a sign of life here"));

    // The store is taken over when the program does not start.
    let missing = [&wait[..], &["--probe", "false", "--", "/nowhere/serve"]].concat();
    let (code, out, err) = Running::keyfall(&missing).ends();
    assert!(out.starts_with("took over "), "{out} {err}");
    assert!(code == Some(1) && err.contains("/nowhere/serve does not start"), "{code:?} {err}");
}
