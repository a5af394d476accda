//! How a speech corpus goes in, is copied, one user is erased and everybody else comes back: over
//! places of whatever kind (`corpus.rs` here, and in `tests/objects`). SPEC §5, §6, §8.
//!
//! `KEYFALL_CORPUS` names a corpus in the layout of Mozilla Common Voice with `actions.jsonl`
//! beside the locales; without it one is made.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::store::{BlobName, Store};
use keyfall::{Engine, ErrorKind, Query, RecordId};

use crate::common::{bytes, read_record};

/// Where stores lie, each by a name, and the program to run on them. The store `store` is there,
/// empty, with its cell at `store.cell` of the directory.
pub(crate) trait Places {
    /// The directory that the program runs in.
    fn dir(&self) -> &Path;
    /// A place, as the program is told of it.
    fn place(&self, name: &str) -> String;
    /// Runs the program, and wants success; what it prints.
    fn ok(&self, args: &[&str]) -> String;
    /// Runs it, and wants this exit code; what it says of the error.
    fn fails(&self, code: i32, args: &[&str]) -> String;
    /// What goes with a restore.
    fn restoring(&self) -> &'static [&'static str];
    /// An engine on a store.
    fn engine(&self, name: &str) -> Engine;
    /// A store that is there, to be read.
    fn look(&self, name: &str) -> Arc<dyn Store>;
    /// A new store.
    fn make(&self, name: &str) -> Arc<dyn Store>;
    /// The bytes of all that lies there, whatever it is.
    fn all(&self, name: &str, see: &mut dyn FnMut(&[u8]));
    /// Has something else lie there.
    fn leak(&self, name: &str, bytes: &[u8]);
    /// Everything there is lost.
    fn lose(&self, name: &str);
}

/// What a corpus says: user, class, content; in the order of its rows.
struct Expected {
    dir: PathBuf,
    records: Vec<(String, &'static str, Vec<u8>)>,
}

/// Makes a corpus of `clips` recordings of `users` users in two locales.
pub(crate) fn make_corpus(dir: &Path, users: usize, clips: usize, len: usize, salt: &str) {
    let mut actions = String::new();
    for locale in ["en", "fr"] {
        std::fs::create_dir_all(dir.join(locale).join("clips")).unwrap();
        let mut rows = String::from("client_id\tpath\tsentence_id\tsentence\tlocale\n");
        for n in 0..clips / 2 {
            let user = format!("client-{salt}-{:04}", n % users);
            let seed = n as u64 * 31
                + locale.len() as u64
                + salt.bytes().map(u64::from).sum::<u64>() * 1000;
            std::fs::write(
                dir.join(locale).join("clips").join(format!("{n}.wav")),
                bytes(seed, len + n),
            )
            .unwrap();
            rows.push_str(&format!(
                "{user}\t{n}.wav\ts{n}\tThe \"sentence\" number {n} of {salt}, in {locale}.\t{locale}\n"
            ));
            if n % 3 == 0 {
                actions.push_str(&format!(
                    "{{\"client_id\": \"{user}\", \"clip\": \"{locale}/clips/{n}.wav\", \"kind\": \"ride\", \"text\": \"trip {n} {salt}\"}}\n"
                ));
            }
        }
        std::fs::write(dir.join(locale).join("validated.tsv"), rows).unwrap();
    }
    std::fs::write(dir.join("actions.jsonl"), actions).unwrap();
}

fn expected(scratch: &Path) -> Expected {
    let dir = match std::env::var_os("KEYFALL_CORPUS") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let dir = scratch.join("corpus");
            make_corpus(&dir, 8, 60, 20_000, "made");
            dir
        }
    };
    let dir = dir.canonicalize().unwrap();
    let mut actions: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("actions.jsonl")).unwrap().lines() {
        let action: serde_json::Value = serde_json::from_str(line).unwrap();
        actions.entry(action["clip"].as_str().unwrap().to_owned()).or_default().push(action);
    }
    let mut records = Vec::new();
    let mut locales: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    locales.sort();
    for locale in locales {
        let rows = std::fs::read_to_string(locale.join("validated.tsv")).unwrap();
        for row in rows.lines().skip(1) {
            let fields: Vec<_> = row.split('\t').collect();
            let clip =
                format!("{}/clips/{}", locale.file_name().unwrap().to_str().unwrap(), fields[1]);
            let user = fields[0].to_owned();
            records.push((user.clone(), "audio", std::fs::read(dir.join(&clip)).unwrap()));
            records.push((user.clone(), "transcript", fields[3].as_bytes().to_vec()));
            for mut action in actions.remove(&clip).unwrap_or_default() {
                let object = action.as_object_mut().unwrap();
                object.remove("clip");
                object.remove("client_id");
                records.push((user.clone(), "action", serde_json::to_vec(&action).unwrap()));
            }
        }
    }
    Expected { dir, records }
}

