//! Names of groups, members and partitions: cheap to clone, as they stand in several tables.
//!
//! Deliberately absent: what makes a name valid; Kafka takes any string that its field can hold.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(Arc<str>);

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// `group.id`: may be empty where a request comes from before KIP-289.
    GroupId
    /// Given by the coordinator to a member of a classic group, by itself to one of KIP-848. Empty: has none yet.
    MemberId
    /// `group.instance.id` of a static member (KIP-345).
    InstanceId
}

/// A partition as offset commits name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Number in it.
    pub partition: i32,
}

/// The partition of `__consumer_offsets` that a group lives in: Java's `abs(groupId.hashCode()) % partitions`
/// (`GroupCoordinatorService.partitionFor`).
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash =
        group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // Kafka's Utils.abs: the smallest number has no positive counterpart.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_where_java_would_look_for_it() {
        // Hash codes as Java prints them: "" 0, "a" 97, "group" 98629247, "Ünïcode-名" from UTF-16, and the famous
        // "polygenelubricants", whose hash is the smallest number.
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("a", 50), 47);
        assert_eq!(partition_for("group", 50), 47);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }
}
