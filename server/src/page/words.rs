//! The words of the page: a catalogue for each language (Fluent), compiled in.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

const CATALOGUES: &[(&str, &str)] =
    &[("en", include_str!("../../messages/en.ftl")), ("de", include_str!("../../messages/de.ftl"))];

static ALL: LazyLock<Vec<Catalogue>> =
    LazyLock::new(|| CATALOGUES.iter().map(|(tag, source)| Catalogue::read(tag, source)).collect());

/// The messages of one language.
struct Catalogue {
    tag: &'static str,
    bundle: FluentBundle<FluentResource>,
}

/// To whom pages are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// To the person that they are about.
    Person,
    /// To a child that they are about.
    Child,
    /// To somebody who looks after the person that they are about.
    Guardian,
}

/// The words of one language, as they are spoken to somebody. Each message knows to whom (`who`),
/// and of whom (`name`).
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    catalogue: &'static Catalogue,
    who: Who,
    name: &'a str,
}

impl Words<'_> {
    /// The words of the first of these languages that there is a catalogue of; English, if of none.
    /// They are written as `Accept-Language` has them: `de-AT, en;q=0.5`.
    pub(crate) fn of(languages: &str) -> Words<'static> {
        let tags = languages.split([',', ';']).map(|tag| tag.trim().to_ascii_lowercase());
        let found = tags
            .filter_map(|tag| tag.split('-').next().map(str::to_owned))
            .find_map(|tag| ALL.iter().find(|words| words.tag == tag));
        Words { catalogue: found.unwrap_or(&ALL[0]), who: Who::Person, name: "" }
    }

    /// The same, spoken to somebody, of whoever has this name.
    pub(crate) fn to(self, who: Who, name: &str) -> Words<'_> {
        Words { catalogue: self.catalogue, who, name }
    }

    /// Its language, as HTML names it.
    pub(crate) fn tag(self) -> &'static str {
        self.catalogue.tag
    }

    /// In which direction it is written.
    pub(crate) fn direction(self) -> &'static str {
        let rtl = ["ar", "dv", "fa", "he", "ps", "ur", "yi"];
        if rtl.contains(&self.catalogue.tag) { "rtl" } else { "ltr" }
    }

    /// A message that says nothing of its own.
    pub(crate) fn say(self, id: &str) -> String {
        self.with(id, [])
    }

    /// A message with what it says.
    pub(crate) fn with<'v, const N: usize>(
        self,
        id: &str,
        values: [(&'static str, FluentValue<'v>); N],
    ) -> String {
        let who = match self.who {
            Who::Person => "person",
            Who::Child => "child",
            Who::Guardian => "guardian",
        };
        let mut args: FluentArgs<'_> = FluentArgs::with_capacity(N + 2);
        args.set("who", who);
        args.set("name", self.name.to_owned());
        for (name, value) in values {
            args.set(name, value);
        }
        let said = self.catalogue.format(id, &args).or_else(|| ALL[0].format(id, &args));
        said.unwrap_or_else(|| id.to_owned())
    }

    /// Whether there is a message.
    pub(crate) fn has(self, id: &str) -> bool {
        self.catalogue.bundle.has_message(id)
    }

    /// A name that others gave, in quotes.
    pub(crate) fn quoted(self, text: &str) -> String {
        self.with("quoted", [("text", text.to_owned().into())])
    }
}

impl Catalogue {
    fn format(&self, id: &str, args: &FluentArgs<'_>) -> Option<String> {
        let pattern = self.bundle.get_message(id)?.value()?;
        Some(self.bundle.format_pattern(pattern, Some(args), &mut Vec::new()).into_owned())
    }

    fn read(tag: &'static str, source: &str) -> Catalogue {
        // What does not parse is left out; a test sees that nothing is.
        let resource =
            FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        let mut bundle = FluentBundle::new_concurrent(tag.parse().into_iter().collect());
        // What others wrote stands in elements of its own: these marks would be copied with text.
        bundle.set_use_isolating(false);
        bundle.add_resource_overriding(resource);
        Catalogue { tag, bundle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(source: &str) -> Vec<String> {
        let lines = source.lines().filter(|line| line.starts_with(char::is_alphabetic));
        let mut ids: Vec<_> =
            lines.filter_map(|line| line.split_once(" =")).map(|(id, _)| id.to_owned()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn every_catalogue_parses_and_says_the_same_things() {
        let english = ids(CATALOGUES[0].1);
        for (tag, source) in CATALOGUES {
            assert!(FluentResource::try_new((*source).to_owned()).is_ok(), "{tag}");
            assert_eq!(ids(source), english, "{tag}");
        }
    }

    #[test]
    fn numbers_are_said_as_the_language_does() {
        let say = |language, n: u64| Words::of(language).with("count-audio", [("n", n.into())]);
        assert_eq!(say("en-GB", 1), "1 recording");
        assert_eq!(say("xx, de;q=0.7", 1), "1 Aufnahme");
        assert_eq!(say("de-AT", 2), "2 Aufnahmen");
        assert_eq!(say("", 0), "0 recordings");
    }
}
