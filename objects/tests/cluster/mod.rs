//! Servers of PostgreSQL, made for a test in a directory of their own and ended with it.
//!
//! KEYFALL_POSTGRES_BIN names the directory of `initdb` and `pg_ctl`; without it there are none,
//! and the tests that want one pass without a look. They run as the user `postgres` where the
//! tests run as root.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "each test takes what it needs")]

pub(crate) mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Port numbers are parts of names of sockets here: nothing listens on the network.
static NEXT: AtomicU16 = AtomicU16::new(54100);

/// Where the programs are; `None` if these tests are to be passed over.
pub(crate) fn programs() -> Option<PathBuf> {
    let bin = std::env::var_os("KEYFALL_POSTGRES_BIN").map(PathBuf::from);
    if bin.is_none() {
        let started = std::env::var("KEYFALL_SERVERS").unwrap_or_default();
        assert!(!started.contains("postgres"), "KEYFALL_POSTGRES_BIN names no server");
        eprintln!("passed over: KEYFALL_POSTGRES_BIN names no server");
    }
    bin
}

/// A directory that the servers' user can write to.
pub(crate) fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("kf-pg-").tempdir_in("/tmp").unwrap();
    if is_root() {
        let done = Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap();
        assert!(done.success());
    }
    dir
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

/// A server.
pub(crate) struct Server {
    bin: PathBuf,
    /// Where the sockets are.
    dir: PathBuf,
    data: PathBuf,
    port: u16,
}

