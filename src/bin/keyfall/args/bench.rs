//! Arguments of `bench`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

pub(super) const EXAMPLES: &str = "\
Examples:
  keyfall bench /var/lib/assistant
  keyfall bench --users 1000,1000000 --records 1,1000000 --svg erase.svg
  keyfall bench --keyholders 3,5 --copies 1 --json
  keyfall bench --parts puts,space --among 1000000
  keyfall bench --parts discard --discard-users 100000,1000000,10000000

Each list may be empty: --records= leaves it out.";

/// Numbers with commas between them, possibly none.
#[derive(Clone)]
pub(crate) struct Counts(pub(crate) Vec<u64>);

impl std::str::FromStr for Counts {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Counts)
    }
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// How long an erase takes.
    Erase,
    /// How long a durable put of an action of 200 bytes takes: by one caller, by many, in batches.
    Puts,
    /// The space that such actions take on the disk, before and after a discard.
    Space,
    /// How long a discard takes, its memory, and what puts and erases take while it runs.
    Discard,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// A directory on the disk in question; what is made there is removed at the end.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// What is measured.
    #[arg(long, value_name = "PART,...", value_delimiter = ',', default_value = "erase")]
    pub(crate) parts: Vec<Part>,
    /// Users in the store while one is erased.
    #[arg(long, value_name = "N,...", default_value = "1000,10000,100000")]
    pub(crate) users: Counts,
    /// Records of each user that is erased.
    #[arg(long, value_name = "N,...", default_value = "1,100,10000")]
    pub(crate) records: Counts,
    /// Users erased in one commit.
    #[arg(long, value_name = "N,...", default_value = "1,100,10000")]
    pub(crate) batch: Counts,
    /// Threads that erase at the same time, with as many that put; in the part `puts`, threads that
    /// put.
    #[arg(long, value_name = "N,...", default_value = "1,64")]
    pub(crate) callers: Counts,
    /// Copies in step that each erase waits for.
    #[arg(long, value_name = "N,...", default_value = "1")]
    pub(crate) copies: Counts,
    /// Keyholders, in this process, each over its own channel.
    #[arg(long, value_name = "N,...", default_value = "")]
    pub(crate) keyholders: Counts,
    /// Users to whom the actions of the parts `puts` and `space` belong, drawn at random.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one())]
    pub(crate) among: u64,
    /// Actions put in one commit.
    #[arg(long, value_name = "N,...", default_value = "1000")]
    pub(crate) put_batch: Counts,
    /// Actions whose space is measured when put in batches of 1,000; when put one at a time, a
    /// tenth of it.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = at_least_one())]
    pub(crate) actions: u64,
    /// Users in the store, with one record each, when it is discarded.
    #[arg(long, value_name = "N,...", default_value = "100000,1000000")]
    pub(crate) discard_users: Counts,
    /// At most so many erases, puts or batches for each line; in the part `discard`, as many as the
    /// time allows.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = at_least_one())]
    pub(crate) rounds: u64,
    /// How long the threads erase; in the part `discard`, how long puts and erases are measured
    /// with no discard running, and at least with discards running.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = at_least_one())]
    pub(crate) seconds: u64,
    /// Write a chart of the erases here.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

fn at_least_one() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..)
}
