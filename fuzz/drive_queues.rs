//! Reads what the kernel might say of accept queues, and checks what holds whatever the bytes.
//!
//! Nothing panics, no more is kept than was there, what is shown harms no terminal, and a listener
//! that was read is found again. The fuzz targets use this as a module, and so does
//! `crates/acceptqueue/tests/corpus.rs`.

use dbvitals_acceptqueue::{
    Counters, Listener, Listeners, Local, Process, Progress, Row, read_answer,
};

/// The sequence number of the requests that the corpus answers.
const SEQUENCE: u32 = 1;

/// Reads one datagram of an answer through netlink.
pub(crate) fn sock_diag(data: &[u8]) {
    let mut rows = Vec::new();
    let progress = read_answer(data, SEQUENCE, |row| rows.push(row));
    let kept: usize = rows.iter().map(size).sum();
    assert!(kept <= data.len(), "{kept} bytes kept of {}", data.len());
    if let Ok(Progress::Refused(errno)) = progress {
        assert_ne!(errno, 0, "zero is no refusal");
    }
    check_listeners(&rows.into_iter().filter_map(Listener::from_row).collect());
}

/// Reads tables of /proc, chosen by the first byte.
pub(crate) fn proc_tables(data: &[u8]) {
    let Some((choice, table)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => check_listeners(&Listeners::from_tables(table, b"")),
        1 => check_listeners(&Listeners::from_tables(b"", table)),
        2 => {
            let text = String::from_utf8_lossy(table);
            if let Ok(counters) = Counters::parse(&text) {
                assert_eq!(counters.since(&counters), Counters::default());
            }
        }
        _ => {
            let text = String::from_utf8_lossy(table);
            if let Some(process) = Process::parse(1, &text) {
                assert!(!process.command.contains(char::is_control), "{process:?}");
            }
        }
    }
}

/// What a row takes of the bytes it was read from, at least.
fn size(row: &Row) -> usize {
    match row {
        Row::Tcp(_) => 88,
        Row::Unix(row) => {
            let pending = row.pending.as_ref().map_or(0, Vec::len);
            let path = row.name.path().map_or(0, |path| path.as_os_str().len());
            32 + 4 * pending + path
        }
    }
}

fn check_listeners(listeners: &Listeners) {
    for listener in listeners.iter().take(64) {
        let shown = listener.local.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(
            listener.is_full(),
            listener.limit.map(|limit| listener.length > limit)
        );
        let found = listeners.again(listener);
        assert!(found.is_some_and(|it| it.is_same_socket(listener)));
        let named = match &listener.local {
            Local::Tcp { address, .. } => listeners.reached_at(*address),
            Local::Unix { name, .. } => listeners.named(name),
        };
        assert!(
            named.contains(&listener),
            "{listener:?} is not where it says"
        );
    }
}
