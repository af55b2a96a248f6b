//! What a store gives after one of its bits was flipped, held against what it gave before.
//!
//! Panics over what must never be: a wrong byte, a record less, an error that is not one of corruption or does not say where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use corelog_storage::StorageError;
use corelog_storage::batch::Batches;
use corelog_storage::io::Io;
use corelog_storage::io::simulated::{Random, SimIo, Simulation};
use corelog_storage::log::Log;
use corelog_storage::types::LogId;

use crate::stores::{self, COMPACTED, Ending, Opened, Witness, Written};
use crate::{Planted, rest};

/// What came of a flipped bit, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as it was.
    Same,
    /// The journal's last commit is gone, which a crash might have done (decision 0001).
    Cut,
    /// Some of it is answered with an error.
    Told,
    /// The start is refused.
    Refused,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Cut => "last commit cut",
            Self::Told => "told when it is read",
            Self::Refused => "start refused",
        }
    }
}

/// One log as it was before.
#[derive(Debug)]
struct LogBefore {
    start: i64,
    end: i64,
    /// Each batch with its base offset and the offset after it.
    batches: Vec<(i64, i64, Bytes)>,
    found: Vec<Option<(i64, i64)>>,
    witness: Witness,
}

/// Everything as it was before.
pub struct Before<'a> {
    written: &'a Written,
    logs: BTreeMap<LogId, LogBefore>,
    /// Each index once everything was read: a power cut may have taken some.
    indexes: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

/// Times that are looked up.
const TARGETS_MS: [i64; 3] = [0, 300, 1_000];

impl<'a> Before<'a> {
    /// Recovers a copy of the store and reads all of it; holds that against what was acknowledged.
    pub fn of(written: &'a Written) -> Self {
        let simulation = written.simulation.copy();
        let io = simulation.io();
        let logs = simulation.block_on(async {
            let opened = stores::open(&io, 2, Planted::default()).await.expect("a sound store opens");
            let mut logs = BTreeMap::new();
            for log in opened.store.logs() {
                let log_id = log.identity().log_id;
                logs.insert(log_id, LogBefore::of(&log, &opened).await);
            }
            logs
        });
        for (log_id, acknowledged) in &written.acknowledged {
            let log = &logs[log_id];
            assert_eq!(log.start, written.starts[log_id]);
            let there: BTreeMap<i64, &Bytes> =
                log.batches.iter().map(|(at, _, bytes)| (*at, bytes)).collect();
            let last = acknowledged.last().expect("each log has batches").0;
            assert_eq!(log.end, last + 2);
            for (base_offset, bytes) in acknowledged.iter().filter(|(at, _)| at + 1 >= log.start) {
                let same = there.get(base_offset) == Some(&bytes);
                assert!(
                    same || *log_id == COMPACTED,
                    "{log_id:?}: {base_offset} is not what was acknowledged"
                );
            }
        }
        let paths = simulation.paths().into_iter().filter(|path| is_index(path));
        let indexes = paths.map(|path| (path.clone(), simulation.contents(path))).collect();
        rest(&simulation);
        Self { written, logs, indexes }
    }

