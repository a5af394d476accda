//! What a measurement yields: latencies beside their floor, and the space that records take.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::counted::Count;
use crate::bench::memory::Memory;
use crate::shell::print::bytes;

/// Latencies of one kind of operation.
#[derive(Default)]
pub(super) struct Samples(pub(super) Vec<Duration>);

impl Samples {
    /// The sample below which a part of them lies: 0.5 is the median.
    pub(super) fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (last as f64 * part).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// What varies in a series of measurements, and its value.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) series: &'static str,
    pub(super) x: u64,
}

/// What was timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Beside two durable writes, one after another.
    Erase,
    /// Beside one durable write.
    Put,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Erase => "erase",
            Verb::Put => "put",
        }
    }
}

/// One measured point of a series: latencies, and what they are compared with.
pub(super) struct Row {
    pub(super) verb: Verb,
    pub(super) point: Point,
    pub(super) took: Samples,
    /// How many erases or puts one sample stands for.
    pub(super) per: u64,
    pub(super) floor: Samples,
    /// What each cost, if nothing else was done meanwhile.
    pub(super) count: Option<Count>,
    /// Puts a second beside erases that are measured, at the same time.
    pub(super) puts: Option<f64>,
    /// Erases or puts a second, if many callers made them at the same time.
    pub(super) rate: Option<f64>,
}

impl Row {
    pub(super) const HEADINGS: [&'static str; 12] = [
        "over", "how many", "p50", "p99", "p99.9", "each", "to floor", "bytes", "syncs", "sealed",
        "puts", "samples",
    ];

    pub(super) fn shown(&self) -> Vec<String> {
        let d = |part| format!("{:.1?}", self.took.at(part));
        let n = |of: fn(Count) -> u64| self.count.map_or(String::new(), |n| of(n).to_string());
        vec![
            self.point.series.to_owned(),
            self.point.x.to_string(),
            d(0.5),
            d(0.99),
            d(0.999),
            self.rate.map_or_else(
                || format!("{:.1?}", self.took.at(0.5) / u32::try_from(self.per).unwrap_or(1)),
                |rate| format!("{rate:.0}/s"),
            ),
            format!("{:.2}x", self.ratio()),
            n(|count| count.written),
            n(|count| count.syncs),
            n(|count| count.sealed),
            self.puts.map_or(String::new(), |puts| format!("{puts:.0}/s")),
            self.took.0.len().to_string(),
        ]
    }

    pub(super) fn as_json(&self) -> Value {
        let verb = self.verb.name();
        let n = |of: fn(Count) -> u64| self.count.map(of);
        let mut told = json!({
            "series": self.point.series, "x": self.point.x, "samples": self.took.0.len(),
            (format!("{verb}s_per_sample")): self.per,
            "p50_us": micros(self.took.at(0.5)), "p99_us": micros(self.took.at(0.99)),
            "p999_us": micros(self.took.at(0.999)), "floor_us": micros(self.floor.at(0.5)),
            "ratio": self.ratio(), "puts_per_second": self.puts,
            (format!("bytes_written_per_{verb}")): n(|count| count.written),
            "durable_writes": n(|count| count.syncs),
            (format!("bytes_sealed_per_{verb}")): n(|count| count.sealed),
            (format!("bytes_read_per_{verb}")): n(|count| count.opened),
        });
        told[format!("{verb}s_per_second")] = json!(self.rate);
        told
    }

    fn ratio(&self) -> f64 {
        self.took.at(0.5).as_secs_f64() / self.floor.at(0.5).as_secs_f64()
    }
}

/// The space that records take before a discard and after it, and what the discard took.
pub(super) struct Space {
    pub(super) series: &'static str,
    pub(super) users: u64,
    pub(super) records: u64,
    /// Bytes of the records' plaintexts.
    pub(super) plain: u64,
    /// The most bytes on the disk for each byte of plaintext while they were put.
    pub(super) most: Option<f64>,
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) took: Duration,
    pub(super) blobs: u64,
    pub(super) memory: Memory,
}

impl Space {
    pub(super) const HEADINGS: [&'static str; 12] = [
        "records", "how many", "of users", "plain", "at most", "on disk", "to plain", "after",
        "to plain", "each", "discard", "memory",
    ];

    pub(super) fn shown(&self) -> Vec<String> {
        let memory = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), bytes);
        vec![
            self.series.to_owned(),
            self.records.to_string(),
            self.users.to_string(),
            bytes(self.plain),
            self.most.map_or_else(String::new, |most| format!("{most:.2}x")),
            bytes(self.before),
            format!("{:.2}x", self.to_plain(self.before)),
            bytes(self.after),
            format!("{:.2}x", self.to_plain(self.after)),
            format!("{:.0} B", self.after as f64 / self.records as f64),
            format!("{:.1?}", self.took),
            format!("{} to {}", memory(self.memory.before), memory(self.memory.peak)),
        ]
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "series": self.series, "users": self.users, "records": self.records,
            "plain_bytes": self.plain, "disk_to_plain_at_most": self.most,
            "disk_bytes": self.before,
            "disk_to_plain": self.to_plain(self.before),
            "disk_bytes_after_discard": self.after,
            "disk_to_plain_after_discard": self.to_plain(self.after),
            "disk_bytes_per_record": self.before as f64 / self.records as f64,
            "disk_bytes_per_record_after_discard": self.after as f64 / self.records as f64,
            "discard_seconds": self.took.as_secs_f64(), "blobs_discarded": self.blobs,
            "memory_before_discard_bytes": self.memory.before,
            "memory_peak_of_discard_bytes": self.memory.peak,
        })
    }

    fn to_plain(&self, bytes: u64) -> f64 {
        bytes as f64 / self.plain as f64
    }
}

fn micros(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e7).round() / 10.0
}
