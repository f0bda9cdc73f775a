//! Nodes of a Galera cluster: real MariaDB servers that replicate to each other synchronously.
//!
//! A node starts from a template that was a cluster of its own once, so that all nodes share a
//! history and a newcomer only has to be told what happened since: no state transfer, no rsync, and
//! none of the scripts of a package that would start a service. Needs Galera's library; ask
//! [`require_galera!`](crate::require_galera) before.
//!
//! A node that was stopped in order comes back with what it missed. One that was killed does not,
//! and neither does the first once it is the last: nobody could say what state it is in.
//!
//! The timeouts are short: a node whose peer is frozen or killed is non-primary after a second and
//! a half, and primary again half a second after a thaw. Shorter ones, with an install timeout
//! above the inactive one, flap for ever.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::account;
use crate::clock::eventually;
use crate::guardian::Guardian;
use crate::mariadb::{self, MariaDb, MariaDbOptions};
use crate::programs;
use crate::real_server::{PATIENCE, RealServer, ServerProcess};
use crate::shared::{Port, copy_template};

/// How long a node may close the sessions of those who ask it.
const CUT_OFF_MAX: Duration = Duration::from_secs(10);

/// Quick to notice a loss, as described above; a small cache, or it would be 128 MB a node.
const TIMES_AND_SIZES: &str = "evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S;\
    evs.install_timeout=PT2S;evs.inactive_check_period=PT0.25S;evs.keepalive_period=PT0.25S;\
    evs.join_retrans_period=PT0.25S;gcache.size=1M;gcache.page_size=1M";

/// Stands for the script that would copy the data to a newcomer, who has them already: both sides
/// only agree on the position that the newcomer's data are at.
const TRANSFER: &str = r#"#!/bin/sh
role= position=$DBVITALS_POSITION
while [ $# -gt 0 ]; do
    case $1 in
    --role) role=$2 ;;
    --gtid) position=$2 ;;
    esac
    shift
done
case $role in
donor) echo "done $position" ;;
joiner) echo 'ready 127.0.0.1:1/none' && echo "$position" ;;
esac
"#;

/// Sets `DBVITALS_POSITION` from the data directory `$1`, and the `PATH` to the script in `$2`.
const WITH_POSITION: &str = "DBVITALS_POSITION=$(awk '/^uuid:/ { uuid = $2 } \
    /^seqno:/ { print uuid \":\" $2 }' \"$1/grastate.dat\"); PATH=$2:$PATH; \
    export DBVITALS_POSITION PATH; shift 2; exec \"$@\"";

/// A node of a Galera cluster.
#[derive(Debug)]
pub struct GaleraNode {
    server: MariaDb,
    /// The name of the cluster, which no other cluster has: a port of a node that is gone may be
    /// another cluster's next.
    cluster: String,
    /// Where the nodes talk to each other.
    group: Port,
    /// Where a newcomer hears what it has missed.
    _catch_up: Port,
}

impl GaleraNode {
    /// Starts a node that is a cluster of its own, and waits until it is synced.
    ///
    /// # Panics
    ///
    /// Panics when Galera or MariaDB is not installed or does not start.
    #[must_use]
    pub fn start(options: MariaDbOptions) -> Self {
        let guardian = Guardian::new();
        let data = guardian.directory().join("data");
        copy_template(&recipe(), initialise, &data);
        Self::launch(options, guardian, "gcomm://", None)
    }

    /// Starts another node of the cluster that `peer` is in, and waits until it is synced, which
    /// takes a second.
    ///
    /// # Panics
    ///
    /// Panics as [`start`](Self::start) does.
    #[must_use]
    pub fn join(peer: &Self, options: MariaDbOptions) -> Self {
        let guardian = Guardian::new();
        copy_template(&recipe(), initialise, &guardian.directory().join("data"));
        let address = format!("gcomm://127.0.0.1:{}", peer.group.number());
        Self::launch(options, guardian, &address, Some(&peer.cluster))
    }

