//! Sessions begin, go on, tell changes only, turn around and make room, as Kafka's do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ROOMY: SessionLimits = SessionLimits { slots_max: 3, bytes_max: 1 << 20 };

fn cache(limits: SessionLimits) -> SessionCache {
    SessionCache::new(SessionIds::new(0, 1), limits)
}

fn name(name: &str) -> TopicKey {
    TopicKey::Name(Rc::from(name))
}

fn wanted(fetch_offset: i64) -> Wanted {
    Wanted { fetch_offset, max_bytes: 1 << 20, current_leader_epoch: 3, last_fetched_epoch: -1 }
}

fn told(high_watermark: i64) -> Told {
    Told { high_watermark, last_stable_offset: high_watermark, log_start_offset: 0, ..Told::NOTHING }
}

fn with_records(high_watermark: i64) -> Told {
    Told { has_records: true, ..told(high_watermark) }
}

fn failed() -> Told {
    Told { failed: true, ..Told::NOTHING }
}

fn position(session_id: i32, epoch: i32) -> Position {
    Position { session_id, epoch, uses_topic_ids: false }
}

/// A session of topic `t`'s partitions 0 to `count` - 1, all empty.
fn create(cache: &mut SessionCache, count: i32, now_ms: i64) -> i32 {
    let topic = name("t");
    let partitions = (0..count).map(|partition| (&topic, partition, wanted(0), told(0)));
    cache.create((false, false), partitions, 7 + now_ms as u32, now_ms)
}

fn go_on(
    cache: &mut SessionCache,
    position: Position,
    changed: &[(i32, i64)],
    forgotten: &[i32],
    now_ms: i64,
) -> Result<Context, SessionError> {
    let topic = name("t");
    let wanted = changed.iter().map(|(partition, offset)| (&topic, *partition, wanted(*offset)));
    cache.begin(&position, wanted, forgotten.iter().map(|partition| (&topic, *partition)), now_ms)
}

fn order(cache: &SessionCache, id: i32) -> Vec<i32> {
    cache.partitions(id).map(|(_, partition)| partition.partition).collect()
}

/// The partitions that an answer has when each is told what `of` says.
fn answered(cache: &mut SessionCache, id: i32, epoch: i32, of: impl Fn(i32) -> Told) -> Vec<i32> {
    let told: Vec<_> =
        cache.partitions(id).map(|(slot, partition)| (slot, of(partition.partition))).collect();
    let asked = order(cache, id);
    let selected = cache.select(id, epoch, told.into_iter()).expect("the session's epoch");
    asked
        .into_iter()
        .zip(selected)
        .filter(|(_, selected)| *selected)
        .map(|(partition, _)| partition)
        .collect()
}

#[test]
fn a_session_goes_on_with_what_it_remembers_and_an_empty_request_is_not_an_empty_fetch() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 3, 0);
    assert_eq!(id, 8, "chance decides");
    let context = go_on(&mut cache, position(id, 1), &[], &[], 1).unwrap();
    assert_eq!(context, Context::Incremental { session_id: id, epoch: 2 });
    assert_eq!(order(&cache, id), [0, 1, 2]);
    let context = go_on(&mut cache, position(id, 2), &[(1, 9), (5, 0)], &[0], 1).unwrap();
    assert_eq!(context, Context::Incremental { session_id: id, epoch: 3 });
    let partitions: Vec<_> =
        cache.partitions(id).map(|(_, one)| (one.partition, one.wanted.fetch_offset)).collect();
    assert_eq!(partitions, [(1, 9), (2, 0), (5, 0)]);
    assert_eq!((cache.len(), cache.partitions_len()), (1, 3));
}

