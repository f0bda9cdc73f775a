//! Packets of the compressed protocol: a header of seven bytes, and what it stands for.
//!
//! What is shorter than 50 bytes travels as it is, so every bare ping does; a longer statement is
//! unfolded when it still could be one. zlib only: what zstd folds is work.

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::command::{HEAD_MAX, fits_command};
use super::{COMPRESSED_HEADER, HEADER};

/// A compressed packet, by its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) length: usize,
    pub(super) sequence: u8,
    /// 0 where the content is as it was.
    pub(super) unfolds_to: usize,
}

impl Packet {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence, d, e, f] = *bytes.first_chunk::<COMPRESSED_HEADER>()?;
        Some(Self {
            length: u32::from_le_bytes([a, b, c, 0]) as usize,
            sequence,
            unfolds_to: u32::from_le_bytes([d, e, f, 0]) as usize,
        })
    }

    /// Whether it is a segment's only one and holds a command.
    pub(super) fn fits(&self, bytes: &[u8], length: usize) -> bool {
        let is_exact = self.sequence == 0 && COMPRESSED_HEADER + self.length == length;
        let content = bytes.get(COMPRESSED_HEADER..).unwrap_or_default();
        is_exact
            && match self.unfolds_to {
                0 => fits_command(content, self.length),
                // zlib's first byte; less than a header's worth is never compressed.
                unfolds_to => unfolds_to > HEADER && content.first() == Some(&0x78),
            }
    }
}

/// Unfolds what may be a ping, and nothing longer.
pub(super) fn unfold(content: &[u8], unfolds_to: usize) -> Option<Vec<u8>> {
    if unfolds_to > HEAD_MAX {
        return None;
    }
    decompress_to_vec_zlib_with_limit(content, unfolds_to).ok()
}
