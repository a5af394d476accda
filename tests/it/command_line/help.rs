//! The help of every command: options in one order, examples that parse; and what the commands of the
//! log say where there is nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{Cli, one_line};

/// All commands, with those of their groups.
fn commands(cli: &Cli) -> Vec<Vec<String>> {
    let listed = |args: &[&str]| -> Vec<String> {
        let help = cli.ok(&[args, &["--help"]].concat());
        let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
        list.lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|name| !name.is_empty() && *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let mut all = Vec::new();
    for name in listed(&[]) {
        let within = listed(&[&name]);
        if within.is_empty() {
            all.push(vec![name]);
        } else {
            all.extend(within.into_iter().map(|verb| vec![name.clone(), verb]));
        }
    }
    all
}

fn help(cli: &Cli, command: &[String]) -> String {
    let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
    args.push("--help");
    cli.ok(&args)
}

/// The long options under a heading, in order.
fn options<'h>(help: &'h str, heading: &str) -> Vec<&'h str> {
    let (_, list) = help.split_once(&format!("\n{heading}:\n")).unwrap_or_default();
    list.lines()
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter_map(|line| {
            let short = || Some(line.strip_prefix("  -")?.split_once(", --")?.1);
            line.strip_prefix("      --").or_else(short)?.split(' ').next()
        })
        .collect()
}

/// What is acted on, what narrows it, all else, the output, whether to ask.
fn rank(option: &str) -> Option<u32> {
    Some(match option {
        "user" | "record" | "id" => 0,
        "class" => 1,
        "interaction" => 2,
        "after" | "before" => 3,
        "output" | "secret" => 5,
        "force" => 6,
        "yes" | "dry-run" => 7,
        "help" => 8,
        // A set is acted on; a grantee's name says for whom.
        "name" => return None,
        _ => 4,
    })
}

/// `--json`, `--cell` and `--take-over` stood in the middle of the others.
#[test]
fn the_options_of_every_command_are_in_one_order() {
    let cli = Cli::empty();
    let all = commands(&cli);
    assert!(all.len() > 50, "{all:?}");
    for command in all {
        let help = help(&cli, &command);
        let mut common = options(&help, "Common options");
        // Where a cell is what a command is about, it is an argument.
        if help.contains("<CELL>") {
            common.insert(0, "cell");
        }
        assert_eq!(common, ["cell", "take-over", "wait", "json", "object-cache"], "{command:?}");
        let own = options(&help, "Options");
        assert_eq!(own.last(), Some(&"help"), "{command:?}: {own:?}");
        let ranks: Vec<u32> = own.iter().filter_map(|option| rank(option)).collect();
        assert!(ranks.is_sorted(), "{command:?}: {own:?}");
    }
}

#[test]
fn each_main_verb_has_examples_and_each_argument_a_word_of_help() {
    let cli = Cli::empty();
    let mut shown = BTreeSet::new();
    for command in commands(&cli) {
        let help = help(&cli, &command);
        if help.contains("Examples") {
            shown.insert(command.join(" "));
        }
        let (_, arguments) = help.split_once("\nArguments:\n").unwrap_or_default();
        let first = arguments.lines().next().unwrap_or_default();
        if first.trim_start().trim_start_matches(['[', '<']).starts_with("STORE") {
            assert!(help.contains("KEYFALL_STORE") || help.contains("STORE is"), "{help}");
        }
    }
    for verb in [
        "init",
        "import",
        "put",
        "seal",
        "get",
        "detach",
        "report",
        "export",
        "list",
        "erase",
        "grant add",
        "training make",
        "policy set",
        "hold add",
        "copy add",
        "backup",
        "check",
        "restore",
        "audit",
        "discard",
        "bench",
    ] {
        assert!(shown.contains(verb), "{verb} has no example: {shown:?}");
    }
}

/// What an example says is typed: the grammar takes it. Those with a placeholder are passed over,
/// and those that do not end by themselves.
#[test]
fn the_examples_of_the_help_parse() {
    let cli = Cli::empty();
    let bin = Path::new(env!("CARGO_BIN_EXE_keyfall")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut groups = BTreeSet::from([Vec::new()]);
    for command in commands(&cli) {
        groups.insert(command[..1].to_vec());
        groups.insert(command);
    }
    let mut examples = BTreeSet::new();
    for command in groups {
        let help = help(&cli, &command).replace("\\\n", " ");
        let (_, after) = help.split_once("\nExamples").unwrap_or_default();
        let lines =
            after.lines().filter(|line| line.starts_with("  ") && line.contains("keyfall "));
        let typed = |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
        examples.extend(lines.map(typed));
    }
    let placeholder = |line: &str| {
        let capital = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        line.split(' ').any(|word| !word.is_empty() && capital(word))
            || ["...", "$(", "KEY@"].iter().any(|part| line.contains(part))
    };
    let endless = |line: &str| ["bench", "serve", "demo"].iter().any(|verb| line.contains(verb));
    let mut parsed = 0;
    for line in examples.iter().filter(|line| !placeholder(line) && !endless(line)) {
        // Without a store nothing is done, neither here nor at the places that examples name.
        let line = if line.contains(" init ") { format!("{line} --help") } else { line.clone() };
        let mut sh = Command::new("sh");
        sh.args(["-c", &line]).current_dir(cli.dir.path()).env("PATH", &path);
        let out = sh.env_remove("KEYFALL_STORE").env_remove("KEYFALL_CELL").output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(!told.contains("error: ") && !told.contains("Usage: "), "{line}: {told}");
        parsed += 1;
    }
    assert!(parsed > 25, "{parsed} of {}", examples.len());
}

/// A directory without a log was served, with an answer of 404 for everything.
#[test]
fn a_directory_without_a_log_is_not_served() {
    let cli = Cli::new();
    std::fs::create_dir(cli.path("empty")).unwrap();
    for dir in ["empty", "nowhere"] {
        let e = cli.fails(4, &["log", "serve", dir, "--listen", "127.0.0.1:0"]);
        one_line(&e);
        assert!(e.contains(&format!("`keyfall log export STORE {dir}`")), "{e}");
    }
}

/// It ended with 2, as if the command had been mistyped.
#[test]
fn a_leaf_that_the_log_does_not_have_is_absent() {
    let cli = Cli::new();
    let e = cli.fails(4, &["log", "prove", "store", "0"]);
    one_line(&e);
    assert!(e.contains("empty until something is erased"), "{e}");
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    cli.ok(&["log", "prove", "store", "0"]);
    let e = cli.fails(4, &["log", "prove", "store", "99"]);
    one_line(&e);
    assert!(e.contains("no leaf 99") && e.contains("its last leaf is 0"), "{e}");
    one_line(&cli.fails(2, &["log", "prove", "store", "first"]));
}
