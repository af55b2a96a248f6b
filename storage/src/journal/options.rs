//! How a journal is laid out and driven: sizes, bounds, and when an append counts as durable.
//!
//! Filled in by the store's owner and by tests; read by the journal's other files. Deliberately absent: sizes that fit together (`ring`).

use super::Bugs;

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// When it was written and flushed: it survives a power cut.
    Always,
    /// When it was written: it survives a killed process, not a power cut.
    Written,
}

/// How a journal is laid out and driven.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Core that owns it.
    pub core: u32,
    /// Fresh random number; the checkpoint log names it before the journal's first append.
    pub session: u64,
    /// Sum of the sizes of all extents, at most. Raised to what two full extents and the first one need.
    pub capacity_bytes: u64,
    /// Size of the extent that is zeroed before the journal opens, unless a retired one is found.
    pub first_extent_bytes: u64,
    /// Size of the further extents, zeroed in the background.
    pub extent_bytes: u64,
    /// When an append counts as durable.
    pub flush: FlushMode,
    /// A commit of several entries is at most this long; a larger entry gets a commit of its own.
    pub commit_bytes_max: usize,
    /// Entries accepted and not yet durable take at most this many bytes (one larger entry alone is let in).
    pub pending_bytes_max: usize,
    /// Commits that are written at once. Only full ones are issued beside another.
    pub commits_in_flight_max: usize,
    /// A batch with at least this many bytes of whole blocks is written to its segment once, and not to the journal first.
    pub in_place_bytes_min: usize,
    /// For tests only.
    pub bugs: Bugs,
}

/// See [`JournalOptions::in_place_bytes_min`]. Smaller writes are better collected.
const IN_PLACE_BYTES_MIN: usize = 32 * 1024;

/// See [`JournalOptions::commit_bytes_max`]. Larger ones bring no more and make whoever comes first wait.
const COMMIT_BYTES_MAX: usize = 2 << 20;

/// See [`JournalOptions::commits_in_flight_max`]. While one is flushed the next is written.
const COMMITS_IN_FLIGHT_MAX: usize = 2;

impl JournalOptions {
    /// The defaults for a journal of `capacity_bytes`: a first extent of 8 MiB (or an eighth, where that is less) and
    /// eight more that share the rest.
    pub fn new(core: u32, session: u64, capacity_bytes: u64) -> Self {
        let first_extent_bytes = (8 << 20).min(capacity_bytes / 8);
        let mut options = Self {
            core,
            session,
            capacity_bytes,
            first_extent_bytes,
            extent_bytes: (capacity_bytes - first_extent_bytes) / 8,
            flush: FlushMode::Always,
            commit_bytes_max: 0,
            pending_bytes_max: 0,
            commits_in_flight_max: COMMITS_IN_FLIGHT_MAX,
            in_place_bytes_min: IN_PLACE_BYTES_MIN,
            bugs: Bugs::default(),
        };
        options.bound_commits(COMMIT_BYTES_MAX);
        options
    }

    /// Lets a commit take at most `bytes`, and as much be pending as those in flight and one that fills take.
    pub fn bound_commits(&mut self, bytes: usize) {
        self.commit_bytes_max = bytes;
        self.pending_bytes_max = bytes * (self.commits_in_flight_max + 1);
    }
}
