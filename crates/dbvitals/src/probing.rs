//! Probes without a schedule: a few targets, one question each, and the answers.
//!
//! `check` and `wait` ask this way. The prober is the agent's own; what is missing here is the
//! monitor, since nobody who asks once wants to be told three times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dbvitals_probe::{Clock, Order, Prober, Target, TargetId};
use dbvitals_verdict::{Depth, Moment, Observation, Path, ProbeId};
use dbvitals_wire::Answer;

/// How long after their deadline the goodbyes of a round may take.
const GOODBYE_AFTER_DEADLINE: Duration = Duration::from_millis(50);

/// Asks targets.
pub(crate) struct Asker {
    prober: Prober,
    pub(crate) clock: Clock,
    rounds: u32,
    /// Until when the goodbyes of the last round may take.
    patience: Moment,
}

impl Asker {
    /// An asker of these targets, which are numbered as they come.
    pub(crate) fn new(targets: impl IntoIterator<Item = Target>) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let mut prober = Prober::new(clock).context("failed to open an epoll descriptor")?;
        for (id, target) in (0..).map(TargetId).zip(targets) {
            prober.add_target(id, Arc::new(target));
        }
        Ok(Self {
            prober,
            clock,
            rounds: 0,
            patience: Moment::ORIGIN,
        })
    }

    /// Asks some targets at once and waits for all answers, which come in their order.
    pub(crate) fn ask(
        &mut self,
        questions: &[(TargetId, Depth)],
        timeout: Duration,
    ) -> anyhow::Result<Vec<Observation>> {
        self.rounds = self.rounds.wrapping_add(1);
        let deadline = self.clock.now() + timeout;
        for &(target, depth) in questions {
            self.prober.start(Order {
                target,
                probe: ProbeId(self.rounds),
                path: Path::Fresh,
                depth,
                deadline,
                hold: false,
            });
        }
        let mut answers = BTreeMap::new();
        while answers.len() < questions.len() {
            match self.prober.poll_observation() {
                Some((target, observation)) => {
                    answers.insert(target, observation);
                }
                None => self.wait(None)?,
            }
        }
        self.patience = deadline + GOODBYE_AFTER_DEADLINE;
        let in_order = questions.iter().filter_map(|(id, _)| answers.remove(id));
        Ok(in_order.collect())
    }

    /// What a target whose answer is kept said to its statement.
    pub(crate) fn take_answer(&mut self, target: TargetId) -> Option<Answer> {
        self.prober.take_answer(target)
    }

    /// Lets the goodbyes of the last round come to their end, as long as its time allows; after
    /// the answers were told, since nobody needs to wait for politeness.
    pub(crate) fn say_goodbyes(&mut self) -> anyhow::Result<()> {
        while !self.prober.is_quiet() && self.clock.now() < self.patience {
            self.wait(Some(self.patience))?;
        }
        Ok(())
    }

    /// Lets time pass.
    fn wait(&mut self, until: Option<Moment>) -> anyhow::Result<()> {
        self.prober
            .wait(until)
            .context("failed to wait for sockets")
    }

    /// Sleeps until a moment, while goodbyes may still come to their end.
    pub(crate) fn sleep_until(&mut self, until: Moment) -> anyhow::Result<()> {
        while self.clock.now() < until {
            self.wait(Some(until))?;
        }
        Ok(())
    }
}
