//! Bugs that can be switched on to prove that the simulation finds them. For tests only.
//!
//! Read by the journal, the checkpoint log and replay at the one place where each rule is kept. All are off by
//! default, and nothing outside tests sets one.

/// Which rules to break. Everything is false by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Waiters are released when the write completes, before the flush.
    pub acknowledge_before_flush: bool,
    /// A commit counts when it is on the disk itself, whatever became of those before it.
    pub acknowledge_out_of_order: bool,
    /// Replay goes on behind a break at the next commit that verifies by itself, whatever preceded it.
    pub accept_unchained: bool,
    /// Replay delivers extents of sessions that were retired.
    pub accept_old_session: bool,
    /// Extents are recycled as soon as their commits are durable, before any checkpoint covers them.
    pub recycle_before_checkpoint: bool,
    /// New files are not made durable in their directory.
    pub skip_directory_flush: bool,
    /// Commits do not flush the segments that they wrote blocks of.
    pub skip_in_place_flush: bool,
    /// Replay does not hold blocks in segments against the hashes of their entries.
    pub trust_blocks_in_place: bool,
    /// Replay takes a commit's entries as they are, whatever their hash.
    pub accept_wrong_hash: bool,
}
