//! The log on standard error. Whoever does not read it holds up nothing: a line for which there is
//! no room is lost, and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::config::Config;

/// Lines that wait to be written, at most.
const LINES: usize = 4096;
/// For so long the last lines may take when the program ends.
const LAST: Duration = Duration::from_secs(1);

/// Lines that were lost since the program began.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines were lost.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Said {
    Line(Vec<u8>),
    /// All lines before have been written.
    End(SyncSender<()>),
}

/// What waits for the last lines when it is let go of.
pub(crate) struct Log(SyncSender<Said>);

impl Drop for Log {
    fn drop(&mut self) {
        let (tell, told) = sync_channel(1);
        // With no room for this there is none for the lines before it.
        if self.0.try_send(Said::End(tell)).is_ok() {
            let _ = told.recv_timeout(LAST);
        }
    }
}

/// Writes the log to standard error: lines, or JSON for machines.
///
/// # Errors
/// As the system says, where it gives no thread.
pub(crate) fn start(config: &Config) -> io::Result<Log> {
    let (to, from) = sync_channel(LINES);
    std::thread::Builder::new().name("keyfalld-log".to_owned()).spawn(move || write(&from))?;
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(to.clone()));
    // A line that cannot be written is lost, and takes no request with it.
    let log = log.log_internal_errors(false);
    if config.log_json {
        log.json().init()
    } else {
        log.with_ansi(false).init()
    }
    #[cfg(feature = "objects")]
    keyfall::store::when_tried_for_long(waiting());
    Ok(Log(to))
}

/// How often the log repeats what goes on and on.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What the log says once a minute at most.
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Nothing was said yet.
    pub(crate) const fn new() -> Self {
        Seldom(Mutex::new(None))
    }

    /// Whether it is time to say it again; it counts as said then.
    pub(crate) fn is_due(&self) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = said.is_none_or(|at| at.elapsed() > SAID_EVERY);
        if is_due {
            *said = Some(Instant::now());
        }
        is_due
    }
}

/// Says now and then that a place at a URL does not answer. What it says names an object, which says
/// nothing of anybody.
#[cfg(feature = "objects")]
fn waiting<E: std::fmt::Display>() -> impl Fn(&E) + Send + Sync + 'static {
    let said = Seldom::new();
    move |why| {
        if said.is_due() {
            tracing::warn!("{why}; it is asked again, for a minute or so");
        }
    }
}

fn write(from: &Receiver<Said>) {
    let mut out = io::stderr();
    for said in from {
        match said {
            Said::Line(line) if out.write_all(&line).is_err() => {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
            Said::Line(_) => {}
            Said::End(tell) => drop(tell.send(())),
        }
    }
}

/// Gives each line to the thread that writes it.
struct Lines(SyncSender<Said>);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line { to: &self.0, line: Vec::new() }
    }
}

/// A line that is being made.
struct Line<'w> {
    to: &'w SyncSender<Said>,
    line: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.to.try_send(Said::Line(line)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}
