//! `keyfall bench`: erase latency on the disk in question, beside that disk's own floor: a write of
//! 4 KiB and `fdatasync`, then one of 512 bytes and `fdatasync`, which no erase can do without.
//! Rounds are interleaved with the floor; medians are compared.

pub(crate) mod chart;
mod counted;
mod measured;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use keyfall::Error;
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::bench::chart::{Series, draw};
use crate::bench::measured::{Row, Samples, measure};
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::outfile::{OutFile, Replace};
use crate::shell::print::{block, line, table};
use crate::shell::session::Session;

/// Measures, and prints a table or JSON.
pub(crate) fn run(session: &Session, args: &BenchArgs) -> Done {
    guarded::check_dir(&args.dir)?;
    // The file first: a long measurement should not end at a file that cannot be written.
    let svg = args
        .svg
        .as_ref()
        .map(|svg| OutFile::create(svg, Replace::Ordinary).map(|file| (svg, file)))
        .transpose()?;
    let dir = args.dir.join(format!("keyfall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
    let scratch = Scratch(dir);
    let rows = measure(args, &scratch.0)?;
    if let Some((svg, mut file)) = svg {
        let drawn = file.write_all(plot(&rows).as_bytes());
        drawn.map_err(|e| Error::io(svg.display(), e))?;
        file.finish()?;
    }
    if session.json {
        return session.value(&Value::Array(rows.iter().map(as_json).collect()));
    }
    let headings = [
        "over", "how many", "p50", "p99", "p99.9", "each", "to floor", "bytes", "syncs", "sealed",
        "puts", "samples",
    ];
    block(table(&headings, rows.iter().map(shown)))?;
    line("")?;
    line(
        "floor: 4 KiB appended and fdatasync, then 512 bytes and fdatasync, measured between the \
         rounds; bytes and sealed for each erase, as handed to the store, whose log is written \
         twice where commits are short: zeros ahead, then the frame",
    )
}

/// The directory of the benchmark, which goes when that ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ratio(row: &Row) -> f64 {
    row.took.at(0.5).as_secs_f64() / row.floor.at(0.5).as_secs_f64()
}

fn micros(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e7).round() / 10.0
}

fn shown(row: &Row) -> Vec<String> {
    let d = |part| format!("{:.1?}", row.took.at(part));
    vec![
        row.point.series.to_owned(),
        row.point.x.to_string(),
        d(0.5),
        d(0.99),
        d(0.999),
        row.rate.map_or_else(
            || format!("{:.1?}", row.took.at(0.5) / u32::try_from(row.per).unwrap_or(1)),
            |rate| format!("{rate:.0}/s"),
        ),
        format!("{:.2}x", ratio(row)),
        row.count.written.to_string(),
        row.count.syncs.to_string(),
        row.count.sealed.to_string(),
        row.puts.map_or(String::new(), |puts| format!("{puts:.0}/s")),
        row.took.0.len().to_string(),
    ]
}

fn as_json(row: &Row) -> Value {
    json!({
        "series": row.point.series, "x": row.point.x, "samples": row.took.0.len(),
        "erases_per_sample": row.per,
        "p50_us": micros(row.took.at(0.5)), "p99_us": micros(row.took.at(0.99)),
        "p999_us": micros(row.took.at(0.999)), "floor_us": micros(row.floor.at(0.5)),
        "ratio": ratio(row), "erases_per_second": row.rate, "puts_per_second": row.puts,
        "bytes_written_per_erase": row.count.written, "durable_writes": row.count.syncs,
        "bytes_sealed_per_erase": row.count.sealed, "bytes_read_per_erase": row.count.opened,
    })
}

fn plot(rows: &[Row]) -> String {
    let mut series: Vec<Series> = Vec::new();
    for row in rows.iter().filter(|row| row.rate.is_none()) {
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
    let mut floors = Samples(rows.iter().map(|row| row.floor.at(0.5)).collect());
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
