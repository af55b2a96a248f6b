//! The guard before the `kafka-protocol` crate: it accepts what the crate encodes, refuses every lying count, length and
//! truncation, and what it lets through never makes the crate reserve more than a small multiple of its size.

#![allow(clippy::expect_used)]

mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes};
use corelog::api::shape::{ELEMENTS_MAX, Mark, Prefix, Shape, check, walk};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;
use samples::Sample;

/// Counts the bytes that the current thread asks for, and the largest single request.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: every call is passed on unchanged to the system's allocator; counting touches a const thread local only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + layout.size()));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked_by<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED.get();
    let value = work();
    (value, ASKED.get() - before)
}

fn shape_of(sample: &Sample) -> &'static Shape {
    Shape::of(sample.key).expect("a shape for every sample")
}

fn marks(sample: &Sample) -> Vec<Mark> {
    let mut marks = Vec::new();
    walk(shape_of(sample), sample.version, &sample.body, |mark| marks.push(mark))
        .expect("a sample is accepted");
    marks
}

/// The body with one count or length replaced.
fn with_prefix(body: &[u8], mark: Mark, value: u32) -> Vec<u8> {
    let mut changed = body[..mark.start].to_vec();
    match mark.prefix {
        Prefix::Int16 => changed.put_u16(value as u16),
        Prefix::Int32 => changed.put_u32(value),
        Prefix::Varint => {
            let mut value = value;
            while value >= 0x80 {
                changed.put_u8(value as u8 | 0x80);
                value >>= 7;
            }
            changed.put_u8(value as u8);
        }
    }
    changed.extend_from_slice(&body[mark.end..]);
    changed
}

#[test]
fn what_the_crate_encodes_is_accepted_and_decoded_to_the_last_byte() {
    for sample in samples::all() {
        check(shape_of(&sample), sample.version, &sample.body)
            .unwrap_or_else(|error| panic!("key {} version {}: {error}", sample.key, sample.version));
        decode(sample.key, sample.version, sample.body.clone()).expect("the crate decodes its own");
    }
}

#[test]
fn every_inflated_count_and_length_is_refused() {
    let mut tried = 0;
    for sample in samples::all() {
        for mark in marks(&sample) {
            let inflations: &[u32] = match mark.prefix {
                Prefix::Int16 => &[0x7fff, 0x8000, 0xfffe],
                Prefix::Int32 | Prefix::Varint => &[0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 1 << 20],
            };
            for value in inflations {
                let body = with_prefix(&sample.body, mark, *value);
                let refused = check(shape_of(&sample), sample.version, &body);
                assert!(refused.is_err(), "key {} v{} {mark:?} {value:#x}", sample.key, sample.version);
                tried += 1;
            }
        }
    }
    assert!(tried > 2_000, "only {tried} inflations: are the samples filled?");
}

#[test]
fn a_varint_of_more_than_five_bytes_or_32_bits_is_refused() {
    for sample in samples::all() {
        for mark in marks(&sample).iter().filter(|mark| mark.prefix == Prefix::Varint) {
            for varint in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]] {
                let body = [&sample.body[..mark.start], varint, &sample.body[mark.end..]].concat();
                assert!(check(shape_of(&sample), sample.version, &body).is_err());
            }
        }
    }
}

#[test]
fn every_truncation_is_refused_and_bytes_behind_the_last_field_are_not_looked_at() {
    for sample in samples::all() {
        for len in 0..sample.body.len() {
            let refused = check(shape_of(&sample), sample.version, &sample.body[..len]);
            assert!(refused.is_err(), "key {} v{} cut at {len}", sample.key, sample.version);
        }
        let longer = [&sample.body[..], &[0]].concat();
        assert!(check(shape_of(&sample), sample.version, &longer).is_ok());
    }
}

#[test]
fn the_four_bytes_that_abort_the_crate_are_refused_without_asking_for_memory() {
    let metadata = Shape::of(3).expect("Metadata");
    let (refused, asked) = asked_by(|| check(metadata, 1, &[0x7f, 0xff, 0xff, 0xff]));
    assert!(refused.is_err());
    assert_eq!(asked, 0);
}

#[test]
fn walking_asks_for_no_memory() {
    for sample in samples::all() {
        let (accepted, asked) = asked_by(|| check(shape_of(&sample), sample.version, &sample.body));
        assert!(accepted.is_ok());
        assert_eq!(asked, 0);
    }
}

#[test]
fn a_frame_full_of_the_cheapest_elements_is_refused() {
    // DeleteTopics v4: one byte a name on the wire, a whole value each in memory.
    let count = ELEMENTS_MAX as u32 + 1;
    let mut body = with_prefix(&[], Mark { start: 0, end: 0, prefix: Prefix::Varint }, count + 1);
    body.resize(body.len() + count as usize, 1);
    body.extend_from_slice(&[0, 0, 0, 0, 0]);
    let refused = check(Shape::of(20).expect("DeleteTopics"), 4, &body).expect_err("too many elements");
    assert!(refused.to_string().contains("262144"), "{refused}");
}

