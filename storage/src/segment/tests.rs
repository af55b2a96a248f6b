//! What segments promise, on the simulated disk: names, tables, pages, cold reads, rebuilding, damage.

use std::path::{Path, PathBuf};

use super::page::{PageError, decode_page};
use super::*;
use crate::StorageError;
use crate::batch::{BatchBuilder, BatchHeader, Batches, Compression};
use crate::io::simulated::{SimFile, SimIo, Simulation};
use crate::io::{ALIGN, File, Io, OpenMode, TRANSFER_BYTES_MAX, align_down, align_up};
use crate::types::Offset;

const BASE: Offset = 1_000;

/// A segment's bytes, and the same knowledge kept plainly.
struct Model {
    bytes: Vec<u8>,
    starts: Vec<BatchStart>,
}

impl Model {
    /// Batches of the given value sizes with two records each; batch `i` has timestamps `times(i)` and one less.
    fn new(value_bytes: &[usize], times: impl Fn(usize) -> i64) -> Self {
        let mut model = Self { bytes: Vec::new(), starts: Vec::new() };
        let mut offset = BASE;
        for (i, len) in value_bytes.iter().enumerate() {
            let max_timestamp = times(i);
            let value = vec![i as u8; *len];
            let batch = BatchBuilder::new()
                .base_offset(offset)
                .leader_epoch(3)
                .compression(if i % 5 == 4 { Compression::Lz4 } else { Compression::None })
                .record(max_timestamp - 1, None, Some(&value))
                .record(max_timestamp, Some(b"key"), None)
                .build();
            let position = model.bytes.len() as u32;
            model.starts.push(BatchStart { position, base_offset: offset, max_timestamp });
            model.bytes.extend_from_slice(&batch);
            offset += 2;
        }
        model
    }

    /// Small and large ones, among them batches over several chunks and one over a transfer.
    fn mixed() -> Self {
        let mut sizes = vec![100; 300];
        sizes.extend([70_000, 10, 200_000, 30_000, 600_000, 5, 5]);
        sizes.extend([3_000; 60]);
        // Timestamps that go up and down.
        Self::new(&sizes, |i| 10_000 + (i as i64 * 37) % 400 + i as i64)
    }

    fn small() -> Self {
        Self::new(&[40, 0, 300, 20, 2_000, 7], |i| 500 + i as i64)
    }

    /// The table that write-back would make, `step` bytes at a time.
    fn table(&self, step: usize) -> BlockTable {
        let mut table = BlockTable::new(BASE);
        self.extend(&mut table, step);
        table
    }

    fn extend(&self, table: &mut BlockTable, step: usize) {
        while table.len() < self.bytes.len() as u64 {
            let from = table.len() as usize;
            let to = (from + step).min(self.bytes.len());
            let range = from as u32..to as u32;
            let starts = self.starts.iter().copied().filter(|start| range.contains(&start.position));
            table.extend(&self.bytes[from..to], starts);
        }
    }

    fn batch(&self, i: usize) -> &[u8] {
        let end = self.starts.get(i + 1).map_or(self.bytes.len(), |next| next.position as usize);
        &self.bytes[self.starts[i].position as usize..end]
    }

    fn next_offset(&self) -> Offset {
        BASE + 2 * self.starts.len() as Offset
    }
}

/// All pages of a table; compared, never printed.
#[derive(Clone, PartialEq)]
struct Pages(Vec<u8>);

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:#?}",
            self.0
                .chunks(PAGE_BYTES)
                .enumerate()
                .map(|(i, page)| decode_page(page, i, BASE))
                .collect::<Vec<_>>()
        )
    }
}

fn pages(table: &BlockTable) -> Pages {
    Pages((0..table.page_count()).flat_map(|page| table.page(page)).collect())
}

/// A simulated disk with one segment on it.
struct Disk {
    simulation: Simulation,
    io: SimIo,
}

impl Disk {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let io = simulation.io();
        Self { simulation, io }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> SimFile {
        self.simulation.block_on(async {
            let file = self.io.open(Path::new(path), OpenMode::CreateOrOpen).await.unwrap();
            for (i, piece) in bytes.chunks(TRANSFER_BYTES_MAX).enumerate() {
                let mut buffer = self.io.buffer(align_up(piece.len() as u64) as usize);
                buffer.as_mut()[..piece.len()].copy_from_slice(piece);
                file.write_at(buffer, (i * TRANSFER_BYTES_MAX) as u64).await.unwrap();
            }
            file.set_len(bytes.len() as u64).await.unwrap();
            file
        })
    }

