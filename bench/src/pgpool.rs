//! pgpool, as Debian has it, for its health check alone: it takes no clients, and leaves nothing.
//!
//! It is many processes around shared memory, which outlive a killed parent. So it has namespaces of
//! its own for both, and they end with the process that is held.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::Bench;

/// Writes the configuration of one that checks these addresses, every so many seconds. In raw mode it
/// would check the first alone.
pub(crate) fn configure(
    bench: &Bench,
    name: &str,
    addresses: &[String],
    period_seconds: u64,
) -> anyhow::Result<PathBuf> {
    let directory = bench.scratch.join(format!("pgpool-{name}"));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let place = directory.display();
    let mut text = format!(
        "backend_clustering_mode = 'native_replication'\nlisten_addresses = ''\nport = 9999\n\
         socket_dir = '{place}'\npcp_listen_addresses = ''\npcp_socket_dir = '{place}'\n\
         pid_file_name = '{place}/pid'\nlogdir = '{place}'\nnum_init_children = 1\nmax_pool = 1\n\
         sr_check_period = 0\nhealth_check_period = {period_seconds}\nhealth_check_timeout = 1\n\
         connect_timeout = 1000\nhealth_check_user = 'vitals'\nhealth_check_database = 'vitals'\n\
         health_check_max_retries = 1\nhealth_check_retry_delay = 1\n"
    );
    for (number, address) in addresses.iter().enumerate() {
        let (host, port) = address.split_once(':').unwrap_or((address, "5432"));
        writeln!(
            text,
            "backend_hostname{number} = '{host}'\nbackend_port{number} = {port}\n\
             backend_weight{number} = 1\nbackend_flag{number} = 'ALLOW_TO_FAILOVER'"
        )?;
    }
    let path = directory.join("pgpool.conf");
    fs::write(&path, text)?;
    Ok(path)
}

/// The words that start one.
pub(crate) fn words(configuration: &Path) -> Vec<String> {
    let path = configuration.display().to_string();
    let apart = ["unshare", "--ipc", "--pid", "--fork", "--kill-child", "--"];
    let pgpool = ["pgpool", "-n", "-D", "-f", &path];
    let words = apart.into_iter().chain(pgpool);
    words.map(str::to_owned).collect()
}