/// Decodes a body with the crate's decoder. Only for bodies the guard has let through.
fn decode(key: i16, version: i16, body: Bytes) -> Result<(), String> {
    fn run<T: Decodable>(version: i16, mut body: Bytes) -> Result<(), String> {
        T::decode(&mut body, version).map_err(|error| error.to_string())?;
        if body.is_empty() { Ok(()) } else { Err(format!("{} bytes left over", body.len())) }
    }
    match key {
        0 => run::<ProduceRequest>(version, body),
        1 => run::<FetchRequest>(version, body),
        2 => run::<ListOffsetsRequest>(version, body),
        3 => run::<MetadataRequest>(version, body),
        8 => run::<OffsetCommitRequest>(version, body),
        9 => run::<OffsetFetchRequest>(version, body),
        10 => run::<FindCoordinatorRequest>(version, body),
        11 => run::<JoinGroupRequest>(version, body),
        12 => run::<HeartbeatRequest>(version, body),
        13 => run::<LeaveGroupRequest>(version, body),
        14 => run::<SyncGroupRequest>(version, body),
        15 => run::<DescribeGroupsRequest>(version, body),
        16 => run::<ListGroupsRequest>(version, body),
        18 => run::<ApiVersionsRequest>(version, body),
        19 => run::<CreateTopicsRequest>(version, body),
        20 => run::<DeleteTopicsRequest>(version, body),
        21 => run::<DeleteRecordsRequest>(version, body),
        22 => run::<InitProducerIdRequest>(version, body),
        32 => run::<DescribeConfigsRequest>(version, body),
        42 => run::<DeleteGroupsRequest>(version, body),
        47 => run::<OffsetDeleteRequest>(version, body),
        60 => run::<DescribeClusterRequest>(version, body),
        23 => run::<OffsetForLeaderEpochRequest>(version, body),
        29 => run::<DescribeAclsRequest>(version, body),
        30 => run::<CreateAclsRequest>(version, body),
        31 => run::<DeleteAclsRequest>(version, body),
        33 => run::<AlterConfigsRequest>(version, body),
        35 => run::<DescribeLogDirsRequest>(version, body),
        37 => run::<CreatePartitionsRequest>(version, body),
        43 => run::<ElectLeadersRequest>(version, body),
        44 => run::<IncrementalAlterConfigsRequest>(version, body),
        45 => run::<AlterPartitionReassignmentsRequest>(version, body),
        46 => run::<ListPartitionReassignmentsRequest>(version, body),
        48 => run::<DescribeClientQuotasRequest>(version, body),
        50 => run::<DescribeUserScramCredentialsRequest>(version, body),
        55 => run::<DescribeQuorumRequest>(version, body),
        57 => run::<UpdateFeaturesRequest>(version, body),
        61 => run::<DescribeProducersRequest>(version, body),
        64 => run::<UnregisterBrokerRequest>(version, body),
        74 => run::<ListConfigResourcesRequest>(version, body),
        75 => run::<DescribeTopicPartitionsRequest>(version, body),
        68 => run::<ConsumerGroupHeartbeatRequest>(version, body),
        69 => run::<ConsumerGroupDescribeRequest>(version, body),
        other => panic!("no decoder for API {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever is done to a request, the crate sees it only when it can be decoded within a bound.
    #[test]
    fn what_passes_never_makes_the_crate_reserve_much(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let samples = samples::all();
        let sample = pick.get(&samples);
        let mut body = sample.body.to_vec();
        for (at, value) in &changes {
            if !body.is_empty() {
                *at.get_mut(&mut body) = *value;
            }
        }
        if check(shape_of(sample), sample.version, &body).is_ok() {
            let body = Bytes::from(body);
            let len = body.len();
            let (_, asked) = asked_by(|| decode(sample.key, sample.version, body));
            prop_assert!(asked < 16 * 1024 + len * 1_000, "{asked} bytes for a body of {len}");
        }
    }

    #[test]
    fn random_bytes_never_panic(key in 0..SHAPES_LEN, version in 0i16..20, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let shape = &corelog::api::shape::SHAPES[key];
        let version = version.clamp(shape.min, shape.max);
        if check(shape, version, &body).is_ok() {
            // A refusal is as good as a value: it only must not panic or reserve.
            drop(decode(shape.key, version, Bytes::from(body)));
        }
    }
}

const SHAPES_LEN: usize = corelog::api::shape::SHAPES.len();