    fn read(
        &self,
        file: &SimFile,
        table: &BlockTable,
        tail: &[u8],
        offset: Offset,
        max_bytes: usize,
    ) -> crate::Result<ColdBatches> {
        let source = source(file, table.len(), tail);
        self.simulation.block_on(SegmentReader::new(&self.io, source, table).read(
            offset,
            max_bytes,
            usize::MAX,
        ))
    }

    fn load(&self, pages: &Pages, len: u64) -> crate::Result<BlockTable> {
        let file = self.write("/sidecar", &pages.0);
        self.simulation.block_on(load(&file, Path::new("/sidecar"), BASE, len))
    }

    fn complete(&self, file: &SimFile, table: BlockTable, len: u64, tail: &[u8]) -> crate::Result<Completed> {
        self.simulation.block_on(complete(&self.io, source(file, len, tail), table, Expected::default()))
    }
}

fn source<'a>(file: &'a SimFile, len: u64, tail: &'a [u8]) -> SegmentBytes<'a, SimFile> {
    SegmentBytes { file, path: Path::new("/segment"), len, tail }
}

fn name_of(base_offset: i64, file: SegmentFile) -> SegmentName {
    SegmentName { base_offset, generation: 0, file }
}

#[test]
fn names_are_kafka_s_and_foreign_ones_are_told() {
    assert_eq!(log_file_name(42), "00000000000000000042.log");
    assert_eq!(blocks_file_name(i64::MAX), "09223372036854775807.blocks");
    assert_eq!(parse_file_name(&log_file_name(42)), Some(name_of(42, SegmentFile::Log)));
    assert_eq!(parse_file_name(&blocks_file_name(7)), Some(name_of(7, SegmentFile::Blocks)));
    let cleaned = file_name(42, 3, SegmentFile::Log);
    assert_eq!(cleaned, "00000000000000000042.3.log");
    let named = SegmentName { generation: 3, ..name_of(42, SegmentFile::Log) };
    assert_eq!(parse_file_name(&cleaned), Some(named));
    let foreign = [
        "",
        "42.log",
        "00000000000000000042.index",
        "00000000000000000042.log.deleted",
        "0000000000000000004x.log",
        "+0000000000000000042.log",
        "99999999999999999999.log",
        "000000000000000000é.log",
    ];
    for name in foreign {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}

#[test]
fn a_table_is_the_same_however_the_bytes_are_cut() {
    let model = Model::mixed();
    let whole = pages(&model.table(usize::MAX / 2));
    for step in [ALIGN, 60_000, CHUNK_BYTES, 3 * CHUNK_BYTES + 5] {
        assert_eq!(pages(&model.table(step)), whole, "{step}");
    }
}

#[test]
fn every_offset_is_led_to_a_batch_at_most_a_chunk_before_it() {
    let model = Model::mixed();
    let table = model.table(50_000);
    for (i, start) in model.starts.iter().enumerate() {
        for offset in [start.base_offset, start.base_offset + 1] {
            let found = table.find_offset(offset).unwrap();
            let led_to = model.starts.iter().position(|s| u64::from(s.position) == found.position).unwrap();
            assert_eq!(model.starts[led_to].base_offset, found.base_offset);
            assert!(led_to <= i, "offset {offset}");
            assert!(u64::from(start.position) - found.position < CHUNK_BYTES as u64, "offset {offset}");
        }
    }
    assert_eq!(table.find_offset(BASE - 1), None);
    assert_eq!(BlockTable::new(BASE).find_offset(BASE), None);
}

#[test]
fn a_batch_outside_the_bytes_is_a_broken_invariant() {
    let start = |position| BatchStart { position, base_offset: BASE, max_timestamp: 0 };
    for position in [100, u32::MAX] {
        let extend = move || BlockTable::new(BASE).extend(&[0; 100], [start(position)]);
        assert!(std::panic::catch_unwind(extend).is_err());
    }
}

#[test]
fn cold_reads_return_whole_batches_from_every_offset() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    for (i, start) in model.starts.iter().enumerate() {
        for max_bytes in [1, 5_000, 300_000] {
            let read = disk.read(&file, &table, &[], start.base_offset + 1, max_bytes).unwrap();
            let mut expected = model.batch(i).to_vec();
            let mut next = i + 1;
            while next < model.starts.len() && expected.len() + model.batch(next).len() <= max_bytes {
                expected.extend_from_slice(model.batch(next));
                next += 1;
            }
            assert!(read.bytes == expected, "offset {} of {max_bytes} bytes", start.base_offset);
            assert_eq!(read.next_offset, BASE + 2 * next as Offset);
        }
    }
    let all = disk.read(&file, &table, &[], 0, usize::MAX / 2).unwrap();
    assert!(all.bytes == model.bytes);
}

