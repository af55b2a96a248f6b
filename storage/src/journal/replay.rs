//! Replay: reads what the journals of a directory hold, whole and in order, or says that it is damaged.
//!
//! Called by recovery with the sessions that the checkpoint names. Extents are grouped by session, the chain of commits
//! is followed to its first break, and the break is judged: torn tail, or corruption below the durable position.
//! Deliberately absent: applying entries, and any writing (`retire` ends the sessions afterwards).

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Bugs;
use super::extents::EXTENT_ENDING;
use super::format::{
    COMMIT_HEADER_BYTES, CommitHeader, EXTENT_OVERHEAD_BYTES, EntryHeader, EntryKind, ExtentBlock,
    ExtentHeader, FORMAT_VERSION, InPlace, JOURNAL_COMMIT, parse_file_name,
};
use super::window::Window;
use crate::io::{ALIGN, File, Io, OpenMode};
use crate::{Result, StorageError};

/// The live position of a session of which nothing is needed any more.
pub const RETIRED: u64 = u64::MAX;

/// One entry as it was appended.
#[derive(Debug, Clone)]
pub struct Replayed<'a> {
    /// Core that wrote it.
    pub core: u32,
    /// Session it was written in.
    pub session: u64,
    /// Logical position of its commit.
    pub commit_position: u64,
    /// Its header.
    pub header: EntryHeader,
    /// Its payload; the whole batch where an entry has only a part of it.
    pub payload: &'a [u8],
    /// The part of the payload that its segment holds already. Nothing else does: it must not be written again.
    pub in_place: Range<usize>,
}

/// A part of a segment that an entry speaks of.
#[derive(Debug, Clone)]
pub struct WantedBlocks {
    /// The entry.
    pub entry: EntryHeader,
    /// Bytes of its segment, from block to block.
    pub range: Range<u64>,
}

/// A part of a segment, as it is in its file.
#[derive(Debug)]
pub struct SegmentBlocks {
    /// The file.
    pub path: PathBuf,
    /// What there is of the blocks that were asked for.
    pub bytes: Vec<u8>,
}

/// Who takes what replay finds.
pub trait Visitor {
    /// Reads these bytes of each entry's segment, as far as the file goes. None for an entry that is not needed. All of a commit
    /// are asked for at once, so that the disk need not wait for one after the other.
    fn blocks(&mut self, wanted: &[WantedBlocks])
    -> impl Future<Output = Result<Vec<Option<SegmentBlocks>>>>;

    /// Takes one entry.
    fn entry(&mut self, entry: Replayed<'_>) -> impl Future<Output = Result<()>>;
}

/// What was found of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayedSession {
    /// Core that wrote it; `None` when not one extent of it has a readable header.
    pub core: Option<u32>,
    /// The session.
    pub session: u64,
    /// Where the chain of commits ends.
    pub end_position: u64,
    /// Entries delivered.
    pub entries: u64,
    /// Bytes of the commits they were in.
    pub bytes: u64,
}

struct Found<F> {
    path: PathBuf,
    file: F,
    len: u64,
    header: ExtentHeader,
}

/// What is found anywhere in the directory, whether or not the chain leads there.
struct Claims {
    /// The highest durable position that a commit of each session claims.
    durable: HashMap<u64, u64>,
    /// Extents whose first block is neither a header nor zeros.
    headless: Vec<PathBuf>,
}

impl Claims {
    fn note(&mut self, header: &CommitHeader) {
        if let Some(highest) = self.durable.get_mut(&header.session) {
            *highest = (*highest).max(header.durable_position);
        }
    }

    /// Looks at every block from `from` on for a commit header that verifies by itself.
    async fn scan<F: File>(&mut self, file: &F, len: u64, from: u64) -> Result<()> {
        let mut window = Window::new(file, len);
        let mut at = from;
        while let Some(bytes) = window.at(at, COMMIT_HEADER_BYTES).await? {
            if let Some((header, _)) = CommitHeader::decode(JOURNAL_COMMIT, bytes) {
                self.note(&header);
            }
            at += ALIGN as u64;
        }
        Ok(())
    }
}

