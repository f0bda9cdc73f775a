//! `pings`: liveness traffic in a capture, or on an interface: how much, from whom, how useless.
//!
//! Exits with 0 once it has told, with 1 where what is told is of a part (the capture ends in the
//! middle of a packet or is damaged, or the kernel had no room for packets), and with 3 where there
//! is nothing to read.

mod document;
mod interface;
mod live;
mod page;
mod progress;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use self::progress::Progress;
use crate::cli::PingsArgs;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::pings::{Account, CaptureError, CaptureFile, CaptureWriter, Listener, Settings};

/// Reads the capture and reports.
pub(crate) fn run(args: &PingsArgs, json: bool) -> anyhow::Result<Exit> {
    let settings = Settings {
        port: args.port,
        group_by: args.group_by,
        idle_threshold: nanoseconds(args.idle_threshold),
    };
    let mut listener = Listener::new(settings);
    if let Some(interface) = &args.interface {
        let lost = live::listen(interface, args, &mut listener)?;
        print(&listener.finish(), json)?;
        return Ok(if lost { Exit::Warning } else { Exit::Fine });
    }
    let mut copy = args.keep_pings_only.as_deref().map(create_copy);
    let mut copy = copy.take().transpose()?;
    let Some(path) = &args.pcap else {
        return Err(Misuse(
            "say what to read: --pcap FILE, --pcap - for standard input, or --interface IF --port P".to_owned(),
        )
        .into());
    };
    let whole = read_file(path, &mut listener, copy.as_mut())?;
    if let Some(copy) = copy {
        finish_copy(copy, args.keep_pings_only.as_deref())?;
    }
    let account = listener.finish();
    print(&account, json)?;
    Ok(match whole {
        true => Exit::Fine,
        false => Exit::Warning,
    })
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

fn print(account: &Account, json: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &document::document(account))?;
        writeln!(out)?;
    } else {
        page::write_page(&mut out, account)?;
    }
    out.flush()?;
    Ok(())
}