#[test]
fn a_read_that_may_be_empty_is_empty_when_nothing_fits() {
    let model = Model::small();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let source = source(&file, table.len(), &[]);
    let reader = SegmentReader::new(&disk.io, source, &table);
    let first_bytes = model.batch(2).len();
    for first_bytes_max in [0, first_bytes - 1] {
        let read = disk.simulation.block_on(reader.read(BASE + 4, 10, first_bytes_max)).unwrap();
        assert_eq!((read.bytes.len(), read.next_offset), (0, BASE + 4));
        assert_eq!((read.exhausted, read.refused_bytes), (false, Some(first_bytes)));
    }
    let read = disk.simulation.block_on(reader.read(BASE + 4, 10, first_bytes)).unwrap();
    assert_eq!((&read.bytes[..], read.refused_bytes), (model.batch(2), None));
    let read = disk.simulation.block_on(reader.read(model.next_offset(), 10, usize::MAX)).unwrap();
    assert_eq!((read.bytes.len(), read.next_offset), (0, model.next_offset()));
    assert_eq!((read.exhausted, read.refused_bytes), (true, None));
}

#[test]
fn the_tail_of_an_active_segment_comes_from_memory() {
    let model = Model::mixed();
    let disk = Disk::new();
    let in_file = align_down(model.bytes.len() as u64 - 1) as usize;
    // The file goes on with blocks that were reserved, written, and never covered by a checkpoint.
    let mut on_disk = model.bytes[..in_file].to_vec();
    on_disk.resize(in_file + 4 * ALIGN, 0xee);
    let file = disk.write("/segment", &on_disk);
    let table = model.table(ALIGN);
    let tail = &model.bytes[in_file..];
    for i in [0, 300, model.starts.len() - 3, model.starts.len() - 1] {
        let read = disk.read(&file, &table, tail, model.starts[i].base_offset, usize::MAX / 2).unwrap();
        assert!(read.bytes == model.bytes[model.starts[i].position as usize..]);
    }
    let completed = disk.complete(&file, BlockTable::new(BASE), table.len(), tail).unwrap();
    assert_eq!(pages(&completed.table), pages(&table));
}

#[test]
fn timestamps_are_found_as_by_a_full_scan() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let reader = SegmentReader::new(&disk.io, source(&file, table.len(), &[]), &table);
    let records: Vec<(Offset, i64)> = model
        .starts
        .iter()
        .flat_map(|s| [(s.base_offset, s.max_timestamp - 1), (s.base_offset + 1, s.max_timestamp)])
        .collect();
    for target in (9_990..10_800).step_by(7) {
        for offset_min in [0, BASE + 333, model.next_offset() - 1, model.next_offset()] {
            let expected = records.iter().copied().find(|r| r.1 >= target && r.0 >= offset_min);
            let expected = expected.map_or(Found::Nothing, |(offset, time)| Found::At(offset, time));
            let found =
                disk.simulation.block_on(reader.find_timestamp(target, offset_min, usize::MAX)).unwrap();
            assert_eq!(found, expected, "{target} from {offset_min}");
        }
    }
    let max = records.iter().map(|r| r.1).max().unwrap();
    let (offset, time) = records.iter().copied().find(|r| r.1 == max).unwrap();
    assert_eq!(disk.simulation.block_on(reader.max_timestamp_record()).unwrap(), Found::At(offset, time));
    let refused = disk.simulation.block_on(reader.find_timestamp(max, 0, 100)).unwrap();
    assert!(matches!(refused, Found::Refused(101..)), "{refused:?}");
}

