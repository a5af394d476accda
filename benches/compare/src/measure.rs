//! What is measured of each peer, in the same way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::memmem;

/// Bytes of a record whose erase is measured.
pub(crate) const RECORD: usize = 4096;

/// What is compared: something that keeps records of users in files.
pub(crate) trait Peer {
    /// Puts records `0..n` of a user, durable at the end.
    fn fill(&mut self, user: u32, n: u32);
    /// Puts one record, durably.
    fn put(&mut self, user: u32, record: u32, content: &[u8]);
    /// Its length.
    fn get(&mut self, user: u32, record: u32) -> usize;
    /// Makes a user's records be gone, by whatever this peer's own documentation says; durable when
    /// it returns.
    fn erase(&mut self, user: u32);
    /// What must not be found once a user is erased: the bytes of records, or the key that opens
    /// them.
    fn traces(&mut self, user: u32, n: u32) -> Vec<Vec<u8>>;
    /// Whether a copy of the files, with what else there is now, gives a record of the user back;
    /// `None`: look for the traces in it alone.
    fn opens(&mut self, _copy: &Path, _user: u32) -> Option<bool> {
        None
    }
}

/// The content of a record: random, and with its mark found again.
pub(crate) fn content(user: u32, record: u32, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let mut state = (u64::from(user) << 32 | u64::from(record)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(len);
    out
}

fn files(dir: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() { files(&entry.path(), each) } else { each(&entry.path()) }
    }
}

/// Whether one of these stands anywhere in the files of a directory.
fn found(dir: &Path, traces: &[Vec<u8>]) -> bool {
    let finders: Vec<_> = traces.iter().map(memmem::Finder::new).collect();
    let mut found = false;
    files(dir, &mut |file| {
        let bytes = std::fs::read(file).unwrap_or_default();
        found |= finders.iter().any(|finder| finder.find(&bytes).is_some());
    });
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            std::fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

pub(crate) fn space(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    // Neither holes nor blocks that were only reserved.
    files(dir, &mut |file| bytes += std::fs::metadata(file).map_or(0, |meta| meta.len().min(meta.blocks() * 512)));
    bytes
}

/// Median, least and most, in seconds.
pub(crate) fn spread(mut all: Vec<Duration>) -> [f64; 3] {
    all.sort_unstable();
    [all[all.len() / 2], all[0], all[all.len() - 1]].map(|took| took.as_secs_f64())
}

/// What is asked for.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// A directory on the disk in question.
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Records of the user that is erased.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,100000")]
    pub(crate) records: Vec<u32>,
    /// How often each is done: the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
}

/// Figures of one peer.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Seconds until gone, by records: the median, the least and the most.
    pub(crate) erase: Vec<(u32, [f64; 3])>,
    pub(crate) live: bool,
    pub(crate) backup: bool,
    /// Bytes of a durable put and of a get, and records a second of each.
    pub(crate) rates: Vec<(usize, f64, f64)>,
    /// Bytes on the disk for each byte of recordings of 64 KiB.
    pub(crate) space: f64,
}

pub(crate) type Make = fn(&Path) -> Box<dyn Peer>;

pub(crate) fn measure(name: &str, make: Make, args: &Args) -> Line {
    let scratch = tempfile::tempdir_in(&args.dir).unwrap();
    // A server that runs as another user looks in.
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(scratch.path(), all).unwrap();
    let (mut erase, mut live, mut backup) = (Vec::new(), false, false);
    for &n in &args.records {
        let dir = scratch.path().join(format!("erase-{n}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut peer = make(&dir);
        // Somebody else is there too, with as much as the smaller ones.
        peer.fill(1_000_000, n.min(1000));
        // What is measured has been running for a while: it has erased before.
        for user in [1_000_001, 1_000_002] {
            peer.fill(user, 1);
            peer.erase(user);
        }
        let rounds = args.rounds;
        let mut took = Vec::new();
        for user in 0..rounds {
            peer.fill(user, n);
            let traces = peer.traces(user, n);
            let kept = scratch.path().join("backup");
            let first = user == 0 && n <= 1000;
            if first {
                copy(&dir, &kept);
            }
            let began = Instant::now();
            peer.erase(user);
            took.push(began.elapsed());
            if first {
                live |= found(&dir, &traces);
                let now = scratch.path().join("now");
                copy(&dir, &now);
                live |= peer.opens(&now, user).unwrap_or(false);
                std::fs::remove_dir_all(&now).unwrap();
                backup |= peer.opens(&kept, user).unwrap_or_else(|| found(&kept, &traces));
                std::fs::remove_dir_all(&kept).unwrap();
            }
        }
        erase.push((n, spread(took)));
        drop(peer);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let dir = scratch.path().join("rates");
    std::fs::create_dir_all(&dir).unwrap();
    let mut peer = make(&dir);
    let mut rates = Vec::new();
    let mut grown = 0.0;
    for (user, (len, n)) in [(65_536, 200_u32), (200, 500), (16 << 20, 4)].into_iter().enumerate() {
        let contents: Vec<Vec<u8>> = (0..n).map(|record| content(user as u32, record, len)).collect();
        let before = space(&dir);
        let began = Instant::now();
        for (record, content) in contents.iter().enumerate() {
            peer.put(user as u32, record as u32, content);
        }
        let put = f64::from(n) / began.elapsed().as_secs_f64();
        if user == 0 {
            grown = (space(&dir) - before.min(space(&dir))) as f64 / (len as f64 * f64::from(n));
        }
        let began = Instant::now();
        for record in 0..n {
            assert_eq!(peer.get(user as u32, record), len);
        }
        rates.push((len, put, f64::from(n) / began.elapsed().as_secs_f64()));
    }
    rates.sort_by_key(|(len, ..)| *len);
    Line { name: name.to_owned(), erase, live, backup, rates, space: grown }
}
