//! What the kernel lets through to a listener: a program in the classic filter's language, packet
//! by packet, so that what is not needed costs the load next to nothing.
//!
//! TCP packets of one port and one interface that carry something, or begin or end a connection; of
//! each only the first bytes. The kernel's documents on socket filters have the language.

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// So many instructions are passed over where the answer is yes,
    pub(super) yes: u8,
    /// and so many where it is no.
    pub(super) no: u8,
    pub(super) number: u32,
}

/// The program that lets nothing through.
pub(super) const NOTHING: [Instruction; 1] = [Instruction {
    code: RETURN,
    yes: 0,
    no: 0,
    number: 0,
}];

/// What is let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) interface: u32,
    /// A loopback shows each packet twice: as it goes, and as it comes.
    pub(super) is_loopback: bool,
    pub(super) port: u16,
    /// So many bytes of each packet.
    pub(super) length: u32,
}

// The instructions (BPF_…), as far as they are used.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND: u16 = 0x48;
const LOAD_BYTE_BEHIND: u16 = 0x50;
/// The index becomes the length of the IPv4 header.
const INDEX_OF_HEADER: u16 = 0xb1;
const INDEX: u16 = 0x07;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const ADD_INDEX: u16 = 0x0c;
const IF_EQUAL: u16 = 0x15;
const IF_EQUAL_INDEX: u16 = 0x1d;
const IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;
/// What the kernel knows beside the packet's bytes (SKF_AD_…).
const PACKET_TYPE: u32 = 0xffff_f004;
const INTERFACE_INDEX: u32 = 0xffff_f008;
const OUTGOING: u32 = 4;

/// FIN, SYN and RST.
const BEGINS_OR_ENDS: u32 = 0b111;

