//! What a decision leads to: records, replies, and a word to hand back.
//!
//! The order is part of the contract: records are appended first, replies leave when everything appended so far is durable. So nobody
//! is told of a state that a crash could take back. Deliberately absent: how a driver does it.

use super::classic::After;
use super::{GroupRecord, Reply};

/// Names a request while its reply is owed. Chosen by the driver, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId(pub u64);

/// What a decision leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// To be appended to the coordinator's partition, in order.
    pub records: Vec<GroupRecord>,
    /// Whether the records say what the state is already. Otherwise each is to be replayed once appended, and has
    /// no effect before.
    pub applied: bool,
    /// Replies to requests, this one's or earlier ones'. When the append fails, the driver sends [`Reply::refuse`]d ones instead.
    pub replies: Vec<(ReplyId, Reply)>,
    /// Handed back through `settle`, when the records are durable or could not be appended.
    pub after: Option<After>,
}

impl Outcome {
    /// Nothing happens.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One reply, no records.
    pub fn reply(id: ReplyId, reply: Reply) -> Self {
        Self { replies: vec![(id, reply)], ..Self::default() }
    }

    /// Records to be replayed when they are appended, and a reply.
    pub fn records(records: Vec<GroupRecord>, id: ReplyId, reply: Reply) -> Self {
        Self { records, replies: vec![(id, reply)], ..Self::default() }
    }

    /// Records that say what was done already.
    pub fn applied(records: Vec<GroupRecord>) -> Self {
        Self { records, applied: true, ..Self::default() }
    }
}
