//! How segment files are named: twenty digits of the base offset and an ending, as Kafka does.
//!
//! Called wherever a segment is opened or a directory is listed.

use crate::types::Offset;

/// Which file of a segment a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentFile {
    /// Record batches.
    Log,
    /// Hashes and index.
    Blocks,
}

const DIGITS: usize = 20;

/// `00000000000000000042.log`.
pub fn log_file_name(base_offset: Offset) -> String {
    format!("{base_offset:020}.log")
}

/// `00000000000000000042.blocks`.
pub fn blocks_file_name(base_offset: Offset) -> String {
    format!("{base_offset:020}.blocks")
}

/// Reads a name back; none for every name that this module would not have made.
pub fn parse_file_name(name: &str) -> Option<(Offset, SegmentFile)> {
    let (digits, ending) = name.split_at_checked(DIGITS)?;
    let file = match ending {
        ".log" => SegmentFile::Log,
        ".blocks" => SegmentFile::Blocks,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, file))
}