    /// What a copy of the store gives, one bit of which was flipped. With `goes_on` it is also written to, stopped and started again.
    pub fn judge(
        &self,
        simulation: &Simulation,
        path: &Path,
        bit: u64,
        planted: Planted,
        goes_on: bool,
    ) -> Outcome {
        let io = simulation.io();
        let opened = simulation.block_on(stores::open(&io, 3, planted));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                check_refusal(&error, path);
                rest(simulation);
                return Outcome::Refused;
            }
        };
        let outcome = simulation.block_on(self.judge_logs(&opened, path));
        if is_index(path) {
            self.check_index(simulation, &opened, path);
        }
        let mut appended = BTreeMap::new();
        if goes_on {
            simulation.block_on(async {
                let mut random = Random::new(bit);
                for log in opened.store.logs() {
                    let batch = stores::append(&log, &mut random, 400, 5).await;
                    appended.insert(
                        log.identity().log_id,
                        batch.expect("a log with a flipped bit is written to"),
                    );
                }
                io.sleep(Duration::from_secs(2)).await;
                opened.store.sweep().await.expect("a sweep");
                opened.store.close().await.expect("a clean stop");
            });
        }
        drop((opened, io));
        let io = rest(simulation);
        if !goes_on {
            return outcome;
        }
        let again = simulation.block_on(async {
            let opened =
                stores::open(&io, 4, planted).await.expect("what was recovered once is recovered again");
            for log in opened.store.logs() {
                let (base_offset, bytes) = &appended[&log.identity().log_id];
                match log.read(*base_offset, 1, true).await {
                    Ok(slices) => {
                        assert_eq!(slices.batches.concat(), *bytes, "{log:?}: what was appended then")
                    }
                    Err(error) => check_told(&error),
                }
            }
            self.judge_logs(&opened, path).await
        });
        assert!(again >= outcome.min(Outcome::Cut), "what was {outcome:?} is {again:?}");
        drop(io);
        rest(simulation);
        outcome.max(again)
    }

    async fn judge_logs(&self, opened: &Opened, path: &Path) -> Outcome {
        let logs = opened.store.logs();
        assert_eq!(logs.len(), self.logs.len(), "a log is gone");
        let mut outcome = Outcome::Same;
        for log in logs {
            let before = &self.logs[&log.identity().log_id];
            outcome = outcome.max(self.judge_log(before, &log, opened, path).await);
        }
        outcome
    }

    async fn judge_log(
        &self,
        before: &LogBefore,
        log: &Rc<Log<SimIo>>,
        opened: &Opened,
        path: &Path,
    ) -> Outcome {
        assert_eq!(log.log_start_offset(), before.start, "{log:?}: another start");
        let mut outcome = Outcome::Same;
        let (last_base, last_end, _) = before.batches.last().expect("each log has batches");
        if log.log_end_offset() < before.end || self.was_cut(before, log).await {
            assert!(self.may_cut(log, path), "{log:?} ends at {}, not {}", log.log_end_offset(), before.end);
            assert!(log.log_end_offset() >= *last_base, "{log:?}: more than the last commit is gone");
            outcome = Outcome::Cut;
        }
        let end = if outcome == Outcome::Cut { *last_base } else { *last_end };
        let told = before.check_batches(log, end).await;
        outcome = outcome.max(told);
        for (target_ms, expected) in TARGETS_MS.iter().zip(&before.found) {
            match log.offset_for_timestamp(*target_ms).await {
                Ok(found) if expected.is_some_and(|(offset, _)| offset < end) => {
                    assert_eq!(found, *expected, "{log:?}: {target_ms} ms");
                }
                Ok(_) => {}
                Err(error) => {
                    check_told(&error);
                    outcome = outcome.max(Outcome::Told);
                }
            }
        }
        if outcome != Outcome::Cut && log.log_end_offset() == before.end {
            let witness = opened.witnesses[&log.identity().log_id].borrow();
            assert_eq!(*witness, before.witness, "{log:?}: the tenant's state");
        }
        outcome
    }

    /// Whether something else stands where the log's last batch was: it was cut, and the log has gone on.
    async fn was_cut(&self, before: &LogBefore, log: &Rc<Log<SimIo>>) -> bool {
        let (base_offset, _, bytes) = before.batches.last().expect("each log has batches");
        log.identity().log_id == self.written.last
            && log.log_end_offset() == before.end
            && log.read(*base_offset, 1, true).await.is_ok_and(|slices| {
                let read = slices.batches.concat();
                read.len() != bytes.len()
            })
    }

    /// Whether the log's last batch may be cut, because the flipped bit lies where the journal's last commit may.
    fn may_cut(&self, log: &Log<SimIo>, path: &Path) -> bool {
        let journal = path.extension().is_some_and(|ending| ending == "journal");
        let in_place = self.written.ending == Ending::KilledBehindLargeBatch && path.starts_with(log.path());
        let last = log.identity().log_id == self.written.last && self.written.ending != Ending::CleanStop;
        last && (journal || in_place)
    }

    /// An index of a closed segment that was read is on the disk again, as it was.
    fn check_index(&self, simulation: &Simulation, opened: &Opened, path: &Path) {
        let base_offset =
            |path: &Path| path.file_name().map(|name| name.to_string_lossy()[..20].parse::<i64>());
        let Some(Ok(base_offset)) = base_offset(path) else { panic!("{} is no index", path.display()) };
        let closed = opened.store.logs().into_iter().any(|log| {
            path.starts_with(log.path())
                && log.closed_segments().iter().any(|segment| segment.base_offset == base_offset)
        });
        if closed {
            let same = simulation.contents(path) == self.indexes[path];
            assert!(same, "{} is not made again", path.display());
        }
    }
}

