//! Completions for shells, and man pages.

use clap::CommandFactory;
use keyfall::Error;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::shell::failure::Done;
use crate::shell::print::block;

/// `keyfall completions SHELL`.
pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "keyfall", &mut text);
    block(String::from_utf8_lossy(&text).trim_end())
}

/// `keyfall man [DIR]`.
pub(super) fn man(args: &ManArgs) -> Done {
    let Some(dir) = &args.dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(Args::command());
        page.render(&mut text).map_err(|e| Error::io("the man page", e))?;
        return block(String::from_utf8_lossy(&text).trim_end());
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Args::command(), dir))
        .map_err(|e| Error::io(dir.display(), e).into())
}
