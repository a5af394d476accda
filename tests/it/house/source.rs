//! The source tree as the rules of the house see it: files, modules, imports, functions and types.
//! It reads text, not syntax trees: the code is formatted, so that a line tells what it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One file of `src`.
pub(super) struct File {
    /// Its path below `src`.
    pub(super) name: String,
    pub(super) text: String,
    /// The crate that it belongs to (`lib`, or the name of a program), and its module path.
    pub(super) module: Vec<String>,
}

/// A function: its name, its parameters, how many lines it takes.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: String,
    pub(super) lines: usize,
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// All files of `src`, by name.
pub(super) fn files() -> Vec<File> {
    files_below("src")
}

/// All files below a directory of sources, by name.
pub(super) fn files_below(dir: &str) -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    let file = |path: PathBuf| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let mut module = module_of(&name);
        if dir != "src" {
            // To another package `keyfall` is the library, and nothing of its own.
            module[0] = dir.into();
        }
        File { module, text: std::fs::read_to_string(&path).unwrap(), name }
    };
    paths.into_iter().map(file).collect()
}

/// `engine/mod.rs` is `lib::engine`, `bin/keyfall/args/mod.rs` is `keyfall::args`, `bin/verify.rs`
/// is `verify`.
fn module_of(name: &str) -> Vec<String> {
    let mut parts: Vec<String> =
        name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts[0] == "bin" {
        parts.remove(0);
    } else {
        parts.insert(0, "lib".into());
    }
    if parts.len() > 1 && matches!(parts.last().unwrap().as_str(), "mod" | "main" | "lib") {
        parts.pop();
    }
    parts
}

impl File {
    /// Its code: no comments, and each text literal empty.
    pub(super) fn code(&self) -> String {
        let mut code = String::new();
        // Unit tests stand at the end of a file and may look around.
        let own = self.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in own.lines().filter(|l| !l.trim_start().starts_with("//")) {
            let mut chars = line.chars().peekable();
            let mut in_text = false;
            while let Some(c) = chars.next() {
                match c {
                    '\\' if in_text => {
                        chars.next();
                    }
                    '\'' if !in_text && chars.peek() == Some(&'"') => {
                        chars.next();
                        chars.next();
                    }
                    '"' => {
                        in_text = !in_text;
                        code.push('"');
                    }
                    '/' if !in_text && chars.peek() == Some(&'/') => break,
                    _ if in_text => {}
                    c => code.push(c),
                }
            }
            code.push('\n');
        }
        // How far something is visible is no use of it.
        code.replace("pub(in crate::", "pub(in ")
    }

    /// The functions that it defines.
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        let lines: Vec<&str> = self.text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let Some(at) = line.find("fn ") else { continue };
            let words = line[..at].split_whitespace();
            let begins = |word: &str| {
                word.starts_with("pub")
                    || matches!(word, "const" | "async" | "unsafe" | "extern")
                    || word.ends_with(')')
            };
            if !words.clone().all(begins) || line.trim_start().starts_with("//") {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let head: String = lines[n..].join("\n");
            let open = head.find('(').unwrap_or(0);
            let close = matching(&head, open);
            let closing = format!("{}}}", " ".repeat(indent));
            let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
            let last = if one_line {
                n
            } else {
                (n..lines.len()).find(|&m| lines[m] == closing).unwrap_or(n)
            };
            let name =
                line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(Function {
                name,
                parameters: head[open..=close].to_owned(),
                lines: last - n + 1,
            });
        }
        found
    }

    /// Names of the types that it defines.
    pub(super) fn types(&self) -> BTreeSet<String> {
        let mut types = BTreeSet::new();
        for line in self.text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words
                .iter()
                .position(|w| matches!(*w, "struct" | "enum" | "union" | "trait" | "type"));
            if let Some(at) = at
                .filter(|&at| words[..at].iter().all(|w| w.starts_with("pub") || w.ends_with(')')))
                && let Some(name) = words.get(at + 1)
            {
                types.insert(
                    name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
                );
            }
        }
        types
    }

    /// The types of its inherent `impl` blocks.
    pub(super) fn extends(&self) -> Vec<String> {
        let mut extended = Vec::new();
        for line in self.text.lines().filter(|l| l.starts_with("impl")) {
            if line.contains(" for ") {
                continue;
            }
            let mut rest = &line[4..];
            if rest.starts_with('<') {
                rest = &rest[matching(rest, 0) + 1..];
            }
            extended.push(
                rest.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
            );
        }
        extended
    }
}

/// Where the bracket that opens at `open` closes.
fn matching(text: &str, open: usize) -> usize {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '(' | '<' | '[' | '{' => depth += 1,
            '>' if before == '-' || before == '=' => {}
            ')' | '>' | ']' | '}' => depth -= 1,
            _ => {}
        }
        before = c;
        if depth == 0 {
            return at;
        }
    }
    text.len() - 1
}

