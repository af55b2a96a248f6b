//! What a power cut may take and what it may not, on recordings made by hand.

use std::fs::File;

use super::{Keep, Request, Summary, build};
use crate::history::MAGIC;
use crate::log::{Data, Kind, Log};
use crate::scratch::Scratch;

const DISK_BYTES: usize = 64 << 10;
const BLOCK: u64 = 4096;

/// Seeds that a property is tried with.
const SEEDS: std::ops::Range<u64> = 0..64;

/// A recording under construction; its methods return sequences.
struct Recording {
    scratch: Scratch,
    log: Log,
    records: u64,
}

impl Recording {
    fn new() -> Self {
        let scratch = Scratch::new();
        let log = Log::create(&scratch.path("log"), 16 << 20).unwrap();
        Self { scratch, log, records: 0 }
    }

    fn add(&mut self, kind: Kind, subject: u64, data: &[u8]) -> u64 {
        self.records += 1;
        self.log.append(kind, subject, Data::Bytes(data)).unwrap()
    }

    /// A write of whole blocks that is answered at once.
    fn write(&mut self, block: u64, blocks: usize, byte: u8) {
        let begun = self.begin_write(block, blocks, byte);
        self.add(Kind::WriteDone, begun, b"");
    }

    fn begin_write(&mut self, block: u64, blocks: usize, byte: u8) -> u64 {
        self.add(Kind::WriteBegun, block * BLOCK, &vec![byte; blocks * 4096])
    }

    fn flush(&mut self) {
        let begun = self.add(Kind::FlushBegun, 0, b"");
        self.add(Kind::FlushDone, begun, b"");
    }

    fn cut(&self, at: u64, keep: Keep, seed: u64) -> (Vec<u8>, Vec<u8>, Summary) {
        self.build(Some(at), keep, seed)
    }

    fn build(&self, at: Option<u64>, keep: Keep, seed: u64) -> (Vec<u8>, Vec<u8>, Summary) {
        let log = File::open(self.scratch.path("log")).unwrap();
        let (image, history) = (self.scratch.path("image"), self.scratch.path("history"));
        let request = Request { image_bytes: DISK_BYTES as u64, seed, at, keep };
        let summary = build(&log, request, &image, &history).unwrap();
        (std::fs::read(image).unwrap(), std::fs::read(history).unwrap(), summary)
    }

    /// The image at the end of the recording.
    fn image(&self, keep: Keep, seed: u64) -> Vec<u8> {
        self.cut(self.records, keep, seed).0
    }
}

fn block(image: &[u8], number: usize) -> &[u8] {
    &image[number * 4096..(number + 1) * 4096]
}

#[test]
fn what_was_flushed_survives_every_cut() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    recording.write(2, 2, 2);
    recording.flush();
    recording.write(5, 1, 3);
    for seed in SEEDS {
        for keep in [Keep::None, Keep::All, Keep::Random] {
            let image = recording.image(keep, seed);
            assert_eq!(block(&image, 1), [1; 4096]);
            assert_eq!(image[2 * 4096..4 * 4096], [2; 8192]);
        }
    }
}

#[test]
fn a_write_on_its_way_is_not_covered_by_the_flush_that_overtakes_it() {
    let mut recording = Recording::new();
    let begun = recording.begin_write(1, 1, 1);
    let flush = recording.add(Kind::FlushBegun, 0, b"");
    recording.add(Kind::WriteDone, begun, b"");
    recording.add(Kind::FlushDone, flush, b"");
    assert_eq!(block(&recording.image(Keep::None, 0), 1), [0; 4096]);
    recording.flush();
    assert_eq!(block(&recording.image(Keep::None, 0), 1), [1; 4096], "the next flush covers it");
}

#[test]
fn a_flush_without_an_answer_covers_nothing() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    recording.add(Kind::FlushBegun, 0, b"");
    assert_eq!(block(&recording.image(Keep::None, 0), 1), [0; 4096]);
}

#[test]
fn of_two_flushes_at_once_the_first_answer_counts_for_what_it_covers_only() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    let early = recording.add(Kind::FlushBegun, 0, b"");
    recording.write(2, 1, 2);
    let late = recording.add(Kind::FlushBegun, 0, b"");
    recording.add(Kind::FlushDone, early, b"");
    let image = recording.image(Keep::None, 0);
    assert_eq!((block(&image, 1), block(&image, 2)), (&[1; 4096][..], &[0; 4096][..]));
    recording.add(Kind::FlushDone, late, b"");
    assert_eq!(block(&recording.image(Keep::None, 0), 2), [2; 4096]);
}

