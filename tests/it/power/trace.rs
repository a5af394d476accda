//! The trace of a process, read into what it did to its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a process did to its files.
#[derive(Clone, Debug)]
pub enum Event {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    Punch(PathBuf, u64, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    /// A line that the process itself printed.
    Said(String),
}

/// Parses what strace wrote into events below `dir`, in their order.
pub fn events(trace: &str, dir: &Path) -> Vec<Event> {
    let mut files = Files { dir, ends: BTreeMap::new(), said: String::new(), events: Vec::new() };
    for call in calls(trace) {
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if !call.contains(") = ") || call.contains(") = -1 ") {
            continue;
        }
        let result: u64 = call
            .rsplit(") = ")
            .next()
            .and_then(|r| r.split(['<', ' ']).next()?.parse().ok())
            .unwrap_or(0);
        files.call(name, arguments, result);
    }
    files.events
}

/// The system calls of a trace, each whole, in the order in which they ended.
fn calls(trace: &str) -> Vec<String> {
    let mut unfinished: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let mut call = rest.trim_start().to_owned();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begun.to_owned());
            continue;
        }
        if call.starts_with("<... ") {
            let Some(begun) = unfinished.remove(pid) else { continue };
            let tail = call.split_once("resumed>").map_or("", |(_, tail)| tail);
            // strace sets the results of short calls in a column.
            let tail = tail
                .rsplit_once(')')
                .map_or(tail.to_owned(), |(more, end)| format!("{more}) {}", end.trim_start()));
            call = begun + &tail;
        }
        calls.push(call);
    }
    calls
}

/// Turns calls into events, and remembers where each file that is appended to ends.
struct Files<'a> {
    dir: &'a Path,
    ends: BTreeMap<PathBuf, u64>,
    said: String,
    events: Vec<Event>,
}

impl Files<'_> {
    /// The path, where it is below the directory.
    fn below(&self, path: PathBuf) -> Option<PathBuf> {
        path.starts_with(self.dir).then_some(path)
    }

    /// The file on which a call acts, where it is below the directory.
    fn file(&self, arguments: &str) -> Option<PathBuf> {
        self.below(on(arguments)?)
    }

    fn call(&mut self, name: &str, arguments: &str, result: u64) {
        match name {
            "write" if arguments.starts_with("1<") => self.say(&quoted(arguments).concat()),
            "openat" if arguments.contains("O_CREAT") => {
                if let Some(path) = self.below(PathBuf::from(&quoted(arguments)[0])) {
                    self.events.push(Event::Create(path.clone()));
                    if arguments.contains("O_TRUNC") {
                        self.events.push(Event::Truncate(path.clone(), 0));
                    }
                    self.ends.insert(path, 0);
                }
            }
            "pwrite64" | "write" => self.write(name, arguments, result),
            "ftruncate" => {
                if let Some(path) = self.file(arguments) {
                    self.events.push(Event::Truncate(path, numbers(arguments)[0]));
                }
            }
            "fallocate" => {
                if let Some(path) = self.file(arguments) {
                    let n = numbers(arguments);
                    let (at, len) = (n[n.len() - 2], n[n.len() - 1]);
                    self.events.push(if arguments.contains("PUNCH_HOLE") {
                        Event::Punch(path, at, len)
                    } else {
                        Event::Truncate(path, at + len)
                    });
                }
            }
            "fsync" | "fdatasync" => self.events.extend(self.file(arguments).map(Event::Sync)),
            "rename" | "renameat" | "renameat2" => {
                let names = quoted(arguments);
                if let Some(from) = self.below(PathBuf::from(&names[0])) {
                    self.events.push(Event::Rename(from, PathBuf::from(&names[1])));
                }
            }
            "unlink" | "unlinkat" => {
                self.events
                    .extend(self.below(PathBuf::from(&quoted(arguments)[0])).map(Event::Unlink));
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        self.said.push_str(text);
        while let Some((one, rest)) = self.said.clone().split_once('\n') {
            if let Some(word) = one.strip_prefix('@') {
                self.events.push(Event::Said(word.to_owned()));
            }
            self.said = rest.to_owned();
        }
    }

    fn write(&mut self, name: &str, arguments: &str, result: u64) {
        let Some(path) = self.file(arguments) else { return };
        let mut data = unhex(arguments.split('"').nth(1).unwrap());
        assert_eq!(data.len() as u64, numbers(arguments)[0], "strace keeps whole writes");
        data.truncate(result as usize);
        let end = self.ends.entry(path.clone()).or_insert(0);
        let at = if name == "write" { *end } else { numbers(arguments)[1] };
        if name == "write" {
            *end += data.len() as u64;
        }
        self.events.push(Event::Write(path, at, data));
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|d| u8::from_str_radix(&d[..2], 16).unwrap()).collect()
}

/// The strings between quotes.
fn quoted(line: &str) -> Vec<String> {
    line.split('"')
        .skip(1)
        .step_by(2)
        .map(|hex| String::from_utf8(unhex(hex)).unwrap_or_default())
        .collect()
}

/// The path between angle brackets, which strace prints after a file descriptor.
fn on(line: &str) -> Option<PathBuf> {
    let path = &line[line.find('<')? + 1..line.find('>')?];
    Some(PathBuf::from(if path.starts_with("\\x") {
        String::from_utf8(unhex(path)).ok()?
    } else {
        path.to_owned()
    }))
}

/// The numbers after the last string.
fn numbers(line: &str) -> Vec<u64> {
    let tail = line.rsplit('"').next().unwrap_or(line);
    let tail = tail.split(") = ").next().unwrap_or(tail);
    tail.split(", ").filter_map(|n| n.trim_end_matches(')').trim().parse().ok()).collect()
}
