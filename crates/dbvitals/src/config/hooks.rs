//! The sections `[hook.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::reader::{Placed, Reader, Section, start};
use crate::agent::hooks::{HookPlan, Mode, Occasion, TIMEOUT_DEFAULT, Template};
use crate::agent::plan::BackendPlan;
use crate::suggestion::hint;

pub(super) const KEYS: [&str; 5] = ["on", "of", "run", "timeout", "mode"];

/// Reads the hooks, whose backends have been read already.
pub(super) fn read_hooks(
    reader: &mut Reader,
    root: &DeTable<'_>,
    backends: &BTreeMap<String, BackendPlan>,
) -> Vec<Arc<HookPlan>> {
    let mut hooks = Vec::new();
    for (name, table) in reader.named_tables(root, "hook") {
        let title = format!("hook.{}", name.value);
        let section = Section {
            title: &title,
            table,
            offset: name.offset,
        };
        reader.known_keys(section, &KEYS);
        let on = read_occasions(reader, section);
        let of = read_backends(reader, section, root, backends);
        let run = read_run(reader, section);
        let timeout = reader.duration(section, "timeout");
        let words = [("act", Mode::Act), ("observe", Mode::Observe)];
        let mode = reader.choice(section, "mode", &words);
        hooks.push(Arc::new(HookPlan {
            name: name.value,
            on,
            of,
            run,
            timeout: timeout.map_or(TIMEOUT_DEFAULT, |timeout| timeout.value),
            mode: mode.unwrap_or(Mode::Act),
        }));
    }
    hooks
}

fn read_occasions(reader: &mut Reader, section: Section<'_>) -> Vec<Occasion> {
    let words = Occasion::WORDS.map(|(word, _)| word);
    let given = strings(reader, section, "on");
    if given.as_ref().is_none_or(Vec::is_empty) {
        let known = words.join(", ");
        let message = format!("says on no transition; add on = [\"down\", \"up\"], of {known}");
        refuse_lack(reader, section, "on", &message);
    }
    let mut occasions = Vec::new();
    for word in given.unwrap_or_default() {
        match Occasion::WORDS.iter().find(|(it, _)| *it == word.value) {
            Some((_, occasion)) => occasions.push(*occasion),
            None => {
                let hint = hint(&word.value, &words);
                let message = format!("on: {:?} is no transition; {hint}", word.value);
                reader.refuse(word.offset, message);
            }
        }
    }
    occasions
}

fn read_backends(
    reader: &mut Reader,
    section: Section<'_>,
    root: &DeTable<'_>,
    backends: &BTreeMap<String, BackendPlan>,
) -> Option<Vec<Arc<str>>> {
    let given = strings(reader, section, "of")?;
    if given.is_empty() {
        refuse_lack(
            reader,
            section,
            "of",
            "is for no backend; name some, or leave of out for all",
        );
    }
    let tables = reader.named_tables(root, "backend");
    let known: Vec<_> = tables.iter().map(|(name, _)| name.value.as_str()).collect();
    let mut names = Vec::new();
    for name in given {
        if !known.contains(&name.value.as_str()) {
            let hint = hint(&name.value, &known);
            let message = format!("there is no backend {:?}; {hint}", name.value);
            reader.refuse(name.offset, message);
        }
        // A backend that could not be read was complained of where it stands.
        let backend = backends.get(&name.value);
        names.extend(backend.map(|backend| Arc::clone(&backend.name)));
    }
    Some(names)
}

fn read_run(reader: &mut Reader, section: Section<'_>) -> Vec<Template> {
    let given = strings(reader, section, "run");
    let example = "run = [\"/etc/dbvitals/page\", \"{name}\", \"{verdict}\"]";
    if given.as_ref().is_none_or(Vec::is_empty) {
        let message = format!("runs nothing; add {example}");
        refuse_lack(reader, section, "run", &message);
    }
    let mut templates = Vec::new();
    for argument in given.unwrap_or_default() {
        match Template::parse(&argument.value) {
            Ok(template) => templates.push((template, argument.offset)),
            Err(why) => reader.refuse(argument.offset, format!("run: {why}")),
        }
    }
    if let Some((program, offset)) = templates.first() {
        match program.literal() {
            Some("") => reader.refuse(*offset, "run: the program has no name"),
            Some(text) if text.contains(char::is_whitespace) && !text.starts_with('/') => {
                let message =
                    format!("run: {text:?} is no program; there is no shell: write {example}");
                reader.refuse(*offset, message);
            }
            Some(_) => {}
            // What runs is for the operator to say, not for a server that has words of its own.
            None => reader.refuse(*offset, "run: the program cannot be a placeholder"),
        }
    }
    templates
        .into_iter()
        .map(|(template, _)| template)
        .collect()
}

