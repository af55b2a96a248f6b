//! Dumps one journal file: its header, and the commits that follow each other from its start, with their entries.
//!
//! Called by `dump`. Holds one commit. Where the chain ends, older bytes may follow: the file is written again and again. It is damage
//! when a later commit of the same session says that what is missing was on the disk.

use std::fs::File;
use std::path::Path;

use corelog_storage::batch::{BatchHeader, check_crc};
use corelog_storage::io::ALIGN;
use corelog_storage::journal::format::{
    COMMIT_HEADER_BYTES, CommitHeader, EXTENT_OVERHEAD_BYTES, ExtentBlock, ExtentHeader, FORMAT_VERSION,
    InPlace, JOURNAL_COMMIT, parse_file_name,
};
use corelog_storage::journal::{EntryHeader, EntryKind};

use super::report::{Dumped, Failure, Report};
use super::segment::read;

const ENDING: &str = ".journal";

/// Whether a file is named like a journal.
pub(super) fn is_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| parse_file_name(name, ENDING).is_some())
}

/// What a commit chains to.
struct Chain {
    at: u64,
    position: u64,
    previous_hash: u64,
}

/// Dumps a journal file.
pub(super) fn dump(path: &Path, report: &mut Report<'_>) -> Dumped<()> {
    let file = File::open(path).map_err(Failure::Read)?;
    let len = file.metadata().map_err(Failure::Read)?.len();
    if len < EXTENT_OVERHEAD_BYTES {
        return report.wrong(path, 0, format_args!("{len} bytes are too few for a journal"));
    }
    let header = match ExtentHeader::decode(&read(&file, 0, ALIGN)?) {
        ExtentBlock::Header(header) => header,
        ExtentBlock::Free => return report.line(format_args!("{}: free", path.display())),
        ExtentBlock::UnknownVersion(version) => {
            return report.wrong(
                path,
                8,
                format_args!("format version {version}; {FORMAT_VERSION} is known"),
            );
        }
        ExtentBlock::Invalid => return report.wrong(path, 0, "the header does not verify"),
    };
    report.detail(format_args!("{}", path.display()))?;
    let mut chain =
        Chain { at: EXTENT_OVERHEAD_BYTES, position: header.position, previous_hash: header.previous_hash };
    let (mut commits, mut entries) = (0_u64, 0_u64);
    while let Some((commit, hash, body)) = next_commit(&file, len, header.session, &chain)? {
        report.detail(format_args!(
            "  commit position={} bytes={} entries={} durable={}",
            commit.position, commit.len, commit.entries, commit.durable_position
        ))?;
        dump_entries(path, chain.at, &commit, &body, report)?;
        chain = Chain {
            at: chain.at + commit.padded_len(),
            position: commit.position + commit.padded_len(),
            previous_hash: hash,
        };
        (commits, entries) = (commits + 1, entries + u64::from(commit.entries));
    }
    report.line(format_args!(
        "{}: core {}, session {:016x}, extent {}, {commits} commits with {entries} entries, positions {}..{}",
        path.display(),
        header.core,
        header.session,
        header.sequence,
        header.position,
        chain.position
    ))?;
    if let Some(durable) = claimed_behind(&file, len, header.session, &chain)? {
        let what =
            format!("the chain ends here, and a later commit says that all below {durable} was on the disk");
        report.wrong(path, chain.at, what)?;
    }
    Ok(())
}

/// The commit that continues the chain, when it is whole.
fn next_commit(
    file: &File,
    len: u64,
    session: u64,
    chain: &Chain,
) -> Dumped<Option<(CommitHeader, u64, Vec<u8>)>> {
    let Some(header) = header_at(file, len, chain.at)? else { return Ok(None) };
    let (commit, hash) = header;
    let continues = commit.session == session
        && commit.position == chain.position
        && commit.previous_hash == chain.previous_hash
        && chain.at + u64::from(commit.len) <= len;
    if !continues {
        return Ok(None);
    }
    let body = read(file, chain.at + COMMIT_HEADER_BYTES as u64, commit.len as usize - COMMIT_HEADER_BYTES)?;
    Ok(commit.body_is_whole(&body).then_some((commit, hash, body)))
}

fn header_at(file: &File, len: u64, at: u64) -> Dumped<Option<(CommitHeader, u64)>> {
    if at + COMMIT_HEADER_BYTES as u64 > len {
        return Ok(None);
    }
    Ok(CommitHeader::decode(JOURNAL_COMMIT, &read(file, at, COMMIT_HEADER_BYTES)?))
}

/// The highest durable position beyond the chain that a commit behind it claims.
fn claimed_behind(file: &File, len: u64, session: u64, chain: &Chain) -> Dumped<Option<u64>> {
    let mut highest = None;
    for at in (chain.at..len).step_by(ALIGN) {
        if let Some((commit, _)) = header_at(file, len, at)?
            && commit.session == session
            && commit.durable_position > chain.position
        {
            highest = highest.max(Some(commit.durable_position));
        }
    }
    Ok(highest)
}

fn dump_entries(
    path: &Path,
    at: u64,
    commit: &CommitHeader,
    body: &[u8],
    report: &mut Report<'_>,
) -> Dumped<()> {
    let mut rest = body;
    for number in 0..commit.entries {
        let Some((entry, payload, behind)) = EntryHeader::decode(rest) else {
            return report.wrong(path, at, format_args!("entry {number} is of no kind that is known"));
        };
        rest = behind;
        let what = match entry.kind {
            EntryKind::Append => "append".to_owned(),
            EntryKind::LogStart => {
                let offset = payload.try_into().map(i64::from_le_bytes);
                offset
                    .map_or("log start, without an offset".to_owned(), |offset| format!("log start {offset}"))
            }
            EntryKind::Drop => "drop".to_owned(),
            // Whether the blocks are there is for the segment to show: a later batch may have been cut off it.
            EntryKind::AppendInPlace => match InPlace::decode(entry.segment_position, payload) {
                Some(InPlace { cut, .. }) => format!(
                    "append of {} bytes at {}, {} of them in blocks of the segment",
                    cut.head + cut.blocks + cut.tail,
                    entry.segment_position,
                    cut.blocks
                ),
                None => {
                    let what = format_args!("entry {number} is not cut as its position and length ask for");
                    return report.wrong(path, at, what);
                }
            },
        };
        report.detail(format_args!(
            "    log={:016x} sequence={} segment={} next_offset={} {what}",
            entry.log_id.0, entry.sequence, entry.segment_base_offset, entry.next_offset
        ))?;
        if entry.kind == EntryKind::Append {
            dump_batch(path, at, &entry, payload, report)?;
        }
    }
    Ok(())
}

fn dump_batch(
    path: &Path,
    at: u64,
    entry: &EntryHeader,
    payload: &[u8],
    report: &mut Report<'_>,
) -> Dumped<()> {
    let header = match BatchHeader::parse(payload) {
        Ok(header) if header.total_len() == payload.len() => header,
        Ok(_) => return report.wrong(path, at, "an entry holds more or less than one batch"),
        Err(error) => return report.wrong(path, at, error),
    };
    if let Err(error) = check_crc(payload, &header) {
        report.wrong(path, at, error)?;
    }
    match report.batch(u64::from(entry.segment_position), &header, payload)? {
        Some(what) => report.wrong(path, at, what),
        None => Ok(()),
    }
}