#[test]
fn only_what_changed_is_told() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 4, 0);
    go_on(&mut cache, position(id, 1), &[], &[], 1).unwrap();
    assert_eq!(answered(&mut cache, id, 2, |_| told(0)), [0; 0], "nothing changed");
    assert_eq!(answered(&mut cache, id, 2, |p| told(i64::from(p == 1))), [1], "high watermark");
    assert_eq!(answered(&mut cache, id, 2, |p| told(i64::from(p == 1))), [0; 0], "told once");
    let start = |p| Told { log_start_offset: i64::from(p == 2), ..told(i64::from(p == 1)) };
    assert_eq!(answered(&mut cache, id, 2, start), [2], "log start offset");
    let stable =
        |p| Told { last_stable_offset: if p == 1 { 0 } else { start(p).last_stable_offset }, ..start(p) };
    assert_eq!(answered(&mut cache, id, 2, stable), [1], "last stable offset");
    let preferred = |p| Told { must_tell: p == 3, ..stable(p) };
    assert_eq!(answered(&mut cache, id, 2, preferred), [3], "preferred replica");
    assert_eq!(answered(&mut cache, id, 2, preferred), [3], "each time");
    go_on(&mut cache, position(id, 2), &[(9, 0)], &[], 1).unwrap();
    assert_eq!(answered(&mut cache, id, 3, |p| if p == 9 { told(0) } else { stable(p) }), [9], "new ones");
}

#[test]
fn an_error_is_told_each_time_and_its_end_too() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 2, 0);
    go_on(&mut cache, position(id, 1), &[], &[], 1).unwrap();
    let broken = |p| if p == 0 { failed() } else { told(0) };
    assert_eq!(answered(&mut cache, id, 2, broken), [0]);
    assert_eq!(answered(&mut cache, id, 2, broken), [0]);
    assert_eq!(answered(&mut cache, id, 2, |_| told(0)), [0], "it went away");
    assert_eq!(answered(&mut cache, id, 2, |_| told(0)), [0; 0]);
}

#[test]
fn who_gave_records_goes_behind_those_who_did_not() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 4, 0);
    go_on(&mut cache, position(id, 1), &[], &[], 1).unwrap();
    let two = |p| if p == 0 || p == 2 { with_records(1) } else { told(0) };
    assert_eq!(answered(&mut cache, id, 2, two), [0, 2]);
    assert_eq!(order(&cache, id), [1, 3, 0, 2]);
    assert_eq!(answered(&mut cache, id, 2, |p| if p == 1 { with_records(1) } else { two(p) }), [1, 0, 2]);
    assert_eq!(order(&cache, id), [3, 1, 0, 2]);
}

#[test]
fn a_request_out_of_turn_is_told_so_and_changes_nothing() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 2, 0);
    let error = SessionError::InvalidEpoch { expected: 1, requested: 2 };
    assert_eq!(go_on(&mut cache, position(id, 2), &[(7, 0)], &[0], 1), Err(error));
    assert_eq!(go_on(&mut cache, position(id + 1, 1), &[], &[], 1), Err(SessionError::IdNotFound(id + 1)));
    assert_eq!(go_on(&mut cache, position(NO_SESSION, 1), &[], &[], 1), Err(SessionError::IdNotFound(0)));
    let by_id = Position { uses_topic_ids: true, ..position(id, 1) };
    assert_eq!(go_on(&mut cache, by_id, &[], &[], 1), Err(SessionError::TopicIds));
    assert_eq!(order(&cache, id), [0, 1]);
    go_on(&mut cache, position(id, 1), &[], &[], 1).expect("its turn is still to come");
}

#[test]
fn an_answer_is_not_given_when_another_request_came_between() {
    let mut cache = cache(ROOMY);
    let id = create(&mut cache, 1, 0);
    go_on(&mut cache, position(id, 1), &[], &[], 1).unwrap();
    go_on(&mut cache, position(id, 2), &[], &[], 1).unwrap();
    let error = SessionError::InvalidEpoch { expected: 3, requested: 2 };
    assert_eq!(cache.select(id, 2, std::iter::empty()), Err(error));
}