impl Server {
    /// Makes a server with a database `keyfall` of the role `ada`, who sees standbys.
    pub(crate) fn make(bin: &Path, dir: &Path, name: &str) -> Server {
        let server = Server::named(bin, dir, name);
        let data = server.data.to_str().unwrap();
        server.run("initdb", &["-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]);
        server.start();
        server.sql("create role ada login in role pg_monitor");
        server.sql("create database keyfall owner ada");
        server
    }

    /// Makes a standby from this server, and starts it.
    pub(crate) fn standby(&self, name: &str) -> Server {
        let standby = Server::named(&self.bin, &self.dir, name);
        let (data, port) = (standby.data.to_str().unwrap(), self.port.to_string());
        let from = format!(
            "host={} port={port} user=postgres application_name={name}",
            self.dir.display()
        );
        standby
            .run("pg_basebackup", &["-D", data, "-R", "-X", "stream", "-c", "fast", "-d", &from]);
        standby.start();
        standby
    }

    /// Has it archive its log, for a recovery to a point in time.
    pub(crate) fn archives(&self) {
        let archive = self.dir.join("archive");
        std::fs::create_dir(&archive).unwrap();
        if is_root() {
            assert!(
                Command::new("chown").arg("postgres").arg(&archive).status().unwrap().success()
            );
        }
        self.sql("alter system set archive_mode = 'on'");
        let copies = format!("cp %p {}/%f", archive.display());
        self.sql(&format!("alter system set archive_command = '{copies}'"));
        self.stop("fast");
        self.start();
    }

    /// A base backup of it, which is not started.
    pub(crate) fn base(&self, name: &str) -> Server {
        let base = Server::named(&self.bin, &self.dir, name);
        let (data, port) = (base.data.to_str().unwrap(), self.port.to_string());
        let from = format!("host={} port={port} user=postgres", self.dir.display());
        base.run("pg_basebackup", &["-D", data, "-X", "fetch", "-c", "fast", "-d", &from]);
        base
    }

    /// Starts a base backup, brought forward to a restore point by the archive.
    pub(crate) fn recover_to(&self, point: &str) {
        let mut file = std::fs::OpenOptions::new();
        let auto = self.data.join("postgresql.auto.conf");
        let archive = self.dir.join("archive");
        let settings = format!(
            "archive_mode = 'off'\nrestore_command = 'cp {}/%f %p'\n\
             recovery_target_name = '{point}'\nrecovery_target_action = 'promote'\n",
            archive.display()
        );
        std::io::Write::write_all(&mut file.append(true).open(auto).unwrap(), settings.as_bytes())
            .unwrap();
        std::fs::write(self.data.join("recovery.signal"), "").unwrap();
        self.start();
        self.until("select pg_is_in_recovery()", "f");
    }

    fn named(bin: &Path, dir: &Path, name: &str) -> Server {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        Server { bin: bin.to_owned(), dir: dir.to_owned(), data: dir.join(name), port }
    }

    /// The place of a store in it.
    pub(crate) fn url(&self, options: &str) -> String {
        let dir = self.dir.display();
        format!("postgres://ada@/keyfall?host={dir}&port={}{options}", self.port)
    }

    /// The place of a store in whichever of two servers is the primary.
    pub(crate) fn url_with(&self, other: &Server, options: &str) -> String {
        let dir = self.dir.display();
        let (one, two) = (self.port, other.port);
        format!(
            "postgres://ada@/keyfall?host={dir}&host={dir}&port={one},{two}\
             &target_session_attrs=read-write{options}"
        )
    }

    /// What PostgreSQL's own programs want to be told to reach it.
    pub(crate) fn libpq(&self) -> [String; 5] {
        let dir = self.dir.display().to_string();
        ["-h".into(), dir, "-p".into(), self.port.to_string(), "keyfall".into()]
    }

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&self) {
        let (data, dir) = (self.data.to_str().unwrap(), self.dir.to_str().unwrap());
        let options = format!("-k {dir} -p {} -c listen_addresses=", self.port);
        let log = self.data.with_extension("log");
        let log = log.to_str().unwrap();
        self.run("pg_ctl", &["-D", data, "-o", &options, "-l", log, "-w", "start"]);
    }

    pub(crate) fn stop(&self, how: &str) {
        self.run("pg_ctl", &["-D", self.data.to_str().unwrap(), "-m", how, "-w", "stop"]);
    }

    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["-D", self.data.to_str().unwrap(), "-w", "promote"]);
    }

    /// Kills it with all its processes, as a power cut would, but for the system's memory.
    pub(crate) fn kill(&self) {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        let pid = text.lines().next().unwrap().to_owned();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all: Vec<&str> = std::iter::once(&*pid).chain(children.split_whitespace()).collect();
        let _ = Command::new("kill").arg("-9").args(&all).status();
        let began = Instant::now();
        while all.iter().any(|pid| is_alive(pid)) {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        // A process that nobody waited for still has its number, which `pg_ctl` takes for a server.
        std::fs::remove_file(self.data.join("postmaster.pid")).unwrap();
        let _ = std::fs::remove_file(self.socket().with_extension(format!("{}.lock", self.port)));
    }

    /// Sets a parameter, and has the server read it.
    pub(crate) fn set(&self, parameter: &str, value: &str) {
        self.sql(&format!("alter system set {parameter} = '{value}'"));
        self.sql("select pg_reload_conf()");
        let began = Instant::now();
        while self.sql(&format!("show {parameter}")) != value {
            assert!(began.elapsed() < Duration::from_secs(20), "{parameter} stays as it was");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a statement answers, as text, with the server's notices.
    pub(crate) fn sql_with_notices(&self, database: &str, statement: &str) -> (String, String) {
        let port = self.port.to_string();
        let out = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-U", "postgres", "-p", &port, "-d", database, "-h"])
            .arg(&self.dir)
            .args(["-v", "ON_ERROR_STOP=1", "-c", statement])
            .output()
            .unwrap();
        let (text, notices) = texts(&out);
        assert!(out.status.success(), "{statement}: {notices}");
        (text, notices)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        self.sql_with_notices("postgres", statement).0
    }

    /// Waits until a statement answers so.
    pub(crate) fn until(&self, statement: &str, answer: &str) {
        let began = Instant::now();
        loop {
            let there = self.sql(statement);
            if there == answer {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{statement}: {there}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(self.bin.join(program));
            command
        } else {
            Command::new(self.bin.join(program))
        };
        // A server that is started keeps what it is given.
        let into = std::fs::File::create(self.dir.join("out")).unwrap();
        command.args(args).current_dir(&self.dir).stdin(std::process::Stdio::null());
        command.stdout(into.try_clone().unwrap()).stderr(into);
        let done = command.status().unwrap();
        let text = std::fs::read_to_string(self.dir.join("out")).unwrap();
        assert!(done.success(), "{program} {args:?}: {text}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data.join("postmaster.pid").exists() {
            self.kill();
        }
    }
}

fn is_alive(pid: &str) -> bool {
    // One that has ended and was not waited for is no more.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z')))
}

fn texts(out: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&out.stdout), text(&out.stderr))
}
