//! End to end, over URLs: a speech corpus goes in, is copied, one user is erased, everybody else
//! comes back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Instant;

use keyfall::engine::Keeper;
use keyfall::opening::store_to_look;
use keyfall::store::{ObjectLog, Store};
use keyfall::{Builder, Engine};
use keyfall_objects::Objects;

use crate::places::{Base, at, bases};
use crate::speech::{Places, corpus, goes_in_and_comes_back};

/// Folders of an object log, of the probe of its place and, in a database, of its servers.
const FOLDERS: [&str; 10] = ["c", "p", "x", "s", "f", "d", "a", "b", "probe", "server"];
/// What stands beside them.
const MARKER: &str = "keyfall";
/// Room that is kept in a directory for when there is none.
const RESERVE: &str = "reserve";

/// Stores at URLs beside each other, and a directory with the cell of one.
struct Urls<'a> {
    base: &'a Base,
    dir: tempfile::TempDir,
}

impl Urls<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfall"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("KEYFALL_CELL", "store.cell")
            .env_remove("KEYFALL_STORE")
            .env_remove("KEYFALL_OBJECT_CACHE");
        command.output().unwrap()
    }

    /// The names of all objects of a store.
    fn names(&self, objects: &Arc<dyn Objects>) -> Vec<String> {
        let listed = FOLDERS.iter().flat_map(|folder| objects.list(folder, "", 1 << 20).unwrap());
        std::iter::once(MARKER.to_owned()).chain(listed.map(|listed| listed.name)).collect()
    }

    /// Objects in a directory are files, and no folder is forgotten here.
    fn names_all(&self, name: &str, names: &[String]) {
        let Some(dir) = self.place(name).strip_prefix("file://").map(PathBuf::from) else { return };
        for folder in std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            let known =
                FOLDERS.iter().chain(&[MARKER, RESERVE]).any(|known| folder.ends_with(known));
            assert!(known, "{folder:?}");
            for file in folder.read_dir().into_iter().flatten() {
                let file = file.unwrap().path();
                let name = file.strip_prefix(&dir).unwrap().to_str().unwrap();
                assert!(names.iter().any(|listed| listed == name), "{name} is not listed");
            }
        }
    }
}

impl Places for Urls<'_> {
    fn place(&self, name: &str) -> String {
        self.base.url(name)
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    fn restoring(&self) -> &'static [&'static str] {
        &["--single-machine"]
    }

    fn engine(&self, name: &str) -> Engine {
        let cell = self.dir.path().join("store.cell");
        let builder = Builder::at(self.place(name)).cell_at(cell).keeper(Keeper::ByHand);
        builder.read_only().open().unwrap()
    }

    fn look(&self, name: &str) -> Arc<dyn Store> {
        store_to_look(Path::new(&self.place(name))).unwrap()
    }

    fn make(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(ObjectLog::create(at(&self.place(name))).unwrap())
    }

    fn all(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        let objects = at(&self.place(name));
        let names = self.names(&objects);
        self.names_all(name, &names);
        for name in names {
            see(&objects.get(&name).unwrap().unwrap_or_default());
        }
    }

    /// One object in each folder.
    fn leak(&self, name: &str, bytes: &[u8]) -> u64 {
        let objects = at(&self.place(name));
        for folder in FOLDERS {
            objects.create(&format!("{folder}/leak"), bytes).unwrap();
        }
        FOLDERS.len() as u64
    }

    fn lose(&self, name: &str) {
        let objects = at(&self.place(name));
        self.names(&objects).iter().for_each(|name| objects.delete(name).unwrap());
    }
}

#[test]
fn a_corpus_goes_in_at_a_url_one_user_goes_and_the_rest_comes_back() {
    let (corpus, bases) = (corpus(), bases());
    let at = |base: &Base| {
        let began = Instant::now();
        let urls = Urls { base, dir: tempfile::tempdir().unwrap() };
        let store = urls.place("store");
        urls.ok(&["init", &store, "--accept-remnants", "--single-machine"]);
        goes_in_and_comes_back(&corpus, &urls);
        println!("{store}: {:.1?}", began.elapsed());
    };
    // It waits most of the time.
    std::thread::scope(|scope| {
        for base in &bases {
            scope.spawn(|| at(base));
        }
    });
}
