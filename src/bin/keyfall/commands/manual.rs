//! Completions for shells, and man pages.

use clap::builder::ValueHint;
use clap::{Arg, Command, CommandFactory};
use keyfall::Error;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::shell::failure::Done;
use crate::shell::print::block;

/// `keyfall completions SHELL`.
pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut hinted(Args::command()), "keyfall", &mut text);
    block(String::from_utf8_lossy(&text).trim_end())
}

/// The classes that a shell offers; any other can be typed.
const CLASSES: [&str; 3] = ["audio", "transcript", "action"];

/// The grammar with what shells should know: which values are files. To all others they would offer
/// the names of files as well.
fn hinted(command: Command) -> Command {
    let hint = |arg: Arg| match arg.get_value_hint() {
        _ if arg.get_id() == "class" => arg.value_parser(CLASSES),
        ValueHint::Unknown if arg.get_action().takes_values() => arg.value_hint(ValueHint::Other),
        _ => arg,
    };
    command.mut_args(hint).mut_subcommands(hinted)
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
