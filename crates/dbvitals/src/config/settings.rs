//! What is in force, and where each value came from: for `config show`.
//!
//! Made from a plan that was found right and the text it came from; passwords are not in it. Of
//! backends every key is told, of other sections those that the file has.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::time::Duration;

use dbvitals_probe::TlsPolicy;
use dbvitals_verdict::Course;
use jiff::SignedDuration;
use serde::Serialize;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::{Source, place};
use crate::agent::agent_plan::AgentPlan;
use crate::agent::plan::BackendPlan;
use crate::password;
use crate::target_url::without_password;

/// All settings of a configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    schema: &'static str,
    file: String,
    pub(crate) sections: Vec<SettingsSection>,
}

/// The settings of one section.
#[derive(Debug, Serialize)]
pub(crate) struct SettingsSection {
    pub(crate) name: String,
    pub(crate) settings: Vec<Setting>,
}

/// One value in force.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
    #[serde(flatten)]
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The section `[defaults]`.
    Defaults { line: usize },
    /// Its own section, by the key of its name or another.
    Section { line: usize, by: String },
    /// The URL of its section.
    Url { line: usize },
    /// A variable of the environment.
    Environment { variable: &'static str },
    /// A systemd credential that bears the backend's name.
    Credential,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::Defaults { line } => write!(f, "[defaults], line {line}"),
            Self::Section { line, by } => write!(f, "{by}, line {line}"),
            Self::Url { line } => write!(f, "url, line {line}"),
            Self::Environment { variable } => write!(f, "environment, {variable}"),
            Self::Credential => write!(f, "systemd credential"),
        }
    }
}

/// The settings of a plan, which was made of this source.
pub(crate) fn of(source: &Source, plan: &AgentPlan) -> Settings {
    let text = source.text.as_str();
    // A text that made a plan can be parsed.
    let root = DeTable::parse(text).ok();
    let root = root.as_ref().map(|root| root.get_ref());
    let defaults = Table::of(text, root).below("defaults");
    let mut sections = vec![agent(Table::of(text, root).below("agent"), plan)];
    for backend in &plan.backends {
        let own = Table::of(text, root).below("backend").below(&backend.name);
        sections.push(backend_section(own, defaults, backend));
    }
    let told = ["agent", "defaults", "backend"];
    for (name, table) in Table::of(text, root).tables() {
        if !told.contains(&name) {
            sections.extend(as_written(name, table));
        }
    }
    Settings {
        schema: "dbvitals.config.v1",
        file: source.name.clone(),
        sections,
    }
}

/// A table of the file, or one that is not there.
#[derive(Debug, Clone, Copy)]
struct Table<'a> {
    text: &'a str,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    fn of(text: &'a str, table: Option<&'a DeTable<'a>>) -> Self {
        Self { text, table }
    }

    fn below(self, key: &str) -> Self {
        let table = self.table.and_then(|table| table.get(key));
        Self::of(
            self.text,
            table.and_then(|value| value.get_ref().as_table()),
        )
    }

    fn tables(self) -> impl Iterator<Item = (&'a str, Self)> {
        let text = self.text;
        self.table
            .into_iter()
            .flatten()
            .filter_map(move |(key, value)| {
                let name: &str = key.get_ref();
                Some((name, Self::of(text, Some(value.get_ref().as_table()?))))
            })
    }

    fn line(self, key: &str) -> Option<usize> {
        let value = self.table?.get(key)?;
        Some(place(self.text, value.span().start).0)
    }

    fn string(self, key: &str) -> Option<&'a str> {
        self.table?.get(key)?.get_ref().as_str()
    }

    /// That a value came from this section, by this key, if the key is there.
    fn origin(self, key: &str) -> Option<Origin> {
        let line = self.line(key)?;
        let by = key.to_owned();
        Some(Origin::Section { line, by })
    }
}

fn setting(key: &str, value: impl Into<String>, origin: Option<Origin>) -> Setting {
    Setting {
        key: key.to_owned(),
        value: value.into(),
        origin: origin.unwrap_or(Origin::Default),
    }
}

fn agent(own: Table<'_>, plan: &AgentPlan) -> SettingsSection {
    let http = plan.http.map_or("off".to_owned(), |http| http.to_string());
    let mut settings = vec![
        setting("name", &plan.name, own.origin("name")),
        setting("http", http, own.origin("http")),
    ];
    settings.extend(
        written(own, "")
            .into_iter()
            .filter(|it| !["name", "http"].contains(&it.key.as_str())),
    );
    SettingsSection {
        name: "agent".to_owned(),
        settings,
    }
}

/// Everything about one backend.
fn backend_section(own: Table<'_>, defaults: Table<'_>, backend: &BackendPlan) -> SettingsSection {
    let url = own.string("url").unwrap_or_default();
    let mut settings = vec![setting("url", without_password(url), own.origin("url"))];
    settings.push(password_setting(own, url, backend));
    settings.extend(expectation(own, url, backend));
    for (key, value) in pace(backend) {
        let of_defaults = defaults.line(key).map(|line| Origin::Defaults { line });
        settings.push(setting(key, value, own.origin(key).or(of_defaults)));
    }
    SettingsSection {
        name: format!("backend.{}", backend.name),
        settings,
    }
}

/// Whether there is a password, and who gave it, as `config/file.rs` looks for it.
fn password_setting(own: Table<'_>, url: &str, backend: &BackendPlan) -> Setting {
    let credentials = backend.target.credentials.as_ref();
    if credentials.is_none_or(|it| it.password.is_none()) {
        return setting("password", "none", None);
    }
    let of_url = own.line("url").filter(|_| without_password(url) != url);
    let of_environment = || match env::var_os(password::VARIABLE) {
        Some(_) => Origin::Environment {
            variable: password::VARIABLE,
        },
        None => Origin::Credential,
    };
    let origin = own
        .origin("password_file")
        .or_else(|| own.origin("password_env"))
        .or_else(|| of_url.map(|line| Origin::Url { line }))
        .unwrap_or_else(of_environment);
    setting("password", "(hidden)", Some(origin))
}

