//! What a plan promises, fault by fault, each with its reason: the plan's own bounds in words.

use std::time::Duration;

use dbvitals_verdict::{Course, Depth, Plan};

use crate::agent::queues::{LOOK_EVERY, LOOK_EVERY_MIN};

/// One promise: within how long at the latest, and why; no time where the plan does not notice.
#[derive(Debug)]
pub(super) struct Promise {
    /// The key in JSON.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) within: Option<Duration>,
    pub(super) why: String,
}

/// A duration with all that a person may want to compare: `5 ms`, `1.25 s`, `30.2 s`.
pub(super) fn show_bound(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        return format!("{ms} ms");
    }
    let seconds = format!("{:.2}", duration.as_secs_f64());
    format!("{} s", seconds.trim_end_matches('0').trim_end_matches('.'))
}

/// How soon each kind of fault is noticed at the latest; of a server on this machine, whose accept
/// queue can be seen, a freeze while clients come as well.
pub(super) fn faults(plan: &Plan, is_here: bool) -> Vec<Promise> {
    let holds = matches!(plan.course, Course::Session { .. });
    let promise = |key, title, within, why: &str| Promise {
        key,
        title,
        within,
        why: why.to_owned(),
    };
    let listens = plan.deepest() == Depth::Listening;
    let freeze = plan.notices_freeze().then(|| plan.freeze_bound());
    let unfit = plan.unfit_bound(Depth::Role);
    let with_clients = is_here.then(|| {
        promise(
            "freeze_with_clients",
            "… under clients",
            Some(freeze_with_clients(plan)),
            match plan.notices_freeze() {
                true => "as a rule: nobody leaves the accept queue, so the server is asked at once",
                false => "as a rule: nobody leaves the accept queue; degraded",
            },
        )
    });
    let mut promises = vec![
        promise(
            "crash",
            "crash",
            Some(plan.crash_bound()),
            match holds {
                true => "the kernel ends the held session; fresh probes confirm it",
                false if listens => "the next probe finds no listener",
                false => "the next probe is refused",
            },
        ),
        promise("freeze", "freeze", freeze, freeze_why(plan)),
        promise(
            "black_hole",
            "black hole",
            (!listens).then(|| plan.black_hole_bound()),
            match holds {
                true => "both paths are silent until one deadline",
                false if listens => "not noticed: no packet is sent",
                false => "each probe waits for its deadline",
            },
        ),
        promise("slow", "over the budget", plan.slow_bound(), slow_why(plan)),
        promise("full", "full", plan.full_bound(), full_why(plan)),
        promise(
            "unfit",
            "role, lag wrong",
            unfit,
            match unfit {
                Some(_) if holds => "the held session is asked",
                Some(_) => "the next deep probe is told",
                None => "not noticed: nobody asks; depth = \"role\" or \"lag\" does",
            },
        ),
    ];
    // Beside the freeze.
    let beside = promises.iter().position(|it| it.key == "black_hole");
    if let (Some(promise), Some(place)) = (with_clients, beside) {
        promises.insert(place, promise);
    }
    promises
}

/// From the first client that is not accepted, while others come at each look: two looks raise the
/// suspicion, and what is asked then is asked no sooner than opinions change and waits for its
/// timeout. Where nobody is asked, `fall` looks have to say the same, each no sooner than opinions
/// change. A rule and no bound: where many sockets make looks dear, they are rarer.
fn freeze_with_clients(plan: &Plan) -> Duration {
    let look = LOOK_EVERY.min(plan.interval).max(LOOK_EVERY_MIN);
    let changing = plan.fast_interval.min(plan.interval);
    if !plan.notices_freeze() {
        let mut next = look;
        while next < changing {
            next += look;
        }
        return look * 2 + next * plan.fall.saturating_sub(1);
    }
    let asked = look * 2 + changing;
    let further = match plan.course {
        Course::Session { .. } => plan.fall.saturating_sub(2),
        Course::Sessionless { .. } => plan.fall.saturating_sub(1),
    };
    let bound = asked + plan.timeout * (1 + further);
    bound.min(plan.freeze_bound())
}

fn freeze_why(plan: &Plan) -> &'static str {
    match plan.course {
        Course::Session { .. } => "the next ping is not answered, nor is a fresh session",
        Course::Sessionless { .. } if plan.deepest() == Depth::Listening => {
            "only clients who wait in its accept queue show it: degraded"
        }
        Course::Sessionless { .. } if !plan.notices_freeze() => {
            "not noticed: the kernel makes connections for a frozen server"
        }
        Course::Sessionless { depth, .. } if depth < Depth::Greeting => {
            "only the greeting shows it, every fresh_interval"
        }
        Course::Sessionless { .. } => "each probe waits for its deadline",
    }
}

fn slow_why(plan: &Plan) -> &'static str {
    match (plan.slow_over, plan.slow_bound()) {
        (None, _) => "not noticed: no slow_over is set",
        (Some(_), None) => "not noticed: the kernel makes connections for a slow server",
        (Some(_), Some(_)) => "answers in time, but over slow_over: degraded",
    }
}

fn full_why(plan: &Plan) -> &'static str {
    match (plan.course, plan.notices_full()) {
        (_, false) => "not noticed: nobody logs in",
        (Course::Session { .. }, true) => "only new sessions are refused: degraded",
        (Course::Sessionless { .. }, true) => "the login is refused: degraded",
    }
}

/// How soon a server that is well again is up at the latest.
pub(super) fn recoveries(plan: &Plan) -> Vec<Promise> {
    let promise = |key, title, within, why: &str| Promise {
        key,
        title,
        within: Some(within),
        why: why.to_owned(),
    };
    let rise = match plan.rise {
        1 => "one pass".to_owned(),
        rise => format!("{rise} passes"),
    };
    vec![
        promise("down", "from down", plan.recovery_bound(), &rise),
        promise("degraded", "from degraded", plan.relief_bound(), &rise),
    ]
}

/// How interval and timeout belong together, in two sentences.
pub(super) fn relation(plan: &Plan) -> [String; 2] {
    let (interval, timeout) = (show_bound(plan.interval), show_bound(plan.timeout));
    let known = show_bound(plan.black_hole_bound());
    let further = match plan.course {
        Course::Session { .. } => plan.fall.saturating_sub(2),
        Course::Sessionless { .. } => plan.fall.saturating_sub(1),
    };
    let fall = match further {
        0 => String::new(),
        1 => format!(", and one probe more for fall = {}", plan.fall),
        further => format!(", and {further} probes more for fall = {}", plan.fall),
    };
    let first = format!(
        "The interval ({interval}) is how long a fault may go unasked, the timeout ({timeout}) how long an answer is waited for before silence counts as a failure."
    );
    // Where one deadline is enough, only the sum counts.
    let sum = match further {
        0 => ", however you share that time out between the two",
        _ => "",
    };
    let second = match plan.course {
        Course::Session { .. } => format!(
            "A server that falls silent just after an answer is asked again one interval later and given up one timeout after that, on both paths at once{fall}: you know after {known} at most{sum}."
        ),
        Course::Sessionless {
            depth: Depth::Listening,
            ..
        } => format!(
            "A listener that is gone is missed one interval later{fall}; the kernel answers at once, so the timeout hardly matters, and no server hears of a shorter interval."
        ),
        Course::Sessionless { .. } => format!(
            "A server from which nothing comes any more is asked one interval later and has failed one timeout after that{fall}: you know after {known} at most, and a shorter interval costs the server connections."
        ),
    };
    [first, second]
}
