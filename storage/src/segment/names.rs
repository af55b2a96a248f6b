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

const ASIDE_ENDING: &str = ".deleted";

impl SegmentFile {
    fn ending(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Blocks => ".blocks",
        }
    }
}

/// `00000000000000000042.log`.
pub fn log_file_name(base_offset: Offset) -> String {
    file_name(base_offset, 0, SegmentFile::Log)
}

/// `00000000000000000042.blocks`.
pub fn blocks_file_name(base_offset: Offset) -> String {
    file_name(base_offset, 0, SegmentFile::Blocks)
}

/// As [`log_file_name`], and `00000000000000000042.3.log` for a segment that compaction has written for the third time. Kafka's
/// own tools read the offset up to the first dot.
pub fn file_name(base_offset: Offset, generation: u32, file: SegmentFile) -> String {
    let ending = file.ending();
    match generation {
        0 => format!("{base_offset:020}{ending}"),
        _ => format!("{base_offset:020}.{generation}{ending}"),
    }
}

/// The name of a file that waits to be removed, as Kafka has it.
pub fn aside_file_name(name: &str) -> String {
    format!("{name}{ASIDE_ENDING}")
}

/// Whether a name is one that [`aside_file_name`] made of a segment's.
pub fn is_aside_file_name(name: &str) -> bool {
    name.strip_suffix(ASIDE_ENDING).is_some_and(|name| parse_file_name(name).is_some())
}

/// Which segment's file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentName {
    /// Base offset of the segment.
    pub base_offset: Offset,
    /// How often compaction has written it.
    pub generation: u32,
    /// Which of its files.
    pub file: SegmentFile,
}

/// Reads a name back; none for every name that this module would not have made.
pub fn parse_file_name(name: &str) -> Option<SegmentName> {
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let base_offset = digits.parse().ok()?;
    let file = [SegmentFile::Log, SegmentFile::Blocks]
        .into_iter()
        .find(|file| rest.strip_suffix(file.ending()).is_some())?;
    let generation = match rest.strip_suffix(file.ending())?.strip_prefix('.') {
        None => 0,
        Some(number) => number.parse().ok()?,
    };
    // Leading zeros and signs are not ours.
    (file_name(base_offset, generation, file) == name).then_some(SegmentName {
        base_offset,
        generation,
        file,
    })
}
