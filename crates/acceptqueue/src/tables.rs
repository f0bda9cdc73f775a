//! The tables of `/proc/PID/net`, for namespaces that sock_diag may not be asked about.
//!
//! Everybody may read them. They tell the lengths of accept queues and who waits, but neither
//! limits nor drops, nor clients of other namespaces on unix sockets, and they cost a thousand times
//! as much.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::answer::{TcpRow, TcpState};
use crate::listener::{Listener, Listeners, Local};
use crate::name::UnixName;

/// The tables of one process's namespace.
#[derive(Debug)]
pub(crate) struct Tables {
    tcp: Vec<File>,
    unix: File,
}

impl Tables {
    /// Opens them; they stay readable after the process has ended.
    pub(crate) fn open(net: &Path) -> io::Result<Self> {
        let mut tcp = vec![File::open(net.join("tcp"))?];
        // Not there where IPv6 is off.
        tcp.extend(File::open(net.join("tcp6")));
        Ok(Self {
            tcp,
            unix: File::open(net.join("unix"))?,
        })
    }

    pub(crate) fn listeners(&mut self) -> io::Result<Listeners> {
        let tcp = self.read_tcp()?;
        Ok(Listeners::from_tables(&tcp, &read_again(&mut self.unix)?))
    }

    pub(crate) fn connections(&mut self) -> io::Result<Vec<TcpRow>> {
        Ok(parse_tcp(&self.read_tcp()?).collect())
    }

    fn read_tcp(&mut self) -> io::Result<Vec<u8>> {
        let tables = self.tcp.iter_mut().map(read_again);
        Ok(tables.collect::<io::Result<Vec<_>>>()?.concat())
    }
}

/// Reads a table from its beginning.
pub(crate) fn read_again(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The rows of `tcp` or `tcp6`.
pub(crate) fn parse_tcp(table: &[u8]) -> impl Iterator<Item = TcpRow> {
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(|line| parse_tcp_line(str::from_utf8(line).ok()?))
}

fn parse_tcp_line(line: &str) -> Option<TcpRow> {
    let mut fields = line.split_whitespace().skip(1);
    let local = parse_address(fields.next()?)?;
    let remote = parse_address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (send, receive) = fields.next()?.split_once(':')?;
    let _timer = fields.next()?;
    let retransmits = u32::from_str_radix(fields.next()?, 16).ok()?;
    let uid = fields.next()?.parse().ok()?;
    let _timeouts = fields.next()?;
    let inode = fields.next()?.parse().ok()?;
    Some(TcpRow {
        state: TcpState::of(state),
        local,
        remote,
        interface: 0,
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        receive_queue: u32::from_str_radix(receive, 16).ok()?,
        send_queue: u32::from_str_radix(send, 16).ok()?,
        uid,
        inode,
        cookie: 0,
        drops: None,
        only_v6: false,
    })
}

/// `0100007F:0CEA`: words of four bytes, as the machine has them in memory.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = [0; 16];
    let mut length = 0;
    for (word, place) in ip.as_bytes().chunks(8).zip(octets.as_chunks_mut().0) {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        *place = word.to_ne_bytes();
        length += 8;
    }
    let ip = match (ip.len(), octets) {
        (8, [a, b, c, d, ..]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        (32, octets) if length == 32 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The listeners of the table `unix`. A connection that waits to be accepted is a row with the
/// listener's name and no inode, in the table of its client's namespace: clients from elsewhere are
/// not counted.
pub(crate) fn parse_unix(table: &[u8]) -> Vec<Listener> {
    const STREAM: &str = "0001";
    const SEQPACKET: &str = "0005";
    /// The flag of a socket that listens.
    const ACCEPTS: u32 = 1 << 16;
    let mut listeners = Vec::new();
    let mut waiting = BTreeMap::<UnixName, u32>::new();
    for line in table.split(|byte| *byte == b'\n').skip(1) {
        let Some((fields, name)) = parse_unix_line(line) else {
            continue;
        };
        let [flags, kind, inode] = fields;
        let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
        let inode = inode.parse().unwrap_or_default();
        if ![STREAM, SEQPACKET].contains(&kind) {
            continue;
        }
        if inode == 0 && name != UnixName::Unnamed {
            *waiting.entry(name).or_default() += 1;
        } else if flags & ACCEPTS != 0 {
            listeners.push(Listener {
                local: Local::Unix { name, file: None },
                length: 0,
                limit: None,
                drops: None,
                inode,
                cookie: 0,
                uid: None,
            });
        }
    }
    for listener in &mut listeners {
        if let Local::Unix { name, .. } = &listener.local {
            listener.length = waiting.get(name).copied().unwrap_or_default();
        }
    }
    listeners
}

/// `address: references protocol FLAGS TYPE state INODE NAME`; the name may hold spaces, or lack.
fn parse_unix_line(line: &[u8]) -> Option<([&str; 3], UnixName)> {
    let mut rest = line;
    let mut fields = [""; 7];
    for field in &mut fields {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        *field = str::from_utf8(word).ok()?;
        rest = after;
    }
    let [_, _, _, flags, kind, _, inode] = fields;
    let name = UnixName::from_text(rest.strip_prefix(b" ").unwrap_or_default());
    (!inode.is_empty()).then_some(([flags, kind, inode], name))
}

/// Where the tables of a process's network namespace are.
pub(crate) fn net_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/net"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_the_tcp_table_has_a_length_in_the_place_of_its_receive_queue() {
        let line = "   1: 0100007F:0CEA 00000000:0000 0A 00000000:00000006 00:00000000 00000000 \
                    65534        0 108642 1 0000000000000000 100 0 0 10 0";
        let row = parse_tcp_line(line).unwrap();
        assert_eq!(row.local, ([127, 0, 0, 1], 3306).into());
        assert_eq!((row.state, row.receive_queue), (TcpState::Listen, 6));
        assert_eq!((row.uid, row.inode), (65534, 108_642));
    }

    #[test]
    fn addresses_are_read_in_both_lengths_only() {
        let one = parse_address("00000000000000000000000001000000:1538").unwrap();
        assert_eq!(one.to_string(), "[::1]:5432");
        for wrong in [
            "",
            ":",
            "0100007F",
            "0100007:1",
            "0100007F0:1",
            "é100007F:0CEA",
        ] {
            assert_eq!(parse_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_unix_queue_is_the_rows_with_its_name_and_no_inode() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4242 /run/my sql.sock\n\
            0000000000000000: 00000002 00000000 00000000 0001 02     0 /run/my sql.sock\n\
            0000000000000000: 00000002 00000000 00000000 0001 02     0 /run/my sql.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 4243 @abstract\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 4244\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 4245 /run/log\n";
        let listeners = parse_unix(table);
        let read: Vec<_> = listeners
            .iter()
            .map(|it| (it.local.to_string(), it.length, it.inode))
            .collect();
        let expected = [("/run/my sql.sock", 2, 4242), ("@abstract", 0, 4243)];
        assert_eq!(
            read,
            expected.map(|(name, length, inode)| (name.to_owned(), length, inode))
        );
    }
}
