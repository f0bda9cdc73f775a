//! What a hook is told of a transition: values for its arguments and its environment, and the
//! evidence for its standard input, schema `dbvitals.hook.v1`, a part of the contract.

use dbvitals_probe::{Address, Clock};
use dbvitals_verdict::{Change, Observation, Role, Standing, Verdict};
use serde::Serialize;

use super::plan::{HookPlan, HooksPlan};
use super::template::PLACEHOLDERS;
use crate::agent::seen::Seen;
use crate::agent::transitions::Told;
use crate::duration::rfc3339;

/// How many letters of a server's own words go into an argument: the kernel refuses long ones.
const VALUE_LENGTH_MAX: usize = 4096;

/// The values of all placeholders for one transition.
#[derive(Debug)]
pub(super) struct Facts {
    values: [String; PLACEHOLDERS.len()],
}

impl Facts {
    pub(super) fn new(happening: &Happening<'_>) -> Self {
        let Happening { told, standing, .. } = happening;
        let (change, from, to) = words(&told.transition.change);
        let evidence = &told.transition.evidence;
        let address = happening.address();
        let port = match address {
            Some(Address::Tcp { port, .. }) => Some(port.to_string()),
            Some(Address::Unix(_)) | None => None,
        };
        let owned = |text: &str| text.to_owned();
        Self::from_values(|name| {
            let value = match name {
                "name" => Some(owned(&told.backend.name)),
                "change" => Some(owned(change)),
                "from" => from.map(owned),
                "to" => Some(owned(to)),
                "verdict" => Some(owned(happening.verdict().name())),
                "cause" => evidence.cause.map(|cause| owned(cause.name())),
                "class" => evidence.class.map(|class| owned(class.name())),
                "role" => standing.role.map(|role| owned(role.name())),
                "admin" => Some(owned(standing.admin.name())),
                "address" => address.map(Address::to_string),
                "host" => address.map(|address| owned(address.host())),
                "port" => port.clone(),
                "since" => Some(happening.at()),
                "detail" => happening.detail().map(owned),
                "hook" => Some(happening.hook.name.clone()),
                "agent" => Some(happening.plan.agent.clone()),
                _ => None,
            };
            value.unwrap_or_default()
        })
    }

    /// Values by the placeholders' names. No argument can carry a NUL, and none may be too long.
    pub(super) fn from_values(value: impl Fn(&str) -> String) -> Self {
        let values = PLACEHOLDERS.map(|name| {
            let letters = value(name).replace('\0', "\u{fffd}");
            letters.chars().take(VALUE_LENGTH_MAX).collect()
        });
        Self { values }
    }

    pub(super) fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// The variables of a run, by name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, &str)> + '_ {
        let name = |name: &str| format!("DBVITALS_{}", name.to_uppercase());
        let values = self.values.iter().map(String::as_str);
        PLACEHOLDERS.into_iter().map(name).zip(values)
    }
}

/// One transition in the eyes of one hook.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happening<'a> {
    pub(super) hook: &'a HookPlan,
    pub(super) plan: &'a HooksPlan,
    pub(super) told: &'a Told,
    /// Where the backend stands after the transition.
    pub(super) standing: &'a Standing,
    pub(super) clock: Clock,
}

impl Happening<'_> {
    /// The verdict that the transition left; the standing may be a later one.
    fn verdict(&self) -> Verdict {
        match self.told.transition.change {
            Change::Verdict { to, .. } => to,
            Change::Role { .. } | Change::Admin { .. } => self.standing.verdict,
        }
    }

    fn address(&self) -> Option<&Address> {
        self.plan.addresses.get(&self.told.backend.name)
    }

    fn at(&self) -> String {
        rfc3339(self.clock.wall(self.told.transition.at))
    }

    /// What is wrong, in the server's words or ours; nothing while all is well.
    fn detail(&self) -> Option<&str> {
        let evidence = &self.told.transition.evidence;
        let cause = evidence.cause.filter(|_| self.verdict() != Verdict::Up)?;
        let words = evidence.decisive().and_then(|it| it.detail.as_deref());
        words.or(Some(cause.meaning()))
    }

    /// The evidence as JSON, one line.
    pub(super) fn document(&self) -> String {
        let evidence = &self.told.transition.evidence;
        let (change, from, to) = words(&self.told.transition.change);
        let seen = |observation: Option<&Observation>| {
            let classes = &self.told.backend.plan().classes;
            Some(Seen::new(observation?, classes, self.clock))
        };
        let document = Document {
            schema: "dbvitals.hook.v1",
            hook: &self.hook.name,
            agent: &self.plan.agent,
            at: self.at(),
            name: &self.told.backend.name,
            address: self.address().map(Address::to_string),
            change,
            from,
            to,
            verdict: self.verdict().name(),
            cause: evidence.cause.map(|cause| cause.name()),
            class: evidence.class.map(|class| class.name()),
            role: self.standing.role.map(Role::name),
            admin: self.standing.admin.name(),
            detail: self.detail(),
            held: seen(evidence.held.as_ref()),
            fresh: seen(evidence.fresh.as_ref()),
            queue: seen(evidence.queue.as_deref()),
        };
        // Numbers, strings and options of them always have a form.
        let mut text = serde_json::to_string(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn words(change: &Change) -> (&'static str, Option<&'static str>, &'static str) {
    match change {
        Change::Verdict { from, to } => ("verdict", Some(from.name()), to.name()),
        Change::Role { from, to } => ("role", from.map(Role::name), to.name()),
        Change::Admin { from, to } => ("admin", Some(from.name()), to.name()),
    }
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    hook: &'a str,
    agent: &'a str,
    at: String,
    name: &'a str,
    address: Option<String>,
    change: &'static str,
    from: Option<&'static str>,
    to: &'static str,
    verdict: &'static str,
    cause: Option<&'static str>,
    class: Option<&'static str>,
    role: Option<&'static str>,
    admin: &'static str,
    detail: Option<&'a str>,
    /// What each path saw last.
    held: Option<Seen>,
    fresh: Option<Seen>,
    /// What the newest look at the accept queue told, where any did.
    queue: Option<Seen>,
}
