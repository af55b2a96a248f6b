//! Records and snapshots that a start reads: metadata, groups, producers.
//!
//! The first byte chooses the kind.

use corelog_logic::controller::{Delta, MetadataImage, decode_records, encode_records};
use corelog_logic::group::records::ConsumerRecordBody;
use corelog_logic::group::{GroupCoordinator, GroupRecord};
use corelog_logic::partition::producer_state::ProducerState;

/// Decodes and replays. What is encoded again is decoded to the same.
pub fn run(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => metadata(bytes),
        1 => groups(bytes),
        _ => {
            let Ok(state) = ProducerState::restore(bytes) else { return };
            let again = ProducerState::restore(&state.snapshot()).expect("what was written is read");
            assert_eq!(again, state);
        }
    }
}

fn metadata(bytes: &[u8]) {
    let Ok(records) = decode_records(bytes) else { return };
    let again = decode_records(&encode_records(&records)).expect("what was encoded is decoded");
    assert_eq!(again, records);
    let mut image = MetadataImage::default();
    for record in &records {
        // A record that does not fit ends a start with a message.
        if image.replay(record, &mut Delta::default()).is_err() {
            return;
        }
    }
    let snapshot = image.to_records();
    let again = MetadataImage::from_records(&snapshot).expect("a snapshot is an image");
    assert_eq!(again.to_records(), snapshot);
}

/// Records, each with the lengths of its key and its value in front (two bytes; 65,535 is no value).
fn groups(mut bytes: &[u8]) {
    let mut coordinator = GroupCoordinator::new();
    while let Some((lengths, rest)) = bytes.split_first_chunk::<4>() {
        let [key, value] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]].map(u16::from_be_bytes);
        let (key, rest) = rest.split_at(usize::from(key).min(rest.len()));
        let (value, rest) = match value {
            u16::MAX => (None, rest),
            length => {
                let (value, rest) = rest.split_at(usize::from(length).min(rest.len()));
                (Some(value), rest)
            }
        };
        bytes = rest;
        let Ok(record) = GroupRecord::decode(key, value) else { continue };
        // Of what Kafka wrote up to 4.0 only the end is ever written here.
        if !matches!(&record, GroupRecord::Consumer(record) if record.body == ConsumerRecordBody::PartitionMetadata(true))
        {
            let (key, value) = record.encode();
            let again = GroupRecord::decode(&key, value.as_deref()).expect("what was encoded is decoded");
            assert_eq!(again, record);
        }
        coordinator.replay(&record, 1_000_000);
    }
    let _ = (coordinator.groups().len(), coordinator.metadata_bytes());
}