/// What is asked, and what the backend must be.
fn expectation(own: Table<'_>, url: &str, backend: &BackendPlan) -> Vec<Setting> {
    let target = &backend.target;
    let of_url = |key: &str| {
        let line = own.line("url").filter(|_| has_option(url, key))?;
        Some(Origin::Url { line })
    };
    let either = |key: &str| own.origin(key).or_else(|| of_url(key));
    let tls = match target.tls {
        TlsPolicy::Off => "off",
        TlsPolicy::Prefer(_) => "prefer",
        TlsPolicy::Require(_) => "require",
        TlsPolicy::Verify(_) => "verify",
    };
    // The depth follows from whatever asks for the deepest.
    let depth = ["depth", "query", "max_lag", "want"]
        .into_iter()
        .find_map(either);
    let mut settings = vec![
        setting("tls", tls, of_url("tls")),
        setting("depth", depth_of(backend), depth),
        setting("want", target.want.name(), either("want")),
        setting("max_lag", optional(target.max_lag), either("max_lag")),
    ];
    if let Some(statement) = &target.statement {
        settings.push(setting("query", &statement.sql, own.origin("query")));
        if let Some(equals) = &statement.equals {
            settings.push(setting("equals", equals, own.origin("equals")));
        }
    }
    settings
}

fn has_option(url: &str, key: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == key))
}

fn depth_of(backend: &BackendPlan) -> String {
    match backend.plan.course {
        Course::Session { depth }
        | Course::Sessionless {
            depth,
            deeper: None,
        } => depth.to_string(),
        Course::Sessionless {
            depth,
            deeper: Some(deeper),
        } => format!("{depth}, {deeper} every fresh_interval"),
    }
}

fn pace(backend: &BackendPlan) -> [(&'static str, String); 10] {
    let plan = &backend.plan;
    [
        ("interval", written_as(plan.interval)),
        ("confirm_interval", written_as(plan.confirm_interval)),
        ("fast_interval", written_as(plan.fast_interval)),
        ("down_interval", written_as(plan.down_interval)),
        ("fresh_interval", written_as(plan.fresh_interval)),
        ("timeout", written_as(plan.timeout)),
        ("slow_over", optional(plan.slow_over)),
        ("rise", plan.rise.to_string()),
        ("fall", plan.fall.to_string()),
        ("stale_after", written_as(plan.stale_after)),
    ]
}

fn optional(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "none".to_owned(), written_as)
}

/// A duration as the file has it.
fn written_as(duration: Duration) -> String {
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    format!("{signed:#}")
}

/// A section that is told as it stands in the file; one with names gives a section for each.
fn as_written(name: &str, table: Table<'_>) -> Vec<SettingsSection> {
    let named: BTreeMap<_, _> = table.tables().collect();
    if named.is_empty() {
        let settings = written(table, "");
        let name = name.to_owned();
        return vec![SettingsSection { name, settings }];
    }
    let section = |(key, table): (&str, Table<'_>)| SettingsSection {
        name: format!("{name}.{key}"),
        settings: written(table, ""),
    };
    named.into_iter().map(section).collect()
}

/// The keys of a table and of the tables below it.
fn written(table: Table<'_>, prefix: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (key, value) in table.table.into_iter().flatten() {
        let name: &str = key.get_ref();
        let path = format!("{prefix}{name}");
        match value.get_ref().as_table() {
            Some(_) => settings.extend(written(table.below(name), &format!("{path}."))),
            None => {
                let origin = table.origin(name);
                settings.push(setting(&path, shown(value.get_ref()), origin));
            }
        }
    }
    settings
}

/// A value as people read it; a URL without its password, wherever it stands.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.contains("://") => without_password(text),
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(values) => {
            let values: Vec<_> = values.iter().map(|it| shown(it.get_ref())).collect();
            format!("[{}]", values.join(", "))
        }
        // Tables inside of arrays: nothing has them.
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration;

    #[test]
    fn a_duration_is_written_as_it_can_be_read() {
        for (millis, text) in [
            (5, "5ms"),
            (1000, "1s"),
            (90_000, "1m 30s"),
            (1500, "1s 500ms"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(written_as(duration), text);
            assert_eq!(duration::parse(text), Ok(duration));
        }
    }

    #[test]
    fn the_nearest_source_of_a_value_is_told() {
        let text = "[defaults]\ninterval = \"2s\"\nfall = 3\n\
                    [backend.a]\nurl = \"mysql://u@h?want=primary\"\nfall = 4\n";
        let source = Source {
            name: "f.toml".to_owned(),
            text: text.to_owned(),
        };
        let settings = of(&source, &source.plan().unwrap());
        let backend = &settings.sections[1];
        let find = |key: &str| {
            let found = backend.settings.iter().find(|it| it.key == key);
            let found = found.unwrap_or_else(|| panic!("no {key}"));
            format!("{}: {}", found.value, found.origin)
        };
        assert_eq!(find("interval"), "2s: [defaults], line 2");
        assert_eq!(find("fall"), "4: fall, line 6");
        assert_eq!(find("rise"), "2: default");
        assert_eq!(find("want"), "primary: url, line 5");
        assert_eq!(find("depth"), "role: url, line 5");
        assert_eq!(find("tls"), "prefer: default");
    }
}