/// Refuses what is not there, or is there and empty; a value of another type was refused already.
fn refuse_lack(reader: &mut Reader, section: Section<'_>, key: &str, message: &str) {
    let (offset, complained) = match section.table.get(key) {
        Some(value) => {
            let array = value.get_ref().as_array();
            let is_empty = array.is_some_and(|array| array.is_empty());
            (start(value.span()), !is_empty)
        }
        None => (section.offset, false),
    };
    if !complained {
        reader.refuse(offset, format!("[{}] {message}", section.title));
    }
}

/// An array of strings.
fn strings(reader: &mut Reader, section: Section<'_>, key: &str) -> Option<Vec<Placed<String>>> {
    let value = section.table.get(key)?;
    let Some(array) = value.get_ref().as_array() else {
        let message = format!("{key} must be an array of strings, like [\"…\", \"…\"]");
        reader.refuse(start(value.span()), message);
        return None;
    };
    let mut strings = Vec::new();
    for element in array {
        let offset = start(element.span());
        match element.get_ref() {
            DeValue::String(text) => strings.push(Placed {
                value: text.to_string(),
                offset,
            }),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                reader.refuse(
                    offset,
                    format!("{key} takes strings alone; put it in quotes"),
                );
            }
        }
    }
    Some(strings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::agent::hooks::Mode;
    use crate::config::{file, message};

    const BACKEND: &str = "[backend.orders]\nurl = \"mysql://v@h\"\n";

    fn check_refused(hook: &str, place: &str, parts: &[&str]) {
        let text = format!("{BACKEND}[hook.h]\n{hook}");
        let message = message(&text, file::plan(&text).expect_err(&text));
        for line in message.lines() {
            assert!(line.starts_with(&format!("{place}: ")), "{text}\n{message}");
        }
        for part in parts {
            assert!(message.contains(part), "{text}\n{message}");
        }
    }

    #[test]
    fn a_hook_says_when_of_whom_and_what() {
        let text = format!(
            "{BACKEND}[hook.h]\non = [\"down\", \"role\"]\nof = [\"orders\"]\n\
             run = [\"/bin/page\", \"--to={{name}}\"]\ntimeout = \"5s\"\nmode = \"observe\"\n\
             [hook.i]\non = [\"up\"]\nrun = [\"true\"]\n"
        );
        let plan = file::plan(&text).unwrap();
        let [h, i] = &plan.hooks[..] else {
            panic!("two hooks")
        };
        assert_eq!((h.name.as_str(), h.on.len(), h.run.len()), ("h", 2, 2));
        assert_eq!((h.timeout, h.mode), (Duration::from_secs(5), Mode::Observe));
        assert_eq!(h.of.as_ref().map(Vec::len), Some(1));
        assert_eq!((&i.of, i.mode), (&None, Mode::Act));
        assert_eq!(i.timeout, Duration::from_secs(30));
    }

    #[test]
    fn a_hook_that_makes_no_sense_is_refused_with_its_place() {
        let good = "on = [\"up\"]\nrun = [\"true\"]\n";
        let add = |line: &str| format!("{good}{line}\n");
        check_refused("run = [\"x\"]\n", "3:7", &["on no transition", "down"]);
        check_refused("on = []\nrun = [\"x\"]\n", "4:6", &["on no transition"]);
        check_refused("on = \"up\"\nrun = [\"x\"]\n", "4:6", &["array"]);
        check_refused("on = [1]\nrun = [\"x\"]\n", "4:7", &["strings"]);
        check_refused(
            "on = [\"up\", \"dwon\"]\nrun = [\"x\"]\n",
            "4:13",
            &["did you mean \"down\"?"],
        );
        check_refused("on = [\"up\"]\n", "3:7", &["runs nothing", "page"]);
        check_refused("on = [\"up\"]\nrun = []\n", "5:7", &["runs nothing"]);
        check_refused("on = [\"up\"]\nrun = [\"\"]\n", "5:8", &["no name"]);
        check_refused(
            "on = [\"up\"]\nrun = [\"mail -s x\"]\n",
            "5:8",
            &["no shell"],
        );
        check_refused(
            "on = [\"up\"]\nrun = [\"{detail}\"]\n",
            "5:8",
            &["cannot be a placeholder"],
        );
        check_refused(
            "on = [\"up\"]\nrun = [\"x\", \"{nam}\"]\n",
            "5:13",
            &["unknown placeholder {nam}", "did you mean \"name\"?"],
        );
        check_refused(&add("of = []"), "6:6", &["no backend"]);
        check_refused(
            &add("of = [\"order\"]"),
            "6:7",
            &["no backend \"order\"", "did you mean \"orders\"?"],
        );
        check_refused(&add("mode = \"dry\""), "6:8", &["act or observe"]);
        check_refused(&add("timeout = 5"), "6:11", &["no duration"]);
        check_refused(&add("comand = 5"), "6:1", &["unknown key"]);
    }
}
