//! What the tasks of a process do: create and delete logs, append from many sides, read, wait, look up times.

use std::cell::Cell;
use std::rc::Rc;

use bytes::BytesMut;
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, BatchHeader};
use corelog_storage::io::simulated::SimIo;
use corelog_storage::io::{Class, Io};
use corelog_storage::log::{Log, LogIdentity};
use corelog_storage::types::LogId;

use crate::life::Process;
use crate::model::{Chronicle, ModelBatch, ModelLog, Stage};

/// At most this many logs exist at a time.
const LOGS_MAX: usize = 6;

/// Runs `actors` tasks at once, each with a few dozen steps.
pub async fn run(process: &Rc<Process>, actors: usize) {
    for _ in 0..2 {
        create(process).await;
    }
    let running = Rc::new(Cell::new(actors));
    for _ in 0..actors {
        let (process, running) = (process.clone(), running.clone());
        process.io.clone().spawn(Class::Foreground, async move {
            for _ in 0..10 + process.below(40) {
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
    match process.below(100) {
        0..60 => append(process).await,
        60..80 => read(process).await,
        80..86 => look_up(process).await,
        86..90 => create(process).await,
        90..92 => delete(process).await,
        92..96 => watch(process).await,
        _ => process.io.sleep(std::time::Duration::from_millis(process.below(20))).await,
    }
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
        let log = ModelLog {
            identity: identity.clone(),
            stage: Stage::Creating,
            batches: Vec::new(),
            must_hold: 0,
        };
        model.logs.insert(log_id, log);
        (identity, dir_index)
    };
    let tenant = Rc::new(std::cell::RefCell::new(Chronicle::default()));
    process.tenants.borrow_mut().insert(identity.log_id, tenant.clone());
    let log_id = identity.log_id;
    let store = &process.stores[process.below(process.stores.len() as u64) as usize];
    match store.create_log(identity, dir_index, process.config, tenant).await {
        Ok(_) => {
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
        1..4 => 1_500,
        _ => 120,
    };
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        let mut value = vec![0; process.below(len) as usize];
        process.random.borrow_mut().fill(&mut value);
        builder = builder.record(process.below(1_000) as i64, None, Some(&value));
    }
    builder.build()
}

async fn append(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
    let mut last = None;
    for _ in 0..1 + process.below(4) {
        let bytes = BytesMut::from(&batch(process)[..]);
        let header = BatchHeader::parse(&bytes).expect("a built batch");
        let permit = match log.prepare(bytes.len(), process.now_ms()).await {
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

async fn read(process: &Rc<Process>) {
    let Some(log) = live_log(process) else { return };
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
            if let Some(model) = process.model.borrow_mut().logs.get_mut(&log.identity().log_id) {
                model.check_read(offset, &slices.batches, slices.next_offset);
            }
        }
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
    let visible_before = log.visible_end_offset();
    let found = match log.offset_for_timestamp(target_ms).await {
        Ok(found) => found,
        Err(error) => return process.accept(&error),
    };
    let model = process.model.borrow();
    let Some(model) = model.logs.get(&log.identity().log_id) else { return };
    let first = model.batches.iter().find(|batch| batch.max_timestamp >= target_ms);
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
