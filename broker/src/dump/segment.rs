//! Dumps one segment: batch by batch, each held against its CRC and the offsets before it; with `--verify` also its records, and
//! every chunk against the sidecar's hashes.
//!
//! Called by `dump`. Holds one batch or one chunk. What lies behind the last batch of the newest segment is space that was reserved, or
//! what a killed broker's journal has too; anywhere else it is wrong.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use corelog_storage::batch::{BatchHeader, HEADER_BYTES, check_crc};
use corelog_storage::io::ALIGN;
use corelog_storage::segment::{BlockTable, CHUNK_BYTES, SegmentFile, SegmentName, file_name, read_pages};

use super::report::{Dumped, Failure, Report, time};

/// Why there is no batch.
enum Missing {
    /// The file ends here.
    End,
    /// What is here is none.
    NoBatch(String),
}

/// Dumps a segment. `newest` when no other one of its log begins later.
pub(super) fn dump(path: &Path, name: SegmentName, newest: bool, report: &mut Report<'_>) -> Dumped<()> {
    let file = File::open(path).map_err(Failure::Read)?;
    let len = file.metadata().map_err(Failure::Read)?.len();
    let (table, damaged_page) = sidecar(path, name)?;
    // A clean stop cuts the segment to its exact length.
    let open = newest && len % ALIGN as u64 == 0;
    report.detail(format_args!("{}", path.display()))?;
    let (mut position, mut next_offset) = (0, name.base_offset);
    let (mut batches, mut records, mut max_timestamp) = (0_u64, 0_i64, -1);
    let reason = loop {
        let (header, bytes) = match batch_at(&file, position, len)? {
            Ok(batch) => batch,
            Err(missing) => break missing,
        };
        if let Err(error) = check_crc(&bytes, &header) {
            report.wrong(path, position, error)?;
        }
        // Compaction leaves holes, and begins where its first batch begins.
        let follows =
            header.base_offset == next_offset || name.generation > 0 && header.base_offset > next_offset;
        if !follows {
            let found = header.base_offset;
            report.wrong(
                path,
                position,
                format_args!("offset {next_offset} should follow, and {found} does"),
            )?;
        }
        if let Some(what) = report.batch(position, &header, &bytes)? {
            report.wrong(path, position, what)?;
        }
        next_offset = header.next_offset();
        position += bytes.len() as u64;
        max_timestamp = max_timestamp.max(header.max_timestamp);
        (batches, records) = (batches + 1, records + i64::from(header.records_count));
    };
    report.line(format_args!(
        "{}: {batches} batches with {records} records, offsets {}..{next_offset}, {position} bytes, newest time {}",
        path.display(),
        name.base_offset,
        time(max_timestamp),
    ))?;
    if let Missing::NoBatch(what) = reason {
        if !open || position < table.len() {
            report.wrong(path, position, what)?;
        } else if is_zero(&file, position, len)? {
            report.line(format_args!("  {} bytes from {position} on are reserved", len - position))?;
        } else {
            report.line(format_args!("  what follows at {position} is for the journal to say: {what}"))?;
        }
    }
    if report.verifies() {
        if let Some(page) = damaged_page {
            report.line(format_args!(
                "  page {page} of its sidecar does not verify, and is made again when it is needed"
            ))?;
        }
        verify_chunks(path, &file, len, &table, open, report)?;
    }
    Ok(())
}

fn batch_at(file: &File, position: u64, len: u64) -> Dumped<Result<(BatchHeader, Vec<u8>), Missing>> {
    let left = len - position;
    if left == 0 {
        return Ok(Err(Missing::End));
    }
    if left < HEADER_BYTES as u64 {
        return Ok(Err(Missing::NoBatch(format!("{left} bytes are too few for a batch"))));
    }
    let header = match BatchHeader::parse(&read(file, position, HEADER_BYTES)?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(Missing::NoBatch(error.to_string()))),
    };
    if header.total_len() as u64 > left {
        let what = format!("a batch of {} bytes begins here, and {left} are left", header.total_len());
        return Ok(Err(Missing::NoBatch(what)));
    }
    Ok(Ok((header, read(file, position, header.total_len())?)))
}

pub(super) fn read(file: &File, position: u64, len: usize) -> Dumped<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, position).map_err(Failure::Read)?;
    Ok(bytes)
}

fn is_zero(file: &File, from: u64, len: u64) -> Dumped<bool> {
    for at in (from..len).step_by(CHUNK_BYTES) {
        let bytes = read(file, at, (len - at).min(CHUNK_BYTES as u64) as usize)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the sidecar says; nothing when there is none, which is no loss.
fn sidecar(path: &Path, name: SegmentName) -> Dumped<(BlockTable, Option<usize>)> {
    let beside = path.with_file_name(file_name(name.base_offset, name.generation, SegmentFile::Blocks));
    match std::fs::read(beside) {
        Ok(bytes) => Ok(read_pages(&bytes, name.base_offset)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((BlockTable::new(name.base_offset), None))
        }
        Err(error) => Err(Failure::Read(error)),
    }
}

fn verify_chunks(
    path: &Path,
    file: &File,
    len: u64,
    table: &BlockTable,
    open: bool,
    report: &mut Report<'_>,
) -> Dumped<()> {
    // The last bytes of a segment that may grow are in the checkpoint, and not in the file yet.
    let chunks = if open { table.whole_chunks() } else { table.len().div_ceil(CHUNK_BYTES as u64) as usize };
    for range in (0..chunks).map(|chunk| (chunk, table.chunk_range(chunk))) {
        let (chunk, range) = range;
        if range.end > len {
            return report.wrong(path, len, format_args!("the sidecar knows of {} bytes", table.len()));
        }
        let bytes = read(file, range.start, (range.end - range.start) as usize)?;
        if !table.verify(chunk, &bytes) {
            let what = format!("the {} bytes from here do not have the recorded hash", bytes.len());
            report.wrong(path, range.start, what)?;
        }
    }
    Ok(())
}
