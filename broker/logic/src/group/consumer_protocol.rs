//! The part of consumers' own metadata that the coordinator looks into: which topics a subscription names.
//!
//! Every version of the subscription begins like version 0 (Kafka's ConsumerProtocol). Deliberately absent: assignments, user data,
//! owned partitions; the clients' assignors read those.

use std::sync::Arc;

use super::records::Reader;

/// The protocol type of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";

/// The least that a topic's name takes, in bytes.
const NAME_BYTES_MIN: usize = 2;

/// The topics of a subscription; None when it is not one.
pub fn subscribed_topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let mut reader = Reader::new(metadata);
    if reader.i16("version").ok()? < 0 {
        return None;
    }
    let count = reader.count("topics", NAME_BYTES_MIN).ok()?;
    (0..count).map(|_| reader.string("topic").ok().map(Arc::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_every_version_and_nonsense_is_told_apart() {
        let two = [0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 255, 255, 255, 255];
        assert_eq!(subscribed_topics(&two), Some(vec!["a".into(), "bc".into()]));
        assert_eq!(subscribed_topics(&[0, 0, 0, 0, 0, 0]), Some(vec![]));
        assert_eq!(subscribed_topics(&[]), None);
        assert_eq!(subscribed_topics(&[0, 0, 127, 255, 255, 255]), None);
        assert_eq!(subscribed_topics(&[255, 255, 0, 0, 0, 0]), None);
    }
}
