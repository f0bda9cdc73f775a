//! `pings` as people run it on files: both formats, standard input, what is said of files that are
//! none, and the copy that may be shared. What is counted of real servers is in `real_pings.rs`.

#[path = "support/program.rs"]
mod program;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Run, dbvitals};

const CLIENT: [u8; 6] = [10, 0, 0, 7, 0xc3, 0x50];
const SERVER: [u8; 6] = [10, 0, 0, 1, 0x0c, 0xea];

/// The IPv4 packets of two pings and a statement over one connection to port 3306, each answered.
fn packets() -> Vec<Vec<u8>> {
    let ping = b"\x01\0\0\0\x0e".to_vec();
    let ok = b"\x07\0\0\x01\0\0\0\x02\0\0\0".to_vec();
    let statement = b"\x0d\0\0\0\x03SELECT now()".to_vec();
    let (mut packets, mut client, mut server) = (Vec::new(), 1000_u32, 5000_u32);
    for command in [&ping, &ping, &statement] {
        packets.push(packet([CLIENT, SERVER], [client, server], command));
        client += command.len() as u32;
        packets.push(packet([SERVER, CLIENT], [server, client], &ok));
        server += ok.len() as u32;
    }
    packets
}

fn packet(ends: [[u8; 6]; 2], numbers: [u32; 2], words: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40 + words.len() as u8, 0, 0, 0, 0, 64, 6, 0, 0];
    ends.iter().for_each(|end| packet.extend(&end[..4]));
    ends.iter().for_each(|end| packet.extend(&end[4..]));
    numbers
        .iter()
        .for_each(|it| packet.extend(it.to_be_bytes()));
    packet.extend([0x50, 16, 0, 0, 0, 0, 0, 0]);
    packet.extend(words);
    packet
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

/// The packets a millisecond apart, as tcpdump writes them.
fn pcap() -> Vec<u8> {
    let mut file = words(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 96, 101]);
    for (at, packet) in (0..).zip(packets()) {
        let length = packet.len() as u32;
        file.extend(words(&[7, at * 1000, length, length]));
        file.extend(packet);
    }
    file
}

/// The same as Wireshark writes them.
fn pcapng() -> Vec<u8> {
    let block = |kind: u32, body: Vec<u8>| {
        let length = words(&[body.len() as u32 + 12]);
        [words(&[kind]), length.clone(), body, length].concat()
    };
    let mut file = block(0x0a0d_0d0a, words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    file.extend(block(1, words(&[101, 96])));
    for (at, packet) in (0..).zip(packets()) {
        let length = packet.len() as u32;
        let mut body = words(&[0, 0, 7_000_000 + at * 1000, length, length]);
        body.extend(&packet);
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, body));
    }
    file
}

/// A file of ours with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pings {name}"));
    fs::write(&path, bytes).expect("a file can be written");
    path
}

fn pings(path: &Path, arguments: &[&str]) -> Run {
    let path = path.to_str().expect("a path of ours");
    Run::of(&mut dbvitals(
        &[&["pings", "--pcap", path], arguments].concat(),
    ))
}

#[track_caller]
fn document(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(&run.stdout).expect("one document")
}

#[test]
fn both_formats_are_read_from_files_and_from_standard_input() {
    for (name, bytes) in [("a.pcap", pcap()), ("a.pcapng", pcapng())] {
        let path = file(name, &bytes);
        let from_file = document(&pings(&path, &["--json"]));
        assert_eq!(from_file["schema"], "dbvitals.pings.v1");
        assert_eq!(
            (&from_file["packets"], &from_file["seconds"]),
            (&6.into(), &0.005.into())
        );
        let server = &from_file["servers"][0];
        assert_eq!(server["address"], "10.0.0.1:3306", "{name}");
        assert_eq!(server["commands"], 3, "{name}");
        assert_eq!(server["pings"]["com_ping"], 2, "{name}");
        assert_eq!(server["groups"][0]["client"], "10.0.0.7", "{name}");
        let mut command = dbvitals(&["pings", "--json", "--pcap", "-"]);
        command.stdin(File::open(&path).expect("it was just written"));
        assert_eq!(document(&Run::of(&mut command)), from_file, "{name}");
    }
}

