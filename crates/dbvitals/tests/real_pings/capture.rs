//! Captures of a network by tcpdump, and what can happen to a capture.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use dbvitals_testkit::{Network, eventually};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Ethernet's.
const LINK_HEADER: usize = 14;

/// tcpdump at work.
pub(crate) struct Tcpdump {
    child: Child,
    path: PathBuf,
}

impl Tcpdump {
    /// Captures all packets of a network's loopback from now on.
    pub(crate) fn start(network: &Network, name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
        let mut child = network
            .command("tcpdump")
            .args(["-i", "lo", "-Z", "root", "-U", "-B", "16384", "-w"])
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump can be started");
        let mut words = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let length = words.read_line(&mut line).expect("tcpdump says UTF-8");
            assert!(length > 0, "tcpdump ended");
        }
        Self { child, path }
    }

    /// Ends the capture once it has every packet that was sent.
    pub(crate) fn finish(mut self, sent: impl Fn() -> u64) -> Capture {
        let mut packets = 0;
        let complete = eventually(PATIENCE, || {
            packets = Capture::read(&self.path).packets.len() as u64;
            packets >= sent()
        });
        assert!(complete, "{packets} packets captured, {} sent", sent());
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("tcpdump can be told to end");
        self.child.wait().expect("tcpdump can be waited for");
        let capture = Capture::read(&self.path);
        fs::remove_file(&self.path).expect("the capture can be removed");
        capture
    }
}

/// A captured packet.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    time: [u8; 8],
    length: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    /// What it carries over TCP, and its ports.
    pub(crate) fn payload(&self) -> (u16, u16, &[u8]) {
        let ip = &self.bytes[LINK_HEADER..];
        let end = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[usize::from(ip[0] & 15) * 4..end];
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        (port(0), port(2), &tcp[usize::from(tcp[12] >> 4) * 4..])
    }
}

/// A capture of IPv4 over Ethernet.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    header: Vec<u8>,
    pub(crate) packets: Vec<Packet>,
}

impl Capture {
    fn read(path: &PathBuf) -> Self {
        let file = fs::read(path).unwrap_or_default();
        let mut capture = Self {
            header: file.get(..FILE_HEADER).unwrap_or_default().to_vec(),
            packets: Vec::new(),
        };
        let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
        let number = |bytes: &[u8], at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
        };
        while let Some((head, after)) = rest.split_at_checked(RECORD_HEADER) {
            let Some((bytes, after)) = after.split_at_checked(number(head, 8)) else {
                break;
            };
            rest = after;
            capture.packets.push(Packet {
                time: *head.first_chunk().expect("a header is longer"),
                length: number(head, 12),
                bytes: bytes.to_vec(),
            });
        }
        capture
    }

    /// Writes the capture to a file.
    pub(crate) fn write(&self, name: &str) -> PathBuf {
        let mut file = self.header.clone();
        for packet in &self.packets {
            file.extend(packet.time);
            for length in [packet.bytes.len(), packet.length] {
                file.extend((length as u32).to_le_bytes());
            }
            file.extend(&packet.bytes);
        }
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
        fs::write(&path, file).expect("a capture can be written");
        path
    }

    /// Without some packets, as a network under stress or a capturing kernel loses them; those that
    /// tell what others mean stay.
    pub(crate) fn with_loss(&self, percent: u8, seed: u64, stays: fn(&[u8]) -> bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        self.with(|packet, kept| {
            if random.u8(..100) >= percent || stays(packet.payload().2) {
                kept.push(packet);
            }
        })
    }

    /// The first bytes of each packet.
    pub(crate) fn cut(&self, length: usize) -> Self {
        self.with(|mut packet, kept| {
            packet.bytes.truncate(length);
            kept.push(packet);
        })
    }

    /// Every packet twice.
    pub(crate) fn twice(&self) -> Self {
        self.with(|packet, kept| kept.extend([packet.clone(), packet]))
    }

    /// Every packet with the tag of a VLAN.
    pub(crate) fn tagged(&self) -> Self {
        self.with(|mut packet, kept| {
            packet.bytes.splice(12..12, [0x81, 0, 0, 7]);
            packet.length += 4;
            kept.push(packet);
        })
    }

    /// The same on the cooked link of `-i any`.
    pub(crate) fn cooked(&self) -> Self {
        let mut cooked = self.with(|mut packet, kept| {
            packet.bytes.splice(..12, [0; 14]);
            packet.length += 2;
            kept.push(packet);
        });
        cooked.header[20] = 113;
        cooked
    }

    /// The server on another port.
    pub(crate) fn moved(&self, from: u16, to: u16) -> Self {
        self.with(|mut packet, kept| {
            let tcp = LINK_HEADER + usize::from(packet.bytes[LINK_HEADER] & 15) * 4;
            for at in [tcp, tcp + 2] {
                if packet.bytes[at..at + 2] == from.to_be_bytes() {
                    packet.bytes[at..at + 2].copy_from_slice(&to.to_be_bytes());
                }
            }
            kept.push(packet);
        })
    }

    /// What was captured from this packet on.
    pub(crate) fn after(&self, first: usize) -> Self {
        Self {
            header: self.header.clone(),
            packets: self.packets[first..].to_vec(),
        }
    }

    fn with(&self, mut change: impl FnMut(Packet, &mut Vec<Packet>)) -> Self {
        let mut packets = Vec::new();
        for packet in &self.packets {
            change(packet.clone(), &mut packets);
        }
        Self {
            header: self.header.clone(),
            packets,
        }
    }
}
