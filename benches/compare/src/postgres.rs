//! PostgreSQL, a server of its own over a socket: its defaults, which are durable; DELETE, then
//! VACUUM FULL and a checkpoint.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};

use crate::peers::end_of;
use crate::rows::Rows;

struct Server {
    client: Option<Client>,
    process: Child,
    /// Where the socket is.
    _socket: tempfile::TempDir,
}

/// Whether its programs are there.
pub(crate) fn is_installed() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    there("initdb") && there("postgres")
}

/// A user that the server may run as: it refuses to be root.
fn other_than_root() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let mine = std::fs::metadata("/proc/self").unwrap().uid();
    let nobody = 65_534;
    (mine == 0).then_some((nobody, nobody))
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    if let Some((user, group)) = other_than_root() {
        command.uid(user).gid(group);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn handed_over(dir: &Path) -> PathBuf {
    if let Some((user, group)) = other_than_root() {
        std::os::unix::fs::chown(dir, Some(user), Some(group)).unwrap();
    }
    dir.to_owned()
}

pub(crate) fn rows(dir: &Path) -> impl Rows + use<> {
    let dir = handed_over(dir);
    let socket = tempfile::tempdir().unwrap();
    handed_over(socket.path());
    let made =
        program("initdb").current_dir("/").args(["-U", "compare", "--no-sync", "-A", "trust", "-D"]).arg(&dir).status();
    assert!(made.unwrap().success(), "initdb failed");
    let process = program("postgres")
        .current_dir("/")
        .args(["-c", "listen_addresses=", "-c", "max_wal_size=4GB", "-k"])
        .arg(socket.path())
        .arg("-D")
        .arg(&dir)
        .spawn()
        .unwrap();
    let place = format!("host={} user=compare dbname=postgres", socket.path().display());
    let connect = || {
        for _ in 0..600 {
            if let Ok(client) = Client::connect(&place, NoTls) {
                return client;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not come up");
    };
    let mut client = connect();
    client
        .batch_execute(
            "CREATE TABLE rows (key bytea PRIMARY KEY, value bytea NOT NULL);
             ALTER TABLE rows ALTER COLUMN value SET STORAGE EXTERNAL;",
        )
        .unwrap();
    Server { client: Some(client), process, _socket: socket }
}

impl Server {
    fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }
}

impl Rows for Server {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let mut tx = self.client().transaction().unwrap();
        let insert = tx.prepare("INSERT INTO rows VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2").unwrap();
        rows.for_each(|(key, value)| assert_eq!(tx.execute(&insert, &[&key, &value]).unwrap(), 1));
        tx.commit().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        self.client().query_one("SELECT value FROM rows WHERE key = $1", &[&key]).unwrap().get(0)
    }
    fn remove(&mut self, prefix: &[u8]) {
        let end = end_of(prefix);
        self.client().execute("DELETE FROM rows WHERE key >= $1 AND key < $2", &[&prefix, &end]).unwrap();
    }
    fn vacuum(&mut self) {
        self.client().batch_execute("VACUUM FULL rows").unwrap();
        self.client().batch_execute("CHECKPOINT").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.client.take());
        // Its children end with it.
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