impl LogBefore {
    async fn of(log: &Rc<Log<SimIo>>, opened: &Opened) -> Self {
        let (start, end) = (log.log_start_offset(), log.visible_end_offset());
        let mut batches = Vec::new();
        let mut offset = start;
        while offset < end {
            let slices = log.read(offset, 8_000, true).await.expect("a sound log is read");
            assert!(slices.next_offset > offset, "{log:?}: nothing at {offset}");
            let read = slices.batches.concat();
            for batch in Batches::new(&read) {
                let batch = batch.expect("whole batches");
                let bytes = Bytes::copy_from_slice(batch.bytes);
                batches.push((batch.header.base_offset, batch.header.next_offset(), bytes));
            }
            offset = slices.next_offset;
        }
        let mut found = Vec::new();
        for target_ms in TARGETS_MS {
            found.push(log.offset_for_timestamp(target_ms).await.expect("a sound log is searched"));
        }
        let witness = opened.witnesses[&log.identity().log_id].borrow().clone();
        Self { start, end, batches, found, witness }
    }

    /// Reads everything up to `end`, beyond what cannot be read. Whatever comes is what was there.
    async fn check_batches(&self, log: &Rc<Log<SimIo>>, end: i64) -> Outcome {
        let mut outcome = Outcome::Same;
        let mut offset = self.start;
        while offset < end {
            let first = self.batches.partition_point(|(_, next, _)| *next <= offset);
            match log.read(offset, 8_000, true).await {
                Ok(slices) => {
                    let read = slices.batches.concat();
                    let mut rest = &read[..];
                    for (base_offset, _, bytes) in &self.batches[first..] {
                        if rest.is_empty() || *base_offset >= end {
                            break;
                        }
                        let same = rest.get(..bytes.len()) == Some(&bytes[..]);
                        assert!(same, "{log:?}: other bytes at offset {base_offset}");
                        rest = &rest[bytes.len()..];
                    }
                    // What was appended after the flip is held against that.
                    assert!(rest.is_empty() || slices.next_offset > end, "{log:?}: bytes that nobody wrote");
                    assert!(slices.next_offset > offset, "{log:?}: nothing at {offset}");
                    offset = slices.next_offset;
                }
                Err(error) => {
                    check_told(&error);
                    outcome = Outcome::Told;
                    offset = self.batches[first].1;
                }
            }
        }
        outcome
    }
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "blocks")
}

/// A read may say that something is corrupt, and where.
fn check_told(error: &StorageError) {
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

/// A start may be refused with a line that names the file.
fn check_refusal(error: &StorageError, path: &Path) {
    let expected = matches!(
        error,
        StorageError::Corrupt { .. }
            | StorageError::UnknownVersion { .. }
            | StorageError::ForeignDirectory { .. }
    );
    assert!(expected, "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&path.display().to_string()),
        "{} is at fault, and the start says: {text}",
        path.display()
    );
}
