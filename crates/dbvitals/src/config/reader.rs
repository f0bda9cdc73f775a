//! Typed values out of spanned TOML; what is wrong is collected, not thrown.
//!
//! A value that cannot be read counts as absent after its error is noted, so that one mistake
//! does not hide the next.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use crate::duration;
use crate::suggestion::hint;

/// A value and the offset at which it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

/// Collects errors while values are read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<ConfigError>,
}

/// One table of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    /// As it is written in the file: `backend.orders`.
    pub(super) title: &'a str,
    pub(super) table: &'a DeTable<'a>,
    pub(super) offset: usize,
}

/// A table `[kind.NAME]`.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) name: Placed<String>,
    title: String,
    table: &'a DeTable<'a>,
}

impl Named<'_> {
    pub(super) fn section(&self) -> Section<'_> {
        Section {
            title: &self.title,
            table: self.table,
            offset: self.name.offset,
        }
    }
}

impl Reader {
    pub(super) fn refuse(&mut self, offset: usize, message: impl Into<String>) {
        self.errors.push(ConfigError {
            offset,
            message: message.into(),
        });
    }

    /// Refuses every key that is not known, with the nearest one that is.
    pub(super) fn known_keys(&mut self, section: Section<'_>, known: &[&str]) {
        for (key, _) in section.table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let place = match section.title {
                "" => "the file".to_owned(),
                title => format!("[{title}]"),
            };
            let hint = hint(name, known);
            self.refuse(
                start(key.span()),
                format!("unknown key {name:?} in {place}; {hint}"),
            );
        }
    }

    /// A table under a key, if the key is there.
    pub(super) fn table<'a>(
        &mut self,
        table: &'a DeTable<'a>,
        key: &'a str,
    ) -> Option<Section<'a>> {
        let value = table.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.expected(value.span(), key, "a table", value.get_ref());
            return None;
        };
        Some(Section {
            title: key,
            table,
            offset: start(value.span()),
        })
    }

    /// The tables `[kind.NAME]`, by name.
    pub(super) fn named_tables<'a>(
        &mut self,
        root: &'a DeTable<'a>,
        kind: &'a str,
    ) -> Vec<Named<'a>> {
        let Some(section) = self.table(root, kind) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in section.table {
            let placed = Placed {
                value: name.get_ref().to_string(),
                offset: start(name.span()),
            };
            let title = format!("{kind}.{}", placed.value);
            match value.get_ref().as_table() {
                Some(table) => tables.push(Named {
                    name: placed,
                    title,
                    table,
                }),
                None => self.expected(value.span(), &title, "a table", value.get_ref()),
            }
        }
        tables
    }

    pub(super) fn string(&mut self, section: Section<'_>, key: &str) -> Option<Placed<String>> {
        let value = section.table.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.expected(value.span(), key, "a string", value.get_ref());
            return None;
        };
        Some(Placed {
            value: text.to_owned(),
            offset: start(value.span()),
        })
    }

    pub(super) fn duration(&mut self, section: Section<'_>, key: &str) -> Option<Placed<Duration>> {
        let value = section.table.get(key)?;
        let read = match value.get_ref().as_str() {
            Some(text) => duration::parse(text),
            None => Err(format!(
                "{} is no duration; write it as a string with a unit, like \"500ms\"",
                shown(value.get_ref())
            )),
        };
        match read {
            Ok(duration) => Some(Placed {
                value: duration,
                offset: start(value.span()),
            }),
            Err(why) => {
                self.refuse(start(value.span()), format!("{key}: {why}"));
                None
            }
        }
    }

    pub(super) fn count(&mut self, section: Section<'_>, key: &str) -> Option<Placed<u32>> {
        let value = section.table.get(key)?;
        let integer = value.get_ref().as_integer();
        let number = integer.and_then(|it| u32::from_str_radix(it.as_str(), it.radix()).ok());
        match number {
            Some(number) => Some(Placed {
                value: number,
                offset: start(value.span()),
            }),
            None => {
                self.expected(value.span(), key, "a whole number", value.get_ref());
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, section: Section<'_>, key: &str) -> Option<bool> {
        let value = section.table.get(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.expected(value.span(), key, "true or false", value.get_ref());
        }
        boolean
    }

    /// An array of strings.
    pub(super) fn strings(
        &mut self,
        section: Section<'_>,
        key: &str,
    ) -> Option<Vec<Placed<String>>> {
        let value = section.table.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            let message = format!("{key} must be an array of strings, like [\"…\", \"…\"]");
            self.refuse(start(value.span()), message);
            return None;
        };
        let mut strings = Vec::new();
        for element in array {
            let offset = start(element.span());
            match element.get_ref().as_str() {
                Some(text) => strings.push(Placed {
                    value: text.to_owned(),
                    offset,
                }),
                None => self.refuse(
                    offset,
                    format!("{key} takes strings alone; put it in quotes"),
                ),
            }
        }
        Some(strings)
    }

    /// Refuses an array that is not there, or is there and empty; a value of another type was
    /// refused already.
    pub(super) fn refuse_lack(&mut self, section: Section<'_>, key: &str, message: &str) {
        let (offset, complained) = match section.table.get(key) {
            Some(value) => {
                let array = value.get_ref().as_array();
                let is_empty = array.is_some_and(|array| array.is_empty());
                (start(value.span()), !is_empty)
            }
            None => (section.offset, false),
        };
        if !complained {
            self.refuse(offset, format!("[{}] {message}", section.title));
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: Section<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.string(section, key)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(
                text.offset,
                format!(
                    "{key} = {:?} is unknown; use {}",
                    text.value,
                    known.join(" or ")
                ),
            );
        }
        found.map(|(_, value)| *value)
    }

    fn expected(&mut self, span: Range<usize>, key: &str, what: &str, found: &DeValue<'_>) {
        self.refuse(
            start(span),
            format!("{key} must be {what}, not {}", shown(found)),
        );
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            format!("a {}", value.type_str())
        }
    }
}

/// Where something stands.
pub(super) fn start(span: Range<usize>) -> usize {
    span.start
}
