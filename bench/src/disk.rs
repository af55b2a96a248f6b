//! `corelog-bench disk`: what the disk under a directory does for a journal and for segments, in a few seconds.
//!
//! Goes through the storage crate's seam on io_uring, so that it measures what the broker gets. Only the O_DSYNC row uses
//! plain system calls, because the seam has no such mode. Deliberately absent: anything that outlives the run.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use corelog_storage::io::glommio::{GlommioFile, GlommioIo};
use corelog_storage::io::{ALIGN, File, Io, OpenMode, TRANSFER_BYTES_MAX};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use serde::{Deserialize, Serialize};

use crate::load::{Latencies, LatencySummary};

/// Part of the file that small writes go round in, in bytes: a journal extent's worth.
const SMALL_WRITES_WITHIN: u64 = 8 << 20;

/// Operations of the same row under way at once, where a row keeps more than one.
const DEPTH: u64 = 4;

/// Bytes of a commit of a busy broker.
const COMMIT_BYTES: u64 = 4 << 20;

/// Options of `corelog-bench disk`.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    /// Directory on the disk in question; a file is made in it and removed
    #[arg(long)]
    dir: PathBuf,
    /// Size of that file
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    file_mib: u64,
    /// Longest that each row may take
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds_each: u64,
}

/// One kind of access.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiskRow {
    pub(crate) name: String,
    pub(crate) operations: u64,
    pub(crate) operations_per_s: f64,
    pub(crate) mb_per_s: f64,
    /// Of the whole operation: the transfer, and the flush where there is one.
    pub(crate) latency: LatencySummary,
    /// Of the flush alone.
    pub(crate) flush: Option<LatencySummary>,
}

/// The JSON object of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiskResult {
    command: String,
    ran: bool,
    file_mib: u64,
    pub(crate) rows: Vec<DiskRow>,
}

/// Removes the probe's file however the probe ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed cannot be told from here either.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs all rows.
///
/// # Errors
/// The directory cannot be written, has no direct I/O, or the kernel refuses io_uring.
pub(crate) fn run(args: &DiskArgs) -> Result<DiskResult> {
    let file = |name: &str| Scratch(args.dir.join(format!("corelog-bench-{}-{name}", std::process::id())));
    let (written, unwritten) = (file("written"), file("unwritten"));
    let segments = [file("segment-0"), file("segment-1")];
    ensure!(args.dir.is_dir(), "{} is no directory", args.dir.display());
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(2))
        .make()
        .map_err(|error| anyhow!("io_uring is not available: {error}"))?;
    let limit = Limit { len: args.file_mib << 20, each: Duration::from_secs(args.seconds_each) };
    let mut rows = executor.run(seam_rows(&written.0, &unwritten.0, limit))?;
    rows.extend(executor.run(commit_rows(&[&segments[0].0, &segments[1].0], limit))?);
    rows.push(dsync_row(&written.0, limit)?);
    print_table(&rows);
    Ok(DiskResult { command: "disk".to_string(), ran: true, file_mib: args.file_mib, rows })
}

/// Bounds of every row.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Bytes of the file.
    len: u64,
    each: Duration,
}

/// Collects one row.
struct Probe {
    name: &'static str,
    started: Instant,
    bytes: u64,
    latency: Latencies,
    flush: Option<Latencies>,
}

impl Probe {
    fn start(name: &'static str) -> Self {
        Self { name, started: Instant::now(), bytes: 0, latency: Latencies::new(), flush: None }
    }

    fn done(&mut self, bytes: u64, took: Duration) {
        self.bytes += bytes;
        self.latency.record_ns(nanos(took));
    }

    fn flushed(&mut self, took: Duration) {
        self.flush.get_or_insert_with(Latencies::new).record_ns(nanos(took));
    }

