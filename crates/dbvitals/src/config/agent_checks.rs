//! The sections `[agent_check.NAME]`.

use std::time::Duration;

use toml::de::DeValue;

use super::doors::{Listening, read_door};
use super::reader::{Reader, Section, start};
use super::subjects::{Subject, Subjects};
use crate::agent::agent_check::{AgentCheckPlan, WeightBy, WeightPlan};
use crate::agent::plan::{BackendPlan, OnUnknown};
use crate::suggestion::hint;
use dbvitals_verdict::{Course, Depth};

pub(super) const KEYS: [&str; 7] = [
    "listen",
    "of",
    "want",
    "weight",
    "on_unknown",
    "on_degraded",
    "on_alarm",
];
pub(super) const WEIGHT_KEYS: [&str; 5] = ["by", "from", "to", "min", "degraded"];

/// The latency up to which nothing is taken from a weight, unless the file says otherwise.
const LATENCY_FROM: Duration = Duration::from_millis(10);
/// The lag up to which nothing is taken from a weight, unless the file says otherwise.
const LAG_FROM: Duration = Duration::from_secs(1);

/// Reads the agent checks; backends, services and gates have been read already.
pub(super) fn read_agent_checks(
    reader: &mut Reader,
    subjects: Subjects<'_>,
    others: Listening<'_>,
) -> Vec<AgentCheckPlan> {
    let mut checks: Vec<AgentCheckPlan> = Vec::new();
    for named in reader.named_tables(subjects.root, "agent_check") {
        let (name, section) = (&named.name, named.section());
        reader.known_keys(section, &KEYS);
        let Some(check) = read_agent_check(reader, section, name.value.clone(), subjects) else {
            continue;
        };
        let listening = Listening {
            checks: &checks,
            ..others
        };
        listening.refuse_taken(reader, section, &check.listen);
        checks.push(check);
    }
    checks
}

fn read_agent_check(
    reader: &mut Reader,
    section: Section<'_>,
    name: String,
    subjects: Subjects<'_>,
) -> Option<AgentCheckPlan> {
    let door = read_door(reader, section, subjects, "0.0.0.0:8307");
    let weight = read_weight(reader, section, door.subject);
    let words = [("hold", OnUnknown::Hold), ("closed", OnUnknown::Closed)];
    let on_unknown = reader.choice(section, "on_unknown", &words);
    Some(AgentCheckPlan {
        name,
        listen: door.listen?,
        of: door.subject?.name(),
        want: door.want,
        weight,
        on_unknown: on_unknown.unwrap_or(OnUnknown::Hold),
        on_degraded: door.on_degraded,
        on_alarm: door.on_alarm,
    })
}

/// Reads `weight`: a word, or a table that says more.
fn read_weight(
    reader: &mut Reader,
    section: Section<'_>,
    subject: Option<Subject<'_>>,
) -> WeightPlan {
    let mut plan = WeightPlan::default();
    let Some(value) = section.table.get("weight") else {
        return plan;
    };
    let offset = start(value.span());
    match value.get_ref() {
        DeValue::String(word) => {
            plan.by = read_by(reader, offset, word, (None, None), subject);
        }
        DeValue::Table(table) => {
            let section = Section {
                title: "weight",
                table,
                offset,
            };
            reader.known_keys(section, &WEIGHT_KEYS);
            for (key, place) in [("min", &mut plan.min), ("degraded", &mut plan.degraded)] {
                if let Some(percent) = reader.count(section, key) {
                    match u8::try_from(percent.value) {
                        Ok(value @ 1..=100) => *place = value,
                        Ok(_) | Err(_) => reader.refuse(
                            percent.offset,
                            format!("{key} must be from 1 to 100, in percent; 0 would drain"),
                        ),
                    }
                }
            }
            let slope = (
                reader.duration(section, "from").map(|it| it.value),
                reader.duration(section, "to").map(|it| it.value),
            );
            match reader.string(section, "by") {
                Some(by) => plan.by = read_by(reader, by.offset, &by.value, slope, subject),
                None if slope != (None, None) => {
                    reader.refuse(offset, "weight: from and to say nothing without by");
                }
                None => {}
            }
        }
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => reader.refuse(
            offset,
            "weight must be \"latency\", \"lag\", or a table like { by = \"latency\", from = \"5ms\", to = \"200ms\", degraded = 50 }",
        ),
    }
    plan
}

