//! Tests of the neighbouring file.
use proptest::prelude::*;

use super::*;

fn entry() -> impl Strategy<Value = EntryHeader> {
    let kind = prop_oneof![
        Just(EntryKind::Append),
        Just(EntryKind::LogStart),
        Just(EntryKind::Drop),
        Just(EntryKind::AppendInPlace),
    ];
    (kind, any::<(u64, u32, u32, u64, i64, i64)>()).prop_map(|(kind, n)| EntryHeader {
        kind,
        log_id: LogId(n.0),
        owner_epoch: n.1,
        segment_position: n.2,
        sequence: n.3,
        segment_base_offset: n.4,
        next_offset: n.5,
    })
}

fn extent() -> impl Strategy<Value = ExtentHeader> {
    any::<(u32, u64, u64, u64, u64, u64)>().prop_map(|n| ExtentHeader {
        core: n.0,
        session: n.1,
        sequence: n.2,
        position: n.3,
        size: n.4,
        previous_hash: n.5,
    })
}

fn commit() -> impl Strategy<Value = CommitHeader> {
    (64u32.., any::<(u64, u64, u64, u64, u32, u64)>()).prop_map(|(len, n)| CommitHeader {
        len,
        session: n.0,
        position: n.1,
        previous_hash: n.2,
        durable_position: n.3,
        entries: n.4,
        body_hash: n.5,
    })
}

proptest! {
    #[test]
    fn a_batch_in_place_is_cut_at_blocks_and_read_back_from_its_parts(
        position in 0u32..20_000,
        batch in proptest::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let cut = Cut::of(position, batch.len());
        prop_assert_eq!(cut.head + cut.blocks + cut.tail, batch.len());
        prop_assert!(cut.head < ALIGN && cut.tail < ALIGN && cut.blocks.is_multiple_of(ALIGN));
        prop_assert!(cut.blocks == 0 || (position as usize + cut.head).is_multiple_of(ALIGN));
        let (head, rest) = batch.split_at(cut.head);
        let (blocks, tail) = rest.split_at(cut.blocks);
        let mut payload = InPlace::header(batch.len(), blocks).to_vec();
        payload.extend_from_slice(head);
        payload.extend_from_slice(tail);
        prop_assert_eq!(payload.len(), cut.payload_len());
        let read = InPlace::decode(position, &payload);
        prop_assert_eq!(read.is_some(), cut.blocks > 0, "without a block it is none");
        if let Some(read) = read {
            prop_assert_eq!((read.head, read.tail), (head, tail));
            prop_assert!(read.blocks_are_whole(blocks) && !read.blocks_are_whole(&blocks[1..]));
            let mut other = blocks.to_vec();
            other[blocks.len() / 2] ^= 1;
            prop_assert!(!read.blocks_are_whole(&other));
        }
        payload.push(0);
        prop_assert_eq!(InPlace::decode(position, &payload), None);
    }

    #[test]
    fn an_entry_reads_back_as_it_was(header in entry(), payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut bytes = header.encode(payload.len() as u32).to_vec();
        bytes.extend_from_slice(&payload);
        bytes.resize(entry_bytes(payload.len()), 0);
        prop_assert_eq!(bytes.len() % ENTRY_ALIGN, 0);
        for cut in 0..bytes.len() {
            prop_assert_eq!(EntryHeader::decode(&bytes[..cut]), None);
        }
        bytes.push(9);
        prop_assert_eq!(EntryHeader::decode(&bytes), Some((header, &payload[..], &[9][..])));
    }

    #[test]
    fn an_extent_header_with_one_flipped_bit_is_none(header in extent(), bit in 0usize..512) {
        let mut bytes = header.encode();
        prop_assert_eq!(ExtentHeader::decode(&bytes), ExtentBlock::Header(header));
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damaged = ExtentHeader::decode(&bytes);
        prop_assert!(matches!(damaged, ExtentBlock::Invalid | ExtentBlock::UnknownVersion(_)));
    }

    #[test]
    fn a_commit_header_with_one_flipped_bit_is_none(header in commit(), bit in 0usize..512) {
        let (mut bytes, hash) = header.encode(JOURNAL_COMMIT);
        prop_assert_eq!(CommitHeader::decode(JOURNAL_COMMIT, &bytes), Some((header, hash)));
        prop_assert_eq!(CommitHeader::decode(*b"CLCP", &bytes), None);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(CommitHeader::decode(JOURNAL_COMMIT, &bytes), None);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = EntryHeader::decode(&bytes);
        let _ = ExtentHeader::decode(&bytes);
        let _ = CommitHeader::decode(JOURNAL_COMMIT, &bytes);
    }
}

#[test]
fn zeros_are_a_free_extent_and_less_than_a_header_is_nothing() {
    assert_eq!(ExtentHeader::decode(&[0; 4096]), ExtentBlock::Free);
    assert_eq!(ExtentHeader::decode(&[0; 63]), ExtentBlock::Invalid);
}

#[test]
fn file_names_are_core_and_number() {
    assert_eq!(parse_file_name("3-17.journal", ".journal"), Some((3, 17)));
    for name in ["3-17.zeroing", "3.journal", "-1-2.journal", "a-1.journal", "3-.journal", ".journal"] {
        assert_eq!(parse_file_name(name, ".journal"), None, "{name}");
    }
}