#[test]
fn a_full_request_ends_the_session_it_names_and_one_without_partitions_ends_itself() {
    let mut cache = cache(ROOMY);
    let first = create(&mut cache, 1, 0);
    assert_eq!(go_on(&mut cache, position(first, INITIAL_EPOCH), &[], &[], 1), Ok(Context::Full));
    assert!(cache.is_empty());
    let second = create(&mut cache, 1, 0);
    assert_eq!(go_on(&mut cache, position(second, FINAL_EPOCH), &[], &[], 1), Ok(Context::Sessionless));
    assert!(cache.is_empty());
    let third = create(&mut cache, 2, 0);
    assert_eq!(go_on(&mut cache, position(third, 1), &[], &[0, 1], 1), Ok(Context::Sessionless));
    assert_eq!((cache.len(), cache.partitions_len(), cache.bytes(), cache.evictions()), (0, 0, 0, 0));
}

#[test]
fn epochs_turn_around_to_one() {
    assert_eq!(next_epoch(INITIAL_EPOCH), 1);
    assert_eq!(next_epoch(i32::MAX), 1);
    assert_eq!(next_epoch(FINAL_EPOCH), FINAL_EPOCH);
}

#[test]
fn a_full_cache_keeps_what_is_young_or_worth_more_and_gives_up_what_is_stale() {
    let mut cache = cache(ROOMY);
    let sessions: Vec<i32> = [5, 3, 4].iter().map(|count| create(&mut cache, *count, 0)).collect();
    assert_eq!(create(&mut cache, 100, EVICTION_MS), NO_SESSION, "all are young");
    // Used again, and old now: they may be compared.
    for (id, now) in sessions.iter().zip(1..) {
        go_on(&mut cache, position(*id, 1), &[], &[], EVICTION_MS + now).unwrap();
    }
    assert_eq!(create(&mut cache, 2, EVICTION_MS + 9), NO_SESSION, "the least has three");
    assert_eq!(create(&mut cache, 3, EVICTION_MS + 9), NO_SESSION, "three are not more than three");
    let fourth = create(&mut cache, 4, EVICTION_MS + 9);
    assert_ne!(fourth, NO_SESSION);
    let gone = go_on(&mut cache, position(sessions[1], 2), &[], &[], EVICTION_MS + 9);
    assert_eq!(gone, Err(SessionError::IdNotFound(sessions[1])));
    // Unused for long: even one partition may take its place. The one with five was used first.
    assert_ne!(create(&mut cache, 1, 2 * EVICTION_MS + 2), NO_SESSION);
    assert!(go_on(&mut cache, position(sessions[0], 2), &[], &[], 2 * EVICTION_MS + 2).is_err());
    assert_eq!((cache.len(), cache.evictions()), (3, 2));
}

#[test]
fn a_follower_may_take_a_young_consumer_s_place_but_not_a_young_follower_s() {
    let mut cache = cache(SessionLimits { slots_max: 1, ..ROOMY });
    let consumer = create(&mut cache, 50, 0);
    let topic = name("t");
    let one = || std::iter::once((&topic, 0, wanted(0), told(0)));
    let follower = cache.create((true, false), one(), 1, 1);
    assert_ne!(follower, NO_SESSION);
    assert_eq!(
        go_on(&mut cache, position(consumer, 1), &[], &[], 1),
        Err(SessionError::IdNotFound(consumer))
    );
    assert_eq!(cache.create((true, false), one(), 1, 1), NO_SESSION);
    assert_eq!(create(&mut cache, 50, 1), NO_SESSION);
}

#[test]
fn without_slots_or_memory_there_is_no_session() {
    assert_eq!(create(&mut cache(SessionLimits { slots_max: 0, ..ROOMY }), 1, 0), NO_SESSION);
    let mut small = cache(SessionLimits { bytes_max: 2_000, ..ROOMY });
    assert_eq!(create(&mut small, 100, 0), NO_SESSION);
    let id = create(&mut small, 2, 0);
    assert_ne!(id, NO_SESSION);
    let held = small.bytes();
    assert!(held > 0 && held <= 2_000);
    // One that outgrows the memory has to begin anew, which will be refused.
    let more: Vec<_> = (0..100).map(|partition| (partition, 0)).collect();
    assert_eq!(go_on(&mut small, position(id, 1), &more, &[], 1), Err(SessionError::IdNotFound(id)));
    assert_eq!((small.len(), small.bytes(), small.partitions_len()), (0, 0, 0));
}

