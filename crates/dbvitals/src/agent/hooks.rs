//! Hooks: the operator's commands, run on transitions.
//!
//! ```text
//!   transitions ──▶ queue ──▶ program (its own process group), a few at a time
//!                     │          └──▶ log, records
//!                     └── the oldest of a hook that is too far behind is dropped
//! ```
//!
//! A hook runs once for each transition that it is for, in the order in which they happened, and
//! never two at a time for one backend, whichever hooks they are: what one does on `down` is over
//! before another begins on `up`. Everything here runs on the publishers' runtime and is bounded,
//! so no program can delay a probe, whatever it does. Started and ended by `commands/serve.rs`.

mod facts;
mod plan;
mod program;
mod queue;
mod records;
mod talk;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;

pub(crate) use plan::{HookPlan, HooksPlan, Mode, Occasion, TIMEOUT_DEFAULT};
pub(crate) use records::{HookRecord, HookRecords, LastRun};
pub(crate) use template::Template;

use crate::agent::transitions::Told;
use facts::{Facts, Happening};
use program::{Ending, Order};
use queue::Queue;
use records::Outcome;
use talk::Talk;

/// The running hooks.
#[derive(Debug)]
pub(crate) struct Hooks {
    task: JoinSet<()>,
    ending: watch::Sender<bool>,
    plan: watch::Sender<Arc<HooksPlan>>,
}

impl Hooks {
    /// Follows transitions from now on. Programs that are missing are told of at once.
    pub(crate) fn start(
        plan: HooksPlan,
        records: Arc<HookRecords>,
        clock: Clock,
        transitions: broadcast::Receiver<Arc<Told>>,
    ) -> Self {
        let ending = watch::Sender::new(false);
        let plan = watch::Sender::new(Arc::new(plan));
        let dispatcher = Dispatcher {
            plan: plan.subscribe(),
            ending: ending.subscribe(),
            records,
            clock,
            queue: Queue::default(),
            runs: JoinSet::new(),
            running: BTreeMap::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(dispatcher.run(transitions));
        Self { task, ending, plan }
    }

    /// Puts other hooks in force for transitions to come; what waits or runs goes on as it was.
    pub(crate) fn handle_plan(&self, plan: HooksPlan) {
        self.plan.send_replace(Arc::new(plan));
    }

    /// Starts no more hooks, gives those that run some time, ends them, and returns when they have
    /// ended.
    pub(crate) async fn close(mut self) {
        self.ending.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }
}

/// A run that is due.
#[derive(Debug)]
struct Waiting {
    hook: Arc<HookPlan>,
    told: Arc<Told>,
    order: Order,
}

/// A run that has ended.
#[derive(Debug)]
struct Run {
    waiting: Waiting,
    started: Moment,
    ending: Ending,
    talk: Talk,
}

/// The task behind [`Hooks`].
struct Dispatcher {
    plan: watch::Receiver<Arc<HooksPlan>>,
    ending: watch::Receiver<bool>,
    records: Arc<HookRecords>,
    clock: Clock,
    queue: Queue,
    runs: JoinSet<Run>,
    /// Which backend each run is for.
    running: BTreeMap<Id, Arc<str>>,
}

impl Dispatcher {
    async fn run(mut self, mut transitions: broadcast::Receiver<Arc<Told>>) {
        self.look_for_programs();
        loop {
            tokio::select! {
                biased;
                _ = self.ending.changed() => break,
                Ok(()) = self.plan.changed() => self.look_for_programs(),
                Some(ended) = self.runs.join_next_with_id() => self.take_run(ended),
                told = transitions.recv() => match told {
                    Ok(told) => self.take_transition(&told),
                    Err(RecvError::Lagged(lost)) if self.plan.borrow().hooks.is_empty() => {
                        tracing::debug!(lost, "no hook missed transitions");
                    }
                    Err(RecvError::Lagged(lost)) => {
                        tracing::error!(lost, "hooks did not hear of transitions: too many came at once");
                    }
                    Err(RecvError::Closed) => break,
                },
            }
            self.start_runs();
        }
        self.finish().await;
    }

    /// Says which programs are missing, before they are needed.
    fn look_for_programs(&mut self) {
        let plan = Arc::clone(&self.plan.borrow_and_update());
        for hook in &plan.hooks {
            self.records.add(&hook.name);
            let program = hook.run.first().and_then(Template::literal);
            if let Some(program) = program.filter(|program| !program::is_there(program)) {
                self.tell_missing(&hook.name, program, true);
            }
        }
    }

    /// Says once that a program is missing, until it has been there again.
    fn tell_missing(&self, hook: &str, program: &str, is_missing: bool) {
        if self.records.note_missing(hook, is_missing) {
            tracing::error!(
                hook,
                program,
                "the hook's program is missing, or may not be run; correct run, or install it"
            );
        }
    }