/// Delivers the entries that are needed from all journals in `dir`, session by session, each in the order it was
/// appended. `sessions` holds, from the checkpoint, each session and its live position: everything below is covered
/// (0: nothing is; [`RETIRED`]: everything). Memory is bounded by the largest commit. Entries of a session are delivered
/// before a break behind them is judged, so an error voids what was delivered. A missing directory is empty.
///
/// # Errors
/// `Corrupt` when something below a durable position is not what was written, or when an extent belongs to a session
/// that the checkpoint does not name; `UnknownVersion`; `Io`; and whatever `visitor` returns.
pub async fn replay<I: Io>(
    io: &I,
    dir: &Path,
    sessions: &HashMap<u64, u64>,
    bugs: Bugs,
    visitor: &mut impl Visitor,
) -> Result<Vec<ReplayedSession>> {
    io.create_dir_all(dir).await?;
    let mut live: Vec<(u64, u64)> = sessions
        .iter()
        .filter(|(_, live)| **live != RETIRED)
        .map(|(session, live)| (*session, *live))
        .collect();
    live.sort_unstable();
    let durable = live.iter().map(|(session, _)| (*session, 0)).collect();
    let mut claims = Claims { durable, headless: Vec::new() };
    let mut extents: HashMap<u64, Vec<Found<I::File>>> = HashMap::new();
    for entry in io.read_dir(dir).await? {
        if parse_file_name(&entry.name, EXTENT_ENDING).is_none() {
            continue;
        }
        let path = dir.join(&entry.name);
        let file = io.open(&path, OpenMode::Existing).await?;
        let len = file.len().await?;
        let block = file.read_at(0, ALIGN).await?;
        match ExtentHeader::decode(block.as_ref()) {
            ExtentBlock::Free => {}
            ExtentBlock::UnknownVersion(found) => {
                let (what, known) = ("journal extent", FORMAT_VERSION);
                return Err(StorageError::UnknownVersion { path, what, found, known });
            }
            // Torn when it was opened, or damaged since: its commits tell.
            ExtentBlock::Invalid => {
                claims.scan(&file, len, EXTENT_OVERHEAD_BYTES).await?;
                claims.headless.push(path);
            }
            ExtentBlock::Header(header) => match sessions.get(&header.session) {
                Some(&RETIRED) if !bugs.accept_old_session => {}
                None => {
                    let what = format!("no checkpoint names its session {:016x}", header.session);
                    return Err(StorageError::Corrupt { path, position: 16, what });
                }
                Some(_) => {
                    extents.entry(header.session).or_default().push(Found { path, file, len, header });
                }
            },
        }
    }
    if bugs.accept_old_session {
        live.extend(sessions.iter().filter(|(_, live)| **live == RETIRED).map(|(session, _)| (*session, 0)));
    }
    let mut report = Vec::new();
    for (session, live) in live {
        let mut found = extents.remove(&session).unwrap_or_default();
        found.sort_by_key(|extent| extent.header.sequence);
        let mut chain = Chain::new(session, live, bugs);
        chain.follow(&found, &mut claims, visitor).await?;
        chain.judge(dir, &claims)?;
        let core = found.first().map(|extent| extent.header.core);
        let Chain { position: end_position, entries, bytes, .. } = chain;
        report.push(ReplayedSession { core, session, end_position, entries, bytes });
    }
    Ok(report)
}

/// What became of a batch of which a segment holds a part.
enum Assembled {
    /// The checkpoint covers it, or its log is gone.
    NotNeeded,
    /// This segment does not hold what the entry says.
    Torn(PathBuf),
    /// The batch, and the part of it that the segment holds.
    Whole(Vec<u8>, Range<usize>),
}

/// The chain of one session's commits, as far as it has been followed.
struct Chain {
    session: u64,
    live: u64,
    bugs: Bugs,
    /// Where the next commit must stand.
    position: u64,
    /// What it must chain to.
    previous_hash: u64,
    /// File and byte where the chain was left.
    left_at: Option<(PathBuf, u64)>,
    /// Segment of the blocks that are not what their entry says, where that is why.
    torn_blocks: Option<PathBuf>,
    entries: u64,
    bytes: u64,
}

