//! Plays the script: makes each scene happen, then sees what follows, inside and from outside.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Change, Evidence, Moment, Verdict};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::agent::transitions::Told;
use crate::demo::outcome::{GateSeen, Ledger, Outcome, Passes};
use crate::demo::script::{Expected, OPENING, ROUND, Scene, ServerName};
use crate::demo::stage::{Member, Stage};
use crate::demo::voice::Voice;

/// The pause between two scenes, for those who read along.
const PAUSE: Duration = Duration::from_millis(300);
/// The same where it goes on for ever, for those who look at the dashboard meanwhile.
const PAUSE_WHEN_ENDLESS: Duration = Duration::from_millis(1500);
/// How much longer than promised a verdict is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a gate may take to follow its verdict before that counts as wrong.
const GATE_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two looks at a gate.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A stage with a script going on.
#[derive(Debug)]
pub(crate) struct Show {
    stage: Stage,
    told: broadcast::Receiver<Arc<Told>>,
    /// Transitions that nobody has waited for yet.
    unheard: VecDeque<Arc<Told>>,
    voice: Voice,
    ledger: Ledger,
}

/// How things stood when a scene began.
struct Before {
    at: Moment,
    passes: Passes,
    gate_was_open: bool,
}

/// What was concluded, before the gate was looked at.
struct Conclusion {
    /// When the verdict changed, if it did.
    changed_at: Option<Moment>,
    verdict: Verdict,
    evidence: Evidence,
}

impl Show {
    pub(crate) fn new(stage: Stage, told: broadcast::Receiver<Arc<Told>>, voice: Voice) -> Self {
        Self {
            stage,
            told,
            unheard: VecDeque::new(),
            voice,
            ledger: Ledger::default(),
        }
    }

    /// Plays one round of the script, or one after the other for ever. Cancel safe between and
    /// within scenes: what has been seen so far is kept.
    pub(crate) async fn run(&mut self, once: bool) -> io::Result<()> {
        self.voice.tell_opening(&self.stage)?;
        let mut opening = Vec::new();
        for scene in OPENING {
            let before = self.look_around(scene.server).await;
            let at = self.stage.started;
            opening.push((scene, Before { at, ..before }));
        }
        for (scene, before) in opening {
            self.voice.tell_scene(self.stage.clock().now(), scene)?;
            self.follow(scene, before).await?;
        }
        let pause = match once {
            true => PAUSE,
            false => PAUSE_WHEN_ENDLESS,
        };
        loop {
            for scene in ROUND {
                sleep(pause).await;
                self.play(scene).await?;
            }
            if once {
                return Ok(());
            }
        }
    }

    /// Ends the show: tells what was seen, then takes everything down.
    pub(crate) async fn end(self) -> io::Result<Ledger> {
        let told = self.voice.tell_end(self.stage.clock().now(), &self.ledger);
        self.stage.strike().await;
        told.map(|()| self.ledger)
    }

    async fn play(&mut self, scene: &'static Scene) -> io::Result<()> {
        self.voice.tell_scene(self.stage.clock().now(), scene)?;
        let before = self.look_around(scene.server).await;
        self.stage.member(scene.server).server.switch(scene.mood);
        self.follow(scene, before).await
    }

    async fn look_around(&self, server: ServerName) -> Before {
        let member = self.stage.member(server);
        Before {
            gate_was_open: is_open(member.gate()).await,
            passes: passes(member),
            at: self.stage.clock().now(),
        }
    }

