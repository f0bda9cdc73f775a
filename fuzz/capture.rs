//! Drives the packet layer and the reassembly of `pings`, and checks what holds whatever the bytes.
//!
//! Nothing panics; no more of a frame is shown than there is; and the counts agree with each other.
//! The fuzz targets use this as a module beside the program's own `pings`, and so do its tests.

use super::{Account, CaptureFile, Frame, GroupBy, Link, Listener, Settings, Tally};

const LINKS: [Link; 5] = [
    Link::Ethernet,
    Link::Ip,
    Link::Cooked,
    Link::CookedV2,
    Link::Loopback,
];

/// Hears a whole file.
pub(crate) fn capture_file(data: &[u8]) {
    let Ok(mut file) = CaptureFile::open(data) else {
        return;
    };
    let mut listener = Listener::new(settings(data.len()));
    while let Ok(Some(frame)) = file.next_frame() {
        hear(&mut listener, frame);
    }
    check(&listener.finish());
}

/// Hears frames, each with a byte before it for its link and one for its length.
pub(crate) fn packets(data: &[u8]) {
    let mut listener = Listener::new(settings(data.len()));
    let (mut rest, mut at) = (data, 0);
    while let Some((&[kind, length], after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        at += u64::from(kind) * 1_000_000;
        let link = LINKS[usize::from(kind) % LINKS.len()];
        let length = bytes.len() + usize::from(kind >> 4);
        hear(
            &mut listener,
            Frame {
                at,
                link,
                bytes,
                length,
            },
        );
    }
    check(&listener.finish());
}

/// Hears the segments of three connections, whose numbers are near to each other.
pub(crate) fn reassembly(data: &[u8]) {
    const OVERHEAD: usize = 20 + 20;
    let mut listener = Listener::new(settings(data.len()));
    let (mut rest, mut at) = (data, 0);
    while let Some((&[kind, flags, sequence, acknowledged, length], after)) =
        rest.split_first_chunk()
    {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        at += u64::from(kind >> 4) * 500_000;
        let port = [3306_u16, 5432, 7777][usize::from(kind & 3).min(2)];
        let from_client = kind & 4 == 0;
        let (mut ports, mut addresses) = ([50_000, port], [[10, 0, 0, 7], [10, 0, 0, 1]]);
        if !from_client {
            ports.reverse();
            addresses.reverse();
        }
        let mut frame = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
        frame.extend(addresses.concat());
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        // Around the place where the numbers begin anew.
        let number = |low: u8| (u32::from(low)).wrapping_sub(100).to_be_bytes();
        frame.extend(number(sequence));
        frame.extend(number(acknowledged));
        frame.extend([0x50, flags & 0x1f, 0, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        let missing = if kind & 8 == 0 {
            0
        } else {
            usize::from(sequence)
        };
        let frame = Frame {
            at,
            link: Link::Ip,
            bytes: &frame,
            length: OVERHEAD + payload.len() + missing,
        };
        hear(&mut listener, frame);
    }
    check(&listener.finish());
}

fn settings(length: usize) -> Settings {
    Settings {
        port: None,
        group_by: [GroupBy::Client, GroupBy::Connection, GroupBy::Server][length % 3],
        idle_threshold: 500_000_000,
    }
}

fn hear(listener: &mut Listener, frame: Frame<'_>) {
    // What is shown may end in a header that was cut off.
    if let Some(shown) = listener.hear(frame) {
        assert!(shown <= frame.length, "{shown} of {} shown", frame.length);
    }
}

fn check(account: &Account) {
    for group in &account.groups {
        let Tally {
            commands,
            followed,
            useless,
            work_after_ping,
            ref idle,
            idle_unknown,
            ref idle_dead,
            ref connections,
            ref latency,
            ..
        } = group.tally;
        let (pings, dead) = (group.tally.pings(), group.tally.dead());
        assert!(pings <= commands && followed <= pings && useless <= followed);
        assert!(work_after_ping <= followed && latency.count() <= pings);
        assert_eq!(idle.iter().sum::<u64>() + idle_unknown, pings);
        assert!(idle_dead.iter().sum::<u64>() <= dead && dead <= pings);
        assert!(connections.opened <= connections.seen && connections.closed <= connections.seen);
        assert!(connections.opaque() <= connections.seen);
        assert!(connections.used_once + connections.unused <= connections.closed);
    }
}