/// Parameters of a function that are patterns of tuples.
pub(super) fn tuple_parameters(function: &Function) -> usize {
    let inside = &function.parameters[1..function.parameters.len() - 1];
    let (mut depth, mut starts, mut found) = (0, true, 0);
    let mut before = ' ';
    for c in inside.chars() {
        if starts && !c.is_whitespace() {
            found += usize::from(c == '(');
            starts = false;
        }
        match c {
            '(' | '<' | '[' | '{' => depth += 1,
            '>' if before == '-' || before == '=' => {}
            ')' | '>' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            _ => {}
        }
        before = c;
    }
    found
}

/// Which file uses which.
pub(super) struct Imports {
    pub(super) edges: BTreeMap<String, BTreeSet<String>>,
}

/// The paths of a `use`, its braces expanded.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix: Vec<String> = segments(&tree[..open]);
        let inside = &tree[open + 1..matching(tree, open)];
        let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
        for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inside[start..at].trim().is_empty() {
                        paths.extend(expand(&inside[start..at]));
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        return paths.into_iter().map(|p| prefix.iter().cloned().chain(p).collect()).collect();
    }
    vec![segments(tree)]
}

fn segments(path: &str) -> Vec<String> {
    let path = path.split(" as ").next().unwrap_or(path);
    path.split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// The `use` items of a file, each with whether it is a re-export.
fn uses(code: &str) -> Vec<(Vec<String>, bool)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rfind('\n').map_or(0, |n| n + 1);
        let before = rest[line..at].trim();
        let whole = rest[at + 4..].find(';').map_or(rest.len(), |end| at + 4 + end);
        if before.is_empty() || before.starts_with("pub") {
            found.extend(
                expand(&rest[at + 4..whole]).into_iter().map(|path| (path, !before.is_empty())),
            );
            rest = &rest[whole..];
        } else {
            rest = &rest[at + 4..];
        }
    }
    found
}

/// Paths in the code that begin with `crate::`, `super::` or a module below.
fn paths(code: &str, below: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let below = below.iter().map(|name| format!("{name}::"));
    for start in ["crate::", "super::"].map(str::to_owned).into_iter().chain(below) {
        for (at, _) in code.match_indices(&start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let path: String = code[at..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            found.push(segments(&path));
        }
    }
    found
}

impl Imports {
    pub(super) fn of(files: &[File]) -> Self {
        let modules: BTreeMap<&[String], &File> =
            files.iter().map(|f| (f.module.as_slice(), f)).collect();
        let codes: Vec<String> = files.iter().map(File::code).collect();
        let mut exports: BTreeMap<(&[String], String), Vec<String>> = BTreeMap::new();
        for (file, code) in files.iter().zip(&codes) {
            for (path, public) in uses(code) {
                if let Some(name) = path.last().filter(|_| public) {
                    exports.insert((&file.module, name.clone()), absolute(&file.module, &path));
                }
            }
        }
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, code) in files.iter().zip(&codes) {
            let into = edges.entry(file.name.clone()).or_default();
            let used = uses(code).into_iter().filter(|(_, public)| !public).map(|(path, _)| path);
            let below =
                |m: &&[String]| m.len() == file.module.len() + 1 && m.starts_with(&file.module);
            let below: Vec<String> =
                modules.keys().copied().filter(below).map(|m| m[m.len() - 1].clone()).collect();
            for path in used.chain(paths(&without_uses(code), &below)) {
                let mut path = absolute(&file.module, &path);
                // Through re-exports, to where the name is defined.
                for _ in 0..8 {
                    let longest =
                        (1..=path.len()).rev().find(|n| modules.contains_key(&path[..*n]));
                    let Some(n) = longest else { break };
                    match path.get(n).and_then(|name| {
                        exports.get(&(modules[&path[..n]].module.as_slice(), name.clone()))
                    }) {
                        Some(to) if *to != path => path = to.clone(),
                        _ => {
                            into.insert(modules[&path[..n]].name.clone());
                            break;
                        }
                    }
                }
            }
            into.remove(&file.name);
        }
        Imports { edges }
    }

    /// Files that use one another in circles, each circle by itself.
    pub(super) fn circles(&self) -> Vec<BTreeSet<String>> {
        let reach = |from: &str| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(at) = open.pop() {
                for to in self.edges.get(&at).into_iter().flatten() {
                    if seen.insert(to.clone()) {
                        open.push(to.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&String, BTreeSet<String>> =
            self.edges.keys().map(|f| (f, reach(f))).collect();
        let mut circles = BTreeSet::new();
        for (file, there) in &reached {
            let circle: BTreeSet<String> =
                there.iter().filter(|to| reached[to].contains(*file)).cloned().collect();
            if !circle.is_empty() {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

fn without_uses(code: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in code.lines() {
        let line_begins = line.trim_start();
        inside |= line_begins.starts_with("use ")
            || line_begins.starts_with("pub use ")
            || line_begins.starts_with("pub(") && line_begins.contains(" use ");
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside &= !line.trim_end().ends_with(';');
    }
    kept
}

/// A path seen from a module, from its crate's root on.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => {
            at.truncate(1);
            rest = &rest[1..];
        }
        Some("keyfall") => {
            at = vec!["lib".into()];
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while rest.first().is_some_and(|s| s == "super") {
                at.pop();
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    at.extend(rest.iter().filter(|s| *s != "self").cloned());
    at
}
