//! What was typed: the arguments of every command, with their help.
//!
//! Nothing is decided here; `commands/` gives the arguments a meaning.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dbvitals_verdict::{Depth, Want};

use crate::expectation::parse_want;
use crate::pings::GroupBy;
use crate::{depth, duration, record};

/// Knows whether a MySQL, MariaDB or PostgreSQL server is really alive and fit.
#[derive(Debug, Parser)]
#[command(
    name = "dbvitals",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 fine, 1 degraded, 2 down, 3 unknown or misuse."
)]
pub(crate) struct Cli {
    /// Print JSON: one document, or one object per line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Probe servers once and show how far it went, and why no further
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Wait until servers are fit, then exit or become another command
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(WaitArgs),
    /// Watch servers and tell everything that routes to them
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Show what the running agent thinks of its servers, and why
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Watch it all in a terminal: verdicts, causes, latency, time line
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Take a server out of rotation, or back
    #[command(after_help = SET_EXAMPLES)]
    Set(SetArgs),
    /// See it at work, with no database installed
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Check and show configuration files
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(ConfigArgs),
    /// Print what makes a shell complete dbvitals' arguments
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual pages
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
    /// Tell how soon each kind of fault is noticed, and what that costs a server
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Read a server's limits and tell what to set in the pools of its clients, and why
    #[command(after_help = ADVISE_EXAMPLES)]
    Advise(AdviseArgs),
    /// Show the accept queues of listeners: is one overflowing, whose, and since when
    #[command(after_help = QUEUES_EXAMPLES)]
    Queues(QueuesArgs),
    /// Show what another configuration would have concluded from a record of `serve --record`
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Show who asks "are you there", how often, and how much of it is useless
    #[command(after_help = PINGS_EXAMPLES)]
    Pings(PingsArgs),
}

const CHECK_EXAMPLES: &str = "\
A URL is mysql://, mariadb://, postgres://, tcp://host:port or unix:///path, with the options
socket=PATH, tls=off|prefer|require|verify, ca=FILE, depth=DEPTH, want=primary|replica|writable,
max_lag=DURATION; NAME=URL gives it a name.

Examples:
  dbvitals check mysql://vitals@10.0.0.11
  dbvitals check --password-file /run/credentials/orders 'postgres://vitals@db/orders?tls=verify'
  dbvitals check --query 'SELECT @@read_only' --equals 0 'mysql://vitals@localhost?socket=/run/mysqld/mysqld.sock'
  dbvitals check --expect replica --max-lag 10s mysql://vitals@10.0.0.12
  dbvitals check --nagios orders=postgres://10.0.0.12";

const WAIT_EXAMPLES: &str = "\
Examples:
  dbvitals wait postgres://app@db/app -- ./server --port 8080
  dbvitals wait --for 5m --pid-file /run/mysqld/mysqld.pid mysql://app@localhost";

const SERVE_EXAMPLES: &str = "\
With no arguments it watches the MySQL and PostgreSQL servers that listen on this machine.

Examples:
  dbvitals serve
  dbvitals serve --gate 13306 mysql://vitals@127.0.0.1:3306
  dbvitals serve --record /var/lib/dbvitals/record mysql://vitals@127.0.0.1:3306
  dbvitals serve -c /etc/dbvitals/dbvitals.toml";

const STATUS_EXAMPLES: &str = "\
The agent is found by --agent or -c, else by DBVITALS_AGENT, else at the usual control sockets
($XDG_RUNTIME_DIR/dbvitals, /run/dbvitals, /var/lib/dbvitals), else at http://127.0.0.1:8306.

Exit codes: 0 all is fine; 1 something is degraded, drained, in maintenance, or fit only in part;
2 something is down, or a service has two primaries; 3 something is unknown, the check itself fails,
or there is no agent. The worst of those named decides, without names the worst of all.

Examples:
  dbvitals status
  dbvitals status orders-1                 both paths of one server, what is wrong, and what to do
  dbvitals status --watch
  dbvitals status --agent http://db-a:8306 --json";

const TOP_EXAMPLES: &str = "\
The agent is found as by status. Keys are shown at the bottom, and all of them with ?.
Orders are given at the control socket, or over HTTP with the token of token_file.

Exit codes: those of status, for what was seen last.

Examples:
  dbvitals top
  dbvitals top --agent http://db-a:8306 --token-file ~/.dbvitals-token
  ssh -t db-a dbvitals top";

const SET_EXAMPLES: &str = "\
drain: finish what runs, take nothing new. maint: out of everything. ready: back as soon as it is fit.
Gates close, /health answers 503 and HAProxy is told; probes go on. The order survives restarts of
the agent. It is given at the control socket, or over HTTP with the token of token_file.

