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
/// empty, with its cell at `store.cell` of the directory that the program runs in.
pub(crate) trait Places {
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
    /// Opens an existing store to read from.
    fn look(&self, name: &str) -> Arc<dyn Store>;
    /// A new store.
    fn make(&self, name: &str) -> Arc<dyn Store>;
    /// The bytes of all that lies there, whatever it is.
    fn all(&self, name: &str, see: &mut dyn FnMut(&[u8]));
    /// Has something else lie there, wherever something may; how often.
    fn leak(&self, name: &str, bytes: &[u8]) -> u64;
    /// Everything there is lost.
    fn lose(&self, name: &str);
}

/// A corpus, and what it says: user, class, content; in the order of its rows.
pub(crate) struct Corpus {
    dir: PathBuf,
    records: Vec<(String, &'static str, Vec<u8>)>,
    windows: Windows,
    /// Where it lies if it was made.
    _made: Option<tempfile::TempDir>,
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

/// The corpus that the environment names, or one that is made.
pub(crate) fn corpus() -> Corpus {
    let (dir, made) = match std::env::var_os("KEYFALL_CORPUS") {
        Some(dir) => (PathBuf::from(dir), None),
        None => {
            let dir = tempfile::tempdir().unwrap();
            make_corpus(dir.path(), 8, 60, 20_000, "made");
            (dir.path().to_owned(), Some(dir))
        }
    };
    let dir = dir.canonicalize().unwrap();
    let records = records(&dir);
    // What went in, and the users' names.
    let names = records.iter().map(|r| r.0.as_bytes()).collect::<HashSet<_>>();
    let windows = Windows::of(records.iter().map(|r| &r.2[..]).chain(names));
    assert!(windows.exact.len() > 100_000);
    Corpus { dir, records, windows, _made: made }
}

fn records(dir: &Path) -> Vec<(String, &'static str, Vec<u8>)> {
    let mut actions: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for line in std::fs::read_to_string(dir.join("actions.jsonl")).unwrap().lines() {
        let action: serde_json::Value = serde_json::from_str(line).unwrap();
        actions.entry(action["clip"].as_str().unwrap().to_owned()).or_default().push(action);
    }
    let mut records = Vec::new();
    let mut locales: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
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
    records
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
    corpus: &Corpus,
    erased: &str,
    ids_before: &[(RecordId, String, String)],
) {
    let mut there: Vec<(String, String, Vec<u8>)> = ids(engine)
        .into_iter()
        .map(|(id, user, class)| (user, class, read_record(engine, &id).unwrap()))
        .collect();
    let mut wanted: Vec<(String, String, Vec<u8>)> = corpus
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
        let mut seen = [0_u64; 4];
        window.iter().for_each(|byte| seen[usize::from(byte >> 6)] |= 1 << (byte & 63));
        seen.iter().map(|some| some.count_ones()).sum::<u32>() >= 7
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

/// The corpus goes in, one user goes, and the rest comes back: from the replica, from the backup
/// with the replica's tree, and as the store that goes on.
pub(crate) fn goes_in_and_comes_back(corpus: &Corpus, places: &impl Places) {
    let [store, replica, backup] = ["store", "replica", "backup"].map(|name| places.place(name));
    let told = imports(places, corpus, &store);
    let count = |class: &str| corpus.records.iter().filter(|r| r.1 == class).count();
    assert_eq!(told["recordings"], count("audio"));
    assert_eq!(told["transcripts"], count("transcript"));
    assert_eq!(told["actions"], count("action"));
    let users: HashSet<_> = corpus.records.iter().map(|r| r.0.as_str()).collect();
    assert_eq!(told["users"], users.len());
    if std::env::var_os("KEYFALL_CORPUS").is_some() {
        println!("corpus: {told}");
    }
    places.ok(&["copy", "add", &store, &replica]);
    places.ok(&["backup", &store, &backup]);
    finds_what_is_there(places, corpus);
    holds_no_plaintext(places, corpus, &["store", "replica", "backup"]);

    let before = ids(&places.engine("store"));
    assert_eq!(before.len(), corpus.records.len());
    let erased = &corpus.records[0].0;
    places.ok(&["erase", &store, "--user", erased, "--yes"]);
    audits_clean(places, &["store", "backup"], 3);
    places.lose("store");

    restores(places, "from-replica", &["replica"], &[]);
    check(&places.engine("from-replica"), corpus, erased, &before);

    // Of the replica only the tree is left; the payloads come from the backup, which opens nothing
    // by itself.
    fails_to_restore(places, 6, "from-backup", "backup");
    only_the_tree(places);
    fails_to_restore(places, 5, "from-tree", "tree");
    restores(places, "from-backup", &["backup", "tree"], &[]);
    check(&places.engine("from-backup"), corpus, erased, &before);
    // The replica is a copy that the store knows of.
    audits_clean(places, &["from-backup", "backup", "tree", "from-replica"], 5);
    goes_on(places, corpus, erased, &before);
    holds_no_plaintext(
        places,
        corpus,
        &["replica", "backup", "from-replica", "from-backup", "next"],
    );
}

/// The replica takes the store's place: the program refuses what was erased, and what lives is
/// there, so that the same corpus brings nothing.
fn goes_on(
    places: &impl Places,
    corpus: &Corpus,
    erased: &str,
    before: &[(RecordId, String, String)],
) {
    let next = restores(places, "next", &["replica"], &["--adopt"]);
    let told = imports(places, corpus, &next);
    let of_erased = |r: &&(String, &str, Vec<u8>)| r.0 == erased;
    let gone = corpus.records.iter().filter(of_erased);
    let clips = gone.clone().filter(|r| r.1 == "audio").count();
    let lives = corpus.records.len() - gone.count();
    assert_eq!(told["refused"]["erased"], clips, "{told}");
    assert_eq!(told["already_there"], lives, "{told}");
    check(&places.engine("next"), corpus, erased, before);
    for is_gone in [true, false] {
        let is_asked = |record: &&(RecordId, String, String)| (record.1 == erased) == is_gone;
        let (id, ..) = before.iter().find(is_asked).unwrap();
        let (id, args) = (id.to_string(), ["get", "--cell", "store.cell", &next]);
        let args = [&args[..], &[&id, "-o", "record"]].concat();
        if is_gone {
            assert!(places.fails(3, &args).contains("erased"));
        } else {
            places.ok(&args);
        }
    }
}

fn imports(places: &impl Places, corpus: &Corpus, store: &str) -> serde_json::Value {
    let actions = corpus.dir.join("actions.jsonl");
    let (dir, actions) = (corpus.dir.to_str().unwrap(), actions.to_str().unwrap());
    let import = ["import", "--cell", "store.cell", store, dir, "--actions", actions, "--json"];
    serde_json::from_str(&places.ok(&import)).unwrap()
}

fn finds_what_is_there(places: &impl Places, corpus: &Corpus) {
    let leak = [&[0; 5], &corpus.records[0].2[..]].concat();
    let found = corpus.windows.found_in(&leak);
    let times = places.leak("control", &leak);
    assert!(found > 0 && times > 0);
    assert_eq!(corpus.windows.found_at(places, "control").0, found * times);
}

/// No window of what went in, nor a user's name, stands in anything that lies in a place.
fn holds_no_plaintext(places: &impl Places, corpus: &Corpus, names: &[&str]) {
    let least = corpus.records.iter().map(|r| r.2.len()).sum::<usize>() / 2;
    for name in names {
        let (found, len) = corpus.windows.found_at(places, name);
        assert_eq!(found, 0, "plaintext in {name}");
        assert!(len > least, "only {len} bytes were seen in {name}");
    }
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
fn restores(places: &impl Places, into: &str, from: &[&str], how: &[&str]) -> String {
    let (into, from) = (places.place(into), from.iter().map(|name| places.place(name)));
    let from: Vec<String> = from.collect();
    let mut args = vec!["restore", "--cell", "store.cell", "--into", &into];
    args.extend(how.iter().chain(places.restoring()));
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
