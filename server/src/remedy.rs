//! What messages of the library say to do, as it is typed for this service.

use std::path::Path;
use std::sync::OnceLock;

/// What the library names between backticks, and what is typed for it here; {} is what it is given.
const TYPED: &[(&str, &str)] = &[
    ("Builder::beat", "--beat"),
    ("Builder::cell_at", "--cell"),
    ("Builder::create", "`keyfall init`"),
    ("Builder::give_up", "`keyfall copy remove STORE {} --take-over`"),
    ("Builder::keyholders", "`keyfall init --keyholder`"),
    ("Builder::lend", "`keyfall init --lend`"),
    ("Builder::restore", "`keyfall restore`"),
    ("Builder::single_machine", "--single-machine"),
    ("Builder::take_over", "`keyfall tend STORE --cell CELL --take-over`"),
    ("Copies::add", "`keyfall copy add STORE {}`"),
    ("Copies::remove", "`keyfall copy remove STORE {}`"),
    ("Copies::sync", "`keyfall copy sync STORE`"),
    ("Engine::run_due", "`keyfall tend STORE`"),
    ("accept_remnants", "--accept-remnants"),
    ("restore", "`keyfall restore`"),
];

/// Words for the places of this service, once its configuration is read.
struct Places {
    store: String,
    cell: String,
    /// What names the cell after the store, if it is not found there.
    named: String,
}

static PLACES: OnceLock<Places> = OnceLock::new();

/// From here on commands name the service's own store and cell; `named` if the cell is not found
/// beside the store.
pub(crate) fn name(store: &Path, cell: &Path, named: bool) {
    let (store, cell) = (word(store), word(cell));
    let named = if named { format!(" --cell {cell}") } else { String::new() };
    let _ = PLACES.set(Places { store, cell, named });
}

impl Places {
    /// A command with these places in it.
    fn fill(&self, typed: &str) -> String {
        let Places { store, cell, named } = self;
        let both = format!("{store} --cell {cell}");
        typed.replace("STORE --cell CELL", &both).replace("STORE", &format!("{store}{named}"))
    }
}

/// A word of a command, quoted as a shell takes it.
fn word(place: &Path) -> String {
    let text = place.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An error of the library, with its advice as that is typed here.
pub(crate) fn typed(e: keyfall::Error) -> keyfall::Error {
    let said = e.to_string();
    let text = as_typed(&said);
    if text == said { e } else { keyfall::Error::new(e.kind(), text) }
}

/// A text of the library, with its advice as that is typed here.
pub(crate) fn as_typed(text: &str) -> String {
    let typed = |part: &str| {
        let call = part.strip_suffix(')').and_then(|call| call.split_once('('));
        let (name, given) = call.unwrap_or((part, ""));
        let (_, typed) = TYPED.iter().find(|(named, _)| *named == name)?;
        let typed = PLACES.get().map_or((*typed).to_owned(), |places| places.fill(typed));
        Some(typed.replace("{}", given))
    };
    let parts = text.split('`').enumerate().map(|(n, part)| match typed(part) {
        Some(typed) if n % 2 == 1 => typed,
        _ if n % 2 == 1 => format!("`{part}`"),
        _ => part.to_owned(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_places_of_the_service() {
        let places = |named: bool| Places {
            store: word(Path::new("my store")),
            cell: word(Path::new("c.cell")),
            named: if named { " --cell c.cell".to_owned() } else { String::new() },
        };
        let take_over = TYPED.iter().find(|(name, _)| *name == "Builder::take_over").unwrap().1;
        let told = "`keyfall tend 'my store' --cell c.cell --take-over`";
        assert_eq!(places(false).fill(take_over), told);
        assert_eq!(places(true).fill(take_over), told);
        assert_eq!(places(false).fill("`keyfall tend STORE`"), "`keyfall tend 'my store'`");
        assert_eq!(
            places(true).fill("`keyfall tend STORE`"),
            "`keyfall tend 'my store' --cell c.cell`"
        );
    }
}
