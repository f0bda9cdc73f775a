//! Where the servers' programs are.
//!
//! Debian keeps PostgreSQL's programs out of the `PATH`, and the `psql` inside it is a slow wrapper
//! that looks for clusters of the system. So the versioned directories come first, the newest
//! version ahead, then the `PATH`, then the places of system programs.

use std::path::{Path, PathBuf};
use std::{env, fs};

const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The programs that real servers need.
pub(crate) const NEEDED: [&str; 7] = [
    "mariadbd",
    "mariadb-install-db",
    "mariadb",
    "postgres",
    "initdb",
    "pg_basebackup",
    "psql",
];

/// Chromium, by the names of Debian's packages: without any window, or with them.
pub(crate) const CHROMIUM: [&str; 2] = ["chromium-headless-shell", "chromium"];

/// The path of an installed program.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    postgres_directories()
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// The path of Galera's library, wherever the package puts it.
pub(crate) fn find_galera() -> Option<PathBuf> {
    [
        "/usr/lib/galera",
        "/usr/lib64/galera-4",
        "/usr/lib/galera-4",
    ]
    .map(|directory| Path::new(directory).join("libgalera_smm.so"))
    .into_iter()
    .find(|library| library.is_file())
}

/// The path of a program that a server cannot do without.
///
/// # Panics
///
/// Panics, saying how to install it, when it is missing.
pub(crate) fn expect(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed: run scripts/servers"))
}

/// What identifies the version of an installed program.
pub(crate) fn version(program: &Path) -> String {
    crate::account::run(program, &["--version".as_ref()], "")
}

fn postgres_directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(POSTGRES_VERSIONS)
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    let directory = |version| Path::new(POSTGRES_VERSIONS).join(format!("{version}/bin"));
    versions.into_iter().map(directory).collect()
}
