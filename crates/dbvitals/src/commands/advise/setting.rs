//! One setting of a client: its name, its value, and how both are written there.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value as Json, json};

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) reason: Cow<'static, str>,
}

/// What a setting is set to.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Count(u32),
    /// In whole seconds.
    Seconds(Duration),
    /// In milliseconds.
    Millis(Duration),
    /// As the language writes durations, in whole milliseconds.
    Span(Duration),
    /// The same, where there might be none.
    MaybeSpan(Duration),
    Flag(bool),
    /// What is to be called, in the client's language.
    Code(String),
}

/// How a client's settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `db.SetMaxOpenConns(20)`
    GoCall,
    /// `config.MaxConns = 20`
    GoField,
    /// `maximumPoolSize=20`
    Properties,
    /// `pool: 20`
    Yaml,
    /// `pool_size=20,`
    Keyword,
    /// `max: 20,`
    Object,
    /// `.max_size(20)`
    RustCall,
    /// `max_open: 20,`
    RustField,
    /// `default_pool_size = 20`
    Ini,
}

/// A setting, and why.
pub(super) fn set(
    key: &'static str,
    value: Value,
    reason: impl Into<Cow<'static, str>>,
) -> Setting {
    // Zero switches limits off, or everything.
    debug_assert!(
        value.time().is_none_or(|it| !it.is_zero()),
        "{key} is {value:?}"
    );
    Setting {
        key,
        value,
        reason: reason.into(),
    }
}

/// A duration in Rust.
fn in_rust(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("Duration::from_secs({})", time.as_secs()),
        _ => format!("Duration::from_millis({})", time.as_millis()),
    }
}

impl Setting {
    /// The line as it stands in the client's code or configuration.
    pub(super) fn line(&self, syntax: Syntax) -> String {
        let key = self.key;
        if let Value::Code(code) = &self.value {
            return code.clone();
        }
        let value = self.value.written(syntax);
        match syntax {
            Syntax::GoCall => format!("db.{key}({value})"),
            Syntax::GoField => format!("config.{key} = {value}"),
            Syntax::Properties => format!("{key}={value}"),
            Syntax::Yaml => format!("{key}: {value}"),
            Syntax::Keyword => format!("{key}={value},"),
            Syntax::Object | Syntax::RustField => format!("{key}: {value},"),
            Syntax::RustCall => format!(".{key}({value})"),
            Syntax::Ini => format!("{key} = {value}"),
        }
    }
}

impl Value {
    /// The time that it amounts to as it is written, where it is one.
    pub(super) fn time(&self) -> Option<Duration> {
        match self {
            Self::Seconds(time) => Some(Duration::from_secs(time.as_secs())),
            Self::Millis(time) | Self::Span(time) | Self::MaybeSpan(time) => {
                Some(Duration::from_millis(time.as_millis() as u64))
            }
            Self::Count(_) | Self::Flag(_) | Self::Code(_) => None,
        }
    }

    fn written(&self, syntax: Syntax) -> String {
        let is_go = matches!(syntax, Syntax::GoCall | Syntax::GoField);
        match self {
            Self::Count(count) => count.to_string(),
            Self::Seconds(time) => time.as_secs().to_string(),
            Self::Millis(time) => time.as_millis().to_string(),
            Self::Span(time) if is_go => match time.as_secs() {
                _ if time.subsec_millis() > 0 => {
                    format!("{} * time.Millisecond", time.as_millis())
                }
                seconds if seconds.is_multiple_of(60) => format!("{} * time.Minute", seconds / 60),
                seconds => format!("{seconds} * time.Second"),
            },
            Self::Span(time) => in_rust(*time),
            Self::MaybeSpan(time) => format!("Some({})", in_rust(*time)),
            Self::Flag(flag) if syntax == Syntax::Keyword => match flag {
                true => "True".to_owned(),
                false => "False".to_owned(),
            },
            Self::Flag(flag) => flag.to_string(),
            Self::Code(code) => code.clone(),
        }
    }

    /// For programs: the value, and its unit where it is a time.
    pub(super) fn json(&self) -> (Json, Option<&'static str>) {
        match self {
            Self::Count(count) => (json!(count), None),
            Self::Millis(time) => (json!(time.as_millis() as u64), Some("ms")),
            Self::Span(time) | Self::MaybeSpan(time) if time.subsec_millis() > 0 => {
                (json!(time.as_secs_f64()), Some("s"))
            }
            Self::Seconds(time) | Self::Span(time) | Self::MaybeSpan(time) => {
                (json!(time.as_secs()), Some("s"))
            }
            Self::Flag(flag) => (json!(flag), None),
            Self::Code(code) => (json!(code), Some("code")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_each_language_has_them() {
        let time = Duration::from_secs(90);
        let line = |value: Value, syntax| set("key", value, "").line(syntax);
        assert_eq!(
            line(Value::Span(time), Syntax::GoCall),
            "db.key(90 * time.Second)"
        );
        assert_eq!(
            line(Value::Span(time * 2), Syntax::GoField),
            "config.key = 3 * time.Minute"
        );
        assert_eq!(
            line(Value::MaybeSpan(time), Syntax::RustCall),
            ".key(Some(Duration::from_secs(90)))"
        );
        assert_eq!(line(Value::Millis(time), Syntax::Properties), "key=90000");
        let short = Duration::from_millis(800);
        assert_eq!(
            line(Value::Span(short), Syntax::GoField),
            "config.key = 800 * time.Millisecond"
        );
        assert_eq!(
            line(Value::Span(short), Syntax::RustCall),
            ".key(Duration::from_millis(800))"
        );
        assert_eq!(Value::Span(short).json(), (json!(0.8), Some("s")));
        assert_eq!(line(Value::Flag(true), Syntax::Keyword), "key=True,");
        assert_eq!(line(Value::Flag(true), Syntax::Object), "key: true,");
        assert_eq!(line(Value::Count(3), Syntax::Ini), "key = 3");
    }
}