/// Reads what lowers the weight; where `to` is not said, it is where the backend is not fit
/// any more.
fn read_by(
    reader: &mut Reader,
    offset: usize,
    word: &str,
    (from, to): (Option<Duration>, Option<Duration>),
    subject: Option<Subject<'_>>,
) -> Option<WeightBy> {
    let backend = match subject? {
        Subject::Backend(backend) => backend,
        Subject::Service(service) => {
            let message = format!(
                "weight: {word} is that of one server, and {} is a service; make an agent check for each of its backends",
                service.name
            );
            reader.refuse(offset, message);
            return None;
        }
    };
    let (by, lower) = match word {
        "latency" => {
            let from = from.unwrap_or(LATENCY_FROM);
            let end = backend.plan.slow_over.unwrap_or(backend.plan.timeout);
            let to = to.unwrap_or(end);
            (WeightBy::Latency { from, to }, from < to)
        }
        "lag" => {
            if !tells_lag(backend) {
                let message = format!(
                    "weight: {} never tells its lag; give it depth = \"lag\"",
                    backend.name
                );
                reader.refuse(offset, message);
                return None;
            }
            let Some(to) = to.or(backend.target.max_lag) else {
                let message = format!(
                    "weight: there is no lag at which the weight is at its least; give {} a max_lag, or write {{ by = \"lag\", to = \"10s\" }}",
                    backend.name
                );
                reader.refuse(offset, message);
                return None;
            };
            let from = from.unwrap_or(LAG_FROM);
            (WeightBy::Lag { from, to }, from < to)
        }
        _ => {
            let hint = hint(word, &["latency", "lag"]);
            let message = format!("weight: {word:?} lowers no weight; {hint}");
            reader.refuse(offset, message);
            return None;
        }
    };
    if !lower {
        reader.refuse(offset, "weight: from must be below to, which is max_lag, slow_over or timeout unless it is written");
    }
    Some(by)
}

fn tells_lag(backend: &BackendPlan) -> bool {
    let (Course::Session { depth } | Course::Sessionless { depth, .. }) = backend.plan.course;
    depth >= Depth::Lag
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{WeightBy, WeightPlan};
    use crate::config::{file, message};

    const BACKEND: &str = "[backend.a]\nurl = \"mysql://v@h\"\nmax_lag = \"11s\"\n";

    fn weight(text: &str) -> Result<WeightPlan, String> {
        let text = format!(
            "{BACKEND}[backend.b]\nurl = \"mysql://v@i\"\n\
             [agent_check.c]\nlisten = \"127.0.0.1:8307\"\nof = {text}\n"
        );
        let plan = file::plan(&text).map_err(|errors| message(&text, errors))?;
        Ok(plan.agent_checks[0].weight)
    }

    #[test]
    fn a_weight_is_whole_unless_the_file_says_otherwise() {
        assert_eq!(weight("\"a\""), Ok(WeightPlan::default()));
        assert_eq!(
            (WeightPlan::default().by, WeightPlan::default().degraded),
            (None, 100)
        );
    }

    #[test]
    fn a_weight_by_a_word_ends_where_the_backend_is_not_fit_any_more() {
        let by = |text| weight(text).unwrap().by;
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let lag = Some(WeightBy::Lag {
            from: s(1),
            to: s(11),
        });
        assert_eq!(by("\"a\"\nweight = \"lag\""), lag);
        let latency = Some(WeightBy::Latency {
            from: ms(10),
            to: s(1),
        });
        assert_eq!(by("\"b\"\nweight = \"latency\""), latency);
        let lag = Some(WeightBy::Lag {
            from: s(2),
            to: s(5),
        });
        let table =
            "\"a\"\nweight = { by = \"lag\", from = \"2s\", to = \"5s\", min = 7, degraded = 40 }";
        let plan = weight(table).unwrap();
        assert_eq!((plan.by, plan.min, plan.degraded), (lag, 7, 40));
    }

    #[test]
    fn a_weight_that_makes_no_sense_is_refused() {
        let refused = |text: &str, part: &str| {
            let message = weight(text).unwrap_err();
            assert!(
                message.starts_with("9:") || message.starts_with("8:"),
                "{message}"
            );
            assert!(message.contains(part), "{message}");
        };
        refused("\"a\"\nweight = \"lagg\"", "did you mean \"lag\"?");
        refused("\"a\"\nweight = 50", "must be \"latency\"");
        refused("\"b\"\nweight = \"lag\"", "depth = \"lag\"");
        refused("\"a\"\nweight = { by = \"lag\", from = \"20s\" }", "below");
        refused("\"a\"\nweight = { from = \"20s\" }", "without by");
        refused("\"a\"\nweight = { degraded = 0 }", "from 1 to 100");
        refused("\"a\"\nweight = { min = 101 }", "from 1 to 100");
        refused("\"a\"\nweight = { fro = \"1s\" }", "did you mean \"from\"?");
        refused("\"c\"", "there is no backend \"c\"");
    }

    #[test]
    fn an_agent_check_has_a_port_of_its_own() {
        let check = |more: &str, part: &str| {
            let text = format!(
                "{BACKEND}[agent_check.c]\nlisten = \"127.0.0.1:8306\"\nof = \"a\"\n{more}"
            );
            let message = message(&text, file::plan(&text).unwrap_err());
            assert!(message.contains(part), "{message}");
        };
        check("", "port 8306 is used already, by http of [agent]");
        let off = "[agent]\nhttp = \"off\"\n";
        let gate = format!("{off}[gate.g]\nlisten = \"8306\"\nof = \"a\"\n");
        check(&gate, "by gate \"g\"");
        let other = format!("{off}[agent_check.d]\nlisten = \"8306\"\nof = \"a\"\n");
        check(&other, "by agent check \"c\"");
    }
}