    /// Returns a counter or a state of `SHOW GLOBAL STATUS`, such as `wsrep_cluster_status`,
    /// whatever `wsrep_sync_wait` is.
    ///
    /// A node closes its clients' sessions when its group changes, so one that is cut off is asked
    /// again, for some seconds.
    ///
    /// # Panics
    ///
    /// Panics when there is no such state, or when the node cannot be asked.
    #[must_use]
    pub fn status(&self, name: &str) -> String {
        let statement =
            format!("SET SESSION wsrep_sync_wait = 0; SHOW GLOBAL STATUS LIKE '{name}'");
        let mut row = Err(String::new());
        eventually(CUT_OFF_MAX, || {
            row = self.server.try_sql(&statement);
            row.is_ok()
        });
        let row = row.unwrap_or_else(|words| panic!("{words}"));
        let value = row.split_once('\t').map(|(_, value)| value.to_owned());
        value.unwrap_or_else(|| panic!("no {name} in SHOW GLOBAL STATUS"))
    }

    /// Returns the server that the node is, for what a MariaDB can do.
    #[must_use]
    pub fn server(&self) -> &MariaDb {
        &self.server
    }

    fn launch(
        mut options: MariaDbOptions,
        guardian: Guardian,
        address: &str,
        cluster: Option<&str>,
    ) -> Self {
        let (group, catch_up) = (Port::reserve(), Port::reserve());
        let own = || format!("dbvitals-{}-{}", std::process::id(), group.number());
        let cluster = cluster.map_or_else(own, str::to_owned);
        let library = programs::find_galera().expect("run scripts/servers to install galera-4");
        let node = [
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={}", library.display()),
            format!("--wsrep-cluster-address={address}"),
            format!("--wsrep-cluster-name={cluster}"),
            format!("--wsrep-node-address=127.0.0.1:{}", group.number()),
            "--wsrep-sst-method=dbvitals".to_owned(),
            "--binlog-format=ROW".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{};\
                 ist.recv_addr=127.0.0.1:{};{TIMES_AND_SIZES}",
                group.number(),
                catch_up.number()
            ),
        ];
        options.arguments.splice(0..0, node);
        let directory = guardian.directory().display().to_string();
        write_script(&guardian.directory().join("wsrep_sst_dbvitals"));
        let data = format!("{directory}/data");
        let prefix = ["sh", "-c", WITH_POSITION, "sh", &data, &directory].map(str::to_owned);
        let server = MariaDb::launch(&options, guardian, Port::reserve(), &prefix);
        server.wait_ready();
        let node = Self {
            server,
            cluster,
            group,
            _catch_up: catch_up,
        };
        let synced = || node.status("wsrep_local_state_comment") == "Synced";
        assert!(
            eventually(PATIENCE, synced),
            "not synced\n{}",
            node.log_text()
        );
        if !options.first_sql.is_empty() {
            node.sql(&options.first_sql);
        }
        node
    }
}

impl RealServer for GaleraNode {
    fn process(&self) -> &ServerProcess {
        self.server.process()
    }

    fn sql(&self, statements: &str) -> String {
        self.server.sql(statements)
    }
}

fn write_script(path: &Path) {
    let written = fs::write(path, TRANSFER)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn recipe() -> String {
    [&mariadb::recipe(), "galera", TIMES_AND_SIZES].join("\n")
}

/// Makes a template: an ordinary data directory that one node has run on and left in order.
fn initialise(template: &Path) {
    let guardian = Guardian::new();
    let data = guardian.directory().join("data");
    copy_template(&mariadb::recipe(), mariadb::initialise, &data);
    let node = GaleraNode::launch(MariaDbOptions::default(), guardian, "gcomm://", None);
    node.stop_gracefully();
    for leftover in ["galera.cache", "gvwstate.dat"] {
        let _ = fs::remove_file(data.join(leftover));
    }
    let paths = ["-a", "--"].map(OsStr::new);
    let paths = [&paths[..], &[data.as_os_str(), template.as_os_str()]].concat();
    account::run(Path::new("cp"), &paths, "");
}