    fn take_transition(&mut self, told: &Arc<Told>) {
        let plan = Arc::clone(&self.plan.borrow());
        let standing = told.backend.standing();
        for hook in &plan.hooks {
            if !hook.runs_on(&told.backend.name, &told.transition.change) {
                continue;
            }
            let order = Order::new(&Happening {
                hook,
                plan: &plan,
                told,
                standing: &standing,
                clock: self.clock,
            });
            match hook.mode {
                Mode::Act => self.enqueue(Waiting {
                    hook: Arc::clone(hook),
                    told: Arc::clone(told),
                    order,
                }),
                Mode::Observe => {
                    self.records.count(&hook.name, Outcome::Observed);
                    let backend = &*told.backend.name;
                    tracing::info!(hook = hook.name, backend, command = ?order.command, "the hook would run");
                }
            }
        }
    }

    fn enqueue(&mut self, waiting: Waiting) {
        if let Some(dropped) = self.queue.push(waiting) {
            self.records.count(&dropped.hook.name, Outcome::Dropped);
            tracing::error!(
                hook = dropped.hook.name,
                backend = &*dropped.told.backend.name,
                command = ?dropped.order.command,
                "the hook is too slow: the oldest transition that waited for it was dropped"
            );
        }
    }

    fn start_runs(&mut self) {
        while let Some(waiting) = self.queue.start_next() {
            let backend = Arc::clone(&waiting.told.backend.name);
            let (clock, ending) = (self.clock, self.ending.clone());
            let started = clock.now();
            let handle = self.runs.spawn(async move {
                let (ending, talk) = program::run(waiting.order.clone(), ending).await;
                Run {
                    waiting,
                    started,
                    ending,
                    talk,
                }
            });
            self.running.insert(handle.id(), backend);
        }
    }

    fn take_run(&mut self, ended: Result<(Id, Run), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        if let Some(backend) = self.running.remove(&id) {
            self.queue.done(&backend);
        }
        match ended {
            Ok((_, run)) => self.report(run),
            Err(error) => tracing::error!(%error, "a hook's task ended in a way it should not"),
        }
    }

    /// Logs and records a run.
    fn report(&self, run: Run) {
        let took = self.clock.now().since(run.started);
        let outcome = run.outcome();
        let Waiting { hook, told, order } = run.waiting;
        let (hook, backend) = (hook.name.as_str(), &*told.backend.name);
        let program = order.command.first().map_or("", String::as_str);
        let (ending, output) = (run.ending.to_string(), run.talk.text());
        let thrown_away = Some(run.talk.thrown_away()).filter(|bytes| *bytes > 0);
        let shown = Some(output.as_str()).filter(|output| !output.is_empty());
        let took_shown = crate::duration::show(took);
        match outcome {
            Outcome::Ok => tracing::info!(
                hook,
                backend,
                took = took_shown,
                output = shown,
                thrown_away,
                "the hook ran"
            ),
            Outcome::Missing => {}
            Outcome::Failed | Outcome::Timeout | Outcome::Dropped | Outcome::Observed => {
                tracing::warn!(
                    hook,
                    backend,
                    ending,
                    took = took_shown,
                    output = shown,
                    thrown_away,
                    "the hook failed"
                );
            }
        }
        self.tell_missing(hook, program, outcome == Outcome::Missing);
        self.records.note_run(
            hook,
            LastRun {
                backend: backend.to_owned(),
                started: run.started,
                took,
                outcome,
                command: order.command,
                ending,
                output,
            },
        );
    }

    /// Drops what waits, and waits for what runs, which knows that it has to end.
    async fn finish(mut self) {
        let dropped: Vec<_> = self.queue.drain().collect();
        for waiting in dropped {
            self.records.count(&waiting.hook.name, Outcome::Dropped);
            tracing::warn!(
                hook = waiting.hook.name,
                backend = &*waiting.told.backend.name,
                "the agent ends: the hook does not run any more"
            );
        }
        let all = async {
            while let Some(ended) = self.runs.join_next_with_id().await {
                self.take_run(ended);
            }
        };
        let limit = program::ENDING_WITHIN + program::GRACE * 2;
        if timeout(limit, all).await.is_err() {
            tracing::error!("a hook's program cannot be ended, not even by SIGKILL");
        }
    }
}

impl Run {
    fn outcome(&self) -> Outcome {
        match &self.ending {
            Ending::Exited(status) if status.success() => Outcome::Ok,
            ending if ending.is_missing() => Outcome::Missing,
            Ending::Exited(_) | Ending::NotStarted(_) => Outcome::Failed,
            Ending::TimedOut | Ending::Cut => Outcome::Timeout,
        }
    }
}

impl Order {
    fn new(happening: &Happening<'_>) -> Self {
        let facts = Facts::new(happening);
        let hook = happening.hook;
        let variables = facts.variables();
        Self {
            command: hook
                .run
                .iter()
                .map(|it| it.fill(|index| facts.value(index)))
                .collect(),
            variables: variables
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
            document: happening.document(),
            timeout: hook.timeout,
        }
    }
}
