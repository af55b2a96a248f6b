//! Tests of the journal on the simulated disk: behaviour here, crashes over seeds and damaged bits below.

mod behaviour;
mod bits;
mod simulation;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::*;
use crate::io::simulated::SimIo;
use crate::types::LogId;

const DIR: &str = "/logs/journal";

fn options(session: u64) -> JournalOptions {
    JournalOptions {
        core: 0,
        session,
        capacity_bytes: 96 * 1024,
        first_extent_bytes: 16 * 1024,
        extent_bytes: 24 * 1024,
        flush: FlushMode::Always,
        commit_bytes_max: 8 * 1024,
        pending_bytes_max: 16 * 1024,
        commits_in_flight_max: 2,
        in_place_bytes_min: usize::MAX,
        bugs: Bugs::default(),
    }
}

async fn open(io: &SimIo, options: JournalOptions) -> Rc<Journal<SimIo>> {
    Journal::open(io.clone(), Path::new(DIR), options).await.expect("opens")
}

/// An append to log `log` with sequence (and next offset) `sequence`.
fn header(log: u64, sequence: u64) -> EntryHeader {
    EntryHeader {
        kind: EntryKind::Append,
        log_id: LogId(log),
        owner_epoch: 1,
        segment_position: 7,
        sequence,
        segment_base_offset: 0,
        next_offset: sequence as i64,
    }
}

/// What a log was told.
#[derive(Default)]
struct Heard(RefCell<Vec<i64>>);

impl Committed for Heard {
    fn committed(&self, next_offset: i64) {
        self.0.borrow_mut().push(next_offset);
    }
}

fn listener() -> (Rc<Heard>, Rc<dyn Committed>) {
    let heard = Rc::new(Heard::default());
    (heard.clone(), heard)
}

/// Visits every entry; none has blocks elsewhere.
struct Each<F>(F);

impl<F: FnMut(Replayed<'_>)> Visitor for Each<F> {
    async fn blocks(&mut self, wanted: &[WantedBlocks]) -> Result<Vec<Option<SegmentBlocks>>> {
        Ok(wanted.iter().map(|_| None).collect())
    }

    async fn entry(&mut self, entry: Replayed<'_>) -> Result<()> {
        (self.0)(entry);
        Ok(())
    }
}

/// Replays into (log, sequence, payload) triples.
async fn replayed(io: &SimIo, sessions: &[(u64, u64)]) -> Result<Vec<(u64, u64, Vec<u8>)>> {
    let sessions: HashMap<u64, u64> = sessions.iter().copied().collect();
    let mut entries = Vec::new();
    let mut visitor = Each(|entry: Replayed<'_>| {
        entries.push((entry.header.log_id.0, entry.header.sequence, entry.payload.to_vec()));
    });
    replay(io, Path::new(DIR), &sessions, Bugs::default(), &mut visitor).await?;
    Ok(entries)
}
