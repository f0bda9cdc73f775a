//! What `check --json` found at one target, read as the contract describes it.

use std::time::Duration;

use dbvitals_probe::Clock;
use serde_json::Value;

use crate::program::{Run, dbvitals};

/// The contract's bound: a probe ends so long after its timeout at the latest.
const OVERTIME: Duration = Duration::from_millis(100);
/// What a process may take beside its probe, on a busy machine too.
const PROCESS: Duration = Duration::from_millis(300);

/// The only result of one document, with the exit code that went with it.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) result: Value,
    code: i32,
    /// How long the process took.
    wall: Duration,
}

impl Finding {
    /// Checks a target with the password that the testkit's users have.
    pub(crate) fn of(target: &str, options: &[&str]) -> Self {
        Self::with_password("secret", target, options)
    }

    /// Checks a target with a password.
    pub(crate) fn with_password(password: &str, target: &str, options: &[&str]) -> Self {
        let arguments = [&["check", "--json", target], options].concat();
        let clock = Clock::start();
        let began = clock.now();
        let run = Run::of(dbvitals(&arguments).env("DBVITALS_PASSWORD", password));
        let wall = clock.now().since(began);
        let document: Value = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {run:?}"));
        assert!(
            run.stdout
                .starts_with(r#"{"schema":"dbvitals.check.v1","results":["#)
        );
        assert_eq!(document["results"].as_array().map(Vec::len), Some(1));
        // Only a fault of the asker's own, which leaves all unknown, is told beside the report.
        let told = usize::from(document["results"][0]["verdict"] == "unknown");
        assert_eq!(run.stderr.lines().count(), told, "{arguments:?}: {run:?}");
        Self {
            result: document["results"][0].clone(),
            code: run.code,
            wall,
        }
    }

    /// What the check came to: `up, exit 0`, or `down, refused (dead), exit 2`.
    pub(crate) fn told(&self) -> String {
        let (verdict, code) = (self.text("verdict"), self.code);
        match self.result["cause"].as_str() {
            None => format!("{verdict}, exit {code}"),
            Some(cause) => format!("{verdict}, {cause} ({}), exit {code}", self.text("class")),
        }
    }

    /// Expects the check to have come to what [`told`](Self::told) tells.
    #[track_caller]
    pub(crate) fn assert_told(&self, expected: &str) {
        assert_eq!(self.told(), expected, "{self:?}");
    }

    /// The phases in order, the failed one with an exclamation mark: `connect greeting!`.
    pub(crate) fn phases(&self) -> String {
        let phases = self.result["phases"].as_array().expect("a list of phases");
        let shown = phases.iter().map(|phase| {
            let name = phase["phase"].as_str().expect("a phase has a name");
            assert!(phase["ms"].is_number(), "{phase}");
            match phase["failed"].as_bool() {
                Some(true) => format!("{name}!"),
                Some(false) | None => name.to_owned(),
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// A field that holds a text.
    pub(crate) fn text(&self, field: &str) -> &str {
        let value = self.result[field].as_str();
        value.unwrap_or_else(|| panic!("no text {field:?} in {}", self.result))
    }

    /// Expects the probe and its process to have ended in time.
    pub(crate) fn assert_within(&self, timeout: Duration) {
        let took = self.result["took_ms"].as_f64().expect("a duration");
        let bound = timeout + OVERTIME;
        assert!(
            took <= bound.as_secs_f64() * 1000.0,
            "{took} ms for {timeout:?}: {self:?}"
        );
        assert!(
            self.wall <= bound + PROCESS,
            "{:?} for {timeout:?}: {self:?}",
            self.wall
        );
    }
}
