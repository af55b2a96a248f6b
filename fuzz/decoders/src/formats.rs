//! Corelog's own formats, one decoder at a time: journal, checkpoint, sidecar pages, names of files.
//!
//! The first byte chooses the format. Whole stores with changed files are in `recovery`.

use corelog_storage::checkpoint::Record;
use corelog_storage::journal::format::{
    CommitHeader, EntryHeader, EntryKind, ExtentHeader, InPlace, JOURNAL_COMMIT, entry_bytes,
};
use corelog_storage::segment::{PAGE_BYTES, parse_file_name, read_pages};
use corelog_storage::{journal, segment};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Where a page has the hash of itself.
const PAGE_HASH: std::ops::Range<usize> = 48..56;

/// Decodes. What is decoded and encoded again is decoded to the same.
pub fn run(bytes: &[u8]) {
    let Some((&format, bytes)) = bytes.split_first() else { return };
    match format % 6 {
        0 => checkpoint_records(bytes),
        1 => entries(bytes),
        2 => commit_header(bytes),
        3 => {
            // Nobody hits a hash by chance: it is made right.
            let mut block = bytes.to_vec();
            if let Some(header) = block.first_chunk_mut::<64>() {
                let hash = xxh3_64(&header[..56]);
                header[56..].copy_from_slice(&hash.to_le_bytes());
            }
            let _ = ExtentHeader::decode(&block);
        }
        4 => pages(bytes),
        _ => {
            let name = String::from_utf8_lossy(bytes);
            if let Some(parsed) = parse_file_name(&name) {
                let again = segment::file_name(parsed.base_offset, parsed.generation, parsed.file);
                assert_eq!(again, name, "a name has one spelling");
            }
            let _ = journal::format::parse_file_name(&name, ".journal");
        }
    }
}

fn checkpoint_records(mut bytes: &[u8]) {
    while let Some((record, rest)) = Record::decode(bytes) {
        assert!(rest.len() < bytes.len(), "a record takes bytes");
        bytes = rest;
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(encoded.len(), record.encoded_len(), "{record:?}");
        let (again, rest) = Record::decode(&encoded).expect("what was encoded is decoded");
        assert!(again == record && rest.is_empty(), "{again:?} was {record:?}");
    }
}

fn entries(mut body: &[u8]) {
    while let Some((header, payload, rest)) = EntryHeader::decode(body) {
        assert_eq!(body.len() - rest.len(), entry_bytes(payload.len()));
        body = rest;
        let again =
            [&header.encode(payload.len() as u32)[..], payload, &[0; 64][..padding(payload.len())]].concat();
        let decoded = EntryHeader::decode(&again).map(|(header, payload, _)| (header, payload));
        assert_eq!(decoded, Some((header, payload)));
        if header.kind == EntryKind::AppendInPlace
            && let Some(in_place) = InPlace::decode(header.segment_position, payload)
        {
            assert_eq!(in_place.cut.payload_len(), payload.len());
            assert!(!in_place.blocks_are_whole(&[]), "an entry in place has blocks");
        }
    }
}

fn padding(payload_len: usize) -> usize {
    journal::format::entry_padding(payload_len)
}

fn commit_header(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if let Some(header) = bytes.first_chunk_mut::<64>() {
        header[..4].copy_from_slice(&JOURNAL_COMMIT);
        let previous_hash = u64::from_le_bytes(header[24..32].try_into().expect("eight bytes"));
        let hash = xxh3_64_with_seed(&header[..56], previous_hash);
        header[56..].copy_from_slice(&hash.to_le_bytes());
    }
    let Some((header, hash)) = CommitHeader::decode(JOURNAL_COMMIT, &bytes) else { return };
    assert!(header.padded_len() >= u64::from(header.len));
    let _ = header.body_is_whole(&bytes[64..]);
    let (encoded, again) = header.encode(JOURNAL_COMMIT);
    let decoded = CommitHeader::decode(JOURNAL_COMMIT, &encoded);
    assert_eq!(decoded, Some((header, again)));
    let reserved = bytes[44..48].iter().any(|byte| *byte != 0);
    assert!(reserved || again == hash, "the same bytes, the same hash");
}

fn pages(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES).min(4 * PAGE_BYTES), 0);
    for page in bytes.chunks_mut(PAGE_BYTES) {
        page[PAGE_HASH].fill(0);
        let hash = xxh3_64(page);
        page[PAGE_HASH].copy_from_slice(&hash.to_le_bytes());
    }
    for base_offset in [0, 1_000] {
        let (table, _) = read_pages(&bytes, base_offset);
        let _ = (table.find_offset(base_offset + 5), table.find_timestamp(7), table.max_timestamp());
        for chunk in 0..table.whole_chunks() {
            assert!(table.chunk_range(chunk).end <= table.len());
            let _ = table.verify(chunk, &bytes);
        }
        for page in 0..table.page_count() {
            let _ = table.page(page);
        }
    }
}
