//! Keyfall beside what one would pick instead, in one run on one disk: how long until a user of 1,
//! 1,000 and 100,000 records of 4 KiB is gone for good; what is found afterwards in the live files
//! and in a backup made before; rates of puts and gets; space. With `--many` small records of many
//! users instead ([`many`]).
//!
//! `cargo run --release --manifest-path benches/compare/Cargo.toml -- --svg erase.svg`; with
//! RocksDB: `--features rocksdb`; `-- --many --json many.json`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark: what fails ends it")]

mod many;
mod measure;
mod ours;
mod peers;
mod postgres;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod rows;

#[path = "../../../src/bin/keyfall/bench/chart.rs"]
mod chart;
#[path = "../../../src/bin/keyfall/bench/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chart::{Point, Series, draw};
use clap::Parser;
use measure::{Line, Make, measure};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    what: measure::Args,
    #[command(flatten)]
    many: many::Args,
    /// Only those whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// Write the chart here.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Write all figures here.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A peer whose packages do not go together with ours: a program of its own measures it in the same
/// way.
fn apart(package: &str, args: &measure::Args) -> Option<Line> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("Cargo.toml");
    let records = args.records.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let run = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["run", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .args(["--", "--records", &records, "--rounds", &args.rounds.to_string()])
        .arg(&args.dir)
        .stderr(std::process::Stdio::inherit())
        .output();
    run.ok().and_then(|run| serde_json::from_slice(&run.stdout).ok())
}

fn main() {
    let args = Args::parse();
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if args.many.many {
        let lines = many::run(&args.many, &args.what.dir, &wanted);
        if let Some(path) = &args.json {
            std::fs::write(path, serde_json::to_string_pretty(&lines).unwrap()).unwrap();
        }
        return;
    }
    let mut all: Vec<(&str, Make)> = vec![
        ("keyfall", ours::make),
        ("SQLite: delete, secure_delete, VACUUM", peers::sqlite),
        ("SQLite: a key per user", |dir| rows::keyed(peers::sqlite_rows(dir))),
        ("redb: delete, compact", peers::redb),
        ("redb: a key per user", |dir| rows::keyed(peers::redb_rows(dir))),
        ("fjall: delete, major compaction", peers::fjall),
        ("fjall: a key per user", |dir| rows::keyed(peers::fjall_rows(dir))),
        ("LMDB: delete, compacting copy", peers::lmdb),
        ("LMDB: a key per user", |dir| rows::keyed(peers::lmdb_rows(dir))),
        ("sled: delete", peers::sled),
    ];
    #[cfg(feature = "rocksdb")]
    all.extend([
        ("RocksDB: DeleteRange, compaction", rocksdb::plain as Make),
        ("RocksDB: a key per user", |dir| rows::keyed(rocksdb::rows(dir))),
    ]);
    if postgres::is_installed() {
        all.push(("PostgreSQL: delete, VACUUM FULL", |dir| rows::plain(postgres::rows(dir))));
        all.push(("PostgreSQL: a key per user", |dir| rows::keyed(postgres::rows(dir))));
    } else {
        eprintln!("PostgreSQL is left out: initdb and postgres are not on the PATH");
    }
    let mut lines = Vec::new();
    for (name, make) in all.into_iter().filter(|(name, _)| wanted(name)) {
        eprintln!("{name}");
        lines.push(measure(name, make, &args.what));
    }
    if wanted("batpak: shred") {
        eprintln!("batpak: shred");
        match apart("batpak", &args.what) {
            Some(line) => lines.push(line),
            None => eprintln!("batpak is left out: it could not be built or run"),
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let erased = |n: &u32| format!("{n} gone");
    let rate = ["put 200 B", "get", "put 64 KiB", "get", "put 16 MiB", "get"].map(str::to_owned);
    let heads = ["", "in live files", "in old backup"].map(str::to_owned).into_iter();
    table.set_header(heads.chain(args.what.records.iter().map(erased)).chain(rate).chain(["space".to_owned()]));
    let shown = |spread: &[f64; 3]| {
        let [median, least, most] = spread.map(Duration::from_secs_f64);
        format!("{median:.1?} ({least:.1?} to {most:.1?})")
    };
    let yes = |yes: bool| if yes { "found" } else { "no" }.to_owned();
    for line in &lines {
        let mut row = vec![line.name.clone(), yes(line.live), yes(line.backup)];
        row.extend(line.erase.iter().map(|(_, s)| shown(s)));
        row.extend(line.rates.iter().flat_map(|(_, put, get)| [format!("{put:.0}/s"), format!("{get:.0}/s")]));
        row.push(format!("{:.2}x", line.space));
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
    println!(
        "\nfound: the bytes of an erased record, or the key that opens them; gone: until the peer's own way has returned, durable: median, least and most"
    );
    if let Some(path) = &args.svg {
        let series: Vec<Series> = lines
            .iter()
            .map(|line| Series {
                name: format!("{}; old backup: {}", line.name, if line.backup { "opens" } else { "dead" }),
                points: line
                    .erase
                    .iter()
                    .map(|(n, [median, least, most])| Point { x: f64::from(*n), y: *median, spread: (*least, *most) })
                    .collect(),
            })
            .collect();
        std::fs::write(
            path,
            draw("Until a user is gone: median, least to most", "records of 4 KiB that the user had", &series),
        )
        .unwrap();
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines).unwrap()).unwrap();
    }
}