#[test]
fn records_without_timestamps_have_no_largest_one() {
    let bytes = BatchBuilder::new().base_offset(BASE).record(-1, None, None).build();
    let model =
        Model { bytes, starts: vec![BatchStart { position: 0, base_offset: BASE, max_timestamp: -1 }] };
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let reader = SegmentReader::new(&disk.io, source(&file, table.len(), &[]), &table);
    assert_eq!(disk.simulation.block_on(reader.max_timestamp_record()).unwrap(), Found::Nothing);
    let found = disk.simulation.block_on(reader.find_timestamp(-1, 0, usize::MAX)).unwrap();
    assert_eq!(found, Found::At(BASE, -1));
}

#[test]
fn pages_bring_the_table_back() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let loaded = disk.load(&pages(&table), table.len()).unwrap();
    assert_eq!((loaded.len(), loaded.max_timestamp()), (table.len(), table.max_timestamp()));
    assert_eq!(pages(&loaded), pages(&table));
    let read = disk.read(&file, &loaded, &[], BASE, usize::MAX / 2).unwrap();
    assert!(read.bytes == model.bytes);
}

#[test]
fn a_segment_over_several_pages_is_described_by_all_of_them() {
    let model = Model::new(&[300_000; 100], |i| i as i64 + 5);
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(1 << 20);
    assert_eq!(table.page_count(), 3);
    let loaded = disk.load(&pages(&table), table.len()).unwrap();
    assert_eq!(pages(&loaded), pages(&table));
    // The second page is damaged: the first is kept, the rest scanned.
    let mut damaged = pages(&table);
    damaged.0[PAGE_BYTES + 1_000] ^= 1;
    let prefix = disk.load(&damaged, table.len()).unwrap();
    assert_eq!(prefix.len(), (PAGE_CHUNKS * CHUNK_BYTES) as u64);
    let completed = disk.complete(&file, prefix, table.len(), &[]).unwrap();
    assert_eq!((pages(&completed.table), completed.next_offset), (pages(&table), model.next_offset()));
}

#[test]
fn a_table_goes_on_growing_after_a_restart() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let whole = pages(&model.table(ALIGN));
    for batches in [0, 1, 299, 301, 303, 305, 330] {
        let covered = u64::from(model.starts[batches].position);
        let before = Model {
            bytes: model.bytes[..covered as usize].to_vec(),
            starts: model.starts[..batches].to_vec(),
        };
        // Pages that know less, exactly as much, and more than the checkpoint.
        let half = covered as usize / 2;
        let less = Model {
            bytes: before.bytes[..half].to_vec(),
            starts: before.starts.iter().copied().filter(|start| (start.position as usize) < half).collect(),
        };
        let less = pages(&less.table(ALIGN));
        for pages_found in [Pages(Vec::new()), less, pages(&before.table(ALIGN)), whole.clone()] {
            let loaded = disk.load(&pages_found, covered).unwrap();
            let mut completed = disk.complete(&file, loaded, covered, &[]).unwrap();
            assert_eq!(completed.next_offset, BASE + 2 * batches as Offset);
            assert_eq!(pages(&completed.table), pages(&before.table(ALIGN)), "{batches}");
            model.extend(&mut completed.table, ALIGN);
            assert_eq!(pages(&completed.table), whole, "{batches}");
        }
    }
}

