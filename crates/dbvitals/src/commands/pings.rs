//! `pings`: liveness traffic in a capture, or on an interface: how much, from whom, how useless.
//!
//! Exits with 0 once it has told, with 1 where what is told is of a part (the capture ends in the
//! middle of a packet or is damaged, or the kernel had no room for packets), and with 3 where there
//! is nothing to read.

mod comparison;
mod document;
mod interface;
mod live;
mod page;
mod progress;
mod server_counters;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use self::comparison::{Comparison, Since};
use self::progress::Progress;
use self::server_counters::{Reading, ServerCounters};
use crate::cli::PingsArgs;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::pings::{Account, CaptureError, CaptureFile, CaptureWriter, Listener, Settings};

/// Listens, to a file or an interface, and reports.
pub(crate) fn run(args: &PingsArgs, json: bool) -> anyhow::Result<Exit> {
    let mut listener = Listener::new(Settings {
        port: args.port,
        group_by: args.group_by,
        idle_threshold: nanoseconds(args.idle_threshold),
    });
    // Asked before anything is heard: a wrong password is to be told at once, and our own sessions
    // are not to be heard.
    let url = args.compare_with.as_deref();
    let mut counters = url
        .map(|url| ServerCounters::of(url, &args.password))
        .transpose()?;
    let reading = counters.as_mut().map(ServerCounters::read).transpose()?;
    let heard = match (&args.interface, &args.pcap) {
        (Some(interface), _) => live::listen(interface, args, &mut listener)?,
        (None, Some(path)) => read_capture(path, args, &mut listener)?,
        (None, None) => {
            return Err(Misuse(
                "say what to read: --pcap FILE, --pcap - for standard input, or --interface IF --port P".to_owned(),
            )
            .into());
        }
    };
    let account = listener.finish();
    let comparison = match (&mut counters, reading) {
        (Some(counters), Some(reading)) => {
            compare(&account, counters, reading, heard.live.is_some())
        }
        _ => None,
    };
    let whole = heard.whole;
    let report = Report {
        account,
        live: heard.live,
        comparison,
    };
    print(&report, json)?;
    Ok(match whole {
        true => Exit::Fine,
        false => Exit::Warning,
    })
}

/// All that is told.
struct Report {
    account: Account,
    /// Of an interface, not a file.
    live: Option<Live>,
    comparison: Option<Comparison>,
}

impl Report {
    /// How long the servers were listened to: a capture from its first packet to its last.
    fn seconds(&self) -> f64 {
        let (first, last) = self.account.span.unwrap_or_default();
        let captured = (last - first) as f64 / 1e9;
        let live = self.live.as_ref();
        live.map_or(captured, |live| live.took.as_secs_f64())
    }
}

/// What became of listening.
struct Heard {
    /// Nothing is missing of what there was.
    whole: bool,
    live: Option<Live>,
}

/// A time of listening to an interface.
struct Live {
    took: Duration,
    /// Packets that the kernel had no room for.
    lost: u32,
}

/// Holds what was heard against the server's own counters.
fn compare(
    account: &Account,
    counters: &mut ServerCounters,
    before: Reading,
    is_live: bool,
) -> Option<Comparison> {
    let (reading, since) = match is_live.then(|| counters.read()) {
        None => {
            let seconds = before.seconds;
            (before, Since::Start(seconds))
        }
        Some(Ok(after)) => (after.since(&before), Since::Listening),
        // What was heard is worth telling nevertheless.
        Some(Err(error)) => {
            tell(&format!("{error:#}"));
            return None;
        }
    };
    Some(Comparison::of(account, &counters.url, reading, since))
}

/// Hears a capture, and copies what may be shown of it if that is wanted.
fn read_capture(path: &Path, args: &PingsArgs, listener: &mut Listener) -> anyhow::Result<Heard> {
    let name = args.keep_pings_only.as_deref();
    let mut copy = name.map(create_copy).transpose()?;
    let whole = read_file(path, listener, copy.as_mut())?;
    if let Some(copy) = copy {
        finish_copy(copy, name)?;
    }
    Ok(Heard { whole, live: None })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

type Copy = CaptureWriter<BufWriter<File>>;

/// Hears a whole file; says whether it was whole.
fn read_file(
    path: &Path,
    listener: &mut Listener,
    copy: Option<&mut Copy>,
) -> anyhow::Result<bool> {
    let name = path.display();
    if path == Path::new("-") {
        return hear(io::stdin().lock(), None, "standard input", listener, copy);
    }
    let file = File::open(path).map_err(|error| Misuse(format!("cannot read {name}: {error}")))?;
    let length = file.metadata().ok().map(|metadata| metadata.len());
    hear(file, length, &name.to_string(), listener, copy)
}

fn hear(
    input: impl Read,
    length: Option<u64>,
    name: &str,
    listener: &mut Listener,
    mut copy: Option<&mut Copy>,
) -> anyhow::Result<bool> {
    let misuse = |error: CaptureError| Misuse(format!("{name}: {}", chain(&error)));
    let mut file = CaptureFile::open(input).map_err(misuse)?;
    let mut progress = Progress::of(length);
    loop {
        let frame = match file.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            // What was read before is worth telling.
            Err(error) if listener.packets() > 0 => {
                tell(&format!(
                    "{name}: {}; what is told is of what comes before",
                    chain(&error)
                ));
                return Ok(false);
            }
            Err(error) => return Err(misuse(error).into()),
        };
        let shown = listener.hear(frame);
        if let (Some(copy), Some(shown)) = (&mut copy, shown) {
            copy.write(frame, shown)
                .map_err(|error| Misuse(format!("cannot write the copy: {error}")))?;
        }
        progress.note(listener.packets(), || file.position());
    }
    progress.end();
    if file.is_cut() {
        tell(&format!(
            "{name} ends in the middle of a packet; all before it counts"
        ));
    }
    Ok(!file.is_cut())
}

/// An error with what caused it.
fn chain(error: &CaptureError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn create_copy(path: &Path) -> Result<Copy, Misuse> {
    // Somebody else's file is not written over.
    let file = File::create_new(path)
        .map_err(|error| Misuse(format!("cannot write {}: {error}", path.display())))?;
    Ok(CaptureWriter::new(BufWriter::new(file)))
}

fn finish_copy(copy: Copy, path: Option<&Path>) -> Result<(), Misuse> {
    let name = path.unwrap_or(Path::new("the copy")).display().to_string();
    if copy.left_out() > 0 {
        tell(&format!(
            "{name} lacks {} packets of other link types than its first",
            copy.left_out()
        ));
    }
    copy.finish()
        .map_err(|error| Misuse(format!("cannot write {name}: {error}")))
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    if json {
        let written = serde_json::to_writer(&mut out, &document::document(report));
        // As what it is: a pipe that was closed is no mistake.
        written.map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        page::write_page(&mut out, report)?;
    }
    out.flush()?;
    Ok(())
}
