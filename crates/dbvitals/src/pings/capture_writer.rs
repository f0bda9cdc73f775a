//! A capture to be shared: every packet with its headers, and nothing of its payload but pings.
//!
//! The file is pcap with nanoseconds. Packets keep their lengths, so what is read from it is
//! counted like the original. Addresses and ports stay: they say whose pings these are.

use std::io::{self, Write};

use super::packet::{Frame, Link};

const MAGIC: u32 = 0xa1b2_3c4d;
const SECOND: u64 = 1_000_000_000;

/// Writes a capture.
#[derive(Debug)]
pub(crate) struct CaptureWriter<W> {
    output: W,
    link: Option<Link>,
    left_out: u64,
}

impl<W: Write> CaptureWriter<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            output,
            link: None,
            left_out: 0,
        }
    }

    /// Writes a frame up to the byte `shown`. A file has one link type, that of its first frame;
    /// frames of others are left out.
    pub(crate) fn write(&mut self, frame: Frame<'_>, shown: usize) -> io::Result<()> {
        let link = match self.link {
            Some(link) => link,
            None => self.begin(frame.link)?,
        };
        if frame.link != link {
            self.left_out += 1;
            return Ok(());
        }
        let kept = &frame.bytes[..shown.min(frame.bytes.len())];
        let fields = [
            frame.at / SECOND,
            frame.at % SECOND,
            kept.len() as u64,
            frame.length as u64,
        ];
        self.write_numbers(fields)?;
        self.output.write_all(kept)
    }

    /// How many frames had another link type.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.link.is_none() {
            self.begin(Link::Ethernet)?;
        }
        self.output.flush()
    }

    fn begin(&mut self, link: Link) -> io::Result<Link> {
        /// Major and minor version, 2.4.
        const VERSION: u64 = 2 | 4 << 16;
        const SNAP_LENGTH: u64 = 262_144;
        self.link = Some(link);
        self.write_numbers([
            u64::from(MAGIC),
            VERSION,
            0,
            0,
            SNAP_LENGTH,
            u64::from(link.number()),
        ])?;
        Ok(link)
    }

    fn write_numbers<const N: usize>(&mut self, numbers: [u64; N]) -> io::Result<()> {
        for number in numbers {
            // All of them fit, times until 2106.
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            self.output.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }
}
