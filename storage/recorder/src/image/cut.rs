//! Where a recording is cut, and which writes are beyond the reach of that cut. Called by `image`, pure.
//! Deliberately absent: the fate of the writes within its reach.

use std::collections::HashSet;

use anyhow::Context;
use rand::Rng;

use crate::log::{Entry, Kind};

/// Draws the number of records before the cut, between the first and the last word of a client. Half of the cuts fall
/// right after a client's word: there an acknowledgement has just been believed and nothing has happened since.
pub(super) fn draw(entries: &[Entry], random: &mut impl Rng) -> anyhow::Result<usize> {
    let words: Vec<usize> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.kind == Kind::History)
        .map(|(index, _)| index)
        .collect();
    let (first, last) = words.first().zip(words.last()).context(
        "the recording has no history: no load ran while it was made, so no cut would show anything",
    )?;
    let index = if random.random_bool(0.5) {
        words[random.random_range(0..words.len())]
    } else {
        random.random_range(*first..=*last)
    };
    Ok(index + 1)
}

/// Sequences of the writes that a flush covers which completed in `before`: those that were answered before a flush
/// was issued. A write that was still on its way when the flush came is not covered by it.
pub(super) fn covered(before: &[Entry]) -> HashSet<u64> {
    let barrier = before
        .iter()
        .filter(|entry| entry.kind == Kind::FlushDone)
        .map(|entry| entry.subject)
        .max()
        .unwrap_or(0);
    before
        .iter()
        .take_while(|entry| entry.sequence < barrier)
        .filter(|entry| entry.kind == Kind::WriteDone)
        .map(|entry| entry.subject)
        .collect()
}
