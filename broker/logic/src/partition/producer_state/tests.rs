//! The rules one by one, then random histories against a naive model that remembers everything.

use proptest::prelude::*;

use super::*;

fn batch(producer_epoch: i16, base_sequence: i32, records: i32) -> ProducerBatch {
    ProducerBatch { producer_id: 7, producer_epoch, base_sequence, last_offset_delta: records - 1 }
}

/// State after these batches, each appended at the next offset.
fn after(batches: &[ProducerBatch]) -> ProducerState {
    let mut state = ProducerState::new();
    let mut offset = 0;
    for batch in batches {
        assert_eq!(state.check(batch), Ok(Check::Append), "{batch:?}");
        state.record(batch, offset, 1000 + offset, 0);
        offset += i64::from(batch.last_offset_delta) + 1;
    }
    state
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    assert_eq!(ProducerState::new().check(&batch(3, 99, 2)), Ok(Check::Append));
}

#[test]
fn the_next_sequence_follows_and_gaps_do_not() {
    let state = after(&[batch(0, 0, 10)]);
    assert_eq!(state.check(&batch(0, 10, 1)), Ok(Check::Append));
    for wrong in [9, 11, 5] {
        let error = state.check(&batch(0, wrong, 1)).unwrap_err();
        let expected =
            ProducerError::OutOfOrderSequence { producer_id: 7, base_sequence: wrong, last_sequence: 9 };
        assert_eq!(error, expected);
    }
}

#[test]
fn the_last_five_batches_are_answered_and_the_sixth_is_out_of_order() {
    let batches: Vec<_> = (0..6).map(|n| batch(0, n * 2, 2)).collect();
    let state = after(&batches);
    for (n, batch) in (0..6_i64).zip(&batches).skip(1) {
        let duplicate =
            Check::Duplicate { base_offset: n * 2, last_offset: n * 2 + 1, max_timestamp: 1000 + n * 2 };
        assert_eq!(state.check(batch), Ok(duplicate));
    }
    assert!(matches!(state.check(&batches[0]), Err(ProducerError::OutOfOrderSequence { .. })));
}

#[test]
fn a_batch_of_other_length_is_no_duplicate() {
    let state = after(&[batch(0, 0, 3)]);
    assert!(matches!(state.check(&batch(0, 0, 2)), Err(ProducerError::OutOfOrderSequence { .. })));
    assert!(matches!(state.check(&batch(0, 1, 2)), Err(ProducerError::OutOfOrderSequence { .. })));
}

#[test]
fn sequences_wrap_to_zero() {
    let state = after(&[batch(0, i32::MAX - 1, 2)]);
    assert_eq!(state.check(&batch(0, 0, 1)), Ok(Check::Append));
    let spanning = batch(0, i32::MAX - 1, 4);
    assert_eq!(spanning.last_sequence(), 1);
    let state = after(&[spanning]);
    assert!(matches!(state.check(&spanning), Ok(Check::Duplicate { base_offset: 0, last_offset: 3, .. })));
    assert_eq!(state.check(&batch(0, 2, 1)), Ok(Check::Append));
    assert!(state.check(&batch(0, 1, 1)).is_err());
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut state = after(&[batch(0, 0, 1), batch(0, 1, 1)]);
    assert!(matches!(state.check(&batch(1, 2, 1)), Err(ProducerError::NewEpochNotAtZero { .. })));
    assert_eq!(state.check(&batch(1, 0, 1)), Ok(Check::Append));
    state.record(&batch(1, 0, 1), 2, 0, 0);
    assert!(matches!(state.check(&batch(0, 2, 1)), Err(ProducerError::InvalidProducerEpoch { .. })));
    assert!(
        matches!(state.check(&batch(0, 1, 1)), Err(ProducerError::InvalidProducerEpoch { .. })),
        "batches of the old epoch are forgotten"
    );
    assert_eq!(state.check(&batch(1, 1, 1)), Ok(Check::Append));
}

#[test]
fn a_negative_sequence_is_an_invalid_record() {
    let error = ProducerState::new().check(&batch(0, -1, 1)).unwrap_err();
    assert_eq!(error, ProducerError::InvalidSequence { producer_id: 7, base_sequence: -1 });
}

#[test]
fn idle_producers_expire_and_busy_ones_stay() {
    let mut state = ProducerState::new();
    state.record(&batch(0, 0, 1), 0, 0, 1_000);
    let other = ProducerBatch { producer_id: 8, ..batch(0, 0, 1) };
    state.record(&other, 1, 0, 2_000);
    state.expire(1_999, 1_000);
    assert_eq!(state.len(), 2);
    state.expire(2_000, 1_000);
    assert_eq!(state.len(), 1);
    assert_eq!(state.check(&batch(0, 77, 1)), Ok(Check::Append), "forgotten, so it may start anywhere");
    assert!(state.check(&ProducerBatch { base_sequence: 77, ..other }).is_err());
}

