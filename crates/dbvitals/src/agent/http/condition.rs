//! What a balancer may ask of `/health/NAME` beyond the verdict: a role, a lag, young evidence.
//!
//! A fresh probe is shared: whoever asks while one is under way waits for that one, so a thirty-fold
//! question costs the server no more than one after the other.

use std::time::Duration;

use dbvitals_verdict::{Moment, Role, Sign, Standing, Want};

use super::given_twice;
use crate::agent::board::BackendBoard;
use crate::agent::control::Control;
use crate::agent::event_loop::Busy;
use crate::duration;
use crate::expectation::parse_want;

/// How long a probe may take beyond its timeout until it is no longer waited for.
const OVERTIME: Duration = Duration::from_millis(200);

/// What has to be the case beside the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Condition {
    want: Want,
    max_lag: Option<Duration>,
    pub(super) max_lag_bytes: Option<u64>,
    fresh: bool,
    max_age: Option<Duration>,
}

impl Condition {
    /// Reads the parameters of a request; what is not known is refused.
    pub(super) fn read(asked: &[(String, String)]) -> Result<Self, (&'static str, String)> {
        if let Some(refused) = given_twice(asked) {
            return Err(refused);
        }
        let mut condition = Self::default();
        for (key, value) in asked {
            let wrong = |why: String| ("wrong_parameter", format!("{key}: {why}"));
            match key.as_str() {
                "want" => condition.want = parse_want(value).map_err(wrong)?,
                "max_lag" => condition.max_lag = Some(duration::parse(value).map_err(wrong)?),
                "max_age" => condition.max_age = Some(duration::parse(value).map_err(wrong)?),
                "fresh" => {
                    condition.fresh = value
                        .parse()
                        .map_err(|_| wrong("use true or false".to_owned()))?;
                }
                _ => {
                    return Err((
                        "unknown_parameter",
                        format!(
                            "{key}= is not known here; known are want, max_lag, fresh and max_age"
                        ),
                    ));
                }
            }
        }
        Ok(condition)
    }

    /// Wants this too; `false` where something else is wanted already.
    pub(super) fn demand(&mut self, want: Want) -> bool {
        let before = std::mem::replace(&mut self.want, want);
        before == Want::Any || before == want
    }

    /// Whether the evidence there is will not do.
    pub(super) fn wants_probe(&self, backend: &BackendBoard, now: Moment) -> bool {
        let too_old = |max: Duration| backend.evidence_age(now).is_none_or(|age| age > max);
        self.fresh || self.max_age.is_some_and(too_old)
    }

    /// Whether the evidence there is may not do.
    pub(super) fn may_need_probe(&self) -> bool {
        self.fresh || self.max_age.is_some()
    }

    /// Says what is not the case, if anything.
    pub(super) fn unmet(&self, standing: &Standing) -> Option<String> {
        if !Sign::from(standing).meets(self.want) {
            let role = standing.role.map_or("unknown", Role::name);
            return Some(format!("{} is wanted, its role is {role}", self.want));
        }
        self.too_late(standing)
    }

    /// What a member of a service must be.
    pub(super) fn want(&self) -> Want {
        self.want
    }

    /// Says how far it is behind, where that is too far.
    pub(super) fn too_late(&self, standing: &Standing) -> Option<String> {
        if standing.role == Some(Role::Primary) {
            return None;
        }
        let lag = standing.evidence.newest_facts().and_then(|facts| facts.lag);
        let time = self.max_lag.and_then(|max| {
            let time = lag.and_then(|lag| lag.time);
            too_far(time, max, duration::show)
        });
        time.or_else(|| {
            let bytes = lag.and_then(|lag| lag.bytes);
            too_far(bytes, self.max_lag_bytes?, |bytes| format!("{bytes} bytes"))
        })
    }
}

/// Says how far a replica is behind, if that is too far or not known.
fn too_far<T: PartialOrd>(lag: Option<T>, max: T, show: impl Fn(T) -> String) -> Option<String> {
    match lag {
        Some(lag) if lag <= max => None,
        Some(lag) => Some(format!("it is {} behind", show(lag))),
        None => Some("how far it is behind is not known; watch it at depth lag".to_owned()),
    }
}

/// Waits for a fresh probe: the one under way, or one that starts now.
pub(super) async fn probe(backend: &BackendBoard, control: &Control) -> Result<(), Busy> {
    let mut ended = backend.follow_fresh();
    ended.mark_unchanged();
    control.refresh(&backend.name)?;
    let plan = backend.plan();
    let patience = plan.refresh_patience() + plan.timeout + OVERTIME;
    // Where no answer comes, what is known is told, with its age.
    let _ = tokio::time::timeout(patience, ended.changed()).await;
    Ok(())
}
