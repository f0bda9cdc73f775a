//! The file of the history: a SQLite database, written by one thread.
//!
//! Write-ahead log, synchronous NORMAL: a kill loses nothing that was committed, a power cut the last
//! second or so, and neither leaves a file that cannot be read. What a file has to be to be gone on
//! with is looked at when it is opened; whatever else is there is the caller's to set aside.

mod pruning;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};

use super::digest::{Digest, Series};

/// Marks the file as ours: `dbvt`.
const APPLICATION: i32 = 0x6462_7674;
/// The version of the tables.
const VERSION: i32 = 1;
/// What the tables may take: a day of a thousand backends at the default pace.
pub(super) const BYTES_MAX: u64 = 512 << 20;
/// What the write-ahead log may take beside them, while somebody reads and it cannot be emptied.
const LOG_BYTES_MAX: u64 = 32 << 20;
/// Minutes that are pruned together.
pub(super) const SLOT_MINUTES: i64 = 10;
const PAGE_BYTES: u64 = 4096;
/// How long somebody else who writes is waited for: a person with `sqlite3`.
const BUSY_FOR: Duration = Duration::from_millis(500);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It is no history of ours, or a broken one.
    #[error("{0}")]
    Broken(String),
    /// It may be fine, and cannot be reached or written now.
    #[error("{0}")]
    Disk(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let words = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Broken(words),
            _ => Self::Disk(words),
        }
    }
}

/// A transition, in the words in which it is kept.
#[derive(Debug)]
pub(super) struct TransitionRow {
    pub(super) at_ms: i64,
    pub(super) backend: Arc<str>,
    pub(super) line: String,
    pub(super) evidence: String,
}

/// One digest and whose it is.
#[derive(Debug)]
pub(super) struct DigestRow<'a> {
    pub(super) backend: &'a str,
    pub(super) minute: i64,
    pub(super) series: Series,
    pub(super) digest: &'a Digest,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    /// The file's device and number: somebody may take it away.
    identity: Option<(u64, u64)>,
    /// Whether the tables are there.
    is_made: bool,
    /// The numbers of backends, and when each was noted to be seen last.
    backends: BTreeMap<Box<str>, (i64, i64)>,
    /// This run, once something could be written.
    run: Option<Run>,
}

/// The row of a run.
#[derive(Debug, Clone, Copy)]
struct Run {
    id: i64,
    began_ms: i64,
}

