//! Asking before an erase.

use std::io::{self, IsTerminal, Write};

use keyfall::{Error, ErrorKind};

use crate::shell::failure::Done;
use crate::shell::print::printable;

/// Asks whether to erase `what`, unless `yes` says so already. Without a terminal it is an error.
pub(crate) fn ask(yes: bool, question: impl FnOnce() -> Result<String, Error>, what: &str) -> Done {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let text = format!("to erase {what} without being asked, add --yes");
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    write!(io::stderr(), "{} [y/N] ", printable(&question()?))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Invalid, "nothing was erased").into()),
    }
}
