//! Extent files: made zeroed, taken over from the last session, retired at the end of recovery.
//!
//! Called by the journal when it opens and grows, and by recovery. A file has its final name only when it is zeroed,
//! flushed and named durably. Deliberately absent: which extent is used next (`ring`) and what is in one (`replay`).

use std::path::Path;

use super::JournalOptions;
use super::format::{EXTENT_HEADER_BYTES, ExtentBlock, ExtentHeader, parse_file_name};
use super::ring::Geometry;
use crate::io::{ALIGN, Class, File, Io, OpenMode, TRANSFER_BYTES_MAX};
use crate::{Result, StorageError};

/// Ending of an extent's name.
pub(super) const EXTENT_ENDING: &str = ".journal";
/// Ending while it is zeroed.
const ZEROING_ENDING: &str = ".zeroing";

/// What an earlier session left for this one.
pub(super) struct Found<F> {
    /// Retired extents and their sizes.
    pub(super) extents: Vec<(F, u64)>,
    /// Number for the next file.
    pub(super) next_file: u64,
}

/// Makes the directory, removes what does not fit this geometry, and opens the retired extents that do.
pub(super) async fn take_over<I: Io>(
    io: &I,
    dir: &Path,
    options: &JournalOptions,
    geometry: &Geometry,
) -> Result<Found<I::File>> {
    io.create_dir_all(dir).await?;
    if let Some(parent) = dir.parent()
        && !options.bugs.skip_directory_flush
    {
        io.sync_dir(parent).await?;
    }
    let mut found = Found { extents: Vec::new(), next_file: 0 };
    let mut total = 0;
    let mut has_first = false;
    for entry in io.read_dir(dir).await? {
        let path = dir.join(&entry.name);
        if parse_file_name(&entry.name, ZEROING_ENDING).is_some_and(|(core, _)| core == options.core) {
            io.remove_file(&path).await?;
        }
        let Some((core, number)) = parse_file_name(&entry.name, EXTENT_ENDING) else { continue };
        if core != options.core {
            continue;
        }
        found.next_file = found.next_file.max(number + 1);
        let file = io.open(&path, OpenMode::Existing).await?;
        let size = file.len().await?;
        let block = file.read_at(0, ALIGN).await?;
        if ExtentHeader::decode(block.as_ref()) != ExtentBlock::Free {
            let what = "the extent was not retired by recovery".to_owned();
            return Err(StorageError::Corrupt { path, position: 0, what });
        }
        let is_first = size == geometry.first_extent_bytes && !has_first;
        let fits = (is_first || size == geometry.extent_bytes) && total + size <= geometry.capacity_bytes;
        if fits {
            has_first |= is_first;
            total += size;
            found.extents.push((file, size));
        } else {
            drop(file);
            io.remove_file(&path).await?;
        }
    }
    // Even when nothing changed: a process that was killed may have left a name that is not durable yet.
    if !options.bugs.skip_directory_flush {
        io.sync_dir(dir).await?;
    }
    Ok(found)
}

/// Makes a zeroed extent: written through, so that its blocks exist and a flush of a commit carries data alone.
pub(super) async fn make<I: Io>(
    io: &I,
    dir: &Path,
    options: &JournalOptions,
    number: u64,
    size: u64,
    class: Class,
) -> Result<I::File> {
    let core = options.core;
    let zeroing = dir.join(format!("{core}-{number}{ZEROING_ENDING}"));
    let file = io.open(&zeroing, OpenMode::CreateOrOpen).await?;
    if let Err(error) = zero(io, &file, size, class).await {
        drop(file);
        if error.is_disk_full() {
            io.remove_file(&zeroing).await?;
        }
        return Err(error);
    }
    let path = dir.join(format!("{core}-{number}{EXTENT_ENDING}"));
    io.rename(&zeroing, &path).await?;
    if !options.bugs.skip_directory_flush {
        io.sync_dir(dir).await?;
    }
    Ok(file)
}

async fn zero<I: Io>(io: &I, file: &I::File, size: u64, class: Class) -> Result<()> {
    file.allocate(size).await?;
    let mut at = 0;
    let mut zeros = io.buffer(TRANSFER_BYTES_MAX.min(size as usize));
    while at < size {
        let len = zeros.as_ref().len().min((size - at) as usize);
        if len < zeros.as_ref().len() {
            zeros = io.buffer(len);
        }
        zeros = file.write_at(zeros, at).await?;
        at += len as u64;
        if class != Class::Foreground {
            io.yield_if_needed().await;
        }
    }
    file.flush().await
}

/// Ends every session in `dir`: zeroes the headers of the extents of cores below `cores`, removes the others, flushes.
/// Called at the end of recovery, when the checkpoint already names the old sessions [`RETIRED`](super::RETIRED); may
/// crash anywhere and be repeated. A missing directory is fine.
///
/// # Errors
/// `Io` when the operating system refuses.
pub async fn retire<I: Io>(io: &I, dir: &Path, cores: u32) -> Result<()> {
    io.create_dir_all(dir).await?;
    let mut removed = false;
    for entry in io.read_dir(dir).await? {
        let path = dir.join(&entry.name);
        let zeroing = parse_file_name(&entry.name, ZEROING_ENDING).is_some();
        let Some((core, _)) = parse_file_name(&entry.name, EXTENT_ENDING).filter(|_| !zeroing) else {
            if zeroing {
                io.remove_file(&path).await?;
                removed = true;
            }
            continue;
        };
        if core >= cores {
            io.remove_file(&path).await?;
            removed = true;
            continue;
        }
        let file = io.open(&path, OpenMode::Existing).await?;
        let block = file.read_at(0, ALIGN).await?;
        let header = block.as_ref().get(..EXTENT_HEADER_BYTES);
        if header.is_none_or(|header| header.iter().any(|byte| *byte != 0)) {
            file.write_at(io.buffer(ALIGN), 0).await?;
        }
        // Also when it reads as zeros: a process killed right here may have written them and not flushed.
        file.flush().await?;
    }
    if removed {
        io.sync_dir(dir).await?;
    }
    Ok(())
}
