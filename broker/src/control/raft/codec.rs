//! Log entries, log ids and memberships as bytes: the payload of frames and snapshots.
//!
//! Deliberately absent: checksums and versions, which belong to the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corelog_logic::controller::{decode_records, encode_records};
use corelog_logic::encoding::{DecodeError, Reader, Writer};
use openraft::{BasicNode, CommittedLeaderId, EntryPayload};

use super::{Batch, Entry, LogId, Membership, StoredMembership};

/// Smallest encoding of an entry, in bytes.
const ENTRY_BYTES_MIN: usize = 24 + 1 + 4;

pub(super) fn put_log_id(out: &mut Writer, id: &LogId) {
    out.put_u64(id.leader_id.term);
    out.put_u64(id.leader_id.node_id);
    out.put_u64(id.index);
}

pub(super) fn log_id(from: &mut Reader<'_>) -> Result<LogId, DecodeError> {
    let leader = CommittedLeaderId::new(from.u64("term")?, from.u64("raft node id")?);
    Ok(LogId::new(leader, from.u64("log index")?))
}

pub(super) fn put_optional_log_id(out: &mut Writer, id: Option<&LogId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

pub(super) fn optional_log_id(from: &mut Reader<'_>) -> Result<Option<LogId>, DecodeError> {
    match from.u8("presence of a log id")? {
        0 => Ok(None),
        1 => Ok(Some(log_id(from)?)),
        n => Err(DecodeError::Invalid { what: "presence of a log id", why: format!("it is {n}") }),
    }
}

fn put_membership(out: &mut Writer, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_count(configs.len());
    for voters in configs {
        out.put_count(voters.len());
        voters.iter().for_each(|id| out.put_u64(*id));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    out.put_count(nodes.len());
    for (id, node) in nodes {
        out.put_u64(*id);
        out.put_string(&node.addr);
    }
}

fn membership(from: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    for _ in 0..from.count("voter sets", 4)? {
        let mut voters = BTreeSet::new();
        for _ in 0..from.count("voters", 8)? {
            voters.insert(from.u64("voter")?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..from.count("nodes", 12)? {
        let id = from.u64("node")?;
        nodes.insert(id, BasicNode::new(from.string("node address")?));
    }
    Ok(Membership::new(configs, nodes))
}

pub(super) fn put_stored_membership(out: &mut Writer, stored: &StoredMembership) {
    put_optional_log_id(out, stored.log_id().as_ref());
    put_membership(out, stored.membership());
}

pub(super) fn stored_membership(from: &mut Reader<'_>) -> Result<StoredMembership, DecodeError> {
    Ok(StoredMembership::new(optional_log_id(from)?, membership(from)?))
}

pub(super) fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    let mut out = Writer::new();
    out.put_count(entries.len());
    for entry in entries {
        put_log_id(&mut out, &entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => {
                out.put_u8(0);
                out.put_framed(|_| {});
            }
            EntryPayload::Normal(batch) => {
                out.put_u8(1);
                out.put_framed(|out| {
                    out.put_u64(batch.term);
                    out.put_bytes(&encode_records(&batch.records));
                });
            }
            EntryPayload::Membership(membership) => {
                out.put_u8(2);
                out.put_framed(|out| put_membership(out, membership));
            }
        }
    }
    out.into_bytes()
}

pub(super) fn decode_entries(bytes: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let mut from = Reader::new(bytes);
    let mut entries = Vec::new();
    for _ in 0..from.count("log entries", ENTRY_BYTES_MIN)? {
        let log_id = log_id(&mut from)?;
        let kind = from.u8("kind of a log entry")?;
        let len = from.u32("length of a log entry")? as usize;
        let mut payload = Reader::new(from.bytes(len, "log entry")?);
        let payload = match kind {
            0 => {
                payload.finish("blank log entry")?;
                EntryPayload::Blank
            }
            1 => {
                let term = payload.u64("term of a batch")?;
                let records = decode_records(payload.bytes(payload.left(), "records")?)?;
                EntryPayload::Normal(Batch { term, records: Arc::new(records) })
            }
            2 => {
                let membership = membership(&mut payload)?;
                payload.finish("membership log entry")?;
                EntryPayload::Membership(membership)
            }
            found => {
                let (what, found) = ("kind of a log entry", u32::from(found));
                return Err(DecodeError::Unknown { what, found, known: "0 to 2" });
            }
        };
        entries.push(Entry { log_id, payload });
    }
    from.finish("log entries")?;
    Ok(entries)
}