Examples:
  dbvitals set orders-2 drain --reason 'kernel update'
  dbvitals set orders-2 maint --for 30m
  dbvitals set orders-2 ready
  dbvitals set orders-2 drain --agent http://db-a:8306 --token-file ~/.dbvitals-token";

const DEMO_EXAMPLES: &str = "\
Examples:
  dbvitals demo          until Ctrl-C
  dbvitals demo --once   one round of the script, then a table
  dbvitals demo --open   prints the address of its page and nothing else, for scripts";

const CONFIG_EXAMPLES: &str = "\
Examples:
  dbvitals config check                      /etc/dbvitals/dbvitals.toml; exit code 3 if anything is wrong
  dbvitals config show -c dbvitals.toml      what is in force, and where each value came from
  dbvitals config default > dbvitals.toml    a file to start from
  dbvitals config schema                     for editors and other checkers";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  dbvitals completions bash > /etc/bash_completion.d/dbvitals
  dbvitals completions zsh > /usr/local/share/zsh/site-functions/_dbvitals
  dbvitals completions fish > ~/.config/fish/completions/dbvitals.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  dbvitals man check | man -l -                      the page of one command
  dbvitals man --dir /usr/local/share/man/man1       all pages, a file each";

const EXPLAIN_EXAMPLES: &str = "\
Nothing is probed. With no target it explains the defaults.

Examples:
  dbvitals explain
  dbvitals explain --interval 500ms --timeout 2s --fall 3
  dbvitals explain mysql://vitals@10.0.0.11?depth=role
  dbvitals explain -c /etc/dbvitals/dbvitals.toml";

const ADVISE_EXAMPLES: &str = "\
The server is asked once, as the user of the URL: limits of a role, of an account or of a database are
those of that user. With postgres://USER@HOST:6432/pgbouncer it is PgBouncer that is asked.

Exit codes: 0 no warning, notes apart; 1 a warning: errors will come of what is set, or of the server's
limits; 2 the server is down; 3 it does not let us ask, be it that it is full, or misuse.

Examples:
  dbvitals advise mysql://vitals@10.0.0.11
  dbvitals advise --instances 12 --for go,hikaricp postgres://vitals@10.0.0.12/app
  dbvitals advise --instances 12 --max-open 30 --max-lifetime 30m mysql://vitals@10.0.0.11
  dbvitals advise --json --for sqlalchemy postgres://vitals@10.0.0.12/app";

const QUEUES_EXAMPLES: &str = "\
With no arguments it shows all listeners of this network namespace. It works for every user; what
is hidden without privileges (other users' processes, limits in other namespaces) is said.
Exit codes: 0 room everywhere, 1 over 80 %, or overflowed during the watch, 2 full, or nothing
listens there, 3 misuse.

Examples:
  dbvitals queues
  dbvitals queues 3306 /run/mysqld/mysqld.sock
  dbvitals queues --watch --for 10m /run/php/php-fpm.sock
  dbvitals queues --everywhere 5432";

const REPLAY_EXAMPLES: &str = "\
Exit codes: 0 the same conclusions, 1 others, 3 misuse, or a record that cannot be read.

Examples:
  dbvitals replay /var/lib/dbvitals/record --fall 3
  dbvitals replay /var/lib/dbvitals/record -c other.toml";

const PINGS_EXAMPLES: &str = "\
Pings are COM_PING, COM_STATISTICS, COM_RESET_CONNECTION, SELECT 1 and its kin, the empty query,
and PostgreSQL's lone Sync. Connections under TLS cannot be read, and are counted as opaque. The
first 96 bytes of each packet are enough.

--compare-with reads MySQL's Com_admin_commands and Connections, which everybody may;
performance_schema (SELECT on it); PostgreSQL's pg_stat_statements (pg_read_all_stats). With
--interface they are read before and after; beside a file stands what they say now.

Exit codes: 0 told, 1 told of a part, since the capture is cut off or damaged or packets were lost
on the way, 3 misuse.

Examples:
  tcpdump -i any -s 96 -w pings.pcap 'tcp port 3306'; dbvitals pings --pcap pings.pcap
  ssh db-a tcpdump -i any -s 96 -w - -U 'tcp port 5432' | dbvitals pings --pcap -
  dbvitals pings --interface lo --port 3306 --for 60s --group-by connection
  dbvitals pings --interface eth0 --port 5432 --compare-with postgres://vitals@db-a
  dbvitals pings --pcap pings.pcap --keep-pings-only shared.pcap";

/// Where the password comes from, for commands that take URLs.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from this file (else from DBVITALS_PASSWORD, or the URL)
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// What to probe
    #[arg(required = true, value_name = "[NAME=]URL")]
    pub(crate) targets: Vec<String>,
    /// How far to go: connect, greeting, login, ping, query, role, lag or write (which commits a
    /// row of the table dbvitals_heartbeat) [default: ping with a user, greeting without, connect
    /// for tcp:// and unix://]
    #[arg(long, value_parser = depth::parse)]
    pub(crate) depth: Option<Depth>,
    /// How long each probe may take, all phases together
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// What each target must be: primary, replica or writable; raises the depth to role
    #[arg(long, value_name = "ROLE", value_parser = parse_want)]
    pub(crate) expect: Option<Want>,
    /// How far a replica may be behind; raises the depth to lag
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) max_lag: Option<Duration>,
    /// Degraded where the server takes longer than this to answer
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) slow_over: Option<Duration>,
    /// Run this statement; its first value is the answer
    #[arg(long, value_name = "SQL")]
    pub(crate) query: Option<String>,
    /// What the statement must answer
    #[arg(long, value_name = "VALUE", requires = "query")]
    pub(crate) equals: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Probe so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// The time from one round to the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    pub(crate) interval: Duration,
    /// Print one line as monitoring plugins do
    #[arg(long, conflicts_with = "json")]
    pub(crate) nagios: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// What to wait for
    #[arg(required = true, value_name = "[NAME=]URL")]
    pub(crate) targets: Vec<String>,
    /// How long to wait
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub(crate) patience: Duration,
    /// How far each probe goes, as in check
    #[arg(long, value_parser = depth::parse)]
    pub(crate) depth: Option<Depth>,
    /// Give up as soon as the process named in this file is gone
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Become this command once all are fit
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["targets", "gate"])]
    pub(crate) config: Option<PathBuf>,
    /// What to watch
    #[arg(value_name = "[NAME=]URL")]
    pub(crate) targets: Vec<String>,
    /// A port, ADDRESS:PORT or unix:PATH that is open only while the one target is fit
    #[arg(long, value_name = "[ADDRESS:]PORT|unix:PATH")]
    pub(crate) gate: Option<String>,
    /// Where /health and /metrics are answered, or `off` [default: 127.0.0.1:8306]
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    pub(crate) http: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Keep every observation in this file, for replay
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// How large the record may become, both its generations (FILE and FILE.1) together
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = record::parse_size, requires = "record")]
    pub(crate) record_max: u64,
    /// Log every probe
    #[arg(long)]
    pub(crate) debug: bool,
    /// How the log is written; text that goes to the systemd journal has priorities, and no times
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object per line
    Json,
}

