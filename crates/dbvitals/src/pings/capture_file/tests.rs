//! Files of both formats, whole and damaged.

use super::*;

/// A file of pcap with one packet.
fn pcap(order: fn(u32) -> [u8; 4], magic: u32) -> Vec<u8> {
    let mut file = Vec::new();
    for number in [magic, 2 << 16 | 4, 0, 0, 96, 1, 7, 5, 3, 60] {
        file.extend(order(number));
    }
    file.extend(b"abc");
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

/// A file of pcapng with an interface of nanoseconds, a packet, and a block of no interest.
fn pcapng() -> Vec<u8> {
    let section = block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    let option = words(&[9 | 1 << 16, 9]);
    let interface = block(1, &[words(&[113, 96]), option, words(&[0])].concat());
    let statistics = block(5, &words(&[0, 0, 0]));
    let (high, low) = (2_u32, 5_u32);
    let packet = [words(&[0, high, low, 3, 60]), b"abc\0".to_vec()].concat();
    [section, interface, statistics, block(6, &packet)].concat()
}

type Read = (u64, Link, Vec<u8>, usize);

fn read(file: &[u8]) -> (Vec<Read>, Result<bool, CaptureError>) {
    let mut frames = Vec::new();
    let mut capture = match CaptureFile::open(file) {
        Ok(capture) => capture,
        Err(error) => return (frames, Err(error)),
    };
    loop {
        match capture.next_frame() {
            Ok(Some(frame)) => {
                frames.push((frame.at, frame.link, frame.bytes.to_vec(), frame.length));
            }
            Ok(None) => return (frames, Ok(capture.is_cut())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

#[test]
fn pcap_is_read_in_either_order_and_unit() {
    for (order, magic, fraction) in [
        (u32::to_le_bytes as fn(u32) -> [u8; 4], 0xa1b2_c3d4, 5000),
        (u32::to_be_bytes, 0xa1b2_c3d4, 5000),
        (u32::to_le_bytes, 0xa1b2_3c4d, 5),
    ] {
        let (frames, end) = read(&pcap(order, magic));
        let expected = (7 * SECOND + fraction, Link::Ethernet, b"abc".to_vec(), 60);
        assert_eq!(frames, [expected]);
        assert!(matches!(end, Ok(false)));
    }
}

#[test]
fn pcapng_is_read_with_its_interfaces() {
    let (frames, end) = read(&pcapng());
    let expected = ((2 << 32) + 5, Link::Cooked, b"abc".to_vec(), 60);
    assert_eq!(frames, [expected]);
    assert!(matches!(end, Ok(false)));
}

#[test]
fn a_file_that_is_cut_counts_as_far_as_it_goes() {
    let file = pcapng();
    let (frames, end) = read(&[&file[..], &file[..file.len() - 1]].concat());
    assert_eq!(frames.len(), 1);
    assert!(matches!(end, Ok(true)));
}

#[test]
fn what_is_no_capture_is_told_as_what_it_is() {
    assert!(matches!(
        read(b"SELECT 1").1,
        Err(CaptureError::NotACapture)
    ));
    assert!(matches!(read(b"SE").1, Err(CaptureError::NotACapture)));
    assert!(matches!(read(b"").1, Err(CaptureError::Empty)));
    let zipped = [0x1f, 0x8b, 8, 0];
    assert!(matches!(read(&zipped).1, Err(CaptureError::Compressed)));
    let mut other_link = pcap(u32::to_le_bytes, 0xa1b2_c3d4);
    other_link[20] = 105;
    assert!(matches!(
        read(&other_link).1,
        Err(CaptureError::UnknownLink(105))
    ));
    let mut damaged = pcap(u32::to_le_bytes, 0xa1b2_c3d4);
    damaged[35] = 0xff;
    assert!(matches!(
        read(&damaged).1,
        Err(CaptureError::Damaged { at: 24 })
    ));
}

#[test]
fn a_packet_longer_than_the_buffer_is_read() {
    let mut file = pcap(u32::to_le_bytes, 0xa1b2_c3d4);
    file.truncate(24);
    let length = u32::try_from(3 * BLOCK).unwrap();
    file.extend(words(&[1, 0, length, length]));
    file.resize(file.len() + 3 * BLOCK, 7);
    let (frames, _) = read(&file);
    assert_eq!(frames[0].2.len(), 3 * BLOCK);
}