impl Store {
    /// Opens the file, which is made where it is missing, and looks at all of it. Nothing is written
    /// yet: a disk that takes nothing is tried again and again, the whole file is not read again.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_FOR)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        connection.pragma_update(None, "max_page_count", (BYTES_MAX / PAGE_BYTES) as i64)?;
        let is_made = match check(&connection)? {
            Found::Nothing => false,
            Found::History => true,
        };
        Ok(Self {
            identity: identity(path),
            path: path.to_owned(),
            is_made,
            backends: BTreeMap::new(),
            run: None,
            connection,
        })
    }

    /// Whether there is something to read.
    pub(super) fn is_made(&self) -> bool {
        self.is_made
    }

    /// Whether the system let the file be opened to read alone; a new connection may have more luck.
    pub(super) fn is_readonly(&self) -> bool {
        self.connection.is_readonly("main").unwrap_or(true)
    }

    /// This run. With the first thing written, what the file lacks is made.
    fn run(&mut self, now_ms: i64) -> Result<Run, Trouble> {
        if let Some(run) = self.run {
            return Ok(run);
        }
        // Answers with the mode in force; a filesystem without shared memory keeps its journal.
        self.connection
            .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        self.connection
            .pragma_update(None, "synchronous", "normal")?;
        self.connection
            .pragma_update(None, "journal_size_limit", 4 << 20)?;
        self.connection
            .pragma_update(None, "temp_store", "memory")?;
        let transaction = self.connection.transaction()?;
        if !self.is_made {
            create(&transaction, now_ms)?;
        }
        name_series(&transaction)?;
        // A run whose clock was ahead may have dropped everything up to then; this one knows what
        // is kept from now on.
        transaction.execute(
            "UPDATE kept SET since_ms = ?1 WHERE since_ms > ?1",
            [now_ms],
        )?;
        transaction.execute(
            "INSERT INTO run (began_ms, seen_ms) VALUES (?1, ?1)",
            [now_ms],
        )?;
        let run = Run {
            id: transaction.last_insert_rowid(),
            began_ms: now_ms,
        };
        transaction.commit()?;
        self.is_made = true;
        self.run = Some(run);
        Ok(run)
    }

    /// Whether the file is still the one at its path.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path) == self.identity
    }

    /// Writes all of it, or nothing.
    pub(super) fn write(
        &mut self,
        transitions: &[TransitionRow],
        digests: &[DigestRow<'_>],
        now_ms: i64,
    ) -> Result<(), Trouble> {
        let run = self.run(now_ms)?;
        self.check_log()?;
        let transaction = self.connection.transaction()?;
        let mut backends = Backends {
            transaction: &transaction,
            known: &mut self.backends,
            now_ms,
        };
        let written = write_all(&mut backends, transitions, digests).and_then(|()| {
            note_run(&transaction, run, now_ms)?;
            transaction.commit()
        });
        if written.is_err() {
            // Numbers that were given in vain.
            self.backends.clear();
        }
        Ok(written?)
    }

    /// Notes that the agent is there, where there is nothing else to write.
    pub(super) fn note_run(&mut self, now_ms: i64) -> Result<(), Trouble> {
        let run = self.run(now_ms)?;
        Ok(note_run(&self.connection, run, now_ms)?)
    }

    /// What the history takes on disk, the log included.
    pub(super) fn bytes(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        length(&self.path) + length(&log_of(&self.path))
    }

    /// A reader that never ends keeps the log from being emptied; then nothing more goes into it.
    fn check_log(&self) -> Result<(), Trouble> {
        let length = || fs::metadata(log_of(&self.path)).map_or(0, |file| file.len());
        if length() <= LOG_BYTES_MAX {
            return Ok(());
        }
        let emptied = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.connection.query_row(emptied, [], |_| Ok(()))?;
        match length() <= LOG_BYTES_MAX {
            true => Ok(()),
            false => Err(Trouble::Disk(
                "somebody has been reading the file for so long that its log is full".to_owned(),
            )),
        }
    }
}

/// Opens a file that nobody can write, not even the log beside it that readers of a file share with
/// its writer: on a disk that is full or read-only, after a run that ended in order.
pub(super) fn open_still(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(still(path), flags)
}

/// Whether there is a history that can be read so: whole, with nothing in the log.
pub(super) fn is_whole_without_log(path: &Path) -> bool {
    let log_is_empty = fs::metadata(log_of(path)).map_or(true, |log| log.len() == 0);
    let found = || check(&open_still(path)?);
    log_is_empty && matches!(found(), Ok(Found::History))
}

/// The name of a file that does not change, as SQLite has it.
fn still(path: &Path) -> String {
    let mut name = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => name.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(*byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name + "?immutable=1"
}

/// What lies at the path.
enum Found {
    /// An empty file.
    Nothing,
    /// A history that can be gone on with.
    History,
}

/// Looks at all of what is there, as far as it can be told to be broken.
fn check(connection: &Connection) -> Result<Found, Trouble> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, version): (i32, i32) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        return Ok(Found::Nothing);
    }
    if application != APPLICATION {
        return Err(Trouble::Broken(
            "it is a database of another program".to_owned(),
        ));
    }
    if version != VERSION {
        let why = format!("it is of version {version}, and this agent writes version {VERSION}");
        return Err(Trouble::Broken(why));
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match found == "ok" {
        true => Ok(Found::History),
        false => Err(Trouble::Broken(found.replace('\n', " "))),
    }
}

