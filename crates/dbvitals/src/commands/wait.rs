//! `wait`: what a well-behaved client does while its database is not there yet.
//!
//! The sliding timer: a try at once, then pauses of 100 ms, doubling up to 2 s, each with jitter
//! so that a hundred containers that start together do not knock together. One probe per target
//! and try, only for targets that are not fit yet.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dbvitals_probe::TargetId;
use dbvitals_verdict::{Cause, Depth, Moment, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use super::{Asked, read_targets};
use crate::cli::WaitArgs;
use crate::duration;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::probing::Asker;
use crate::report::Finding;
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The longest one try may take.
const TRY_MAX: Duration = Duration::from_secs(2);

/// One target that is waited for.
struct Waited {
    url: TargetUrl,
    depth: Depth,
    fit: bool,
    /// What was said of it last.
    said: Option<Cause>,
}

/// A line of `--json`.
#[derive(Serialize)]
struct WaitEvent<'a> {
    schema: &'static str,
    target: &'a str,
    name: &'a str,
    fit: bool,
    cause: Option<&'static str>,
    after_ms: f64,
    detail: String,
}

/// Waits until all targets are fit, the time is up, or the watched process is gone.
pub(crate) fn run(args: &WaitArgs, json: bool) -> anyhow::Result<Exit> {
    let asked = Asked {
        depth: args.depth,
        ..Asked::default()
    };
    let mut shared = SharedParts::default();
    let targets = read_targets(&args.targets, asked, &args.password, &mut shared)?;
    let mut asker = Asker::new(targets.iter().map(|(_, target, _)| target.clone()))?;
    let mut waited: Vec<_> = targets
        .into_iter()
        .map(|(url, _, depth)| Waited {
            url,
            depth,
            fit: false,
            said: None,
        })
        .collect();
    let process = args.pid_file.as_deref().map(WatchedProcess::look_at);
    let mut process = process.transpose()?;
    let began = asker.clock.now();
    let patience = began + args.patience;
    let mut pause = PAUSE_FIRST;
    loop {
        try_once(&mut asker, &mut waited, began, patience, json)?;
        if waited.iter().all(|waited| waited.fit) {
            return become_command(&args.command);
        }
        if let Some(process) = &mut process
            && process.is_gone()?
        {
            tell(&format!("{}; giving up", process.epitaph()));
            return Ok(Exit::Critical);
        }
        let now = asker.clock.now();
        if now >= patience {
            tell(&format!(
                "{} not fit after {}",
                names(&waited),
                duration::show(args.patience)
            ));
            return Ok(Exit::Critical);
        }
        // Between half a pause and a whole one: the promise is an upper bound.
        let jittered = pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
        asker.sleep_until((now + jittered).min(patience))?;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn try_once(
    asker: &mut Asker,
    waited: &mut [Waited],
    began: Moment,
    patience: Moment,
    json: bool,
) -> anyhow::Result<()> {
    let questions: Vec<_> = (0..)
        .map(TargetId)
        .zip(waited.iter())
        .filter(|(_, waited)| !waited.fit)
        .map(|(id, waited)| (id, waited.depth))
        .collect();
    let left = patience.since(asker.clock.now());
    let timeout = TRY_MAX.min(left).max(PAUSE_FIRST);
    let observations = asker.ask(&questions, timeout)?;
    for ((id, depth), observation) in questions.into_iter().zip(observations) {
        let Some(waited) = waited.get_mut(id.0 as usize) else {
            continue;
        };
        let cause = observation.outcome.cause();
        waited.fit = observation.outcome == Outcome::Pass;
        if !waited.fit && waited.said == cause {
            continue;
        }
        waited.said = cause;
        let finding = Finding {
            target: &waited.url,
            depth,
            observation: &observation,
        };
        let after = asker.clock.now().since(began);
        say(&finding, after, json)?;
    }
    asker.say_goodbyes()
}

fn say(finding: &Finding<'_>, after: Duration, json: bool) -> anyhow::Result<()> {
    let cause = finding.cause();
    if json {
        let event = WaitEvent {
            schema: "dbvitals.wait.v1",
            target: &finding.target.shown,
            name: &finding.target.name,
            fit: cause.is_none(),
            cause: cause.map(Cause::name),
            after_ms: (after.as_secs_f64() * 1000.0).round(),
            detail: finding.detail(),
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &event)?;
        writeln!(out)?;
        return Ok(out.flush()?);
    }
    let name = &finding.target.name;
    let after = duration::show(after);
    match cause {
        None => tell(&format!("{name} is fit after {after}")),
        Some(cause) => tell(&format!("{name} is not fit: {cause}. {}", finding.detail())),
    }
    Ok(())
}

fn names(waited: &[Waited]) -> String {
    let missing: Vec<_> = waited
        .iter()
        .filter(|waited| !waited.fit)
        .map(|waited| match waited.said {
            Some(cause) => format!("{} ({cause})", waited.url.name),
            None => waited.url.name.clone(),
        })
        .collect();
    missing.join(", ")
}

fn become_command(command: &[OsString]) -> anyhow::Result<Exit> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(Exit::Fine);
    };
    let error = Command::new(program).args(arguments).exec();
    Err(Misuse(format!(
        "cannot become {}: {}; check the path and its permissions",
        program.display(),
        dbvitals_probe::plain(&error)
    ))
    .into())
}

/// The process of a pid file. A server writes the file some time after its start, so a file that
/// never was is waited for; one that was and is not any more means that the server stopped.
struct WatchedProcess<'a> {
    path: &'a Path,
    last: Option<Pid>,
}

impl<'a> WatchedProcess<'a> {
    /// Looks at the file at once, so that one that vanishes during the first try was seen.
    fn look_at(path: &'a Path) -> Result<Self, Misuse> {
        let mut process = Self { path, last: None };
        process.is_gone()?;
        Ok(process)
    }

    fn is_gone(&mut self) -> Result<bool, Misuse> {
        let text = match fs::read_to_string(self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.last.is_some());
            }
            Err(error) => {
                return Err(Misuse(format!(
                    "cannot read the pid file {}: {}; it must be readable by the user that runs dbvitals",
                    self.path.display(),
                    dbvitals_probe::plain(&error)
                )));
            }
        };
        // PostgreSQL's has more lines, and the number is negative in single-user mode.
        let first = text.lines().next().unwrap_or_default().trim();
        if first.is_empty() {
            return Ok(false);
        }
        let number: i32 = first.parse().map_err(|_| {
            Misuse(format!(
                "the pid file {} begins with {first:?}, which is no process id",
                self.path.display()
            ))
        })?;
        self.last = Pid::from_raw(number.abs());
        Ok(self.last.is_none_or(|pid| !is_running(pid)))
    }

    fn epitaph(&self) -> String {
        let path = self.path.display();
        match self.last {
            Some(pid) => format!("process {} of {path} is gone", pid.as_raw_nonzero()),
            None => format!("the process of {path} is gone"),
        }
    }
}

/// Whether a process runs; one that ended and was not reaped yet does not.
fn is_running(pid: Pid) -> bool {
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    !matches!(poll(&mut descriptors, Some(&at_once)), Ok(ready) if ready > 0)
}
