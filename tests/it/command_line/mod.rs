//! The program as its users meet it: outputs, exit codes, bad input. SPEC §2, §3, §6.

mod answers;
mod drill;
mod erasing;
mod help;
mod manual;
mod named;
mod planned;
mod records;
mod restoring;
mod slips;
mod stores;
mod uploads;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory with a store in it, and the program to run on it.
pub struct Cli {
    pub dir: tempfile::TempDir,
}

impl Cli {
    pub fn empty() -> Self {
        Cli { dir: tempfile::tempdir().unwrap() }
    }

    pub fn new() -> Self {
        let cli = Cli::empty();
        cli.ok(&["init", "store", "--accept-remnants"]);
        cli
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfall"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("KEYFALL_STORE")
            .env_remove("KEYFALL_CELL");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, and wants success.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs, and wants this exit code and one line of error.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    pub fn put(&self, user: &str, class: &str, content: &[u8]) -> String {
        let mut child = self
            .command(&["put", "store", "--user", user, "--class", class, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn one_line(stderr: &str) {
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("keyfall: "), "{stderr}");
}
