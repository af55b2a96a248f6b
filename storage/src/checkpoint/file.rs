//! One checkpoint file: its header block, its commits, and how a whole one is put in place.
//!
//! Called by the checkpoint log to write and by the loader to read. A file gets its name only when its first contents
//! are flushed, so nothing below that point can be torn. Deliberately absent: what the records mean.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::record::Record;
use crate::io::{ALIGN, File, Io, OpenMode, TRANSFER_BYTES_MAX};
use crate::journal::Bugs;
use crate::journal::format::{COMMIT_HEADER_BYTES, CommitHeader, Fields};
use crate::journal::window::Window;
use crate::{Result, StorageError};

/// Format version of checkpoint files.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Ending of a file in place.
pub(super) const ENDING: &str = ".checkpoint";
/// Ending of one that is being written.
pub(super) const NEW_ENDING: &str = ".new";
/// Records are gathered into commits of about this many bytes; one larger record alone makes a larger one.
const COMMIT_BYTES: usize = 1 << 20;
/// Disk space reserved ahead of what is written, so that a full disk is met before a write and not in one. A disk that has less gives what is
/// needed and no more.
const RESERVE_BYTES: u64 = 4 << 20;

const MAGIC: [u8; 8] = *b"CLCHKPNT";
const COMMIT_MAGIC: [u8; 4] = *b"CLCP";
const HEADER_BYTES: usize = 64;

/// Which file it is, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// Core that writes it.
    pub core: u32,
    /// Number of cores, and so of files, that make the generation whole.
    pub cores: u32,
    /// Grows with each recovery. All logs of a directory are in the files of one generation.
    pub generation: u64,
    /// The generation it was made from; 0 when there was none.
    pub replaces: u64,
}

/// The first block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) identity: FileIdentity,
    /// Number in the file's name; a rewritten file has a higher one.
    pub(super) number: u64,
    /// Everything below this byte was flushed before the file was named.
    pub(super) published_bytes: u64,
}

impl FileHeader {
    /// The bytes and their hash, from which the chain of commits starts.
    fn encode(&self) -> ([u8; HEADER_BYTES], u64) {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.identity.core.to_le_bytes());
        out[16..20].copy_from_slice(&self.identity.cores.to_le_bytes());
        out[24..32].copy_from_slice(&self.identity.generation.to_le_bytes());
        out[32..40].copy_from_slice(&self.identity.replaces.to_le_bytes());
        out[40..48].copy_from_slice(&self.number.to_le_bytes());
        out[48..56].copy_from_slice(&self.published_bytes.to_le_bytes());
        let hash = xxh3_64(&out[..56]);
        out[56..].copy_from_slice(&hash.to_le_bytes());
        (out, hash)
    }

    /// `Err` holds an unknown version, or `None` when the bytes are no header.
    fn decode(block: &[u8]) -> std::result::Result<(Self, u64), Option<u32>> {
        let bytes = block.first_chunk::<HEADER_BYTES>().ok_or(None)?;
        let mut fields = Fields(bytes);
        if fields.array::<8>() != Some(MAGIC) {
            return Err(None);
        }
        match fields.u32() {
            Some(FORMAT_VERSION) => {}
            version => return Err(version),
        }
        Self::decode_fields(bytes, fields).ok_or(None)
    }

    fn decode_fields(bytes: &[u8; HEADER_BYTES], mut fields: Fields<'_>) -> Option<(Self, u64)> {
        let (core, cores) = (fields.u32()?, fields.u32()?);
        fields.u32()?;
        let (generation, replaces) = (fields.u64()?, fields.u64()?);
        let (number, published_bytes) = (fields.u64()?, fields.u64()?);
        let hash = fields.u64()?;
        let identity = FileIdentity { core, cores, generation, replaces };
        (hash == xxh3_64(&bytes[..56])).then_some((Self { identity, number, published_bytes }, hash))
    }
}

/// Where a file's chain of commits stands.
#[derive(Debug, Clone, Copy)]
struct Chain {
    session: u64,
    position: u64,
    previous_hash: u64,
    durable: u64,
}

/// A file that is being written.
pub(super) struct CheckpointFile<F> {
    file: F,
    pub(super) path: PathBuf,
    chain: Chain,
    reserved: u64,
    /// Length when it was named.
    pub(super) published_bytes: u64,
}

