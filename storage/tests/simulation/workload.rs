//! What the tasks of a process do: create and delete logs, append from many sides, read, wait, look up times.

use std::cell::Cell;
use std::rc::Rc;

use bytes::BytesMut;
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, BatchHeader, find_timestamp};
use corelog_storage::compaction::ENTRY_BYTES;
use corelog_storage::io::simulated::SimIo;
use corelog_storage::io::{Class, Io};
use corelog_storage::log::{CompactionMeans, Log, LogIdentity};
use corelog_storage::scrub::Finding;
use corelog_storage::throttle::Throttle;
use corelog_storage::types::LogId;

use crate::life::{Process, Work};
use crate::model::{Chronicle, ModelBatch, ModelLog, PRODUCER_ID, Stage};

/// At most this many logs exist at a time.
const LOGS_MAX: usize = 6;

/// Runs a few tasks at once, each with some steps.
pub async fn run(process: &Rc<Process>, work: &Work) {
    for _ in 0..2 {
        create(process).await;
    }
    let running = Rc::new(Cell::new(work.actors + 1));
    let (keeper, keeping, upkeep_steps) = (process.clone(), running.clone(), work.upkeep);
    process.io.clone().spawn(Class::Housekeeping, async move {
        for _ in 0..upkeep_steps {
            upkeep(&keeper).await;
        }
        keeping.set(keeping.get() - 1);
    });
    for _ in 0..work.actors {
        let (process, running, steps) = (process.clone(), running.clone(), work.steps.clone());
        process.io.clone().spawn(Class::Foreground, async move {
            for _ in 0..steps.start + process.below(steps.end - steps.start) {
                step(&process).await;
            }
            running.set(running.get() - 1);
        });
    }
    while running.get() > 0 {
        process.io.sleep(std::time::Duration::from_micros(500)).await;
    }
}

async fn step(process: &Rc<Process>) {
    for log in process.stores.iter().flat_map(|store| store.logs()) {
        let (start, visible) = (log.log_start_offset(), log.visible_end_offset());
        assert!(start <= visible, "{log:?}: starts at {start}, and only what is below {visible} is durable");
    }
    match process.below(100) {
        0..56 => append(process).await,
        56..58 => advance_log_start(process).await,
        58..59 => enforce_retention(process).await,
        59..60 => sweep(process).await,
        60..64 => compact(process).await,
        64..66 => scrub(process).await,
        66..80 => read(process).await,
        80..86 => look_up(process).await,
        86..90 => create(process).await,
        90..92 => delete(process).await,
        92..96 => watch(process).await,
        _ => process.io.sleep(std::time::Duration::from_millis(process.below(20))).await,
    }
}

/// What a broker does by itself, and what is asked of it now and then.
async fn upkeep(process: &Rc<Process>) {
    match process.below(8) {
        0 => advance_log_start(process).await,
        1..4 => enforce_retention(process).await,
        4..6 => compact(process).await,
        6 => sweep(process).await,
        _ => {
            delete(process).await;
            create(process).await;
        }
    }
    process.io.sleep(std::time::Duration::from_millis(process.below(6))).await;
}

async fn create(process: &Rc<Process>) {
    let (identity, dir_index) = {
        let mut model = process.model.borrow_mut();
        if model.logs.len() >= LOGS_MAX {
            return;
        }
        model.next_log_id += 1;
        // Few names, so that a deleted log's name is used again.
        let names = (0..LOGS_MAX as i32 + 1)
            .filter(|partition| model.logs.values().all(|log| log.identity.partition != *partition));
        let Some(partition) = names.into_iter().next() else { return };
        let log_id = LogId(model.next_log_id * 0x0101_0101);
        let identity = LogIdentity { log_id, topic_id: [7; 16], topic: "t".to_owned(), partition };
        let dir_index = process.below(process.dirs as u64) as usize;
        model.logs.insert(log_id, ModelLog::new(identity.clone()));
        (identity, dir_index)
    };
    let tenant = Rc::new(std::cell::RefCell::new(Chronicle::default()));
    process.tenants.borrow_mut().insert(identity.log_id, tenant.clone());
    let log_id = identity.log_id;
    let store = &process.stores[process.below(process.stores.len() as u64) as usize];
    match store.create_log(identity, dir_index, process.config, tenant).await {
        Ok(_) => {
            process.did("logs made");
            if let Some(log) = process.model.borrow_mut().logs.get_mut(&log_id) {
                log.stage = Stage::Live;
            }
        }
        Err(error) => {
            process.accept(&error);
            // Refused: it is not there, and must not come back.
            if error.is_disk_full() {
                process.model.borrow_mut().logs.remove(&log_id);
            }
        }
    }
}

