//! What a test can do to a real server, of either product: freeze it, kill it, start it again.
//!
//! [`RealServer`] is implemented by `MariaDb` and `Postgres`; a [`ServerProcess`] is their common
//! part, a guarded process that can be started several times in the same directory and on the same
//! port. All methods take `&self`, so that a server can be frozen while others talk to it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use crate::clock::eventually;
use crate::guardian::Guardian;
use crate::network::Network;
use crate::process::Process;
use crate::shared::Port;
use crate::small_disk::{SmallDisk, confine};

/// How long a server may take to start or to shut down, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How much of the end of a log a panic shows, in lines.
const LOG_TAIL_LINES: usize = 20;

/// A real database server that belongs to one test and ends with it.
pub trait RealServer {
    /// Returns the process behind the server, of which the other methods are made.
    fn process(&self) -> &ServerProcess;

    /// Runs statements as the superuser over the unix socket and returns what they print: a row
    /// per line, without headings.
    ///
    /// # Panics
    ///
    /// Panics with the server's message when a statement fails, and after a minute.
    fn sql(&self, statements: &str) -> String;

    /// Returns the TCP port, the same after every start.
    fn port(&self) -> u16 {
        self.process().port.number()
    }

    /// Returns the first address the server listens on.
    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.process().host, self.port())
    }

    /// Returns the number of the server's main process, also after its end.
    fn pid(&self) -> u32 {
        self.process().state().process.pid()
    }

    /// Returns the directory that holds the server's data, its unix socket and its log.
    fn directory(&self) -> &Path {
        &self.process().directory
    }

    /// Returns all that the server has logged since it was made, over all its starts.
    fn log_text(&self) -> String {
        self.process().log_since(0)
    }

    /// Ends all of the server's processes at once, without a shutdown, and waits for their end.
    fn kill(&self) {
        let mut state = self.process().state();
        state.process.kill();
        state.guardian.reap();
    }

    /// Asks for an orderly shutdown that does not wait for clients, and waits for its end.
    ///
    /// PostgreSQL waits nevertheless, up to a minute, for a connection that came during the
    /// shutdown and has not said a word.
    ///
    /// # Panics
    ///
    /// Panics when the server is not gone after half a minute, as a frozen one would not.
    fn stop_gracefully(&self) {
        let server = self.process();
        let mut state = server.state();
        state.process.signal(server.launch.shutdown);
        assert!(
            state.process.wait_gone(PATIENCE),
            "no shutdown\n{}",
            server.log_tail()
        );
        state.guardian.reap();
    }

    /// Stops all of the server's processes: the kernel still accepts connections, nobody answers.
    fn freeze(&self) {
        self.process().state().process.freeze();
    }

    /// Lets a frozen server go on.
    fn thaw(&self) {
        self.process().state().process.thaw();
    }

    /// Leaves no room on the server's small disk.
    ///
    /// # Panics
    ///
    /// Panics when the server has none, or does not run.
    fn fill_disk(&self) {
        let server = self.process();
        server.disk().fill(self.pid(), &server.directory);
    }

    /// Makes room again after [`fill_disk`](Self::fill_disk).
    ///
    /// # Panics
    ///
    /// Panics when the disk was not filled up, or the server does not run.
    fn free_disk(&self) {
        let server = self.process();
        server.disk().free(self.pid(), &server.directory);
    }

    /// Starts a server that was killed or stopped, with the same data and port, and waits until it
    /// is ready.
    ///
    /// # Panics
    ///
    /// Panics when the server runs already, and as [`wait_ready`](Self::wait_ready) does.
    fn start_again(&self) {
        self.process().start_again();
        self.wait_ready();
    }

    /// Waits until the server takes connections. The log tells, so nothing is left behind: no
    /// connection is made and no counter moves.
    ///
    /// # Panics
    ///
    /// Panics with the end of the log when the server ends or is not ready after half a minute.
    fn wait_ready(&self) {
        let server = self.process();
        server.wait_for_log(server.launch.ready);
    }
}

/// How a server is run.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) command: Vec<String>,
    /// What the log says once connections are taken.
    pub(crate) ready: &'static str,
    /// The signal that asks for a shutdown which does not wait for clients.
    pub(crate) shutdown: Signal,
    /// What the server runs on; the command enters it by itself.
    pub(crate) disk: Option<SmallDisk>,
    pub(crate) network: Option<Network>,
}

/// A guarded server process; what one can do with it is in [`RealServer`].
#[derive(Debug)]
pub struct ServerProcess {
    launch: Launch,
    directory: PathBuf,
    log: PathBuf,
    host: IpAddr,
    state: Mutex<State>,
    /// Given back after the server is gone: fields are dropped in order.
    port: Port,
}

#[derive(Debug)]
struct State {
    process: Process,
    guardian: Guardian,
    /// Where the log of the newest start begins, in bytes.
    log_start: usize,
}

impl ServerProcess {
    /// Starts the server for the first time; it need not be ready yet.
    pub(crate) fn start(
        mut launch: Launch,
        host: IpAddr,
        port: Port,
        mut guardian: Guardian,
    ) -> Self {
        let directory = guardian.directory().to_owned();
        let (disk, network) = (launch.disk.as_ref(), launch.network.as_ref());
        launch.command = confine(launch.command, &directory, disk, network);
        let log = guardian.log_file();
        let process = guardian.start(&launch.command);
        let state = Mutex::new(State {
            process,
            guardian,
            log_start: 0,
        });
        Self {
            launch,
            directory,
            log,
            host,
            port,
            state,
        }
    }

    /// Waits until the server has written `text` since its newest start.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let mut ended = false;
        let settled = eventually(PATIENCE, || {
            let state = self.state();
            ended = state.process.is_gone();
            ended || self.log_since(state.log_start).contains(text)
        });
        let why = if ended {
            "the server ended"
        } else {
            "the server takes too long"
        };
        assert!(
            settled && !ended,
            "{why}, waiting for {text:?}\n{}",
            self.log_tail()
        );
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().process.is_gone()
    }

    fn disk(&self) -> &SmallDisk {
        let disk = self.launch.disk.as_ref();
        disk.expect("the server was started with the option `disk`")
    }

    pub(crate) fn start_again(&self) {
        let mut state = self.state();
        assert!(
            state.process.is_gone(),
            "the server runs: kill or stop it first"
        );
        state.log_start = self.log_bytes().len();
        state.process = state.guardian.start(&self.launch.command);
    }

    fn log_since(&self, start: usize) -> String {
        String::from_utf8_lossy(&self.log_bytes()[start..]).into_owned()
    }

    fn log_bytes(&self) -> Vec<u8> {
        // The guardian opens the log a moment after it has taken the order to start.
        fs::read(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let text = self.log_since(0);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("its log ends with:\n{}", tail.join("\n"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A failed expectation of another thread does not make the state any worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
