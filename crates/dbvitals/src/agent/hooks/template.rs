//! An argument of a hook, with placeholders: `{name}` in the file, the backend's name in the run.
//!
//! There is no shell: an argument stays one argument, whatever the value holds. `{{` and `}}` are
//! a brace each.

use crate::suggestion::hint;

/// What may stand in braces; in upper case and after `DBVITALS_` they are the hook's variables.
pub(super) const PLACEHOLDERS: [&str; 16] = [
    "name", "change", "from", "to", "verdict", "cause", "class", "role", "admin", "address",
    "host", "port", "since", "detail", "hook", "agent",
];

/// An argument as the configuration has it, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The index of one of the [`PLACEHOLDERS`].
    Value(usize),
}

impl Template {
    /// Reads an argument.
    ///
    /// # Errors
    ///
    /// A sentence that names the placeholder which is not known, and the nearest that is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = ["{{", "}}"].iter().find_map(|it| from.strip_prefix(it)) {
                literal.push_str(&from[..1]);
                rest = after;
                continue;
            }
            let inside = from.strip_prefix('{').and_then(|it| it.split_once('}'));
            let Some((name, after)) = inside else {
                return Err(format!(
                    "{text:?} has a lone brace; write {{{{ or }}}} for a brace that is meant as such"
                ));
            };
            let Some(index) = PLACEHOLDERS.iter().position(|known| *known == name) else {
                let hint = hint(name, &PLACEHOLDERS);
                return Err(format!("unknown placeholder {{{name}}}; {hint}"));
            };
            parts.extend(Part::text(&mut literal));
            parts.push(Part::Value(index));
            rest = after;
        }
        literal.push_str(rest);
        parts.extend(Part::text(&mut literal));
        Ok(Self { parts })
    }

    /// The text, where there is no placeholder in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The argument for one run, in which the placeholder of each index has this value.
    pub(super) fn fill<'a>(&'a self, value: impl Fn(usize) -> &'a str) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(index) => value(*index),
        });
        parts.collect()
    }
}

impl Part {
    /// What has been gathered, if it is anything.
    fn text(gathered: &mut String) -> Option<Self> {
        (!gathered.is_empty()).then(|| Self::Text(std::mem::take(gathered)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let values = PLACEHOLDERS.map(|name| format!("<{name}>"));
        let template = Template::parse(text).unwrap();
        assert_eq!(template.fill(|index| &values[index]), expected);
    }

    #[test]
    fn placeholders_are_filled_wherever_they_stand() {
        check("", "");
        check("--verbose", "--verbose");
        check("{name}", "<name>");
        check("--of={name}:{port}!", "--of=<name>:<port>!");
        check("{{name}} {{{name}}}", "{name} {<name>}");
        check("zwölf {cause} ü", "zwölf <cause> ü");
    }

    #[test]
    fn an_unknown_placeholder_is_refused_with_the_nearest_known() {
        let refused = |text: &str| Template::parse(text).unwrap_err();
        assert!(refused("{nane}").contains("did you mean \"name\"?"));
        assert!(refused("{}").contains("unknown placeholder {}"));
        assert!(refused("{new_primary_node}").contains("verdict"));
        for lone in ["{", "}", "a{name", "name}", "{name}}"] {
            assert!(refused(lone).contains("lone brace"), "{lone}");
        }
    }
}