#[test]
fn what_was_not_flushed_is_there_or_not_as_asked() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    recording.flush();
    recording.write(1, 1, 2);
    assert_eq!(block(&recording.image(Keep::None, 0), 1), [1; 4096]);
    assert_eq!(block(&recording.image(Keep::All, 0), 1), [2; 4096]);
}

#[test]
fn a_random_cut_tears_between_sectors_and_nowhere_else() {
    let mut recording = Recording::new();
    recording.write(1, 2, 1);
    recording.flush();
    recording.write(1, 2, 2);
    let (mut old, mut new, mut torn) = (0, 0, 0);
    for seed in SEEDS {
        let image = recording.image(Keep::Random, seed);
        let written = &image[4096..3 * 4096];
        for sector in written.chunks(512) {
            assert!(sector == [1; 512] || sector == [2; 512], "seed {seed} tore a sector");
        }
        match (written.contains(&1), written.contains(&2)) {
            (true, true) => torn += 1,
            (true, false) => old += 1,
            _ => new += 1,
        }
    }
    assert!(old > 0 && new > 0 && torn > 0, "{old} old, {new} new, {torn} torn");
}

#[test]
fn the_block_of_the_superblock_is_never_torn() {
    let mut recording = Recording::new();
    recording.write(0, 1, 1);
    for seed in SEEDS {
        let image = recording.image(Keep::Random, seed);
        assert!(block(&image, 0) == [0; 4096] || block(&image, 0) == [1; 4096], "seed {seed}");
    }
}

#[test]
fn zeros_replace_what_was_there() {
    let mut recording = Recording::new();
    recording.write(1, 3, 1);
    recording.write(2, 1, 0);
    recording.flush();
    let image = recording.image(Keep::None, 0);
    assert_eq!((block(&image, 1), block(&image, 2)), (&[1; 4096][..], &[0; 4096][..]));
    assert_eq!(block(&image, 3), [1; 4096]);
}

#[test]
fn the_same_seed_gives_the_same_cut() {
    let mut recording = Recording::new();
    for number in 0..30 {
        recording.write(1 + number % 15, 1, u8::try_from(number).unwrap() + 1);
        recording.add(Kind::History, 0, &[u8::try_from(number).unwrap()]);
    }
    let cuts: Vec<_> = (0..20).map(|seed| recording.build(None, Keep::Random, seed)).collect();
    for (seed, cut) in (0..).zip(&cuts) {
        assert_eq!(*cut, recording.build(None, Keep::Random, seed));
    }
    assert!(cuts.iter().any(|cut| *cut != cuts[0]), "every seed gave the same cut");
}

#[test]
fn the_history_ends_where_the_cut_is() {
    let mut recording = Recording::new();
    for word in [b"a", b"b", b"c"] {
        recording.write(1, 1, word[0]);
        recording.add(Kind::History, 0, word);
    }
    for (at, words) in [(0, &b""[..]), (2, b""), (3, b"a"), (5, b"a"), (6, b"ab"), (9, b"abc")] {
        let (_, history, summary) = recording.cut(at, Keep::None, 0);
        assert_eq!(history, [&MAGIC[..], words].concat(), "cut at {at}");
        assert_eq!(summary.history_bytes, words.len() as u64);
    }
}

#[test]
fn a_drawn_cut_falls_between_the_first_and_the_last_word() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    recording.add(Kind::History, 0, b"first");
    let first = recording.records;
    recording.write(2, 1, 1);
    recording.add(Kind::History, 0, b"last");
    let last = recording.records;
    recording.write(3, 1, 1);
    let cuts: Vec<_> = SEEDS.map(|seed| recording.build(None, Keep::None, seed).2.cut).collect();
    assert_eq!(cuts.iter().min(), Some(&first));
    assert_eq!(cuts.iter().max(), Some(&last));
}

#[test]
fn a_recording_without_a_word_is_refused() {
    let mut recording = Recording::new();
    recording.write(1, 1, 1);
    let log = File::open(recording.scratch.path("log")).unwrap();
    let request = Request { image_bytes: DISK_BYTES as u64, seed: 0, at: None, keep: Keep::None };
    let refused = build(&log, request, &recording.scratch.path("image"), &recording.scratch.path("history"))
        .unwrap_err();
    assert!(refused.to_string().contains("no history"), "{refused}");
}