async fn delete(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let log_id = log.identity().log_id;
    if let Some(log) = process.model.borrow_mut().logs.get_mut(&log_id) {
        log.stage = Stage::Deleting;
    }
    for store in &process.stores {
        if store.log(log_id).is_some() {
            match store.delete_log(log_id).await {
                Ok(()) => {
                    process.did("logs deleted");
                    process.model.borrow_mut().logs.remove(&log_id);
                }
                Err(error) => process.accept(&error),
            }
            return;
        }
    }
}

/// An open log that is neither being made nor deleted.
fn live_log(process: &Process) -> Option<Rc<Log<SimIo>>> {
    let log = process.any_log()?;
    let model = process.model.borrow();
    model.logs.get(&log.identity().log_id).is_some_and(|log| log.stage == Stage::Live).then_some(log)
}

fn batch(process: &Process) -> Vec<u8> {
    let records = 1 + process.below(3);
    let len = match process.below(20) {
        0 => 5_000,
        // Whole blocks, which may go straight to their segments.
        1 => 9_000,
        2..12 if process.bulky => 9_000,
        2..4 => 1_500,
        _ => 120,
    };
    let mut builder = BatchBuilder::new();
    if process.one_in(4) {
        builder = builder.producer(PRODUCER_ID, 0, 0);
    }
    for _ in 0..records {
        let mut value = vec![0; process.below(len) as usize];
        process.random.borrow_mut().fill(&mut value);
        // Few keys, so that most records are superseded soon; now and then one is deleted.
        let key = [process.below(6) as u8];
        let value = (!process.one_in(6)).then_some(&value[..]);
        builder = builder.record(process.below(1_000) as i64, Some(&key), value);
    }
    builder.build()
}

async fn append(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let mut last = None;
    for _ in 0..1 + process.below(4) {
        let bytes = BytesMut::from(&batch(process)[..]);
        let header = BatchHeader::parse(&bytes).expect("a built batch");
        let permit = match log.prepare(bytes.len(), header.max_timestamp, process.now_ms()).await {
            Ok(permit) => permit,
            // Some journals are too small for the largest batches.
            Err(StorageError::BatchTooLarge { .. }) => continue,
            Err(error) => return process.accept(&error),
        };
        let backing_bytes = if process.one_in(2) { bytes.len() } else { bytes.len() * 3 };
        let mut copy = bytes.to_vec();
        let appended = match permit.append(bytes, backing_bytes, &header, 3) {
            Ok(appended) => appended,
            Err(error) => return process.accept(&error),
        };
        corelog_storage::batch::assign_offsets(&mut copy, appended.base_offset, 3);
        if let Some(model) = process.model.borrow_mut().logs.get_mut(&log.identity().log_id) {
            assert_eq!(model.end_offset(), appended.base_offset, "{log:?}: a hole between batches");
            if header.has_producer() {
                model.last_of_producer_max = model.last_of_producer_max.max(appended.last_offset);
            }
            model.batches.push(ModelBatch {
                base_offset: appended.base_offset,
                next_offset: appended.next_offset(),
                max_timestamp: header.max_timestamp,
                bytes: copy.into(),
            });
        }
        last = Some(appended.next_offset());
    }
    let Some(next_offset) = last else { return };
    match log.durable(next_offset).await {
        Ok(()) => {
            if let Some(model) = process.model.borrow_mut().logs.get_mut(&log.identity().log_id) {
                model.must_hold = model.must_hold.max(next_offset);
            }
        }
        Err(error) => process.accept(&error),
    }
}

