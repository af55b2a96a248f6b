//! The metadata that consumers of the classic protocol carry: subscriptions and assignments (Kafka's ConsumerProtocol).
//!
//! A group in which both protocols meet must read what its classic members subscribed to and own, and write what they get. Version notes: 1 adds owned
//! partitions, 2 the generation they are from, 3 the rack; a newer version begins like 3. Deliberately absent: what clients' assignors put in user data.

use std::sync::Arc;

use super::Assignment;
use super::request::Owned;
use crate::controller::MetadataImage;
use crate::group::records::{Reader, RecordError, Writer};

/// The newest version that is known.
const VERSION_MAX: i16 = 3;
/// The least that a topic with its partitions takes, in bytes.
const TOPIC_BYTES_MIN: usize = 6;

/// Topics by name, with partitions.
type ByName = Vec<(Arc<str>, Vec<i32>)>;

/// What a consumer subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub topics: Vec<Arc<str>>,
    pub owned: ByName,
    pub rack_id: Option<Arc<str>>,
}

impl Subscription {
    /// # Errors
    /// Bytes that are no subscription.
    pub fn decode(metadata: &[u8]) -> Result<Self, RecordError> {
        let mut from = Reader::new(metadata);
        let version = version(&mut from)?;
        let count = from.count("topics", 2)?;
        let topics = (0..count).map(|_| from.string("topic").map(Arc::from)).collect::<Result<_, _>>()?;
        skip_user_data(&mut from)?;
        let owned = if version >= 1 { partitions(&mut from)? } else { Vec::new() };
        if version >= 2 {
            from.i32("generation")?;
        }
        let rack_id = if version >= 3 { from.nullable_string("rack")? } else { None };
        Ok(Self { topics, owned, rack_id: rack_id.filter(|rack| !rack.is_empty()).map(Arc::from) })
    }

    /// What it owns, of topics that exist.
    pub fn owned(&self, image: &MetadataImage) -> Owned {
        let known = |(name, partitions): &(Arc<str>, Vec<i32>)| {
            Some((image.topic_by_name(name)?.id, partitions.clone()))
        };
        self.owned.iter().filter_map(known).collect()
    }
}

/// The version that some metadata was written with; newer ones count as the newest known.
pub(super) fn version_of(metadata: &[u8]) -> i16 {
    version(&mut Reader::new(metadata)).unwrap_or(0)
}

/// Why an assignment cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AssignmentError {
    /// It is none.
    Malformed,
    /// A custom assignor's own data would be lost.
    UserData,
}

/// The partitions of an assignment, of topics that exist. No bytes are no partitions.
pub(super) fn decode_assignment(bytes: &[u8], image: &MetadataImage) -> Result<Assignment, AssignmentError> {
    if bytes.is_empty() {
        return Ok(Assignment::default());
    }
    let mut from = Reader::new(bytes);
    let malformed = |_: RecordError| AssignmentError::Malformed;
    version(&mut from).map_err(malformed)?;
    let topics = partitions(&mut from).map_err(malformed)?;
    if skip_user_data(&mut from).map_err(malformed)? > 0 {
        return Err(AssignmentError::UserData);
    }
    let known =
        topics.into_iter().filter_map(|(name, numbers)| Some((image.topic_by_name(&name)?.id, numbers)));
    Ok(known.flat_map(|(id, numbers)| numbers.into_iter().map(move |number| (id, number, ()))).collect())
}

/// An assignment for a consumer that reads this version; topics that are gone are left out.
pub(super) fn encode_assignment(assignment: &Assignment, version: i16, image: &MetadataImage) -> Arc<[u8]> {
    let topics: Vec<_> =
        assignment.topics().filter_map(|(id, numbers)| Some((&image.topic(id)?.name, numbers))).collect();
    let mut out = Writer::default();
    out.put_i16(version);
    out.put_count(topics.len());
    for (name, numbers) in topics {
        out.put_string(name);
        out.put_count(numbers.len());
        for (number, ()) in numbers {
            out.put_i32(*number);
        }
    }
    // No user data.
    out.put_i32(-1);
    out.into_bytes().into()
}

fn version(from: &mut Reader<'_>) -> Result<i16, RecordError> {
    match from.i16("version")? {
        ..0 => Err(RecordError::Malformed("version")),
        version => Ok(version.min(VERSION_MAX)),
    }
}

fn partitions(from: &mut Reader<'_>) -> Result<ByName, RecordError> {
    let count = from.count("topics", TOPIC_BYTES_MIN)?;
    let topic = |_| {
        let name = from.string("topic")?.into();
        let count = from.count("partitions", 4)?;
        Ok((name, (0..count).map(|_| from.i32("partition")).collect::<Result<_, _>>()?))
    };
    (0..count).map(topic).collect()
}

/// How long it was.
fn skip_user_data(from: &mut Reader<'_>) -> Result<usize, RecordError> {
    let mut peek = from.clone();
    if peek.i32("user data")? == -1 {
        *from = peek;
        return Ok(0);
    }
    Ok(from.bytes("user data")?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_subscription_is_read() {
        let v0 = [0, 0, 0, 0, 0, 1, 0, 1, b'a', 255, 255, 255, 255];
        let expected = Subscription { topics: vec!["a".into()], owned: vec![], rack_id: None };
        assert_eq!(Subscription::decode(&v0), Ok(expected.clone()));

        let mut v3 = v0.to_vec();
        v3[1] = 3;
        v3.extend([0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 7]);
        v3.extend([0, 0, 0, 5, 0, 2, b'r', b'1']);
        let full =
            Subscription { owned: vec![("a".into(), vec![7])], rack_id: Some("r1".into()), ..expected };
        assert_eq!(Subscription::decode(&v3), Ok(full.clone()));
        v3[1] = 9;
        assert_eq!(Subscription::decode(&v3), Ok(full), "a newer version begins like the newest known");
        for len in 0..v3.len() {
            assert!(Subscription::decode(&v3[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn an_assignment_with_user_data_is_refused_and_nonsense_told_apart() {
        let image = MetadataImage::default();
        assert_eq!(decode_assignment(&[], &image), Ok(Assignment::default()));
        assert_eq!(
            decode_assignment(&[0, 0, 0, 0, 0, 0, 255, 255, 255, 255], &image),
            Ok(Assignment::default())
        );
        let with = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        assert_eq!(decode_assignment(&with, &image), Err(AssignmentError::UserData));
        assert_eq!(decode_assignment(&[0, 0, 0, 0], &image), Err(AssignmentError::Malformed));
    }
}
