//! Tests of the neighbouring file.
use super::*;

const BLOCK: u64 = ALIGN as u64;

fn ring(sizes: &[u64]) -> Ring<usize> {
    let mut ring = Ring::new(sizes.iter().sum());
    for (file, size) in sizes.iter().enumerate() {
        ring.add_free(Extent { file, size: *size });
    }
    ring
}

fn put(ring: &mut Ring<usize>, len: u64) -> Option<(usize, u64, u64, Option<u64>)> {
    let place = ring.place(len)?;
    ring.finish(align_up(len));
    Some((place.file, place.file_position, place.position, place.opens.map(|(sequence, _)| sequence)))
}

#[test]
fn commits_follow_one_another_and_cross_into_the_next_extent_whole() {
    let mut ring = ring(&[3 * BLOCK, 4 * BLOCK]);
    assert_eq!(put(&mut ring, 100), Some((0, BLOCK, 0, Some(0))));
    // Two blocks do not fit into the one that is left; it is wasted, and no position is.
    assert!(ring.fits(0, 2 * BLOCK));
    assert_eq!(put(&mut ring, 2 * BLOCK), Some((1, BLOCK, BLOCK, Some(1))));
    assert_eq!(put(&mut ring, BLOCK), Some((1, 3 * BLOCK, 3 * BLOCK, None)));
    assert!(!ring.fits(0, 1));
    assert_eq!(put(&mut ring, 1), None);
    assert_eq!(ring.used_bytes(), 7 * BLOCK);
}

#[test]
fn only_extents_wholly_below_a_release_are_freed_and_never_the_last() {
    let mut ring = ring(&[3 * BLOCK, 3 * BLOCK]);
    put(&mut ring, 2 * BLOCK);
    assert!(!ring.release(2 * BLOCK), "the extent being filled");
    put(&mut ring, BLOCK);
    assert!(ring.release(2 * BLOCK), "released before, freed when the next one is in use");
    assert!(!ring.release(BLOCK), "a release never goes back");
    assert_eq!((ring.released(), ring.free_extents()), (2 * BLOCK, 1));
    assert!(!ring.release(u64::MAX));
    assert_eq!(ring.released(), 3 * BLOCK, "nothing beyond what was placed");
    assert_eq!(put(&mut ring, 2 * BLOCK), Some((0, BLOCK, 3 * BLOCK, Some(2))));
}

#[test]
fn a_large_commit_takes_the_first_extent_in_which_it_fits() {
    let mut ring = ring(&[2 * BLOCK, 2 * BLOCK, 9 * BLOCK]);
    assert_eq!(put(&mut ring, 1).map(|place| place.0), Some(0));
    assert_eq!(put(&mut ring, 5 * BLOCK), Some((2, BLOCK, BLOCK, Some(1))));
    assert!(!ring.fits(3 * BLOCK, 2 * BLOCK), "not behind the unfinished one, and not in the small one");
    assert!(ring.fits(3 * BLOCK, BLOCK));
}

#[test]
fn it_grows_up_to_its_capacity() {
    let mut ring = Ring::new(10 * BLOCK);
    ring.add_free(Extent { file: 0, size: 4 * BLOCK });
    assert!(ring.may_grow(6 * BLOCK) && !ring.may_grow(7 * BLOCK));
}