/// Moves a log's start to somewhere below its visible end, now and then to the end itself.
async fn advance_log_start(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let log_id = log.identity().log_id;
    let visible_end = log.visible_end_offset();
    let offset = if process.one_in(4) { visible_end } else { process.below(visible_end as u64 + 1) as i64 };
    if let Some(model) = process.model.borrow_mut().logs.get_mut(&log_id) {
        model.start_asked = model.start_asked.max(offset);
        model.start_named = model.start_named.max(offset);
    }
    match log.advance_log_start(offset).await {
        Ok(log_start_offset) => {
            process.did("log starts advanced");
            assert!(log_start_offset >= offset, "{log:?} starts at {log_start_offset}, {offset} was asked");
            if let Some(model) = process.model.borrow_mut().logs.get_mut(&log_id) {
                model.start_held = model.start_held.max(offset);
            }
        }
        Err(error) => process.accept(&error),
    }
    let beyond = log.log_end_offset() + 1;
    match log.advance_log_start(beyond).await {
        Err(StorageError::OffsetOutOfRange { .. }) => {}
        Ok(_) => assert!(log.log_end_offset() >= beyond, "{log:?}: a start beyond the end"),
        Err(error) => process.accept(&error),
    }
}

async fn enforce_retention(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let log_id = log.identity().log_id;
    if process.config.retention.delete
        && let Some(model) = process.model.borrow_mut().logs.get_mut(&log_id)
    {
        // It may go as far as what is visible when its turn comes.
        model.start_asked = i64::MAX;
    }
    let log_start_before = log.log_start_offset();
    match log.enforce_retention(process.now_ms()).await {
        Ok(None) => {}
        Ok(Some(log_start_offset)) => {
            process.did("retention");
            let policy = &process.config.retention;
            assert!(policy.delete, "{log:?} deletes, and was not told to");
            let mut model = process.model.borrow_mut();
            let compacts = model.compacts;
            if let Some(model) = model.logs.get_mut(&log_id) {
                model.start_held = model.start_held.max(log_start_offset);
                // Compaction changes how much there is.
                if !compacts {
                    model.check_expired(policy, log_start_before, log_start_offset, process.now_ms());
                }
            }
        }
        Err(error) => process.accept(&error),
    }
}

async fn compact(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    // Often too little for all keys, so that it takes several passes.
    let map_bytes_max = ENTRY_BYTES * (1 + process.below(8) as usize);
    let throttle = Throttle::new(if process.one_in(2) { 1e6 } else { f64::MAX }, process.io.now_ns());
    match log.compact(process.now_ms(), &mut CompactionMeans { map_bytes_max, throttle }).await {
        Ok(None) => {}
        Ok(Some(done)) => {
            process.did("compactions");
            assert!(process.config.compaction.compact, "{log:?} was compacted, and nobody wanted it");
            assert!(done.bytes_after <= done.bytes_before * 2, "{log:?}: {done:?}");
        }
        Err(error) => process.accept(&error),
    }
}

async fn sweep(process: &Rc<Process>) {
    for store in &process.stores {
        if let Err(error) = store.sweep().await {
            process.accept(&error);
        }
    }
}

/// Nothing of these disks rots: whatever scrubbing finds was never there.
async fn scrub(process: &Rc<Process>) {
    let first = LogId(process.below(LOGS_MAX as u64 * 4) * 0x0101_0101);
    let mut throttle = Throttle::new(if process.one_in(2) { 1e6 } else { f64::MAX }, process.io.now_ns());
    let store = &process.stores[process.below(process.stores.len() as u64) as usize];
    let mut tell = |finding| {
        assert!(matches!(finding, Finding::Mended { .. }), "a false alarm: {finding:?}");
    };
    store.scrub(first, &mut throttle, &mut tell).await;
}