impl<F: File> CheckpointFile<F> {
    /// Writes a whole file beside and puts it in place.
    ///
    /// # Errors
    /// Disk full: nothing is left of it. Anything else is final for the directory.
    pub(super) async fn create<I: Io<File = F, Buf = F::Buf>>(
        io: &I,
        dir: &Path,
        identity: FileIdentity,
        number: u64,
        records: &[Record],
        bugs: Bugs,
    ) -> Result<Self> {
        let core = identity.core;
        let beside = dir.join(format!("{core}-{number}{NEW_ENDING}"));
        let path = dir.join(format!("{core}-{number}{ENDING}"));
        let file = io.open(&beside, OpenMode::CreateOrOpen).await?;
        let published_bytes = ALIGN as u64 + frames(records).map(padded_len).sum::<u64>();
        let (header, hash) = FileHeader { identity, number, published_bytes }.encode();
        let position = ALIGN as u64;
        let chain = Chain { session: hash, position, previous_hash: hash, durable: position };
        let mut made = Self { file, path, chain, reserved: 0, published_bytes };
        if let Err(error) = made.fill(io, &header, records).await {
            if matches!(error, StorageError::DiskFull { .. }) {
                io.remove_file(&beside).await?;
            }
            return Err(error);
        }
        io.rename(&beside, &made.path).await?;
        if !bugs.skip_directory_flush {
            io.sync_dir(dir).await?;
        }
        Ok(made)
    }

    async fn fill<I: Io<File = F, Buf = F::Buf>>(
        &mut self,
        io: &I,
        header: &[u8],
        records: &[Record],
    ) -> Result<()> {
        self.reserve(io, self.published_bytes).await?;
        let mut block = io.buffer(ALIGN);
        block.as_mut()[..header.len()].copy_from_slice(header);
        self.file.write_at(block, 0).await?;
        self.append(io, records).await
    }

    /// Writes the records as commits, and flushes once. A record counts only when all before it do.
    ///
    /// # Errors
    /// Disk full: nothing was written. Anything else is final for the directory.
    pub(super) async fn append<I: Io<File = F, Buf = F::Buf>>(
        &mut self,
        io: &I,
        records: &[Record],
    ) -> Result<()> {
        let len: u64 = frames(records).map(padded_len).sum();
        self.reserve(io, self.chain.position + len).await?;
        for frame in frames(records) {
            let mut body = Vec::with_capacity(body_len(frame));
            frame.iter().for_each(|record| record.encode(&mut body));
            let header = CommitHeader {
                len: (COMMIT_HEADER_BYTES + body.len()) as u32,
                session: self.chain.session,
                position: self.chain.position,
                previous_hash: self.chain.previous_hash,
                durable_position: self.chain.durable,
                entries: frame.len() as u32,
                body_hash: xxh3_64(&body),
            };
            let (bytes, hash) = header.encode(COMMIT_MAGIC);
            write_through(io, &self.file, &bytes, &body, self.chain.position).await?;
            self.chain.position += header.padded_len();
            self.chain.previous_hash = hash;
        }
        self.file.flush().await?;
        self.chain.durable = self.chain.position;
        Ok(())
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        self.chain.position
    }

    async fn reserve<I: Io<File = F, Buf = F::Buf>>(&mut self, io: &I, len: u64) -> Result<()> {
        if len <= self.reserved {
            return Ok(());
        }
        let wanted = (len + RESERVE_BYTES).next_multiple_of(RESERVE_BYTES);
        let needed = crate::io::align_up(len);
        match crate::io::reserve(&self.file, wanted, needed).await {
            Ok(reserved) => {
                self.reserved = reserved;
                Ok(())
            }
            Err(error) if error.is_disk_full() => {
                let dir = self.path.parent().unwrap_or(&self.path).to_path_buf();
                let available = io.available_bytes(&dir).await?;
                Err(StorageError::DiskFull { dir, available, needed: needed - self.reserved })
            }
            Err(error) => Err(error),
        }
    }
}

/// Divides records into those that share a commit.
fn frames(mut records: &[Record]) -> impl Iterator<Item = &[Record]> {
    std::iter::from_fn(move || {
        let mut len = 0;
        let count = records
            .iter()
            .take_while(|record| {
                len < COMMIT_BYTES && {
                    len += record.encoded_len();
                    true
                }
            })
            .count();
        let (frame, rest) = records.split_at(count);
        records = rest;
        (count > 0).then_some(frame)
    })
}

