//! The words of the page: a catalogue for each language (Fluent), compiled in.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

const CATALOGUES: &[(&str, &str)] =
    &[("en", include_str!("../../messages/en.ftl")), ("de", include_str!("../../messages/de.ftl"))];

static ALL: LazyLock<Vec<Words>> =
    LazyLock::new(|| CATALOGUES.iter().map(|(tag, source)| Words::read(tag, source)).collect());

/// The words of one language.
pub(crate) struct Words {
    tag: &'static str,
    bundle: FluentBundle<FluentResource>,
}

impl Words {
    /// The words of the first of these languages that there is a catalogue of; English, if of none.
    /// They are written as `Accept-Language` has them: `de-AT, en;q=0.5`.
    pub(crate) fn of(languages: &str) -> &'static Words {
        let tags = languages.split([',', ';']).map(|tag| tag.trim().to_ascii_lowercase());
        let found = tags
            .filter_map(|tag| tag.split('-').next().map(str::to_owned))
            .find_map(|tag| ALL.iter().find(|words| words.tag == tag));
        found.unwrap_or(&ALL[0])
    }

    /// Its language, as HTML names it.
    pub(crate) fn tag(&self) -> &'static str {
        self.tag
    }

    /// In which direction it is written.
    pub(crate) fn direction(&self) -> &'static str {
        if ["ar", "dv", "fa", "he", "ps", "ur", "yi"].contains(&self.tag) { "rtl" } else { "ltr" }
    }

    /// A message that says nothing of its own.
    pub(crate) fn say(&self, id: &str) -> String {
        self.with(id, [])
    }

    /// A message with what it says.
    pub(crate) fn with<'a, const N: usize>(
        &self,
        id: &str,
        values: [(&'static str, FluentValue<'a>); N],
    ) -> String {
        let args: FluentArgs<'a> = values.into_iter().collect();
        let said = self.format(id, &args).or_else(|| ALL[0].format(id, &args));
        said.unwrap_or_else(|| id.to_owned())
    }

    /// Whether there is a message.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.bundle.has_message(id)
    }

    fn format(&self, id: &str, args: &FluentArgs<'_>) -> Option<String> {
        let pattern = self.bundle.get_message(id)?.value()?;
        Some(self.bundle.format_pattern(pattern, Some(args), &mut Vec::new()).into_owned())
    }

    fn read(tag: &'static str, source: &str) -> Words {
        // What does not parse is left out; a test sees that nothing is.
        let resource =
            FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        let mut bundle = FluentBundle::new_concurrent(tag.parse().into_iter().collect());
        // What others wrote stands in elements of its own: these marks would be copied with text.
        bundle.set_use_isolating(false);
        bundle.add_resource_overriding(resource);
        Words { tag, bundle }
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
