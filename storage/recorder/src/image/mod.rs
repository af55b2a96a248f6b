//! Builds the disk as a power cut at one point of a recording may leave it: every write that a completed flush covers,
//! and of the later ones any part, in whole writes or single sectors. Called by `main`; where to cut is in `cut`.
//! Deliberately absent: mounting what was built.

mod cut;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use nix::fcntl::{FallocateFlags, fallocate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::history;
use crate::log::{Entry, Kind, entries};

/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: u64 = 512;

/// The first block is never torn: ext4's superblock has one checksum over two sectors, which is read before the journal
/// that could mend it. A property of that file system, not of what runs on it.
const WHOLE_BYTES: u64 = 4096;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What becomes of the writes that no completed flush covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keep {
    /// None is on the disk: the harshest cut for whoever acknowledges too early.
    None,
    /// All are on the disk, whole: what copying the image of a frozen process shows.
    All,
    /// Some are, some are not, and some are torn.
    Random,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Records before the cut.
    pub(crate) cut: u64,
    /// Records of the whole recording.
    pub(crate) of: u64,
    /// When the cut fell, in microseconds since the recording began.
    pub(crate) time_us: u64,
    /// Writes that a completed flush covers.
    pub(crate) covered: u64,
    /// Later writes that are in the image whole.
    pub(crate) kept: u64,
    /// Later writes of which some sectors are in the image.
    pub(crate) torn: u64,
    /// Later writes of which nothing is in the image.
    pub(crate) dropped: u64,
    /// Bytes of history before the cut, without the magic.
    pub(crate) history_bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cut at record {} of {} ({}.{:03} s): {} writes flushed; of {} later ones {} kept, {} torn, {} lost; \
             {} bytes of history",
            self.cut,
            self.of,
            self.time_us / 1_000_000,
            self.time_us / 1000 % 1000,
            self.covered,
            self.kept + self.torn + self.dropped,
            self.kept,
            self.torn,
            self.dropped,
            self.history_bytes
        )
    }
}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Size of the disk in bytes.
    pub(crate) image_bytes: u64,
    /// Everything random comes from it: the same recording and seed give the same image.
    pub(crate) seed: u64,
    /// Records before the cut; drawn from the seed when absent.
    pub(crate) at: Option<u64>,
    /// The fate of writes that were not flushed.
    pub(crate) keep: Keep,
}

/// Builds an image and the clients' history up to the same moment.
pub(crate) fn build(log: &File, request: Request, image: &Path, history: &Path) -> anyhow::Result<Summary> {
    let entries = entries(log)?;
    let mut random = StdRng::seed_from_u64(request.seed);
    let cut = match request.at {
        Some(at) => usize::try_from(at)?,
        None => cut::draw(&entries, &mut random)?,
    };
    let before = entries.get(..cut).with_context(|| {
        format!("cannot cut at record {cut}: the recording has {} records", entries.len())
    })?;
    let covered = cut::covered(before);
    let mut summary = Summary {
        cut: cut as u64,
        of: entries.len() as u64,
        time_us: before.last().map_or(0, |entry| entry.time_us),
        covered: 0,
        kept: 0,
        torn: 0,
        dropped: 0,
        history_bytes: 0,
    };
    let output = File::create(image).with_context(|| format!("cannot create image {}", image.display()))?;
    output.set_len(request.image_bytes)?;
    let mut clients =
        File::create(history).with_context(|| format!("cannot create {}", history.display()))?;
    clients.write_all(&history::MAGIC)?;
    let kept_share = [0.1, 0.5, 0.9][random.random_range(0..3)];
    for entry in before {
        match entry.kind {
            Kind::WriteBegun => {
                let end = entry.subject.checked_add(entry.length);
                ensure!(
                    end.is_some_and(|end| end <= request.image_bytes),
                    "record {} writes {} bytes at {}, past the end of an image of {} bytes",
                    entry.sequence,
                    entry.length,
                    entry.subject,
                    request.image_bytes
                );
                let fate = if covered.contains(&entry.sequence) {
                    summary.covered += 1;
                    Fate::Whole
                } else {
                    let fate = fate(entry, request.keep, kept_share, &mut random);
                    match fate {
                        Fate::Whole => summary.kept += 1,
                        Fate::Torn(_) => summary.torn += 1,
                        Fate::Dropped => summary.dropped += 1,
                    }
                    fate
                };
                apply(log, entry, fate, &output)?;
            }
            Kind::History => {
                let mut data = vec![0; usize::try_from(entry.length)?];
                let at = entry.data_at.context("history without data")?;
                log.read_exact_at(&mut data, at)?;
                clients.write_all(&data)?;
                summary.history_bytes += entry.length;
            }
            Kind::WriteDone | Kind::FlushBegun | Kind::FlushDone => {}
        }
    }
    Ok(summary)
}

/// What a cut makes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    /// Each sector for itself, drawn from this seed.
    Torn(u64),
    Dropped,
}

fn fate(entry: &Entry, keep: Keep, kept_share: f64, random: &mut StdRng) -> Fate {
    match keep {
        Keep::None => Fate::Dropped,
        Keep::All => Fate::Whole,
        Keep::Random if !random.random_bool(kept_share) => Fate::Dropped,
        Keep::Random => {
            let may_tear = entry.length > SECTOR_BYTES && entry.subject >= WHOLE_BYTES;
            if may_tear && random.random_bool(0.25) { Fate::Torn(random.random()) } else { Fate::Whole }
        }
    }
}

/// Writes one write into the image, or those of its sectors that reached the disk.
fn apply(log: &File, entry: &Entry, fate: Fate, output: &File) -> anyhow::Result<()> {
    match fate {
        Fate::Dropped => Ok(()),
        Fate::Whole => copy(log, entry, 0, entry.length, output),
        Fate::Torn(seed) => {
            let mut random = StdRng::seed_from_u64(seed);
            let mut at = 0;
            while at < entry.length {
                // Sectors end where the disk's do, wherever the write starts.
                let end = (SECTOR_BYTES - (entry.subject + at) % SECTOR_BYTES + at).min(entry.length);
                if random.random_bool(0.5) {
                    copy(log, entry, at, end, output)?;
                }
                at = end;
            }
            Ok(())
        }
    }
}

/// Copies the bytes `from..to` of a write to their place in the image, which stays sparse where they are zeros.
fn copy(log: &File, entry: &Entry, from: u64, to: u64, output: &File) -> anyhow::Result<()> {
    let Some(data_at) = entry.data_at else {
        let (position, length) = (i64::try_from(entry.subject + from)?, i64::try_from(to - from)?);
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        return fallocate(output.as_raw_fd(), hole, position, length)
            .context("cannot zero a part of the image");
    };
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(to - from)?)];
    let mut at = from;
    while at < to {
        let step = usize::try_from((to - at).min(COPY_BYTES as u64))?;
        let bytes = &mut buffer[..step];
        log.read_exact_at(bytes, data_at + at)?;
        output.write_all_at(bytes, entry.subject + at)?;
        at += step as u64;
    }
    Ok(())
}
