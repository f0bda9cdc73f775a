//! `serve` through a staged fault, act by act.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::agent::{Told, Watcher, name};
use super::table::join;
use super::{Cell, Column};
use crate::clock::eventually;
use crate::faults::scene::Scene;
use crate::faults::truth::{Step, UP, Watch, lead, told, turns};

/// How long the agent may take to find a sound server up, on a busy machine.
const READY: Duration = Duration::from_secs(10);
/// What is waited beyond a bound, to tell how much too late an answer came.
const GRACE: Duration = Duration::from_secs(3);
/// How long a conclusion has to hold.
const SETTLED: Duration = Duration::from_millis(1200);

/// Starts the agent on a scene and plays all acts before it.
pub(super) fn play(program: &Path, mut scene: Scene, watch: &Watch) -> Cell {
    let watcher = Watcher::start(program, &scene, watch);
    scene.stage.agent = Some(watcher.pid());
    let acts = std::mem::take(&mut scene.acts);
    let mut said = Said::default();
    let mut steps = watch.steps;
    let judge = |from: Duration, acted: Duration, step: &Step, said: &mut Said| {
        said.add(observe(&watcher, scene.urls.len(), from, acted, step));
    };
    if acts.len() == steps.len() {
        let mut start = Said::default();
        judge(
            Duration::ZERO,
            Duration::ZERO,
            &turns(UP, READY),
            &mut start,
        );
        said.wrong.extend(
            start
                .wrong
                .iter()
                .map(|it| format!("before the fault: {it}")),
        );
    } else if let Some((first, rest)) = steps.split_first() {
        judge(Duration::ZERO, Duration::ZERO, first, &mut said);
        steps = rest;
    }
    assert_eq!(acts.len(), steps.len(), "a step for each act");
    for (act, step) in acts.into_iter().zip(steps) {
        let from = watcher.now();
        act(&mut scene.stage);
        judge(from, watcher.now(), step, &mut said);
    }
    if !said.wrong.is_empty() {
        said.wrong
            .push(format!("the agent's log:\n{}", watcher.log()));
    }
    Cell {
        column: Column::SERVE,
        said: said.text,
        wrong: said.wrong,
    }
}

/// What the agent said, of all backends, and what is wrong with it.
#[derive(Default)]
struct Said {
    text: String,
    wrong: Vec<String>,
}

impl Said {
    fn add(&mut self, other: Self) {
        self.text = join(&self.text, &other.text);
        self.wrong.extend(other.wrong);
    }
}

/// Waits for what follows from an act that began and ended at these times.
fn observe(
    watcher: &Watcher,
    backends: usize,
    began: Duration,
    acted: Duration,
    step: &Step,
) -> Said {
    let since = || -> Vec<Told> {
        let told = watcher.told().into_iter();
        told.filter(|told| told.at >= began).collect()
    };
    if step.verdicts.is_empty() {
        thread::sleep(step.within);
    } else {
        let enough = backends * step.verdicts.len();
        eventually(step.within + GRACE, || since().len() >= enough);
        thread::sleep(SETTLED);
    }

    let told_all = since();
    let mut said = Said::default();
    for backend in (0..backends).map(name) {
        let changes = told_all.iter().filter(|told| told.backend == backend);
        let one = judge(watcher, &backend, changes.collect(), acted, step);
        // One stands for all that are right; what is wrong is told of each.
        if said.text.is_empty() || !one.wrong.is_empty() {
            said.text = one.text;
        }
        let named = |wrong: String| match backends {
            1 => wrong,
            _ => format!("{backend}: {wrong}"),
        };
        said.wrong.extend(one.wrong.into_iter().map(named));
    }
    let last = told_all.last().filter(|_| !step.verdicts.is_empty());
    if let Some(last) = last {
        let took = last.at.saturating_sub(acted);
        said.text = format!("{}, {:.2} s", said.text, took.as_secs_f64());
    }
    said
}

fn judge(
    watcher: &Watcher,
    backend: &str,
    changes: Vec<&Told>,
    acted: Duration,
    step: &Step,
) -> Said {
    let mut wrong = Vec::new();
    let verdicts: Vec<&str> = changes.iter().map(|told| told.to.as_str()).collect();
    if verdicts != step.verdicts {
        let right = step.verdicts;
        wrong.push(format!(
            "the verdicts were {verdicts:?}, right is {right:?}"
        ));
    }
    let (verdict, cause) = watcher.health(backend).unwrap_or_default();
    let telling = told(&verdict, &cause);
    let tellings = step.truth.tellings();
    if !tellings.contains(&telling) {
        wrong.push(format!(
            "it is {telling:?}, right is {}",
            tellings.join(" or ")
        ));
    }
    if let Some(last) = changes.last().filter(|_| !step.verdicts.is_empty()) {
        let took = last.at.saturating_sub(acted);
        if took > step.within {
            wrong.push(format!("it took {took:?}, {:?} allowed", step.within));
        }
    }
    Said {
        text: format!("{}{telling}", lead(&verdicts)),
        wrong,
    }
}
