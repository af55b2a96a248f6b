//! The reference program sees for itself what is a record of its own.

use super::{BLOCK_BYTES, Block, verify};

#[test]
fn a_block_lies_where_direct_writes_want_it() {
    assert_eq!(Block::new(5).bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
}

#[test]
fn a_record_is_known_by_its_number_and_its_checksum() {
    let block = Block::new(5);
    assert!(verify(block.bytes(), 5).is_some());
    assert_eq!(verify(block.bytes(), 6), None);
    for at in [0, 8, 100, BLOCK_BYTES - 1] {
        let mut changed = block.bytes().to_vec();
        changed[at] ^= 1;
        assert_eq!(verify(&changed, 5), None, "byte {at} changed");
    }
    assert_eq!(verify(&[0; BLOCK_BYTES], 0), None);
    assert_eq!(verify(&block.bytes()[..BLOCK_BYTES / 2], 5), None);
}