    fn row(&self) -> DiskRow {
        let seconds = self.started.elapsed().as_secs_f64();
        let latency = self.latency.summary();
        DiskRow {
            name: self.name.to_string(),
            operations: latency.count,
            operations_per_s: latency.count as f64 / seconds,
            mb_per_s: self.bytes as f64 / 1e6 / seconds,
            latency,
            flush: self.flush.as_ref().map(Latencies::summary),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

async fn seam_rows(written: &Path, unwritten: &Path, limit: Limit) -> Result<Vec<DiskRow>> {
    let io = GlommioIo::new();
    let file = io.open(written, OpenMode::CreateNew).await?;
    let reserved = io.open(unwritten, OpenMode::CreateNew).await?;
    reserved.allocate(SMALL_WRITES_WITHIN).await?;
    reserved.set_len(SMALL_WRITES_WITHIN).await?;
    reserved.flush().await?;
    Ok(vec![
        stream(&io, "zeroing a new file, 512 KiB writes", Direction::Write, &file, 1, limit).await?,
        stream(&io, "rewrite, 512 KiB", Direction::Write, &file, 1, limit).await?,
        stream(&io, "rewrite, 512 KiB, 4 at once", Direction::Write, &file, DEPTH, limit).await?,
        stream(&io, "read, 512 KiB", Direction::Read, &file, 1, limit).await?,
        stream(&io, "read, 512 KiB, 4 at once", Direction::Read, &file, DEPTH, limit).await?,
        write_and_flush(&io, "4 KiB write + fdatasync, written blocks", &file, limit).await?,
        write_and_flush(&io, "4 KiB write + fdatasync, reserved blocks", &reserved, limit).await?,
    ])
}

/// What two busy cores can make durable: each commits to a file of its own. No broker that flushes before it answers takes more.
async fn commit_rows(paths: &[&Path; 2], limit: Limit) -> Result<Vec<DiskRow>> {
    let io = GlommioIo::new();
    let mut files = Vec::new();
    for path in paths {
        let file = io.open(path, OpenMode::CreateNew).await?;
        file.allocate(limit.len).await?;
        file.flush().await?;
        files.push(file);
    }
    Ok(vec![
        commits(&io, "4 MiB write + fdatasync, 2 files, reserved blocks", &files, limit).await?,
        commits(&io, "4 MiB write + fdatasync, 2 files, written blocks", &files, limit).await?,
    ])
}

/// Commits to all files at once, until one has no room for another.
async fn commits(io: &GlommioIo, name: &'static str, files: &[GlommioFile], limit: Limit) -> Result<DiskRow> {
    let mut probe = Probe::start(name);
    let lane = |file| async move {
        let (mut position, mut done) = (0, Vec::new());
        let mut buf = io.buffer(TRANSFER_BYTES_MAX);
        // Some disks make nothing of zeros.
        buf.as_mut().fill(0xa5);
        let started = Instant::now();
        while position + COMMIT_BYTES <= limit.len && started.elapsed() < limit.each {
            let begun = Instant::now();
            let end = position + COMMIT_BYTES;
            while position < end {
                buf = GlommioFile::write_at(file, buf, position).await?;
                position += TRANSFER_BYTES_MAX as u64;
            }
            let before_flush = Instant::now();
            file.flush().await?;
            done.push((begun.elapsed(), before_flush.elapsed()));
        }
        Ok(done)
    };
    for (took, flush) in together(files.iter().map(lane)).await? {
        probe.done(COMMIT_BYTES, took);
        probe.flushed(flush);
    }
    Ok(probe.row())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// Goes once through the file in the largest transfers, `depth` of them at once, and flushes what it wrote.
async fn stream(
    io: &GlommioIo,
    name: &'static str,
    direction: Direction,
    file: &GlommioFile,
    depth: u64,
    limit: Limit,
) -> Result<DiskRow> {
    let mut probe = Probe::start(name);
    let step = TRANSFER_BYTES_MAX as u64;
    let lane = |first: u64| lane(io, direction, file, first * step, depth * step, limit);
    for (bytes, took) in together((0..depth).map(lane)).await? {
        probe.done(bytes, took);
    }
    if direction == Direction::Write {
        let started = Instant::now();
        file.flush().await?;
        probe.flushed(started.elapsed());
    }
    Ok(probe.row())
}

/// Every `stride`-th transfer of the file, one after the other: bytes and time of each.
async fn lane(
    io: &GlommioIo,
    direction: Direction,
    file: &GlommioFile,
    first: u64,
    stride: u64,
    limit: Limit,
) -> Result<Vec<(u64, Duration)>> {
    let started = Instant::now();
    let (mut position, mut done) = (first, Vec::new());
    let mut buf = io.buffer(TRANSFER_BYTES_MAX);
    while position + TRANSFER_BYTES_MAX as u64 <= limit.len && started.elapsed() < limit.each {
        let before = Instant::now();
        let bytes = match direction {
            Direction::Read => file.read_at(position, TRANSFER_BYTES_MAX).await?.len,
            Direction::Write => {
                buf = file.write_at(buf, position).await?;
                TRANSFER_BYTES_MAX
            }
        };
        done.push((bytes as u64, before.elapsed()));
        position += stride;
    }
    Ok(done)
}

/// Polls all lanes on this task until each is done.
async fn together<T>(lanes: impl Iterator<Item = impl Future<Output = Result<Vec<T>>>>) -> Result<Vec<T>> {
    let mut lanes: Vec<_> = lanes.map(|lane| (Box::pin(lane), None)).collect();
    std::future::poll_fn(|context| {
        for (lane, result) in &mut lanes {
            if result.is_none()
                && let std::task::Poll::Ready(done) = lane.as_mut().poll(context)
            {
                *result = Some(done);
            }
        }
        if lanes.iter().all(|(_, result)| result.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let mut all = Vec::new();
    for done in lanes.into_iter().filter_map(|(_, result)| result) {
        all.extend(done?);
    }
    Ok(all)
}

/// What a commit of a quiet broker costs: one block and a flush.
async fn write_and_flush(
    io: &GlommioIo,
    name: &'static str,
    file: &GlommioFile,
    limit: Limit,
) -> Result<DiskRow> {
    let mut probe = Probe::start(name);
    let mut buf = io.buffer(ALIGN);
    let mut position = 0;
    while probe.started.elapsed() < limit.each {
        let started = Instant::now();
        buf = file.write_at(buf, position).await?;
        let before_flush = Instant::now();
        file.flush().await?;
        probe.flushed(before_flush.elapsed());
        probe.done(ALIGN as u64, started.elapsed());
        position = (position + ALIGN as u64) % SMALL_WRITES_WITHIN;
        if position == 0 && name.ends_with("reserved blocks") {
            // The second time round they are written.
            break;
        }
    }
    Ok(probe.row())
}

/// The same commit as one operation.
fn dsync_row(path: &Path, limit: Limit) -> Result<DiskRow> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_DIRECT | nix::libc::O_DSYNC)
        .open(path)
        .with_context(|| format!("opening {} with O_DSYNC", path.display()))?;
    // Somewhere in two blocks an aligned one begins.
    let memory = vec![0_u8; 2 * ALIGN];
    let block = memory.get(memory.as_ptr().align_offset(ALIGN)..).and_then(|aligned| aligned.get(..ALIGN));
    let block = block.context("no aligned block in two blocks of memory")?;
    let mut probe = Probe::start("4 KiB write, O_DSYNC (pwrite), written blocks");
    let mut position = 0;
    while probe.started.elapsed() < limit.each {
        let started = Instant::now();
        file.write_all_at(block, position).with_context(|| format!("writing {}", path.display()))?;
        probe.done(ALIGN as u64, started.elapsed());
        position = (position + ALIGN as u64) % SMALL_WRITES_WITHIN;
    }
    Ok(probe.row())
}

fn print_table(rows: &[DiskRow]) {
    eprintln!(
        "{:<50} {:>9} {:>9} {:>9} {:>9} {:>12}",
        "", "ops/s", "MB/s", "p50 us", "p99 us", "flush p50/p99"
    );
    for row in rows {
        let flush =
            row.flush.as_ref().map_or(String::new(), |flush| format!("{}/{}", flush.p50_us, flush.p99_us));
        eprintln!(
            "{:<50} {:>9.0} {:>9.1} {:>9} {:>9} {flush:>12}",
            row.name, row.operations_per_s, row.mb_per_s, row.latency.p50_us, row.latency.p99_us
        );
    }
}
