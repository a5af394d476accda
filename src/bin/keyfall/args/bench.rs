//! Arguments of `bench`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

pub(super) const EXAMPLES: &str = "\
Examples:
  keyfall bench /var/lib/assistant
  keyfall bench --users 1000,1000000 --records 1,1000000 --svg erase.svg
  keyfall bench --keyholders 3,5 --copies 1 --json

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

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// A directory on the disk in question; what is made there is removed at the end.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Users in the store while one is erased.
    #[arg(long, value_name = "N,...", default_value = "1000,10000,100000")]
    pub(crate) users: Counts,
    /// Records of each user that is erased.
    #[arg(long, value_name = "N,...", default_value = "1,100,10000")]
    pub(crate) records: Counts,
    /// Users erased in one commit.
    #[arg(long, value_name = "N,...", default_value = "1,100,10000")]
    pub(crate) batch: Counts,
    /// Threads that erase at the same time, with as many that put.
    #[arg(long, value_name = "N,...", default_value = "1,64")]
    pub(crate) callers: Counts,
    /// Copies in step that each erase waits for.
    #[arg(long, value_name = "N,...", default_value = "1")]
    pub(crate) copies: Counts,
    /// Keyholders, in this process, each over its own channel.
    #[arg(long, value_name = "N,...", default_value = "")]
    pub(crate) keyholders: Counts,
    /// At most so many erases for each line.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = at_least_one())]
    pub(crate) rounds: u64,
    /// How long the threads erase.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = at_least_one())]
    pub(crate) seconds: u64,
    /// Write a chart here.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

fn at_least_one() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..)
}