impl Chain {
    fn new(session: u64, live: u64, bugs: Bugs) -> Self {
        let (position, previous_hash, left_at, torn_blocks) = (0, session, None, None);
        Self { session, live, bugs, position, previous_hash, left_at, torn_blocks, entries: 0, bytes: 0 }
    }

    async fn follow<F: File>(
        &mut self,
        extents: &[Found<F>],
        claims: &mut Claims,
        visitor: &mut impl Visitor,
    ) -> Result<()> {
        // Extents below the one that holds the live position were released: whatever is in them counts no more.
        let start = extents.iter().rposition(|extent| extent.header.position <= self.live);
        let Some(needed) = start.and_then(|start| extents.get(start..)) else {
            for extent in extents {
                claims.scan(&extent.file, extent.len, EXTENT_OVERHEAD_BYTES).await?;
            }
            return Ok(());
        };
        let mut broken = false;
        let mut sequence = None;
        for (nth, extent) in needed.iter().enumerate() {
            let header = &extent.header;
            if nth == 0 {
                (self.position, self.previous_hash) = (header.position, header.previous_hash);
            }
            let continues = sequence.is_none_or(|before: u64| before.checked_add(1) == Some(header.sequence))
                && header.position == self.position
                && header.previous_hash == self.previous_hash;
            if self.bugs.accept_unchained && header.position >= self.position {
                broken = false;
            } else {
                broken |= !continues;
            }
            sequence = Some(header.sequence);
            let mut at = EXTENT_OVERHEAD_BYTES;
            if !broken {
                at = self.follow_extent(extent, claims, visitor).await?;
                self.left_at = Some((extent.path.clone(), at));
                // The chain leaves an extent where the next one takes it up; what follows in this one is old.
                let taken_up = needed.get(nth + 1).is_some_and(|next| {
                    next.header.position == self.position && next.header.previous_hash == self.previous_hash
                });
                if taken_up {
                    continue;
                }
                broken = true;
            }
            claims.scan(&extent.file, extent.len, at).await?;
        }
        Ok(())
    }

    /// Follows the chain through one extent, and says where in the file it left it.
    async fn follow_extent<F: File>(
        &mut self,
        extent: &Found<F>,
        claims: &mut Claims,
        visitor: &mut impl Visitor,
    ) -> Result<u64> {
        let mut window = Window::new(&extent.file, extent.len);
        let mut at = EXTENT_OVERHEAD_BYTES;
        loop {
            let Some(bytes) = window.at(at, COMMIT_HEADER_BYTES).await? else { return Ok(at) };
            let commit =
                CommitHeader::decode(JOURNAL_COMMIT, bytes).filter(|(header, _)| self.continues(header));
            let Some((header, hash)) = commit else {
                if self.bugs.accept_unchained && at + (ALIGN as u64) < extent.len {
                    at += ALIGN as u64;
                    continue;
                }
                return Ok(at);
            };
            claims.note(&header);
            let body =
                window.at(at, header.len as usize).await?.and_then(|all| all.get(COMMIT_HEADER_BYTES..));
            let whole = |body: &&[u8]| header.body_is_whole(body) || self.bugs.accept_wrong_hash;
            let Some(body) = body.filter(whole) else { return Ok(at) };
            if header.position + header.padded_len() > self.live
                && !self.deliver(extent, at, &header, body, visitor).await?
            {
                return Ok(at);
            }
            self.position = header.position + header.padded_len();
            self.previous_hash = hash;
            at += header.padded_len();
        }
    }

    fn continues(&self, header: &CommitHeader) -> bool {
        if self.bugs.accept_unchained {
            return header.session == self.session && header.position >= self.position;
        }
        header.session == self.session
            && header.position == self.position
            && header.previous_hash == self.previous_hash
    }