/// Which running agent is meant.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The configuration file that the agent runs from
    #[arg(short, long, value_name = "FILE", conflicts_with = "agent")]
    pub(crate) config: Option<PathBuf>,
    /// Where the agent answers: the path of its control socket, or its URL
    #[arg(long, value_name = "SOCKET|URL")]
    pub(crate) agent: Option<String>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Tell of these backends and services in full
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Show it anew every second; into a file or a pipe, whenever it changes
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// A file with the token for orders over HTTP
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The backend
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What is to become of it
    #[arg(value_enum)]
    pub(crate) state: AdminState,
    /// Back to ready by itself after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) patience: Option<Duration>,
    /// Why, for those who meet it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// A file with the token for orders over HTTP
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// What an operator can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdminState {
    /// Take part
    Ready,
    /// Finish what runs, take nothing new
    Drain,
    /// Out for maintenance
    Maint,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Run the script once, print the table and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Print the address of the page alone, as soon as it is there
    #[arg(long, conflicts_with = "json")]
    pub(crate) open: bool,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) question: ConfigQuestion,
}

/// What can be asked about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigQuestion {
    /// Say everything that is wrong with a file, passwords that cannot be read included
    Check(ConfigFileArgs),
    /// Show what is in force, and where each value came from; passwords are left out
    Show(ConfigFileArgs),
    /// Print a file with every default and its reason
    Default,
    /// Print the JSON Schema of the file
    Schema,
}

/// Which configuration file.
#[derive(Debug, Args)]
pub(crate) struct ConfigFileArgs {
    /// The file, or - for standard input [default: /etc/dbvitals/dbvitals.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as serve has it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: CompletionShell,
}

/// The shells whose completions are known to work.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CompletionShell {
    /// GNU bash
    Bash,
    /// Z shell
    Zsh,
    /// Friendly interactive shell
    Fish,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this command [default: all pages, one after the other]
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub(crate) command: Vec<String>,
    /// Write all pages into this directory, a file each
    #[arg(long = "dir", value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
}

