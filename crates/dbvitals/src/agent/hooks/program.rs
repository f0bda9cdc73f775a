//! One run of a hook's program, from its start to the end of all its processes.
//!
//! The program leads a process group of its own, and the run is over when the group is: what it
//! started and left behind is ended with it. Nothing here waits for the program in a way that
//! would hold up others: it is started on a thread of its own, because the start of a program on a
//! dead network disk can take for ever, and fed and heard without blocking.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group};
use rustix::process::{test_kill_process_group, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::talk::{Pipes, Talk};

/// How long a group that was told to end may take, before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long running hooks may go on once the agent ends.
pub(super) const ENDING_WITHIN: Duration = Duration::from_secs(5);
/// How long is listened after the end, for what is in the pipes still.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The pauses between two looks at a group whose leader has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where programs are looked for if the agent itself was not told.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be run.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// The whole environment, `PATH` apart.
    pub(super) variables: Vec<(String, String)>,
    /// What it can read on its standard input.
    pub(super) document: String,
    pub(super) timeout: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It took too long and was ended.
    TimedOut,
    /// The agent ended, and it was ended with it.
    Cut,
    /// It could not be started.
    NotStarted(io::Error),
}

impl Ending {
    /// Whether there is no such program, or none that can be run.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::NotStarted(error) if matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        ))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "{status}"),
            Self::TimedOut => f.write_str("it took too long and was ended"),
            Self::Cut => f.write_str("the agent ended, and it was ended too"),
            Self::NotStarted(error) => write!(f, "{}", dbvitals_probe::plain(error)),
        }
    }
}

/// Runs a program until all of its group has ended.
pub(super) async fn run(order: Order, ending: watch::Receiver<bool>) -> (Ending, Talk) {
    match start(&order).await {
        Ok((group, pipes)) => {
            let talk = Talk::default();
            let ended = accompany(group, pipes, &order, ending, &talk).await;
            (ended, talk)
        }
        Err(error) => (Ending::NotStarted(error), Talk::default()),
    }
}

async fn start(order: &Order) -> io::Result<(Group, Pipes)> {
    let mut command = command(order)?;
    // Before the start, so that no end is missed.
    let ends = signal(SignalKind::child())?;
    let started = tokio::task::spawn_blocking(move || command.spawn()).await;
    let mut child = started.map_err(io::Error::other)??;
    let pipes = Pipes::take(&mut child);
    let leader = Pid::from_child(&child);
    let group = Group {
        child,
        leader,
        ends,
        is_over: false,
    };
    Ok((group, pipes?))
}

fn command(order: &Order) -> io::Result<Command> {
    let Some((program, arguments)) = order.command.split_first() else {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", search_path())
        .envs(order.variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into())
}

/// Whether a program is there and may be run, as far as can be told without running it.
pub(super) fn is_there(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let can_run = |path: &Path| {
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return can_run(Path::new(program));
    }
    std::env::split_paths(&search_path()).any(|directory| can_run(&directory.join(program)))
}

/// Feeds, hears and oversees a group until it is over.
async fn accompany(
    mut group: Group,
    pipes: Pipes,
    order: &Order,
    ending: watch::Receiver<bool>,
    talk: &Talk,
) -> Ending {
    let mut talking = pin!(pipes.serve(&order.document, talk));
    let mut is_talking = true;
    let ended = {
        let mut overseeing = pin!(group.oversee(order.timeout, ending));
        loop {
            tokio::select! {
                ended = &mut overseeing => break ended,
                () = &mut talking, if is_talking => is_talking = false,
            }
        }
    };
    if is_talking {
        // Somebody outside of the group may hold the pipes for ever.
        let _ = timeout(LAST_WORDS, talking).await;
    }
    ended
}

/// A program's process group.
#[derive(Debug)]
struct Group {
    child: Child,
    /// The program, whose number is the group's as long as it is not waited for.
    leader: Pid,
    /// Tells that some child of ours has ended.
    ends: tokio::signal::unix::Signal,
    is_over: bool,
}

impl Group {
    /// Waits for the leader's end, or for a reason to bring it about, and ends the group.
    async fn oversee(&mut self, limit: Duration, mut ending: watch::Receiver<bool>) -> Ending {
        let reason = tokio::select! {
            biased;
            () = self.leader_ends() => None,
            () = sleep(limit) => Some(Ending::TimedOut),
            () = agent_ends(&mut ending) => Some(Ending::Cut),
        };
        let status = self.end().await;
        match (reason, status) {
            (Some(reason), _) => reason,
            (None, Ok(status)) => Ending::Exited(status),
            (None, Err(error)) => Ending::NotStarted(error),
        }
    }

    /// Returns when the leader has ended; it is not waited for, so that its number stays its own.
    async fn leader_ends(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(None) = waitid(WaitId::Pid(self.leader), options) {
            self.ends.recv().await;
        }
    }

    /// Ends what there is of the group: with TERM and, what is left after the grace, with KILL.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        // A group that has ended cannot be signalled, which is as good.
        let _ = kill_process_group(self.leader, Signal::TERM);
        // A stopped process would not hear it.
        let _ = kill_process_group(self.leader, Signal::CONT);
        let gone = async {
            self.leader_ends().await;
            let status = self.child.wait();
            while test_kill_process_group(self.leader).is_ok() {
                sleep(LOOK_EVERY).await;
            }
            status
        };
        let in_time = timeout(GRACE, gone).await;
        if in_time.is_err() {
            let _ = kill_process_group(self.leader, Signal::KILL);
            self.leader_ends().await;
        }
        self.is_over = true;
        self.child.wait()
    }
}

/// However the run ends, a panic or an abort included, its processes do not outlive it.
impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.leader, Signal::KILL);
            // Whatever cannot be waited for now is left to the end of the agent.
            let _ = self.child.try_wait();
        }
    }
}

/// Returns when hooks that run have had their time since the agent was told to end.
async fn agent_ends(ending: &mut watch::Receiver<bool>) {
    // An error means that whoever could tell is gone, which is an end, too.
    let _ = ending.wait_for(|ending| *ending).await;
    sleep(ENDING_WITHIN).await;
}
