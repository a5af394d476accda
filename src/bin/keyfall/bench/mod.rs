//! `keyfall bench`: erases, puts, space and discard on the disk in question, each beside that
//! disk's own floor. Of an erase that is a write of 4 KiB and `fdatasync`, then one of 512 bytes
//! and `fdatasync`; of a put 512 bytes appended and `fdatasync`; of a batch its plaintexts appended
//! in one write, and `fdatasync`. Rounds are interleaved with the floor; medians are compared.

pub(crate) mod chart;
mod counted;
mod discard;
mod erases;
mod floor;
mod memory;
mod puts;
mod random;
mod rows;
mod space;
mod subject;

use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::{Error, ErrorKind};
use serde_json::Value;

use crate::args::{BenchArgs, Part};
use crate::bench::chart::{Series, draw};
use crate::bench::discard::Found;
use crate::bench::rows::{Row, Samples, Space, Verb};
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::outfile::{OutFile, Replace};
use crate::shell::print::{block, line, table};
use crate::shell::session::Session;

/// Measures, and prints tables or JSON.
pub(crate) fn run(session: &Session, args: &BenchArgs) -> Done {
    guarded::check_dir(&args.dir)?;
    if args.svg.is_some() && !args.parts.contains(&Part::Erase) {
        let text = "--svg draws erases, and they are not measured; add erase to --parts";
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    // The file first: a long measurement should not end at a file that cannot be written.
    let svg = args
        .svg
        .as_ref()
        .map(|svg| OutFile::create(svg, Replace::Ordinary).map(|file| (svg, file)))
        .transpose()?;
    let dir = args.dir.join(format!("keyfall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
    let scratch = Scratch(dir);
    let found = measure(args, &scratch.0)?;
    if let Some((svg, mut file)) = svg {
        let drawn = file.write_all(plot(&found.rows).as_bytes());
        drawn.map_err(|e| Error::io(svg.display(), e))?;
        file.finish()?;
    }
    if session.json {
        let rows = found.rows.iter().map(Row::as_json);
        let told = rows.chain(found.spaces.iter().map(Space::as_json));
        return session.value(&Value::Array(told.collect()));
    }
    tell(&found)
}

/// Runs the parts that are asked for, each once.
fn measure(args: &BenchArgs, dir: &Path) -> Result<Found, Error> {
    let mut all = Found::default();
    for part in [Part::Erase, Part::Puts, Part::Space, Part::Discard] {
        if !args.parts.contains(&part) {
            continue;
        }
        match part {
            Part::Erase => all.rows.extend(erases::measure(args, dir)?),
            Part::Puts => all.rows.extend(puts::measure(args, dir)?),
            Part::Space => all.spaces.extend(space::measure(args, dir)?),
            Part::Discard => {
                let found = discard::measure(args, dir)?;
                all.rows.extend(found.rows);
                all.spaces.extend(found.spaces);
            }
        }
    }
    Ok(all)
}

fn tell(found: &Found) -> Done {
    if !found.rows.is_empty() {
        block(table(&Row::HEADINGS, found.rows.iter().map(Row::shown)))?;
        line("")?;
    }
    if !found.spaces.is_empty() {
        block(table(&Space::HEADINGS, found.spaces.iter().map(Space::shown)))?;
        line("")?;
    }
    let has = |verb| found.rows.iter().any(|row| row.verb == verb);
    if has(Verb::Erase) {
        line(
            "floor of an erase: 4 KiB appended and fdatasync, then 512 bytes and fdatasync, \
             measured between the rounds",
        )?;
    }
    if has(Verb::Put) {
        line(
            "floor of a put: 512 bytes appended and fdatasync; of a batch: its plaintexts appended \
             in one write, and fdatasync; measured between the rounds",
        )?;
    }
    if !found.rows.is_empty() {
        line(
            "bytes and sealed for each erase or put, as handed to the store, whose log is written \
             twice where commits are short: zeros ahead, then the frame",
        )?;
    }
    if !found.spaces.is_empty() {
        line(
            "on disk: blocks of the store's files while it is open, without its reserve, before \
             and after the discard; each: after it; memory: resident before the discard, and the \
             most during it",
        )?;
    }
    Ok(())
}

/// The directory of the benchmark, which goes when that ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plot(rows: &[Row]) -> String {
    let erases = || rows.iter().filter(|row| row.verb == Verb::Erase);
    let mut series: Vec<Series> = Vec::new();
    for row in erases().filter(|row| row.rate.is_none()) {
        let at = series.iter().position(|s| s.name == row.point.series).unwrap_or_else(|| {
            series.push(Series { name: row.point.series.to_owned(), points: Vec::new() });
            series.len() - 1
        });
        let [y, low, high] = [0.5, 0.1, 0.99].map(|q| row.took.at(q).as_secs_f64());
        series[at].points.push(chart::Point {
            x: row.point.x.max(1) as f64,
            y,
            spread: (low, high),
        });
    }
    let xs = || series.iter().flat_map(|s| s.points.iter().map(|p| p.x));
    let (low, high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(1.0, f64::max));
    let mut floors = Samples(erases().map(|row| row.floor.at(0.5)).collect());
    floors.0.sort_unstable();
    let floor = floors.at(0.5).as_secs_f64();
    series.push(Series {
        name: "floor: two durable writes".to_owned(),
        points: [low.min(high), high]
            .map(|x| chart::Point { x, y: floor, spread: (floor, floor) })
            .to_vec(),
    });
    draw("One erase, until it is final: median, p10 to p99", "how many", &series)
}