async fn read(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let log_start_before = log.log_start_offset();
    assert!(log_start_before <= log.visible_end_offset(), "{log:?} starts beyond what is visible");
    let offset = match process.below(3) {
        0 => log.visible_end_offset().saturating_sub(process.below(4) as i64).max(0),
        _ => process.below(log.visible_end_offset() as u64 + 1) as i64,
    };
    let max_bytes = process.below(12_000) as usize;
    let at_least_one = process.one_in(2);
    match log.read(offset, max_bytes, at_least_one).await {
        Ok(slices) => {
            let total: usize = slices.batches.iter().map(|batch| batch.len()).sum();
            assert_eq!(total, slices.total_bytes);
            assert!(total <= max_bytes || at_least_one, "{total} bytes came, {max_bytes} were asked for");
            assert!(offset >= log_start_before, "{log:?}: {offset} is read, it starts at {log_start_before}");
            let log_id = log.identity().log_id;
            process.model.borrow_mut().check_read(log_id, offset, &slices.batches, slices.next_offset);
        }
        Err(StorageError::OffsetOutOfRange { .. }) if offset < log.log_start_offset() => {}
        Err(error) => process.accept(&error),
    }
    let beyond = log.log_end_offset() + 1 + process.below(5) as i64;
    match log.read(beyond, 100, true).await {
        Err(StorageError::OffsetOutOfRange { .. }) => {}
        // It may have grown meanwhile.
        Ok(_) => assert!(log.log_end_offset() >= beyond),
        Err(error) => process.accept(&error),
    }
}

/// The first record at or after a time: not before the answer's batch, and no earlier batch may have one.
async fn look_up(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let target_ms = process.below(1_100) as i64;
    let log_start_before = log.log_start_offset();
    let visible_before = log.visible_end_offset();
    let found = match log.offset_for_timestamp(target_ms).await {
        Ok(found) => found,
        Err(error) => return process.accept(&error),
    };
    // Where the start moved meanwhile, either answer may be right.
    let log_start = log.log_start_offset();
    if log_start != log_start_before {
        return;
    }
    let model = process.model.borrow();
    let compacts = model.compacts;
    let Some(model) = model.logs.get(&log.identity().log_id) else { return };
    if compacts {
        // Which records are left depends on when they were compacted; the answer must be one that was there.
        if let Some((offset, timestamp)) = found {
            assert!(timestamp >= target_ms);
            assert!(
                model.record_at(offset).is_some_and(|record| record.timestamp_ms == timestamp),
                "{log:?}"
            );
        }
        return;
    }
    let first = model.batches.iter().find(|batch| has_record(batch, target_ms, log_start));
    match (found, first) {
        (Some((offset, timestamp)), Some(first)) => {
            assert!(timestamp >= target_ms);
            assert!(
                (first.base_offset..first.next_offset).contains(&offset),
                "{log:?}: {offset} for {target_ms}"
            );
        }
        (Some((offset, _)), None) => panic!("{log:?}: {offset} has no timestamp of {target_ms}"),
        (None, Some(first)) => {
            assert!(first.next_offset > visible_before, "{log:?}: nothing for {target_ms}, {first:?} has it");
        }
        (None, None) => {}
    }
}

/// Whether a batch holds a record of that time or later, at or above the log's start.
fn has_record(batch: &ModelBatch, target_ms: i64, log_start: i64) -> bool {
    batch.max_timestamp >= target_ms
        && find_timestamp(&batch.bytes, target_ms, log_start).expect("a whole batch").is_some()
}

async fn watch(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let offset = log.visible_end_offset();
    let wait = async { Some(log.watch(offset).await) };
    let timeout = async {
        process.io.sleep(std::time::Duration::from_millis(5)).await;
        None
    };
    match futures_lite::future::or(wait, timeout).await {
        Some(Ok(visible_end)) => assert!(visible_end > offset, "woken for nothing"),
        Some(Err(error)) => process.accept(&error),
        None => {}
    }
}
