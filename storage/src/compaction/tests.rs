//! Compaction against a model: what a reader makes of a compacted log is what it makes of the whole one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batch::{BatchBuilder, BatchHeader, Compression, visit_records};
use crate::log::ClosedSegment;
use crate::types::Offset;

#[test]
fn a_full_map_takes_no_new_key_and_goes_on_with_those_it_has() {
    let mut map = KeyMap::new(3, 2 * ENTRY_BYTES);
    assert!(map.put(b"a", 1) && map.put(b"b", 2) && map.put(b"a", 3));
    assert!(!map.put(b"c", 4));
    assert!(map.put(b"b", 5));
    assert_eq!((map.get(b"a"), map.get(b"b"), map.get(b"c")), (Some(3), Some(5), None));
    assert_eq!(map.len(), 2);
    assert!(KeyMap::new(3, 0).put(b"a", 1), "one entry at least");
}

fn segment(base_offset: Offset, len: u64, timestamp: i64) -> ClosedSegment {
    ClosedSegment {
        base_offset,
        len,
        max_timestamp: timestamp,
        first_timestamp: timestamp,
        modified_ms: timestamp,
        generation: 0,
    }
}

const COMPACT: Policy = Policy {
    compact: true,
    dirty_ratio_min: 0.5,
    lag_ms_min: 0,
    lag_ms_max: i64::MAX,
    delete_retention_ms: 0,
};

#[test]
fn a_log_is_due_when_more_than_its_ratio_is_dirty() {
    let closed = [segment(0, 60, 10), segment(10, 40, 20), segment(20, 20, 30)];
    let dust = |first_dirty_offset| Dust {
        closed: &closed,
        closed_end_offset: 30,
        log_start_offset: 0,
        first_dirty_offset,
        last_stable_offset: 100,
    };
    let found = dirty(&dust(0), &COMPACT, 1000).unwrap();
    assert_eq!((found.first_dirty_offset, found.first_uncleanable_offset), (0, 30));
    assert_eq!((found.dirty_bytes, found.ratio, found.due), (120, 1.0, true));
    let found = dirty(&dust(10), &COMPACT, 1000).unwrap();
    assert_eq!((found.dirty_bytes, found.ratio, found.due), (60, 0.5, false), "not more than its ratio");
    assert!(dirty(&dust(10), &Policy { dirty_ratio_min: 0.4, ..COMPACT }, 1000).unwrap().due);
    assert!(!dirty(&dust(0), &Policy { compact: false, ..COMPACT }, 1000).unwrap().due);
    assert_eq!(dirty(&dust(30), &COMPACT, 1000), None, "all is clean");
    let found = dirty(&dust(31), &COMPACT, 1000).unwrap();
    assert_eq!(found.first_dirty_offset, 0, "what was noted cannot be true any more");
    assert_eq!(
        dirty(&Dust { log_start_offset: 12, ..dust(5) }, &COMPACT, 1000).unwrap().first_dirty_offset,
        12
    );
}

#[test]
fn young_records_wait_and_old_ones_are_overdue() {
    let closed = [segment(0, 100, 100), segment(10, 10, 900), segment(20, 10, 100)];
    let dust = Dust {
        closed: &closed,
        closed_end_offset: 30,
        log_start_offset: 0,
        first_dirty_offset: 10,
        last_stable_offset: 100,
    };
    let lag = |lag_ms_min| dirty(&dust, &Policy { lag_ms_min, ..COMPACT }, 1000);
    assert_eq!(lag(100).unwrap().first_uncleanable_offset, 30, "as old as it must be");
    assert_eq!(lag(101), None, "only what is clean already lies below the young one");
    assert!(!dirty(&dust, &Policy { lag_ms_max: 900, ..COMPACT }, 1000).unwrap().due);
    assert!(dirty(&dust, &Policy { lag_ms_max: 899, ..COMPACT }, 1000).unwrap().due, "older than it may be");
    let undecided = Dust { last_stable_offset: 29, ..dust };
    assert_eq!(dirty(&undecided, &COMPACT, 1000).unwrap().first_uncleanable_offset, 20);
}

#[test]
fn segments_are_grouped_as_far_as_bytes_and_offsets_allow() {
    let wide = i64::from(i32::MAX / 2);
    let segments =
        [segment(0, 40, 0), segment(10, 40, 0), segment(20, 30, 0), segment(30, 200, 0), segment(40, 1, 0)];
    let lens = |groups: Vec<&[ClosedSegment]>| groups.iter().map(|group| group.len()).collect::<Vec<_>>();
    assert_eq!(lens(groups(&segments, 50, 100)), [2, 1, 1, 1]);
    assert_eq!(lens(groups(&segments, 50, 110)), [3, 1, 1]);
    assert_eq!(lens(groups(&segments, 50, 10)), [1, 1, 1, 1, 1], "one at least");
    assert_eq!(lens(groups(&segments[3..], wide + 30, 1000)), [2]);
    assert_eq!(lens(groups(&segments[3..], wide + 31, 1000)), [1, 1], "more offsets than an index counts");
}

/// What one record of the model says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    offset: Offset,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

fn said(batches: &[Vec<u8>]) -> Vec<Said> {
    let mut found = Vec::new();
    for batch in batches {
        let header = BatchHeader::parse(batch).unwrap();
        visit_records(batch, &header, 1 << 20, |record| {
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            found.push(Said { offset: record.offset, key, value });
            true
        })
        .unwrap();
    }
    found
}

/// What a reader knows who has seen all of this.
fn table<'a>(said: impl IntoIterator<Item = &'a Said>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for Said { key, value, .. } in said {
        match (key, value) {
            (Some(key), Some(value)) => drop(table.insert(key.clone(), value.clone())),
            (Some(key), None) => drop(table.remove(key)),
            (None, _) => {}
        }
    }
    table
}