#[test]
fn an_id_names_its_core() {
    for cores in [1_u16, 2, 7, 64] {
        for core in 0..cores {
            let ids = SessionIds::new(core, cores);
            for random in [0, 1, 99, u32::MAX / 2, u32::MAX] {
                let id = ids.pick(random, |_| false);
                assert!(id > 0 && ids.is_own(id), "core {core} of {cores}: {id}");
                assert_ne!(ids.pick(random, |taken| taken == id), id);
            }
        }
    }
    let ids = SessionIds::new(0, 2);
    assert_eq!((ids.core_of(0), ids.core_of(-5), ids.core_of(i32::MIN)), (None, None, None));
}

#[test]
fn a_topic_s_name_is_remembered_once_it_was_known() {
    let mut cache = cache(ROOMY);
    let key = TopicKey::Id(TopicId([7; 16]));
    let id = cache.create((false, true), std::iter::once((&key, 0, wanted(0), told(0))), 1, 0);
    let known = |cache: &SessionCache| cache.partitions(id).next().unwrap().1.topic.known_name().cloned();
    assert_eq!(known(&cache), None);
    cache.partitions(id).next().unwrap().1.topic.learn_name("orders");
    assert_eq!(known(&cache).as_deref(), Some("orders"));
}

/// A session as a list, with what was told last.
type Model = Vec<(i32, i64, Told)>;

proptest! {
    #[test]
    fn a_session_is_its_model(
        steps in prop::collection::vec(
            (
                prop::collection::vec((0..12_i32, 0..50_i64), 0..6),
                prop::collection::vec(0..12_i32, 0..4),
                prop::collection::btree_map(0..12_i32, (0..3_i64, any::<bool>(), 0..8_u8), 0..12),
            ),
            1..30,
        ),
    ) {
        let mut cache = cache(ROOMY);
        let mut model: Model = (0..4).map(|partition| (partition, 0, told(0))).collect();
        let mut id = create(&mut cache, 4, 0);
        let mut epoch = 1;
        for (changed, forgotten, facts) in steps {
            for (partition, offset) in &changed {
                match model.iter_mut().find(|one| one.0 == *partition) {
                    Some(one) => one.1 = *offset,
                    None => model.push((*partition, *offset, Told::NOTHING)),
                }
            }
            model.retain(|one| !forgotten.contains(&one.0));
            let context = go_on(&mut cache, position(id, epoch), &changed, &forgotten, 1).unwrap();
            if model.is_empty() {
                prop_assert_eq!(context, Context::Sessionless);
                prop_assert_eq!((cache.len(), cache.bytes(), cache.partitions_len()), (0, 0, 0));
                id = create(&mut cache, 4, 0);
                model = (0..4).map(|partition| (partition, 0, told(0))).collect();
                epoch = 1;
                continue;
            }
            epoch += 1;
            let listed: Vec<_> =
                cache.partitions(id).map(|(_, one)| (one.partition, one.wanted.fetch_offset)).collect();
            let expected: Vec<_> = model.iter().map(|one| (one.0, one.1)).collect();
            prop_assert_eq!(listed, expected);

            let facts: BTreeMap<i32, Told> = facts
                .into_iter()
                .map(|(partition, (high_watermark, has_records, kind))| {
                    let told = Told { has_records, ..told(high_watermark) };
                    (partition, if kind == 0 { failed() } else { told })
                })
                .collect();
            let of = |partition: i32| facts.get(&partition).copied().unwrap_or(told(0));
            let mut expected = Vec::new();
            for one in &mut model {
                let now = of(one.0);
                let before = std::mem::replace(&mut one.2, now);
                let moved = before.high_watermark != now.high_watermark
                    || before.log_start_offset != now.log_start_offset;
                if moved || now.has_records || now.failed {
                    expected.push(one.0);
                }
            }
            let (behind, front): (Model, Model) = model.into_iter().partition(|one| one.2.has_records);
            model = front.into_iter().chain(behind).collect();
            prop_assert_eq!(answered(&mut cache, id, epoch, of), expected);
        }
    }
}
