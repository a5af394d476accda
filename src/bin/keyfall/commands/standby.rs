//! `keyfall standby`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyfall::opening::{Beside, StandBy};
use keyfall::{Error, ErrorKind};
use serde_json::json;

use crate::args::StandbyArgs;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::shell::stores::{builder, no_take_over};

/// Waits beside the store until its writer is gone, and takes its place.
pub(super) fn run(session: &Session, args: StandbyArgs) -> Done {
    let store = one(args.places)?;
    no_take_over(session, "leave it out: a standby claims the store once its writer is gone")?;
    let mut how = StandBy::new().every(args.every).gone_after(args.gone_after);
    if let Some(probe) = args.probe {
        how = how.probe(move || succeeds(&probe));
    }
    let mut told = Told::default();
    let mut see = |beside: &Beside| {
        told.tell(session, beside);
        ControlFlow::Continue(())
    };
    let Some(engine) = builder(session, &store).stand_by(&how, &mut see)? else { return Ok(()) };
    let head = engine.head();
    engine.close()?;
    if session.json {
        line(json!({"took_over": {"epoch": head.epoch, "commit": head.commit}}))?;
    } else {
        line(format!("took over {} at {head}", store.display()))?;
    }
    become_program(session, &store, &args.then)
}

fn succeeds(probe: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", probe]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Goes on as the program that serves the store; it is told of store and cell.
fn become_program(session: &Session, store: &Path, then: &[OsString]) -> Done {
    let Some((program, args)) = then.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(args).env("KEYFALL_STORE", store);
    if let Some(cell) = &session.cell {
        command.env("KEYFALL_CELL", cell);
    }
    let e = command.exec();
    let text = format!("the store is taken over, and {} does not start", program.display());
    Err(Error::new(ErrorKind::Io, text).with_source(e).into())
}

/// What was said of the waiting: each thing once, until another one came in between, and once a
/// minute at most.
#[derive(Default)]
struct Told {
    last: String,
    when: HashMap<String, Instant>,
}

const AGAIN: Duration = Duration::from_secs(60);

impl Told {
    fn tell(&mut self, session: &Session, beside: &Beside) {
        let (what, text) = match beside {
            Beside::Untold => (
                "untold".to_owned(),
                "standing by; no writer ever left a sign of life here, so one that is gone is not \
                 told from a quiet one: have the writer leave some (`--beat 2s` of keyfalld and of \
                 `keyfall watch`), or name a --probe"
                    .to_owned(),
            ),
            Beside::Gone(quiet) => (
                "gone".to_owned(),
                format!("the writer is gone, as far as can be told: quiet for {quiet:.1?}"),
            ),
            Beside::Away(e) => {
                (e.to_string(), format!("standing by; the store cannot be asked: {e}"))
            }
            Beside::Failed(e) => (e.to_string(), format!("standing by still: {e}")),
            _ => ("quiet".to_owned(), "standing by".to_owned()),
        };
        if self.is_news(what, Instant::now()) {
            session.note(&text);
        }
    }

    fn is_news(&mut self, what: String, now: Instant) -> bool {
        if self.last == what {
            return false;
        }
        self.last.clone_from(&what);
        let is_fresh = self.when.get(&what).is_some_and(|when| now < *when + AGAIN);
        if !is_fresh {
            self.when.insert(what, now);
        }
        !is_fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A standby that nobody lets in tries again and again, and says so once a minute.
    #[test]
    fn what_comes_again_and_again_is_said_once_a_minute() {
        let (mut told, began) = (Told::default(), Instant::now());
        let mut said = Vec::new();
        for second in (0..100).step_by(10) {
            for what in ["quiet", "gone", "it is not let in"] {
                if told.is_news(what.to_owned(), began + Duration::from_secs(second)) {
                    said.push((what, second));
                }
            }
        }
        let each = |second| ["quiet", "gone", "it is not let in"].map(|what| (what, second));
        assert_eq!(said, [each(0), each(60)].concat());
    }
}