fn body_len(frame: &[Record]) -> usize {
    frame.iter().map(Record::encoded_len).sum()
}

fn padded_len(frame: &[Record]) -> u64 {
    crate::io::align_up((COMMIT_HEADER_BYTES + body_len(frame)) as u64)
}

/// Writes header and body, padded with zeros to a block, in transfers of the permitted size.
async fn write_through<I: Io>(
    io: &I,
    file: &I::File,
    header: &[u8],
    body: &[u8],
    mut position: u64,
) -> Result<()> {
    let mut parts = [header, body];
    let mut left = header.len() + body.len();
    while left > 0 {
        let len = left.min(TRANSFER_BYTES_MAX);
        let mut buf = io.buffer(len.next_multiple_of(ALIGN));
        let mut filled = 0;
        for part in &mut parts {
            let (now, later) = part.split_at(part.len().min(len - filled));
            buf.as_mut()[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            *part = later;
        }
        position += file.write_at(buf, position).await?.as_ref().len() as u64;
        left -= len;
        io.yield_if_needed().await;
    }
    Ok(())
}

/// Reads a file's header.
pub(super) async fn read_header<F: File>(path: &Path, file: &F) -> Result<FileHeader> {
    read_header_and_hash(path, file).await.map(|(header, _)| header)
}

async fn read_header_and_hash<F: File>(path: &Path, file: &F) -> Result<(FileHeader, u64)> {
    let block = file.read_at(0, ALIGN).await?;
    FileHeader::decode(block.as_ref()).map_err(|version| match version {
        Some(found) => StorageError::UnknownVersion {
            path: path.to_path_buf(),
            what: "checkpoint",
            found,
            known: FORMAT_VERSION,
        },
        None => corrupt(path, 0, "its first block is no checkpoint header".to_owned()),
    })
}

/// Delivers a file's records in order; stops at a torn tail.
///
/// # Errors
/// `Corrupt` when something that was once flushed is not what was written; what `visit` returns, with the position.
pub(super) async fn read_records<F: File>(
    path: &Path,
    file: &F,
    visit: &mut impl FnMut(Record) -> std::result::Result<(), String>,
) -> Result<()> {
    let (header, hash) = read_header_and_hash(path, file).await?;
    let len = file.len().await?;
    let mut window = Window::new(file, len);
    let (mut position, mut previous_hash) = (ALIGN as u64, hash);
    while let Some(bytes) = window.at(position, COMMIT_HEADER_BYTES).await? {
        let Some((commit, commit_hash)) = CommitHeader::decode(COMMIT_MAGIC, bytes).filter(|(commit, _)| {
            commit.session == hash && commit.position == position && commit.previous_hash == previous_hash
        }) else {
            break;
        };
        let all = window.at(position, commit.len as usize).await?;
        let Some(mut body) = all.and_then(|all| all.get(COMMIT_HEADER_BYTES..)) else { break };
        if !commit.body_is_whole(body) {
            break;
        }
        for nth in 0..commit.entries {
            let Some((record, rest)) = Record::decode(body) else {
                let what = format!("record {nth} of a whole commit is of no kind that this version knows");
                return Err(corrupt(path, position, what));
            };
            body = rest;
            visit(record).map_err(|what| corrupt(path, position, what))?;
        }
        position += commit.padded_len();
        previous_hash = commit_hash;
    }
    // Anything behind the break that was issued knowing the break's bytes on the disk makes it corruption.
    let mut durable = header.published_bytes;
    let mut at = position;
    while let Some(bytes) = window.at(at, COMMIT_HEADER_BYTES).await? {
        if let Some((commit, _)) =
            CommitHeader::decode(COMMIT_MAGIC, bytes).filter(|(commit, _)| commit.session == hash)
        {
            durable = durable.max(commit.durable_position);
        }
        at += ALIGN as u64;
    }
    if durable > position {
        return Err(corrupt(
            path,
            position,
            format!("its commits break here, but {durable} bytes were flushed"),
        ));
    }
    Ok(())
}

pub(super) fn corrupt(path: &Path, position: u64, what: String) -> StorageError {
    StorageError::Corrupt { path: path.to_path_buf(), position, what }
}