fn create(transaction: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.execute(
        "INSERT INTO kept (what, since_ms) VALUES ('transitions', ?1), ('digests', ?1)",
        [now_ms],
    )?;
    Ok(())
}

/// Says what the numbers of series mean, to people who read the views.
fn name_series(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare("INSERT OR IGNORE INTO series (id, path, depth, phase) VALUES (?, ?, ?, ?)")?;
    for series in Series::all() {
        insert.execute(params![
            series.number(),
            series.path.name(),
            series.depth.name(),
            series.phase_name()
        ])?;
    }
    Ok(())
}

fn write_all(
    backends: &mut Backends<'_>,
    transitions: &[TransitionRow],
    digests: &[DigestRow<'_>],
) -> rusqlite::Result<()> {
    let mut insert = backends
        .transaction
        .prepare("INSERT INTO transition (at_ms, backend, line, evidence) VALUES (?, ?, ?, ?)")?;
    for row in transitions {
        let backend = backends.number(&row.backend)?;
        insert.execute(params![row.at_ms, backend, row.line, row.evidence])?;
    }
    let mut insert = backends.transaction.prepare(
        "INSERT OR IGNORE INTO digest
             (slot, backend, minute, series, count, p50_us, p95_us, p99_us, max_us, buckets)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for row in digests {
        let backend = backends.number(row.backend)?;
        let key = (
            row.minute.div_euclid(SLOT_MINUTES),
            backend,
            row.minute,
            row.series.number(),
        );
        let mut put = |digest: &Digest| {
            insert.execute(params![
                key.0,
                key.1,
                key.2,
                key.3,
                i64::try_from(digest.count).unwrap_or(i64::MAX),
                digest.percentile(50),
                digest.percentile(95),
                digest.percentile(99),
                digest.max,
                digest.to_bytes()
            ])
        };
        if put(row.digest)? == 0 {
            // The same minute was begun before: by a run that ended in it, or before a reload.
            let mut both = take_back(backends.transaction, key)?;
            both.merge(row.digest);
            put(&both)?;
        }
    }
    Ok(())
}

/// Removes a digest that another one is to be put together with.
fn take_back(transaction: &Transaction<'_>, key: (i64, i64, i64, u16)) -> rusqlite::Result<Digest> {
    transaction.query_row(
        "DELETE FROM digest WHERE slot = ? AND backend = ? AND minute = ? AND series = ?
         RETURNING max_us, buckets",
        key,
        |row| Ok(Digest::of_bytes(row.get(0)?, &row.get::<_, Vec<u8>>(1)?)),
    )
}

fn note_run(connection: &Connection, run: Run, now_ms: i64) -> rusqlite::Result<()> {
    let mut noted = connection.prepare("UPDATE run SET seen_ms = ? WHERE id = ?")?;
    noted.execute([now_ms, run.id]).map(|_| ())
}

/// The backends' numbers, as rows are written.
struct Backends<'a> {
    transaction: &'a Transaction<'a>,
    known: &'a mut BTreeMap<Box<str>, (i64, i64)>,
    now_ms: i64,
}

/// How exact it is noted when a backend was seen last.
const SEEN_EVERY_MS: i64 = 3_600_000;

impl Backends<'_> {
    fn number(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some((number, seen)) = self.known.get(name)
            && self.now_ms - seen < SEEN_EVERY_MS
        {
            return Ok(*number);
        }
        let number = self.transaction.query_row(
            "INSERT INTO backend (name, seen_ms) VALUES (?, ?)
             ON CONFLICT (name) DO UPDATE SET seen_ms = excluded.seen_ms RETURNING id",
            params![name, self.now_ms],
            |row| row.get(0),
        )?;
        self.known.insert(name.into(), (number, self.now_ms));
        Ok(number)
    }
}

/// The write-ahead log of a database.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The index of that log, which is in memory that processes share.
pub(super) fn index_of(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests;