/// A pace in place of a plan's own.
#[derive(Debug, Args)]
pub(crate) struct PaceArgs {
    /// The time from one question to the next
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) interval: Option<Duration>,
    /// How long each probe may take
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// Failures in a row that make down
    #[arg(long, value_name = "N")]
    pub(crate) fall: Option<u32>,
    /// Passes in a row that make up
    #[arg(long, value_name = "N")]
    pub(crate) rise: Option<u32>,
    /// The pace while an opinion is changing
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) fast_interval: Option<Duration>,
    /// The pace while down
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) down_interval: Option<Duration>,
    /// The pace of confirming probes after a held session died
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) confirm_interval: Option<Duration>,
    /// The pace of fresh sessions
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) fresh_interval: Option<Duration>,
    /// After how long without proof a verdict becomes unknown
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) stale_after: Option<Duration>,
    /// The latency budget: over it a server is degraded
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) slow_over: Option<Duration>,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", conflicts_with = "targets")]
    pub(crate) config: Option<PathBuf>,
    /// What would be watched; nothing of it is asked
    #[arg(value_name = "[NAME=]URL")]
    pub(crate) targets: Vec<String>,
    /// How far each probe goes
    #[arg(long, value_parser = depth::parse, conflicts_with = "config")]
    pub(crate) depth: Option<Depth>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
}

/// Arguments of `advise`.
#[derive(Debug, Args)]
pub(crate) struct AdviseArgs {
    /// The server
    #[arg(value_name = "URL")]
    pub(crate) target: String,
    /// How many processes with a pool of their own share the server
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) instances: u32,
    /// Only for these [default: all that speak the server's protocol]
    #[arg(long = "for", value_enum, value_name = "CLIENT", value_delimiter = ',')]
    pub(crate) clients: Vec<PoolClient>,
    #[command(flatten)]
    pub(crate) present: PresentArgs,
    /// How long the question may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}

/// How pools are set now, to be held against the server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PresentArgs {
    /// How many connections each pool may open now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_open: Option<u32>,
    /// How old connections may become now
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) max_lifetime: Option<Duration>,
    /// How long connections may idle now
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) max_idle_time: Option<Duration>,
}

/// The pools that there is advice for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolClient {
    /// Go's database/sql
    Go,
    /// pgx's pool, for Go
    Pgx,
    /// HikariCP, for Java
    Hikaricp,
    /// Rails' Active Record
    Rails,
    /// SQLAlchemy, for Python
    Sqlalchemy,
    /// node-postgres
    Pg,
    /// mysql2, for Node
    Mysql2,
    /// sqlx, for Rust
    Sqlx,
    /// deadpool, for Rust
    Deadpool,
    /// bb8, for Rust
    Bb8,
    /// dbvitals-pool, for Rust
    DbvitalsPool,
    /// PgBouncer's connections to its server
    Pgbouncer,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// What `serve --record` wrote
    #[arg(value_name = "RECORD")]
    pub(crate) record: PathBuf,
    /// The other configuration; its backends are told by their names
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
}

/// Arguments of `queues`.
#[derive(Debug, Args)]
pub(crate) struct QueuesArgs {
    /// A port, an address with its port, the path of a unix socket, or @NAME for an abstract one
    #[arg(value_name = "PORT|PATH")]
    pub(crate) places: Vec<String>,
    /// Go on until Ctrl-C: peaks, overflows per second, and a line when a queue fills or drains
    #[arg(long)]
    pub(crate) watch: bool,
    /// How often a watch is told; it looks 50 times a second whatever this says, and more rarely
    /// where listeners are many
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse, requires = "watch")]
    pub(crate) interval: Duration,
    /// End the watch after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse, requires = "watch")]
    pub(crate) duration: Option<Duration>,
    /// Look into the network namespace of this process, a container's for instance
    #[arg(long, value_name = "PID", conflicts_with = "everywhere")]
    pub(crate) pid: Option<u32>,
    /// Look into all network namespaces of this machine
    #[arg(long)]
    pub(crate) everywhere: bool,
}

/// Arguments of `pings`.
#[derive(Debug, Args)]
pub(crate) struct PingsArgs {
    /// The capture, pcap or pcapng, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
    /// Listen to this interface instead (lo for clients on this machine); needs CAP_NET_RAW
    #[arg(long, value_name = "IF", requires = "port", conflicts_with = "pcap")]
    pub(crate) interface: Option<String>,
    /// How long to listen
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration::parse, requires = "interface")]
    pub(crate) patience: Duration,
    /// Only servers on this port; they are recognised by what they say, on any port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Whose pings are counted together
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = GroupBy::Client)]
    pub(crate) group_by: GroupBy,
    /// A ping this soon after the server was heard is useless, if a command follows it
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    pub(crate) idle_threshold: Duration,
    /// Write a copy of the capture, with no more of it than headers and pings, into this new file
    #[arg(long, value_name = "FILE", conflicts_with = "interface")]
    pub(crate) keep_pings_only: Option<PathBuf>,
    /// Ask this server what it has counted itself, and show the difference
    #[arg(long, value_name = "URL")]
    pub(crate) compare_with: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}
