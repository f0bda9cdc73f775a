//! The sections `[hook.NAME]`.

use std::sync::Arc;

use super::reader::{Reader, Section};
use super::subjects::{Subject, Subjects};
use crate::agent::hooks::{HookPlan, Mode, Occasion, TIMEOUT_DEFAULT, Template};
use crate::suggestion::hint;

pub(super) const KEYS: [&str; 5] = ["on", "of", "run", "timeout", "mode"];

/// Reads the hooks, whose backends and services have been read already.
pub(super) fn read_hooks(reader: &mut Reader, subjects: Subjects<'_>) -> Vec<Arc<HookPlan>> {
    let mut hooks = Vec::new();
    for named in reader.named_tables(subjects.root, "hook") {
        let (name, section) = (&named.name, named.section());
        reader.known_keys(section, &KEYS);
        let on = read_occasions(reader, section);
        let of = read_backends(reader, section, subjects);
        let run = read_run(reader, section);
        let timeout = reader.duration(section, "timeout");
        let words = [("act", Mode::Act), ("observe", Mode::Observe)];
        let mode = reader.choice(section, "mode", &words);
        hooks.push(Arc::new(HookPlan {
            name: name.value.clone(),
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
    let given = reader.strings(section, "on");
    if given.as_ref().is_none_or(Vec::is_empty) {
        let known = words.join(", ");
        let message = format!("says on no transition; add on = [\"down\", \"up\"], of {known}");
        reader.refuse_lack(section, "on", &message);
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

/// Reads the backends it is for; a service stands for its own.
fn read_backends(
    reader: &mut Reader,
    section: Section<'_>,
    subjects: Subjects<'_>,
) -> Option<Vec<Arc<str>>> {
    let given = reader.strings(section, "of")?;
    if given.is_empty() {
        reader.refuse_lack(
            section,
            "of",
            "is for no backend; name some, or leave of out for all",
        );
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    for name in given {
        match subjects.find(reader, &name) {
            Some(Subject::Backend(backend)) => names.push(Arc::clone(&backend.name)),
            Some(Subject::Service(service)) => names.extend(service.backends.iter().cloned()),
            None => {}
        }
    }
    names.sort();
    names.dedup();
    Some(names)
}

fn read_run(reader: &mut Reader, section: Section<'_>) -> Vec<Template> {
    let given = reader.strings(section, "run");
    let example = "run = [\"/etc/dbvitals/page\", \"{name}\", \"{verdict}\"]";
    if given.as_ref().is_none_or(Vec::is_empty) {
        let message = format!("runs nothing; add {example}");
        reader.refuse_lack(section, "run", &message);
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