#[test]
fn a_full_partition_forgets_those_longest_unseen() {
    let mut state = ProducerState::new();
    let of = |producer_id| ProducerBatch { producer_id, ..batch(0, 0, 1) };
    for id in 0..PRODUCERS_MAX as i64 {
        state.record(&of(id), id, 0, id);
    }
    assert_eq!(state.len(), PRODUCERS_MAX);
    let seen_again = ProducerBatch { base_sequence: 1, ..of(0) };
    state.record(&seen_again, 1 << 20, 0, 1 << 20);
    state.record(&of(1 << 30), 1 << 21, 0, 1 << 20);
    assert_eq!(state.len(), PRODUCERS_MAX - PRODUCERS_MAX / 8 + 1);
    assert!(matches!(state.check(&of(0)), Ok(Check::Duplicate { .. })), "it was seen again");
    assert_eq!(state.check(&of(1)), Ok(Check::Append), "it is forgotten");
    assert!(matches!(state.check(&of(PRODUCERS_MAX as i64 - 1)), Ok(Check::Duplicate { .. })));
}

#[test]
fn damaged_snapshots_are_refused_without_panic() {
    let good = after(&[batch(0, 0, 3), batch(0, 3, 1)]).snapshot();
    for len in 0..good.len() {
        ProducerState::restore(&good[..len]).unwrap_err();
    }
    let mut longer = good.clone();
    longer.push(0);
    ProducerState::restore(&longer).unwrap_err();
    let mut other_version = good.clone();
    other_version[0] = 2;
    let error = ProducerState::restore(&other_version).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(state) = ProducerState::restore(&flipped) {
                assert_eq!(state.snapshot(), flipped, "what is accepted means what it says");
            }
        }
    }
}

/// Remembers every batch ever appended, and reads Kafka's rules off that list.
#[derive(Default)]
struct Model {
    appended: Vec<(ProducerBatch, i64)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Append,
    Duplicate(i64),
    OutOfOrder,
    Fenced,
}

impl Model {
    fn answer(&self, batch: &ProducerBatch) -> Answer {
        let of_producer: Vec<_> =
            self.appended.iter().filter(|(b, _)| b.producer_id == batch.producer_id).collect();
        let Some((last, _)) = of_producer.last() else { return Answer::Append };
        // The current epoch's batches since it began.
        let epoch: Vec<_> =
            of_producer.iter().rev().take_while(|(b, _)| b.producer_epoch == last.producer_epoch).collect();
        if let Some((_, offset)) = epoch.iter().take(5).find(|(b, _)| b == batch) {
            return Answer::Duplicate(*offset);
        }
        let expected = {
            let mut sequence = last.base_sequence;
            for _ in 0..=last.last_offset_delta {
                sequence = if sequence == i32::MAX { 0 } else { sequence + 1 };
            }
            sequence
        };
        match batch.producer_epoch.cmp(&last.producer_epoch) {
            std::cmp::Ordering::Less => Answer::Fenced,
            std::cmp::Ordering::Greater if batch.base_sequence == 0 => Answer::Append,
            std::cmp::Ordering::Equal if batch.base_sequence == expected => Answer::Append,
            _ => Answer::OutOfOrder,
        }
    }
}

fn any_batch() -> impl Strategy<Value = ProducerBatch> {
    let sequence = prop_oneof![0..12_i32, i32::MAX - 6..=i32::MAX];
    (0..2_i64, 0..2_i16, sequence, 0..4_i32).prop_map(
        |(producer_id, producer_epoch, base_sequence, last_offset_delta)| ProducerBatch {
            producer_id,
            producer_epoch,
            base_sequence,
            last_offset_delta,
        },
    )
}

proptest! {
    #[test]
    fn random_histories_agree_with_the_model(
        // Mostly batches that follow or repeat, or nothing would ever get past the first few.
        steps in prop::collection::vec((any_batch(), 0..4_u8, any::<prop::sample::Index>(), any::<bool>()), 1..120)
    ) {
        let mut state = ProducerState::new();
        let mut model = Model::default();
        let mut offset = 0;
        for (mut batch, way, index, restart) in steps {
            if let (Some((last, _)), 1 | 2) = (
                model.appended.iter().rev().find(|(b, _)| b.producer_id == batch.producer_id), way
            ) {
                batch.producer_epoch = last.producer_epoch;
                batch.base_sequence = sequence_after(last.last_sequence(), 1);
            } else if way == 3 && !model.appended.is_empty() {
                let recent = model.appended.len().min(12);
                batch = model.appended[model.appended.len() - 1 - index.index(recent)].0;
            }
            let answer = match state.check(&batch) {
                Ok(Check::Append) => Answer::Append,
                Ok(Check::Duplicate { base_offset, last_offset, max_timestamp }) => {
                    prop_assert_eq!(last_offset - base_offset, i64::from(batch.last_offset_delta));
                    prop_assert_eq!(max_timestamp, -base_offset);
                    Answer::Duplicate(base_offset)
                }
                Err(ProducerError::InvalidProducerEpoch { .. }) => Answer::Fenced,
                Err(_) => Answer::OutOfOrder,
            };
            prop_assert_eq!(&answer, &model.answer(&batch));
            if answer == Answer::Append {
                state.record(&batch, offset, -offset, 0);
                model.appended.push((batch, offset));
                offset += i64::from(batch.last_offset_delta) + 1;
            }
            if restart {
                let restored = ProducerState::restore(&state.snapshot()).unwrap();
                prop_assert_eq!(&restored, &state);
                state = restored;
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ProducerState::restore(&bytes);
    }
}
