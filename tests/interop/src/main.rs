//! Writes a log of a million leaves with keyfall, and checks it with tlog_tiles and signed_note:
//! `keyfall-interop [LEAVES]`. With a directory and a key, `keyfall-interop DIR KEY`, it checks a
//! log that `keyfall log export` wrote.

use std::path::{Path, PathBuf};
use std::time::Instant;

use keyfall::Timestamp;
use keyfall::certificate::Leaf;
use keyfall::log::{Checkpoint, Extent, Frontier, Hash, Signer, TileWriter, Tiles, consistency, inclusion, verify_consistency, verify_inclusion};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    HashReader as _, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree, record_hash,
    tree_hash,
};

/// Tiles of 2^8 hashes.
const HEIGHT: u8 = 8;

struct Files(PathBuf);

impl TileReader for Files {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths begin with the tile's height, which the files of C2SP tlog-tiles leave out.
        let file = |tile: &Tile| self.0.join(tile.path().replacen(&format!("tile/{HEIGHT}/"), "tile/", 1));
        Ok(tiles.iter().map(|tile| std::fs::read(file(tile)).unwrap_or_else(|e| panic!("{}: {e}", file(tile).display()))).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn leaf(n: u64) -> String {
    let hash = |what: &str| Hash::leaf(format!("{what} {n}").as_bytes());
    let ends = keyfall::certificate::Ends::Next { attempt: format!("{n:032x}"), commitment: hash("next").to_string() };
    let leaf = Leaf {
        commit: 2 * n,
        epoch: n + 1,
        time: Timestamp(1_767_225_600_000 + n * 60_000).to_string(),
        slots: 16,
        erases: hash("erases"),
        destroys: hash("destroys").to_string(),
        ends,
        cell: hash("cell"),
        signer: hash("signer").0,
    };
    leaf.to_string()
}

fn write(dir: &Path, path: &str, bytes: &[u8]) -> keyfall::Result<()> {
    let file = dir.join(path);
    std::fs::create_dir_all(file.parent().expect("it has a parent")).expect("a directory");
    std::fs::write(&file, bytes).expect("a file");
    Ok(())
}

/// A log that grows in two steps; gives its key.
fn make(dir: &Path, leaves: u64) -> String {
    let signer = Signer::ed25519("example.com/erasures", &[7; 32]).expect("a name");
    let mut frontier = Frontier::default();
    let mut old = 0;
    for size in [leaves / 3, leaves] {
        let tiles = Tiles::new(old, |path: &str| Ok(std::fs::read(dir.join(path)).expect("a file")));
        let mut writer = TileWriter::new(old, &tiles).expect("the log so far");
        for n in writer.first()..size {
            let leaf = leaf(n);
            writer.push(leaf.as_bytes(), &mut |path, bytes| write(dir, path, bytes)).expect("a leaf");
            if n >= old {
                frontier.push(Hash::leaf(leaf.as_bytes()));
            }
        }
        writer.finish(&mut |path, bytes| write(dir, path, bytes)).expect("the last tiles");
        old = size;
    }
    let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), size: leaves, root: frontier.root() };
    write(dir, "checkpoint", checkpoint.sign(&signer).expect("a note").to_string().as_bytes()).expect("a checkpoint");
    signer.verifier().to_string()
}

/// Everything that the other implementation can check.
fn check(dir: &Path, key: &str) -> u64 {
    let note = Note::from_bytes(&std::fs::read(dir.join("checkpoint")).expect("a checkpoint")).expect("a note");
    let verifier = StandardVerifier::new(key).expect("a verifier key");
    let (signed, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("it is signed");
    assert_eq!(signed.len(), 1);
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("a checkpoint");
    let (size, root) = (theirs.size(), *theirs.hash());
    let files = Files(dir.to_owned());
    let reader = TileHashReader::new(size, root, &files);
    assert_eq!(tree_hash(size, &reader).expect("a root").0, root.0);
    let ours = Tiles::new(size, |path: &str| Ok(std::fs::read(dir.join(path)).expect("a file")));
    // Some leaves, the first and the last among them: proofs of theirs by us, of ours by them.
    for n in (0..size).step_by((size / 500).max(1) as usize).chain([size - 1]) {
        let bundle = ours.leaves(n / 256).expect("a bundle");
        let leaf = &bundle[(n % 256) as usize];
        let found = record_hash(leaf);
        let theirs = prove_record(size, n, &reader).expect("a proof");
        let path: Vec<Hash> = theirs.iter().map(|hash| Hash(hash.0)).collect();
        verify_inclusion(Hash::leaf(leaf), n, size, &path, &Hash(root.0)).expect("their proof, by us");
        let mine = inclusion(&ours, n, size).expect("a proof");
        let mine: Vec<tlog_tiles::Hash> = mine.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
        check_record(&mine, size, root, n, found).expect("our proof, by them");
        if n > 0 {
            let old = tree_hash(n, &reader).expect("an older root");
            assert_eq!(keyfall::log::root(&ours, n).expect("an older root").0, old.0);
            let mine = consistency(&ours, n, size).expect("a proof");
            let (before, now) = (Extent { size: n, root: Hash(old.0) }, Extent { size, root: Hash(root.0) });
            verify_consistency(before, now, &mine).expect("ours");
            let mine: Vec<tlog_tiles::Hash> = mine.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
            check_tree(&mine, size, root, n, old).expect("our consistency, by them");
            let theirs: Vec<Hash> = prove_tree(size, n, &reader).expect("a proof").iter().map(|h| Hash(h.0)).collect();
            verify_consistency(before, now, &theirs).expect("theirs, by us");
        }
    }
    assert!(reader.read_hashes(&[tlog_tiles::stored_hash_index(0, size - 1)]).is_ok());
    size
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [dir, key] = &args[..] {
        println!("{} leaves: checkpoint, inclusion and consistency hold", check(Path::new(dir), key));
        return;
    }
    let leaves = args.first().map_or(1_000_000, |n| n.parse().expect("a number of leaves"));
    let dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let key = make(dir.path(), leaves);
    let made = begun.elapsed();
    let size = check(dir.path(), &key);
    println!("{size} leaves written in {made:.1?}: checkpoint, inclusion and consistency hold, for tlog_tiles and signed_note too");
}
