//! The inputs of the fuzzers: each of them as it is, and with a byte changed, cut off or added.
//! SPEC §5, §7, §9, §12.

use std::path::Path;

use keyfall::testing::sim::{Planted, STEP_BYTES, media_of, simulate};
use keyfall::testing::{DECODERS, decode_anything};
use sha2::Digest;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let mut well_formed = [0; DECODERS.len()];
    for input in corpus("decoders") {
        let Some((&which, bytes)) = input.split_first() else { continue };
        well_formed[usize::from(which) % DECODERS.len()] +=
            usize::from(decode_anything(which, bytes));
        for at in 0..bytes.len().min(300) {
            let mut changed = bytes.to_vec();
            for by in [1, 0x80, 0xFF] {
                changed[at] ^= by;
                decode_anything(which, &changed);
                changed[at] ^= by;
            }
            decode_anything(which, &bytes[..at]);
            changed.insert(at, 0);
            decode_anything(which, &changed);
        }
    }
    assert!(
        well_formed.iter().all(|n| *n > 0),
        "each decoder has an input that it takes: {well_formed:?}"
    );
}

#[test]
fn what_the_second_reader_writes_well_formed_is_taken() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decoders");
    let mut refused = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let input = std::fs::read(&path).unwrap();
        if name.starts_with("well-formed-") && !decode_anything(input[0], &input[1..]) {
            refused.push(name);
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
}

/// A well-formed input of a decoder.
fn well_formed(name: &str) -> Vec<u8> {
    let path = format!("fuzz/corpus/decoders/well-formed-{name}");
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()[1..].to_vec()
}

#[test]
fn a_slot_of_another_kind_is_none_though_its_sum_is_right() {
    let slot = well_formed("slot");
    assert!(decode_anything(6, &slot));
    for at in [0, 7, 8] {
        let mut other = slot.clone();
        other[at] ^= 0x40;
        let sum = sha2::Sha256::digest(&other[..480]);
        other[480..512].copy_from_slice(&sum);
        assert!(!decode_anything(6, &other), "byte {at}");
    }
}

#[test]
fn a_record_longer_than_any_is_refused() {
    let entry = well_formed("entry-segments");
    assert!(decode_anything(5, &entry));
    // The length, 513, stands before the name of the segment.
    let (before, name) = (&entry[..entry.len() - 18], &entry[entry.len() - 16..]);
    let of_length = |mut length: u64| {
        let mut out = before.to_vec();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        [&out[..], name].concat()
    };
    assert_eq!(of_length(513), entry);
    assert!(decode_anything(5, &of_length(keyfall::limits::RECORD_MAX_BYTES)));
    assert!(!decode_anything(5, &of_length(keyfall::limits::RECORD_MAX_BYTES + 1)));
}

#[test]
fn classes_out_of_order_are_refused() {
    let page = &well_formed("user")[..];
    assert!(decode_anything(3, page));
    let length = |at: usize| usize::from(page[at]);
    assert_eq!((page[1], page[2]), (6, 1), "openings and trees, and the first life");
    // The time takes six bytes, the number of openings one.
    let trees = 3 + 6 + 1 + 1 + length(10) + 32;
    let bits = u16::from_be_bytes([page[trees], page[trees + 1]]);
    let classes = trees + 2 + 48 * bits.count_ones() as usize;
    assert_eq!(length(classes), 2, "the page has two classes");
    let first = classes + 1;
    let second = first + 6 + 1 + length(first + 6) + 49;
    let end = second + 6 + 1 + length(second + 6) + 49;
    let swapped = [&page[..first], &page[second..end], &page[first..second], &page[end..]].concat();
    assert!(!decode_anything(3, &swapped));
    let twice = [&page[..first], &page[first..second], &page[first..second], &page[end..]].concat();
    assert!(!decode_anything(3, &twice));
}

#[test]
fn what_the_fuzzer_kept_runs_clean() {
    for input in corpus("engine") {
        if let Some((&seed, steps)) = input.split_first() {
            let seed = u64::from(seed);
            simulate(seed, steps.as_chunks::<STEP_BYTES>().0, Planted::default(), |env| {
                media_of(seed, env)
            });
        }
    }
}