    /// Delivers a commit's entries, unless one of them says of blocks in a segment what is not so: then the commit is as torn as
    /// if its own bytes were.
    async fn deliver<F: File>(
        &mut self,
        extent: &Found<F>,
        at: u64,
        commit: &CommitHeader,
        body: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<bool> {
        let corrupt = |nth, what| {
            let what = format!("entry {nth} of a whole commit {what}");
            StorageError::Corrupt { path: extent.path.clone(), position: at, what }
        };
        let mut entries = Vec::with_capacity(commit.entries as usize);
        let mut wanted = Vec::new();
        let mut rest = body;
        for nth in 0..commit.entries {
            let Some((header, payload, behind)) = EntryHeader::decode(rest) else {
                return Err(corrupt(nth, "is of no kind that this version knows"));
            };
            rest = behind;
            let mut in_place = None;
            if header.kind == EntryKind::AppendInPlace {
                let Some(batch) = InPlace::decode(header.segment_position, payload) else {
                    return Err(corrupt(nth, "is not cut as its position and length ask for"));
                };
                let from = u64::from(header.segment_position) + batch.cut.head as u64;
                wanted.push(WantedBlocks { entry: header, range: from..from + batch.cut.blocks as u64 });
                in_place = Some(batch);
            }
            entries.push((header, payload, in_place));
        }
        let found = if wanted.is_empty() { Vec::new() } else { visitor.blocks(&wanted).await? };
        assert_eq!(found.len(), wanted.len(), "whoever reads blocks answers for each entry");
        let mut assembled = Vec::with_capacity(found.len());
        for (in_place, blocks) in entries.iter().filter_map(|(.., in_place)| in_place.as_ref()).zip(found) {
            match self.assemble(in_place, blocks) {
                Assembled::Torn(segment) => {
                    self.torn_blocks = Some(segment);
                    return Ok(false);
                }
                other => assembled.push(other),
            }
        }
        let mut assembled = assembled.into_iter();
        for (header, payload, in_place) in entries {
            let whole = in_place.and_then(|_| assembled.next());
            let (session, commit_position, core) = (self.session, commit.position, extent.header.core);
            let (payload, in_place) = match &whole {
                Some(Assembled::Whole(batch, in_place)) => (&batch[..], in_place.clone()),
                _ => (payload, 0..0),
            };
            visitor.entry(Replayed { core, session, commit_position, header, payload, in_place }).await?;
            self.entries += 1;
        }
        self.bytes += commit.padded_len();
        Ok(true)
    }

    /// Puts a batch together from its entry and its segment.
    fn assemble(&self, in_place: &InPlace<'_>, blocks: Option<SegmentBlocks>) -> Assembled {
        let Some(SegmentBlocks { path, bytes: blocks }) = blocks else { return Assembled::NotNeeded };
        if !in_place.blocks_are_whole(&blocks) && !self.bugs.trust_blocks_in_place {
            return Assembled::Torn(path);
        }
        let batch = [in_place.head, &blocks, in_place.tail].concat();
        let written = in_place.cut.head..in_place.cut.head + blocks.len();
        Assembled::Whole(batch, written)
    }

    /// A break is corruption when something behind it was issued knowing that what is missing was on the disk.
    fn judge(&self, dir: &Path, claims: &Claims) -> Result<()> {
        let durable = claims.durable.get(&self.session).copied().unwrap_or(0);
        let below_live = self.position < self.live && durable >= self.live;
        if (durable > self.position || below_live) && !self.bugs.accept_unchained {
            let (path, position) = self.left_at.clone().unwrap_or_else(|| (dir.to_path_buf(), 0));
            let mut what = format!(
                "the journal of session {:016x} breaks at {}, but a later commit says that all below {durable} was on the disk",
                self.session, self.position
            );
            // Any of these may be what the chain should have led to.
            for headless in &claims.headless {
                what += &format!("; the first block of {} is damaged", headless.display());
            }
            if let Some(segment) = &self.torn_blocks {
                what += &format!("; blocks of {} are not what was written", segment.display());
            }
            return Err(StorageError::Corrupt { path, position, what });
        }
        Ok(())
    }
}