#[test]
fn the_page_says_what_the_document_counts() {
    let run = pings(&file("page.pcap", &pcap()), &[]);
    assert_eq!(run.code, 0, "{run:?}");
    for line in [
        "6 packets in 5.0 ms, 1 connection",
        "10.0.0.1:3306  mysql",
        "commands    3, 600.0/s",
        "pings       2, 66.7 % of all commands, 400.0/s",
        "com_ping              2",
        "caught      nothing: every connection that was pinged was alive",
        "connections 1 seen, 0 opened (0.0/s), 0 closed (0.0/s); 0 used for one command, 0 for none",
    ] {
        let is_there = run.stdout.lines().any(|it| it.trim() == line);
        assert!(is_there, "no line {line:?}: {}", run.stdout);
    }
}

#[test]
fn what_cannot_be_read_is_told_with_a_reason() {
    let capture = pcap();
    for (name, bytes, words) in [
        ("empty", &b""[..], "it is empty"),
        ("text", b"SELECT 1", "neither pcap nor pcapng"),
        ("gzip", &[0x1f, 0x8b, 8, 0], "zcat"),
    ] {
        let run = pings(&file(name, bytes), &[]);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stderr.contains(words), "{run:?}");
        assert!(run.stdout.is_empty(), "{run:?}");
    }
    for (arguments, words) in [
        (&["pings"][..], "--pcap FILE"),
        (&["pings", "--pcap", "/nosuch"], "/nosuch"),
        (
            &["pings", "--pcap", "-", "--interface", "lo", "--port", "1"],
            "cannot be used with",
        ),
        (&["pings", "--pcap", "-", "--for", "1s"], "--interface"),
    ] {
        let run = Run::of(&mut dbvitals(arguments));
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stderr.contains(words), "{run:?}");
    }

    let run = pings(&file("without packets", &capture[..24]), &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("0 packets"), "{run:?}");
    let cut = pings(&file("cut", &capture[..capture.len() - 1]), &[]);
    assert_eq!(cut.code, 1, "{cut:?}");
    assert!(
        cut.stderr.contains("ends in the middle of a packet"),
        "{cut:?}"
    );
    let mut damaged = capture.clone();
    damaged.extend([0xff; 16]);
    let damaged = pings(&file("damaged", &damaged), &[]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    assert!(
        damaged.stderr.contains("the file is damaged"),
        "{damaged:?}"
    );
}

#[test]
fn a_copy_is_counted_like_its_original_and_overwrites_nothing() {
    let path = file("original.pcap", &pcap());
    let copy = file("copy", b"");
    fs::remove_file(&copy).expect("it was just written");
    let name = copy.to_str().expect("a path of ours");
    let original = document(&pings(&path, &["--json", "--keep-pings-only", name]));
    let copied = document(&pings(&copy, &["--json"]));
    assert_eq!(copied["servers"], original["servers"]);
    let bytes = fs::read(&copy).expect("the copy is there");
    assert!(!bytes.windows(5).any(|it| it == b"now()"), "{bytes:?}");
    let again = pings(&path, &["--keep-pings-only", name]);
    assert_eq!(again.code, 3, "{again:?}");
    assert!(again.stderr.contains("cannot write"), "{again:?}");
}

#[test]
fn a_reader_of_the_page_who_goes_away_is_no_mistake() {
    let mut command = dbvitals(&["pings", "--pcap"]);
    command.arg(file("unread.pcap", &pcap()));
    command.stdout(closed_pipe());
    let run = Run::of(&mut command);
    assert!(!run.stderr.contains("panic"), "{run:?}");
}

/// The end to write to of a pipe that nobody reads.
fn closed_pipe() -> std::io::PipeWriter {
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    assert!(writer.write_all(b"any").is_err());
    writer
}
