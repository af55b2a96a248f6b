//! What a compacted log may and must hold: every record that is missing was superseded, and nothing else has changed.

use bytes::Bytes;
use corelog_storage::batch::{BatchHeader, Batches, visit_records};
use corelog_storage::compaction::{ControlFate, Retain};

use crate::model::ModelLog;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp_ms: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn records(batch: &[u8]) -> Vec<Record> {
    let header = BatchHeader::parse(batch).expect("a whole batch");
    let mut found = Vec::new();
    visit_records(batch, &header, 1 << 20, |record| {
        found.push(Record {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.expect("every record has a key").to_vec(),
            value: record.value.map(<[u8]>::to_vec),
        });
        true
    })
    .expect("sound records");
    found
}

impl ModelLog {
    /// The record at an offset.
    pub fn record_at(&self, offset: i64) -> Option<Record> {
        let batch = &self.batches[self.batch_at(offset)?];
        records(&batch.bytes).into_iter().find(|record| record.offset == offset)
    }

    /// As `check_read`, where any record but the newest of its key may be missing, and a tombstone unless they stay.
    pub fn check_compacted_read(
        &mut self,
        tombstones_stay: bool,
        offset: i64,
        slices: &[Bytes],
        next_offset: i64,
    ) {
        let name = self.identity.dir_name();
        let read: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut seen = Vec::new();
        let mut ends = Vec::new();
        for batch in Batches::new(&read) {
            let batch = batch.expect("whole batches");
            let (base_offset, end) = (batch.header.base_offset, batch.header.next_offset());
            let original = self.batch_at(base_offset).map(|at| &self.batches[at]);
            let original = original.expect("a batch that was appended");
            assert_eq!((original.base_offset, original.next_offset), (base_offset, end), "{name}");
            let whole = records(&original.bytes);
            for record in records(batch.bytes) {
                assert!(whole.contains(&record), "{name}: {record:?} was never appended");
                seen.push(record);
            }
            ends.push(end);
        }
        assert!(ends.last().is_none_or(|end| *end == next_offset), "{name}: a read that ends elsewhere");
        let first = self.batch_at(offset).unwrap_or(self.batches.len());
        let covered = self.batches[first..].iter().take_while(|batch| batch.next_offset <= next_offset);
        for batch in covered {
            for record in records(&batch.bytes).into_iter().filter(|record| !seen.contains(record)) {
                let superseded = self.batches[first..]
                    .iter()
                    .filter(|later| later.next_offset > record.offset)
                    .flat_map(|later| records(&later.bytes))
                    .any(|later| later.key == record.key && later.offset > record.offset);
                let may_go = superseded || (record.value.is_none() && !tombstones_stay);
                assert!(may_go, "{name}: {record:?} is missing");
            }
            let end = batch.next_offset;
            let header = BatchHeader::parse(&batch.bytes).expect("a whole batch");
            let is_last = header.has_producer() && header.last_offset() == self.last_of_producer_max;
            assert!(
                !is_last || ends.contains(&end),
                "{name}: the producer's last batch, up to {end}, is missing"
            );
        }
        self.must_hold = self.must_hold.max(next_offset);
    }
}

/// Keeps the last batch of the simulation's producer.
pub struct LastOfProducer(pub i64);

impl Retain for LastOfProducer {
    fn is_last_of_producer(&self, batch: &BatchHeader) -> bool {
        batch.last_offset() == self.0
    }

    fn is_aborted(&mut self, _batch: &BatchHeader) -> bool {
        false
    }

    fn control(&mut self, _batch: &BatchHeader, _bytes: &[u8]) -> ControlFate {
        ControlFate::Needed
    }
}