/// One producer, whose last batch ends here.
struct LastOf(Offset);

impl Retain for LastOf {
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

/// A pass over batches; returns the first offset that is dirty now.
fn pass(
    batches: &mut Vec<Vec<u8>>,
    first_dirty: Offset,
    map_bytes: usize,
    (now_ms, delete_retention_ms): (i64, i64),
    last_of_producer: Offset,
) -> Offset {
    let mut map = KeyMap::new(1, map_bytes);
    let end_offset = BatchHeader::parse(batches.last().unwrap()).unwrap().next_offset();
    for batch in batches.iter() {
        let header = BatchHeader::parse(batch).unwrap();
        if !map_keys(&mut map, &header, batch, first_dirty, &mut LastOf(last_of_producer)).unwrap() {
            break;
        }
    }
    let cleaner = Cleaner {
        map: &map,
        now_ms,
        delete_retention_ms,
        end_offset,
        drops_tombstones_early: false,
        loses_newest: false,
    };
    let mut left = Vec::new();
    for batch in batches.drain(..) {
        let header = BatchHeader::parse(&batch).unwrap();
        match cleaner.judge(&header, &batch, &mut LastOf(last_of_producer)).unwrap() {
            Fate::Stays => left.push(batch),
            Fate::Becomes(rewritten) => left.push(rewritten),
            Fate::Goes => {}
        }
    }
    *batches = left;
    map.latest_offset().max(first_dirty - 1) + 1
}

type Spoken = (Option<u8>, Option<u8>);

fn batches() -> impl Strategy<Value = Vec<(Vec<Spoken>, usize, bool)>> {
    let record = (prop::option::weighted(0.9, 0u8..6), prop::option::weighted(0.7, any::<u8>()));
    prop::collection::vec((prop::collection::vec(record, 1..5), 0usize..5, any::<bool>()), 1..25)
}

fn build(spoken: &[(Vec<Spoken>, usize, bool)]) -> (Vec<Vec<u8>>, Offset) {
    let (mut built, mut offset, mut last_of_producer) = (Vec::new(), 0, -1);
    for (records, codec, produced) in spoken {
        let mut builder = BatchBuilder::new().base_offset(offset).compression(Compression::ALL[*codec]);
        if *produced {
            builder = builder.producer(9, 0, offset as i32);
        }
        for (key, value) in records {
            let (key, value) = (key.map(|key| [key]), value.map(|value| [value]));
            builder = builder.record(
                offset,
                key.as_ref().map(|key| &key[..]),
                value.as_ref().map(|value| &value[..]),
            );
        }
        offset += records.len() as i64;
        if *produced {
            last_of_producer = offset - 1;
        }
        built.push(builder.build());
    }
    (built, last_of_producer)
}

proptest! {
    #[test]
    fn whoever_read_up_to_anywhere_and_goes_on_with_what_is_left_knows_the_same(
        spoken in batches(),
        map_entries in 1usize..8,
        passes in 1usize..5,
    ) {
        let (built, last) = build(&spoken);
        let whole = said(&built);
        let mut left = built.clone();
        let mut first_dirty = 0;
        for number in 0..passes {
            // No horizon passes: every tombstone is still to be seen.
            let time = (number as i64, 1_000_000);
            let dirty = pass(&mut left, first_dirty, map_entries * ENTRY_BYTES, time, last);
            prop_assert!(dirty >= first_dirty);
            first_dirty = dirty;
        }
        let survivors = said(&left);
        prop_assert!(survivors.iter().all(|record| whole.contains(record)), "nothing is invented or moved");
        prop_assert!(survivors.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        for from in 0..=whole.len() as i64 {
            let before = whole.iter().filter(|record| record.offset < from);
            let after = survivors.iter().filter(|record| record.offset >= from);
            prop_assert_eq!(table(before.chain(after)), table(&whole), "from {}", from);
        }
        for (at, record) in survivors.iter().enumerate().filter(|(_, record)| record.offset < first_dirty) {
            prop_assert!(record.key.is_some(), "what has no key goes");
            let again = survivors[at + 1..].iter().any(|later| later.key == record.key && later.offset < first_dirty);
            prop_assert!(!again, "two records of a key in the clean part");
        }
        let kept: Vec<_> = left.iter().map(|batch| BatchHeader::parse(batch).unwrap()).collect();
        if last >= 0 {
            prop_assert!(kept.iter().any(|header| header.last_offset() == last), "the producer's last batch");
        }
        prop_assert_eq!(kept.last().map(BatchHeader::next_offset), Some(whole.len() as i64), "the end stays");
    }

    #[test]
    fn a_tombstone_stays_for_its_time_after_it_was_first_compacted_and_then_goes(
        spoken in batches(),
        retention_ms in 1i64..100,
    ) {
        let (built, last) = build(&spoken);
        let whole = said(&built);
        let mut left = built.clone();
        let plenty = 100 * ENTRY_BYTES;
        pass(&mut left, 0, plenty, (1000, retention_ms), last);
        let tombstones = |left: &[Vec<u8>]| said(left).iter().filter(|record| record.value.is_none()).count();
        let newest_dead = tombstones(&left);
        pass(&mut left, 0, plenty, (1000 + retention_ms - 1, retention_ms), last);
        prop_assert_eq!(tombstones(&left), newest_dead, "a moment before its time");
        pass(&mut left, 0, plenty, (1000 + retention_ms, retention_ms), last);
        prop_assert_eq!(tombstones(&left), 0);
        prop_assert_eq!(table(&said(&left)), table(&whole));
    }
}