/// An instruction with its own name, and the names of those that it goes on at.
type Step = (&'static str, (u16, u32, &'static str, &'static str));

impl Wanted {
    /// The program.
    pub(super) fn program(self) -> Vec<Instruction> {
        let steps = self.steps();
        let place = |name: &str, at: usize| {
            let there = steps.iter().position(|(it, _)| *it == name);
            let there = there.filter(|_| !name.is_empty());
            // Programs go forward alone, and this one is short.
            there.map_or(0, |there| (there - at - 1) as u8)
        };
        let instruction = |(at, (_, step)): (usize, &Step)| {
            let (code, number, yes, no) = *step;
            Instruction {
                code,
                yes: place(yes, at),
                no: place(no, at),
                number,
            }
        };
        steps.iter().enumerate().map(instruction).collect()
    }

    fn steps(self) -> [Step; 42] {
        let port = u32::from(self.port);
        let unwanted_type = if self.is_loopback { OUTGOING } else { u32::MAX };
        [
            ("", (LOAD_WORD, INTERFACE_INDEX, "", "")),
            ("", (IF_EQUAL, self.interface, "", "drop")),
            ("", (LOAD_WORD, PACKET_TYPE, "", "")),
            ("", (IF_EQUAL, unwanted_type, "drop", "")),
            ("", (LOAD_BYTE, 0, "", "")),
            ("", (AND, 0xf0, "", "")),
            ("", (IF_EQUAL, 0x40, "v4", "")),
            ("", (IF_EQUAL, 0x60, "v6", "drop")),
            ("v4", (LOAD_BYTE, 9, "", "")),
            ("", (IF_EQUAL, 6, "", "drop")),
            ("", (LOAD_HALF, 6, "", "")),
            // A fragment that is not the first.
            ("", (IF_ANY, 0x1fff, "drop", "")),
            ("", (INDEX_OF_HEADER, 0, "", "")),
            ("", (LOAD_HALF_BEHIND, 0, "", "")),
            ("", (IF_EQUAL, port, "v4 port", "")),
            ("", (LOAD_HALF_BEHIND, 2, "", "")),
            ("", (IF_EQUAL, port, "", "drop")),
            ("v4 port", (LOAD_BYTE_BEHIND, 13, "", "")),
            ("", (IF_ANY, BEGINS_OR_ENDS, "keep", "")),
            ("", (LOAD_BYTE_BEHIND, 12, "", "")),
            ("", (AND, 0xf0, "", "")),
            ("", (SHIFT_RIGHT, 2, "", "")),
            ("", (ADD_INDEX, 0, "", "")),
            ("", (INDEX, 0, "", "")),
            ("", (LOAD_HALF, 2, "", "")),
            // Nothing behind the headers: an acknowledgement.
            ("", (IF_EQUAL_INDEX, 0, "drop", "keep")),
            ("v6", (LOAD_BYTE, 6, "", "")),
            ("", (IF_EQUAL, 6, "", "drop")),
            ("", (LOAD_HALF, 40, "", "")),
            ("", (IF_EQUAL, port, "v6 port", "")),
            ("", (LOAD_HALF, 42, "", "")),
            ("", (IF_EQUAL, port, "", "drop")),
            ("v6 port", (LOAD_BYTE, 53, "", "")),
            ("", (IF_ANY, BEGINS_OR_ENDS, "keep", "")),
            ("", (LOAD_BYTE, 52, "", "")),
            ("", (AND, 0xf0, "", "")),
            ("", (SHIFT_RIGHT, 2, "", "")),
            ("", (INDEX, 0, "", "")),
            ("", (LOAD_HALF, 4, "", "")),
            ("", (IF_EQUAL_INDEX, 0, "drop", "keep")),
            ("keep", (RETURN, self.length, "", "")),
            ("drop", (RETURN, 0, "", "")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Wanted = Wanted {
        interface: 3,
        is_loopback: true,
        port: 3306,
        length: 96,
    };
    const SYN: u8 = 2;
    const ACK: u8 = 16;

    /// Runs the program as the kernel would: how much of a packet is let through.
    fn verdict(wanted: Wanted, interface: u32, packet_type: u32, packet: &[u8]) -> u32 {
        let program = wanted.program();
        let (mut value, mut index, mut at) = (0_u32, 0_u32, 0);
        let bytes = |from: u32, count: usize| {
            let bytes = packet.get(from as usize..from as usize + count);
            bytes.map(|it| it.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        };
        loop {
            let Instruction {
                code,
                yes,
                no,
                number,
            } = program[at];
            at += 1;
            let loaded = match code {
                LOAD_WORD if number == INTERFACE_INDEX => Some(interface),
                LOAD_WORD => Some(packet_type),
                LOAD_HALF => bytes(number, 2),
                LOAD_BYTE => bytes(number, 1),
                LOAD_HALF_BEHIND => bytes(index + number, 2),
                LOAD_BYTE_BEHIND => bytes(index + number, 1),
                AND => Some(value & number),
                SHIFT_RIGHT => Some(value >> number),
                ADD_INDEX => Some(value + index),
                INDEX => {
                    index = value;
                    continue;
                }
                INDEX_OF_HEADER => {
                    index = u32::from(packet[number as usize] & 15) * 4;
                    continue;
                }
                RETURN => return number,
                _ => {
                    let is_so = match code {
                        IF_EQUAL => value == number,
                        IF_EQUAL_INDEX => value == index,
                        IF_ANY => value & number != 0,
                        _ => panic!("no instruction: {code:#x}"),
                    };
                    at += usize::from(if is_so { yes } else { no });
                    continue;
                }
            };
            // What reads beyond the packet's end is not let through.
            let Some(loaded) = loaded else {
                return 0;
            };
            value = loaded;
        }
    }

    fn tcp(ports: [u16; 2], flags: u8, words: &[u8]) -> Vec<u8> {
        let mut tcp: Vec<u8> = ports.iter().flat_map(|it| it.to_be_bytes()).collect();
        tcp.extend([0; 8]);
        tcp.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
        tcp.extend(words);
        tcp
    }

    fn v4(tcp: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0];
        packet.extend((24 + tcp.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6]);
        packet.extend([0; 14]);
        packet.extend(tcp);
        packet
    }

    fn v6(tcp: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((tcp.len() as u16).to_be_bytes());
        packet.extend([6, 64]);
        packet.extend([0; 32]);
        packet.extend(tcp);
        packet
    }

    #[test]
    fn what_carries_begins_or_ends_comes_through_in_both_families() {
        for family in [v4, v6] {
            let check = |ports, flags, words: &[u8]| {
                verdict(HERE, 3, 0, &family(&tcp(ports, flags, words)))
            };
            assert_eq!(check([50_000, 3306], ACK, b"\x01\0\0\0\x0e"), 96);
            assert_eq!(check([3306, 50_000], ACK, b"ok"), 96);
            assert_eq!(check([50_000, 3306], SYN, b""), 96);
            assert_eq!(check([50_000, 3306], ACK, b""), 0);
            assert_eq!(check([50_000, 3307], ACK, b"other"), 0);
        }
    }

    #[test]
    fn other_interfaces_protocols_and_pieces_stay_out() {
        let packet = v4(&tcp([50_000, 3306], ACK, b"words"));
        assert_eq!(verdict(HERE, 4, 0, &packet), 0);
        let mut datagram = packet.clone();
        datagram[9] = 17;
        assert_eq!(verdict(HERE, 3, 0, &datagram), 0);
        let mut piece = packet.clone();
        piece[7] = 9;
        assert_eq!(verdict(HERE, 3, 0, &piece), 0);
        assert_eq!(verdict(HERE, 3, 0, &packet[..20]), 0);
    }

    #[test]
    fn a_loopback_shows_each_packet_once_and_others_both_ways() {
        let packet = v4(&tcp([50_000, 3306], ACK, b"words"));
        assert_eq!(verdict(HERE, 3, OUTGOING, &packet), 0);
        let elsewhere = Wanted {
            is_loopback: false,
            ..HERE
        };
        assert_eq!(verdict(elsewhere, 3, OUTGOING, &packet), 96);
    }
}