fn ids(engine: &Engine) -> Vec<(RecordId, String, String)> {
    let mut query = Query::default();
    let mut all = Vec::new();
    loop {
        let page = engine.list(&query).unwrap();
        all.extend(
            page.records.into_iter().map(|r| (r.id, r.user.to_string(), r.class.to_string())),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

/// Every record but the erased user's, byte for byte, and nothing else.
fn check(
    engine: &Engine,
    expected: &Expected,
    erased: &str,
    ids_before: &[(RecordId, String, String)],
) {
    let mut there: Vec<(String, String, Vec<u8>)> = ids(engine)
        .into_iter()
        .map(|(id, user, class)| (user, class, read_record(engine, &id).unwrap()))
        .collect();
    let mut wanted: Vec<(String, String, Vec<u8>)> = expected
        .records
        .iter()
        .filter(|(user, ..)| user != erased)
        .map(|(u, c, b)| (u.clone(), (*c).to_owned(), b.clone()))
        .collect();
    there.sort();
    wanted.sort();
    assert!(there == wanted, "{} records came back, {} were wanted", there.len(), wanted.len());
    let gone: Vec<_> = ids_before.iter().filter(|(_, user, _)| user == erased).collect();
    assert!(!gone.is_empty());
    for (id, ..) in gone {
        assert_eq!(read_record(engine, id).unwrap_err().kind(), ErrorKind::Erased);
    }
}

/// Looks for 16-byte windows of what went in, in all that lies at a place.
struct Windows {
    filter: Vec<u64>,
    exact: HashSet<[u8; 16]>,
}

impl Windows {
    fn slot(window: &[u8]) -> (usize, u64) {
        let a = u64::from_le_bytes(window[..8].try_into().unwrap());
        let b = u64::from_le_bytes(window[8..].try_into().unwrap());
        let hash = (a ^ b.rotate_left(31)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 35;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    /// Windows that say something: silence is found anywhere.
    fn telling(window: &[u8]) -> bool {
        window.iter().collect::<HashSet<_>>().len() >= 7
    }

    fn of<'c>(contents: impl Iterator<Item = &'c [u8]>) -> Self {
        let mut windows = Windows { filter: vec![0; 1 << 23], exact: HashSet::new() };
        for window in contents.flat_map(|c| c.windows(16)).filter(|w| Self::telling(w)) {
            let (at, bit) = Self::slot(window);
            windows.filter[at] |= bit;
            windows.exact.insert(window.try_into().unwrap());
        }
        windows
    }

    fn found_in(&self, bytes: &[u8]) -> u64 {
        let mut found = 0;
        for window in bytes.windows(16) {
            let (at, bit) = Self::slot(window);
            found += u64::from(self.filter[at] & bit != 0 && self.exact.contains(window));
        }
        found
    }

    /// How many stand in a place, and how many bytes lie there.
    fn found_at(&self, places: &impl Places, name: &str) -> (u64, usize) {
        let (mut found, mut len) = (0, 0);
        places.all(name, &mut |bytes| {
            found += self.found_in(bytes);
            len += bytes.len();
        });
        (found, len)
    }
}

/// The corpus goes in, one user goes, and the rest comes back: from the replica, and from the backup
/// with the replica's tree.
pub(crate) fn goes_in_and_comes_back(places: &impl Places) {
    let expected = expected(places.dir());
    let [store, replica, backup] = ["store", "replica", "backup"].map(|name| places.place(name));
    let imported = imports(places, &expected, &store);
    let count = |class: &str| expected.records.iter().filter(|r| r.1 == class).count();
    assert_eq!(imported["recordings"], count("audio"));
    assert_eq!(imported["transcripts"], count("transcript"));
    assert_eq!(imported["actions"], count("action"));
    let users: HashSet<_> = expected.records.iter().map(|r| r.0.as_str()).collect();
    assert_eq!(imported["users"], users.len());
    if std::env::var_os("KEYFALL_CORPUS").is_some() {
        println!("corpus: {imported}");
    }
    places.ok(&["copy", "add", &store, &replica]);
    places.ok(&["backup", &store, &backup]);
    let windows = nothing_of_it_stands(places, &expected, &users);

    let before = ids(&places.engine("store"));
    assert_eq!(before.len(), expected.records.len());
    let erased = expected.records[0].0.clone();
    places.ok(&["erase", &store, "--user", &erased, "--yes"]);
    audits_clean(places, &["store", "backup"], 3);
    places.lose("store");

    let restored = restores(places, "from-replica", &["replica"]);
    check(&places.engine("from-replica"), &expected, &erased, &before);
    let of = |wanted: bool| before.iter().find(|(_, user, _)| (user == &erased) == wanted).unwrap();
    let refused =
        places.fails(3, &["get", "--cell", "store.cell", &restored, &of(true).0.to_string()]);
    assert!(refused.contains("erased"), "{refused}");
    places.ok(&["info", "--cell", "store.cell", &restored, &of(false).0.to_string()]);

    // Of the replica only the tree is left; the payloads come from the backup, which opens nothing
    // by itself.
    fails_to_restore(places, 6, "from-backup", "backup");
    only_the_tree(places);
    fails_to_restore(places, 5, "from-tree", "tree");
    restores(places, "from-backup", &["backup", "tree"]);
    check(&places.engine("from-backup"), &expected, &erased, &before);
    audits_clean(places, &["from-backup", "backup", "tree", "from-replica"], 4);
    for name in ["replica", "backup", "tree", "from-replica", "from-backup"] {
        assert_eq!(windows.found_at(places, name).0, 0, "plaintext in {name}");
    }
}

fn imports(places: &impl Places, expected: &Expected, store: &str) -> serde_json::Value {
    let actions = expected.dir.join("actions.jsonl");
    let (corpus, actions) = (expected.dir.to_str().unwrap(), actions.to_str().unwrap());
    let told = places.ok(&["import", store, corpus, "--actions", actions, "--json"]);
    serde_json::from_str(&told).unwrap()
}

/// No window of what went in, nor a user's name, stands in anything of the store or a copy.
fn nothing_of_it_stands(
    places: &impl Places,
    expected: &Expected,
    users: &HashSet<&str>,
) -> Windows {
    let names = users.iter().map(|u| u.as_bytes());
    let windows = Windows::of(expected.records.iter().map(|r| &r.2[..]).chain(names));
    assert!(windows.exact.len() > 100_000);
    places.leak("control", &[&[0; 5], &expected.records[0].2[..]].concat());
    assert!(windows.found_at(places, "control").0 > 0, "the search finds what is there");
    let went_in: usize = expected.records.iter().map(|r| r.2.len()).sum();
    for name in ["store", "replica", "backup"] {
        let (found, len) = windows.found_at(places, name);
        assert_eq!(found, 0, "plaintext in {name}");
        assert!(len > went_in, "{len} bytes were seen in {name}, of {went_in} that went in");
    }
    windows
}

fn audits_clean(places: &impl Places, names: &[&str], number: usize) {
    let at: Vec<String> = names.iter().map(|name| places.place(name)).collect();
    let mut args = vec!["audit", "--cell", "store.cell", "--json"];
    args.extend(at.iter().map(String::as_str));
    let audit: serde_json::Value = serde_json::from_str(&places.ok(&args)).unwrap();
    assert_eq!(audit["clean"], true, "{audit}");
    assert_eq!(audit["places"].as_array().unwrap().len(), number, "{audit}");
}

/// Restores a store from places; where it is.
fn restores(places: &impl Places, into: &str, from: &[&str]) -> String {
    let (into, from) = (places.place(into), from.iter().map(|name| places.place(name)));
    let from: Vec<String> = from.collect();
    let mut args = vec!["restore", "--cell", "store.cell", "--into", &into];
    args.extend(places.restoring());
    args.extend(from.iter().map(String::as_str));
    places.ok(&args);
    into
}

fn fails_to_restore(places: &impl Places, code: i32, into: &str, from: &str) {
    let (into, from) = (places.place(into), places.place(from));
    let restore = ["restore", "--cell", "store.cell", "--into", &into, &from];
    places.fails(code, &[&restore[..], places.restoring()].concat());
}

/// Makes `tree` of what in `replica` is no payload.
fn only_the_tree(places: &impl Places) {
    let (replica, tree) = (places.look("replica"), places.make("tree"));
    let engine = places.engine("from-replica");
    let payloads: HashSet<BlobName> =
        keyfall::testing::payload_names(&engine).unwrap().into_iter().collect();
    for name in keyfall::testing::listed(&*replica, 1000).unwrap() {
        if !payloads.contains(&name) {
            tree.put(&[(name, replica.get(&name).unwrap().unwrap())]).unwrap();
        }
    }
    tree.commit(&[], None, &replica.head().unwrap().unwrap()).unwrap();
    let (all, pages) = (replica.usage().unwrap().blobs, tree.usage().unwrap().blobs);
    assert!(pages < all * 2 / 3, "{pages} of {all} blobs are pages");
}