#[test]
fn a_page_of_another_format_is_refused_and_a_damaged_one_is_not_believed() {
    let model = Model::small();
    let table = model.table(ALIGN);
    let disk = Disk::new();
    let good = table.page(0);
    for bit in 0..PAGE_BYTES * 8 {
        let mut damaged = good;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode_page(&damaged, 0, BASE), Err(PageError::Damaged), "bit {bit}");
    }
    assert_eq!(decode_page(&good, 1, BASE), Err(PageError::Damaged));
    assert_eq!(decode_page(&good, 0, BASE + 1), Err(PageError::Damaged));
    assert_eq!(decode_page(&good[1..], 0, BASE), Err(PageError::Damaged));
    let mut newer = good;
    newer[8] = 2;
    newer[48..56].fill(0);
    let hash = xxhash_rust::xxh3::xxh3_64(&newer);
    newer[48..56].copy_from_slice(&hash.to_le_bytes());
    let error = disk.load(&Pages(newer.to_vec()), table.len()).unwrap_err();
    assert!(matches!(error, StorageError::UnknownVersion { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn every_flipped_bit_of_a_segment_is_found_by_a_cold_read() {
    let model = Model::small();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = disk.load(&pages(&model.table(ALIGN)), model.bytes.len() as u64).unwrap();
    for bit in 0..model.bytes.len() as u64 * 8 {
        disk.simulation.flip_bit("/segment", bit);
        let error = disk.read(&file, &table, &[], BASE, usize::MAX / 2).unwrap_err();
        assert!(
            matches!(&error, StorageError::Corrupt { path, .. } if path == &PathBuf::from("/segment")),
            "{error}"
        );
        disk.simulation.flip_bit("/segment", bit);
    }
    disk.read(&file, &table, &[], BASE, usize::MAX / 2).unwrap();
}

#[test]
fn what_is_sound_in_front_of_damage_is_read_and_nothing_that_reaches_into_it() {
    let sizes: Vec<_> = (0..60).map(|i| [100, 30_000, 70_000][i % 3]).collect();
    let model = Model::new(&sizes, |i| i as i64 + 5);
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let chunks = model.bytes.len().div_ceil(CHUNK_BYTES);
    assert!(chunks > TRANSFER_BYTES_MAX / CHUNK_BYTES * 2);
    for chunk in 0..chunks {
        let damage = chunk * CHUNK_BYTES;
        disk.simulation.flip_bit("/segment", damage as u64 * 8);
        // The first batch that ends behind where the damage starts.
        let first = (0..model.starts.len())
            .find(|i| model.starts[*i].position as usize + model.batch(*i).len() > damage)
            .unwrap();
        let position = model.starts[first].position as usize;
        let offset = model.starts[first].base_offset;
        if first > 0 {
            let read = disk.read(&file, &table, &[], BASE, usize::MAX / 2).unwrap();
            assert_eq!((&read.bytes[..], read.next_offset), (&model.bytes[..position], offset), "{chunk}");
        }
        let error = disk.read(&file, &table, &[], offset, usize::MAX / 2).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        disk.simulation.flip_bit("/segment", damage as u64 * 8);
    }
}

#[test]
fn rebuilding_finds_every_flipped_bit_but_those_of_the_leader_epoch() {
    let model = Model::small();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let len = model.bytes.len() as u64;
    for bit in 0..len * 8 {
        disk.simulation.flip_bit("/segment", bit);
        let rebuilt = disk.complete(&file, BlockTable::new(BASE), len, &[]);
        let start = model.starts.iter().rev().find(|s| u64::from(s.position) <= bit / 8).unwrap();
        let in_leader_epoch = (12..16).contains(&(bit / 8 - u64::from(start.position)));
        assert_eq!(rebuilt.is_ok(), in_leader_epoch, "bit {bit}");
        disk.simulation.flip_bit("/segment", bit);
    }
}

#[test]
fn a_resumed_table_holds_the_bytes_against_the_stored_hash() {
    let model = Model::small();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let len = model.bytes.len() as u64;
    let stored = disk.load(&pages(&model.table(ALIGN)), len).unwrap();
    // A leader epoch: neither the CRC nor the chain of offsets covers it.
    disk.simulation.flip_bit("/segment", 15 * 8);
    let error = disk.complete(&file, stored, len, &[]).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn a_file_that_was_cut_is_corrupt_at_the_missing_bytes() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes[..model.bytes.len() - 1]);
    let table = model.table(ALIGN);
    let last = model.starts.last().unwrap().base_offset;
    let error = disk.read(&file, &table, &[], last, 1).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    // What is whole can still be read.
    let first = disk.read(&file, &table, &[], BASE, 1).unwrap();
    assert_eq!(Batches::new(&first.bytes).count(), 1);
    assert_eq!(BatchHeader::parse(&first.bytes).unwrap().base_offset, BASE);
}

#[test]
fn a_short_answer_does_not_pin_a_long_buffer() {
    let model = Model::mixed();
    let disk = Disk::new();
    let file = disk.write("/segment", &model.bytes);
    let table = model.table(ALIGN);
    let read = disk.read(&file, &table, &[], BASE, 1).unwrap();
    let mutable = read.bytes.try_into_mut().unwrap();
    assert!(mutable.capacity() < 2 * mutable.len() + 64, "{} for {}", mutable.capacity(), mutable.len());
}