    /// Sees what follows a scene.
    async fn follow(&mut self, scene: &'static Scene, before: Before) -> io::Result<()> {
        let since = before.at;
        let member = self.stage.member(scene.server);
        let (watched, promised) = match scene.expected {
            Expected::StaysUp(watched) => (watched, None),
            Expected::Becomes(_, _, promise) => {
                let bound = promise.bound(&member.plan);
                (bound + PATIENCE, Some(bound))
            }
        };
        let conclusion = self.conclusion(scene, since, watched).await;
        let wants_open = scene.expected.opens_gate();
        let member = self.stage.member(scene.server);
        let is_open = self.look_at_gate(member.gate(), wants_open).await;
        let seen_at = self.stage.clock().now();
        let outcome = Outcome {
            scene,
            at: seen_at,
            verdict: conclusion.verdict,
            cause: conclusion.evidence.cause,
            detail: words(&conclusion),
            noticed: conclusion.changed_at.map(|at| at.since(since)),
            promised,
            passes: passes(member).since(before.passes),
            gate: GateSeen {
                was_open: before.gate_was_open,
                is_open,
                after: seen_at.since(since),
            },
        };
        self.voice.tell_outcome(&outcome)?;
        self.ledger.note(outcome);
        Ok(())
    }

    /// The first verdict on a scene's server since then, or, after so long without one, the old one.
    async fn conclusion(
        &mut self,
        scene: &'static Scene,
        since: Moment,
        watched: Duration,
    ) -> Conclusion {
        self.unheard.retain(|told| told.transition.at >= since);
        match timeout(watched, self.next_verdict(scene, since)).await {
            Ok((told, verdict)) => Conclusion {
                changed_at: Some(told.transition.at),
                verdict,
                evidence: told.transition.evidence.clone(),
            },
            Err(_) => {
                // The board knows of a change, too, that came before anybody could listen.
                let standing = self.stage.member(scene.server).board.standing();
                Conclusion {
                    changed_at: (standing.since >= since).then_some(standing.since),
                    verdict: standing.verdict,
                    evidence: standing.evidence.clone(),
                }
            }
        }
    }

    async fn next_verdict(&mut self, scene: &'static Scene, since: Moment) -> (Arc<Told>, Verdict) {
        loop {
            if let Some(found) = self.take_verdict(scene, since) {
                return found;
            }
            match self.told.recv().await {
                Ok(told) => self.unheard.push_back(told),
                Err(RecvError::Lagged(_)) => {}
                // The agent is gone; nothing will ever be concluded again.
                Err(RecvError::Closed) => future::pending().await,
            }
        }
    }

    fn take_verdict(
        &mut self,
        scene: &'static Scene,
        since: Moment,
    ) -> Option<(Arc<Told>, Verdict)> {
        // A server on its way down may be seen to accept nobody first.
        let falls = scene.expected.verdict() == Verdict::Down;
        let verdict = |told: &Told| match told.transition.change {
            Change::Verdict { to, .. } => Some(to).filter(|to| !falls || *to != Verdict::Degraded),
            Change::Role { .. } | Change::Admin { .. } => None,
        };
        let place = self.unheard.iter().position(|told| {
            &*told.backend.name == scene.server.name()
                && told.transition.at >= since
                && verdict(told).is_some()
        })?;
        let told = self.unheard.remove(place)?;
        let verdict = verdict(&told)?;
        Some((told, verdict))
    }

    /// Looks until the gate is as wanted, or for long enough.
    async fn look_at_gate(&self, gate: SocketAddr, wants_open: bool) -> bool {
        let until = self.stage.clock().now() + GATE_PATIENCE;
        // Gates run on this thread too: let them go first.
        yield_now().await;
        loop {
            let open = is_open(gate).await;
            if open == wants_open || self.stage.clock().now() >= until {
                return open;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn passes(member: &Member) -> Passes {
    let answered = member.board.latency();
    Passes {
        count: answered.count(),
        time: answered.time(),
    }
}

/// Whether somebody who connects gets in.
async fn is_open(gate: SocketAddr) -> bool {
    TcpStream::connect(gate).await.is_ok()
}

/// The words of whoever knows why, where there is a why.
fn words(conclusion: &Conclusion) -> Option<Arc<str>> {
    conclusion.evidence.cause?;
    conclusion.evidence.decisive()?.detail.clone()
}
