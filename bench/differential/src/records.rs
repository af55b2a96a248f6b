//! Shows the records of a fetched partition as batches with named fields, so that a difference has a place.
//!
//! Called by `decode`. A batch whose times the broker set shows that they are there and that its CRC is right, not
//! their values: two clocks differ. Deliberately absent: decompression; what a producer sent must come back as it is.

use corelog_storage::batch::{BatchHeader, HEADER_BYTES, TimestampType, check_crc};

use crate::tree::Tree;

/// Replaces every field `records` that holds bytes.
pub fn show_batches(tree: &mut Tree) {
    match tree {
        Tree::List(values) => values.iter_mut().for_each(show_batches),
        Tree::Fields(fields) => {
            for (name, value) in fields {
                match value {
                    Tree::Bytes(bytes) if name == "records" => *value = batches(bytes),
                    other => show_batches(other),
                }
            }
        }
        _ => {}
    }
}

fn batches(mut bytes: &[u8]) -> Tree {
    let mut shown = Vec::new();
    while !bytes.is_empty() {
        let Ok(header) = BatchHeader::parse(bytes) else { break };
        let Some((batch, rest)) = bytes.split_at_checked(header.total_len()) else { break };
        shown.push(batch_fields(&header, batch));
        bytes = rest;
    }
    if !bytes.is_empty() {
        shown.push(Tree::Fields(vec![("unparsed".to_owned(), Tree::Bytes(bytes.to_vec()))]));
    }
    Tree::List(shown)
}

fn batch_fields(header: &BatchHeader, batch: &[u8]) -> Tree {
    let atom = |value: &dyn std::fmt::Display| Tree::Atom(value.to_string());
    let appended = header.timestamp_type() == TimestampType::LogAppendTime;
    let of_the_broker =
        |value: &dyn std::fmt::Display| if appended { atom(&"append time") } else { atom(value) };
    let crc = if check_crc(batch, header).is_err() { atom(&"wrong") } else { of_the_broker(&header.crc) };
    let fields = [
        ("base_offset", atom(&header.base_offset)),
        ("partition_leader_epoch", atom(&header.partition_leader_epoch)),
        ("crc", crc),
        ("attributes", atom(&header.attributes)),
        ("last_offset_delta", atom(&header.last_offset_delta)),
        ("base_timestamp", atom(&header.base_timestamp)),
        ("max_timestamp", of_the_broker(&header.max_timestamp)),
        ("producer_id", atom(&header.producer_id)),
        ("producer_epoch", atom(&header.producer_epoch)),
        ("base_sequence", atom(&header.base_sequence)),
        ("records_count", atom(&header.records_count)),
        ("payload", Tree::Bytes(batch.get(HEADER_BYTES..).unwrap_or_default().to_vec())),
    ];
    Tree::Fields(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
