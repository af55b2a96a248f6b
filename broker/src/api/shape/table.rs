//! The shapes of all requests that are advertised: ten lines an API, after Kafka's message definitions.
//!
//! A field's order here is its order on the wire. What is not listed here cannot be served.

use super::Wire::{Array, Bytes, Fixed, Nullable, String, Struct};
use super::{Field, Shape, field};

const INT8: Field = field(Fixed(1));
const BOOLEAN: Field = field(Fixed(1));
const INT16: Field = field(Fixed(2));
const INT32: Field = field(Fixed(4));
const INT64: Field = field(Fixed(8));
const UUID: Field = field(Fixed(16));
const STRING: Field = field(String);

/// Every API's request shape, by key.
pub const SHAPES: &[Shape] = &[
    Shape {
        key: 0,
        name: "Produce",
        min: 3,
        max: 13,
        flexible: 9,
        fields: &[
            STRING, // transactional id
            INT16,  // acks
            INT32,  // timeout
            field(Array(&Struct(&[
                STRING.until(12), // topic
                UUID.since(13),
                field(Array(&Struct(&[INT32, field(Bytes)]))), // partition, records
            ]))),
        ],
    },
    Shape {
        key: 1,
        name: "Fetch",
        min: 4,
        max: 18,
        flexible: 12,
        fields: &[
            INT32.until(14), // replica id
            INT32,           // max wait
            INT32,           // min bytes
            INT32,           // max bytes
            INT8,            // isolation level
            INT32.since(7),  // session id
            INT32.since(7),  // session epoch
            field(Array(&Struct(&[
                STRING.until(12), // topic
                UUID.since(13),
                field(Array(&Struct(&[
                    INT32,           // partition
                    INT32.since(9),  // current leader epoch
                    INT64,           // fetch offset
                    INT32.since(12), // last fetched epoch
                    INT64.since(5),  // log start offset
                    INT32,           // max bytes
                    UUID.since(17).tagged(0),
                    INT64.since(18).tagged(1), // high watermark
                ]))),
            ]))),
            field(Array(&Struct(&[STRING.until(12), UUID.since(13), field(Array(&Fixed(4)))]))).since(7), // forgotten
            STRING.since(11),                                   // rack
            STRING.tagged(0).since(12),                         // cluster id
            field(Struct(&[INT32, INT64])).since(15).tagged(1), // replica id and epoch
        ],
    },
    Shape {
        key: 2,
        name: "ListOffsets",
        min: 1,
        max: 10,
        flexible: 6,
        fields: &[
            INT32,         // replica id
            INT8.since(2), // isolation level
            field(Array(&Struct(&[
                STRING,
                field(Array(&Struct(&[INT32, INT32.since(4), INT64]))), // partition, leader epoch, timestamp
            ]))),
            INT32.since(10), // timeout
        ],
    },
    Shape {
        key: 3,
        name: "Metadata",
        min: 0,
        max: 13,
        flexible: 9,
        fields: &[
            field(Array(&Struct(&[UUID.since(10), STRING]))),
            BOOLEAN.since(4),           // auto-creation
            BOOLEAN.since(8).until(10), // cluster operations
            BOOLEAN.since(8),           // topic operations
        ],
    },
    Shape {
        key: 8,
        name: "OffsetCommit",
        min: 2,
        max: 9,
        flexible: 8,
        fields: &[
            STRING,                  // group id
            INT32,                   // generation or member epoch
            STRING,                  // member id
            STRING.since(7),         // group instance id
            INT64.since(2).until(4), // retention time
            field(Array(&Struct(&[
                STRING,                                                         // topic
                field(Array(&Struct(&[INT32, INT64, INT32.since(6), STRING]))), // partition, offset, leader epoch, metadata
            ]))),
        ],
    },
    Shape {
        key: 9,
        name: "OffsetFetch",
        min: 1,
        max: 9,
        flexible: 6,
        fields: &[
            STRING.until(7),                                                    // group id
            field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))).until(7), // topic, partitions
            field(Array(&Struct(&[
                STRING,          // group id
                STRING.since(9), // member id
                INT32.since(9),  // member epoch
                field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))),
            ])))
            .since(8),
            BOOLEAN.since(7), // require stable
        ],
    },
    Shape {
        key: 10,
        name: "FindCoordinator",
        min: 0,
        max: 6,
        flexible: 3,
        fields: &[STRING.until(3), INT8.since(1), field(Array(&String)).since(4)], // key, type of key, keys
    },
    Shape {
        key: 11,
        name: "JoinGroup",
        min: 0,
        max: 9,
        flexible: 6,
        fields: &[
            STRING,                                         // group id
            INT32,                                          // session timeout
            INT32.since(1),                                 // rebalance timeout
            STRING,                                         // member id
            STRING.since(5),                                // group instance id
            STRING,                                         // protocol type
            field(Array(&Struct(&[STRING, field(Bytes)]))), // protocol, metadata
            STRING.since(8),                                // reason
        ],
    },
    Shape {
        key: 12,
        name: "Heartbeat",
        min: 0,
        max: 4,
        flexible: 4,
        fields: &[STRING, INT32, STRING, STRING.since(3)], // group id, generation, member id, group instance id
    },
    Shape {
        key: 13,
        name: "LeaveGroup",
        min: 0,
        max: 5,
        flexible: 4,
        fields: &[
            STRING,                                                             // group id
            STRING.until(2),                                                    // member id
            field(Array(&Struct(&[STRING, STRING, STRING.since(5)]))).since(3), // member id, instance id, reason
        ],
    },
    Shape {
        key: 14,
        name: "SyncGroup",
        min: 0,
        max: 5,
        flexible: 4,
        fields: &[
            STRING,                                         // group id
            INT32,                                          // generation
            STRING,                                         // member id
            STRING.since(3),                                // group instance id
            STRING.since(5),                                // protocol type
            STRING.since(5),                                // protocol name
            field(Array(&Struct(&[STRING, field(Bytes)]))), // member id, assignment
        ],
    },
    Shape {
        key: 15,
        name: "DescribeGroups",
        min: 0,
        max: 6,
        flexible: 5,
        fields: &[field(Array(&String)), BOOLEAN.since(3)], // group ids, authorized operations
    },
    Shape {
        key: 16,
        name: "ListGroups",
        min: 0,
        max: 5,
        flexible: 3,
        fields: &[field(Array(&String)).since(4), field(Array(&String)).since(5)], // states, types
    },
    Shape {
        key: 18,
        name: "ApiVersions",
        min: 0,
        max: 4,
        flexible: 3,
        fields: &[STRING.since(3), STRING.since(3)], // software name and version
    },
    Shape {
        key: 19,
        name: "CreateTopics",
        min: 2,
        max: 7,
        flexible: 5,
        fields: &[
            field(Array(&Struct(&[
                STRING,
                INT32,                                                    // partitions
                INT16,                                                    // replication factor
                field(Array(&Struct(&[INT32, field(Array(&Fixed(4)))]))), // assignments
                field(Array(&Struct(&[STRING, STRING]))),                 // configs
            ]))),
            INT32,   // timeout
            BOOLEAN, // validate only
        ],
    },
    Shape {
        key: 20,
        name: "DeleteTopics",
        min: 1,
        max: 6,
        flexible: 4,
        fields: &[
            field(Array(&Struct(&[STRING, UUID]))).since(6),
            field(Array(&String)).until(5),
            INT32, // timeout
        ],
    },
    Shape {
        key: 21,
        name: "DeleteRecords",
        min: 0,
        max: 2,
        flexible: 2,
        fields: &[
            field(Array(&Struct(&[STRING, field(Array(&Struct(&[INT32, INT64])))]))), // topic, partition, offset
            INT32,                                                                    // timeout
        ],
    },
    Shape {
        key: 22,
        name: "InitProducerId",
        min: 0,
        max: 5,
        flexible: 2,
        fields: &[STRING, INT32, INT64.since(3), INT16.since(3)], // transactional id, timeout, producer id, epoch
    },
    Shape {
        key: 23,
        name: "OffsetForLeaderEpoch",
        min: 2,
        max: 4,
        flexible: 4,
        fields: &[
            INT32.since(3), // replica id
            // topic, partitions: number, current leader epoch, leader epoch
            field(Array(&Struct(&[STRING, field(Array(&Struct(&[INT32, INT32, INT32])))]))),
        ],
    },
    Shape {
        key: 29,
        name: "DescribeAcls",
        min: 1,
        max: 3,
        flexible: 2,
        fields: &[
            INT8,   // resource type
            STRING, // resource name
            INT8,   // pattern type
            STRING, // principal
            STRING, // host
            INT8,   // operation
            INT8,   // permission
        ],
    },
    Shape {
        key: 30,
        name: "CreateAcls",
        min: 1,
        max: 3,
        flexible: 2,
        fields: &[
            // resource: type, name, pattern; principal, host, operation, permission
            field(Array(&Struct(&[INT8, STRING, INT8, STRING, STRING, INT8, INT8]))),
        ],
    },
    Shape {
        key: 31,
        name: "DeleteAcls",
        min: 1,
        max: 3,
        flexible: 2,
        fields: &[
            // resource: type, name, pattern; principal, host, operation, permission
            field(Array(&Struct(&[INT8, STRING, INT8, STRING, STRING, INT8, INT8]))),
        ],
    },
    Shape {
        key: 32,
        name: "DescribeConfigs",
        min: 1,
        max: 4,
        flexible: 4,
        fields: &[
            field(Array(&Struct(&[INT8, STRING, field(Array(&String))]))), // type, name, keys
            BOOLEAN,                                                       // synonyms
            BOOLEAN.since(3),                                              // documentation
        ],
    },
    Shape {
        key: 33,
        name: "AlterConfigs",
        min: 0,
        max: 2,
        flexible: 2,
        fields: &[
            // type, name, configurations: key, value
            field(Array(&Struct(&[INT8, STRING, field(Array(&Struct(&[STRING, STRING])))]))),
            BOOLEAN, // validate only
        ],
    },
    Shape {
        key: 35,
        name: "DescribeLogDirs",
        min: 1,
        max: 4,
        flexible: 2,
        fields: &[
            field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))), // topics and partitions
        ],
    },
    Shape {
        key: 37,
        name: "CreatePartitions",
        min: 0,
        max: 3,
        flexible: 2,
        fields: &[
            field(Array(&Struct(&[
                STRING,
                INT32,                                             // partitions in all
                field(Array(&Struct(&[field(Array(&Fixed(4)))]))), // assignments
            ]))),
            INT32,   // timeout
            BOOLEAN, // validate only
        ],
    },
    Shape { key: 42, name: "DeleteGroups", min: 0, max: 2, flexible: 2, fields: &[field(Array(&String))] },
    Shape {
        key: 43,
        name: "ElectLeaders",
        min: 0,
        max: 2,
        flexible: 2,
        fields: &[
            INT8.since(1),                                             // election type
            field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))), // topics and partitions
            INT32,                                                     // timeout
        ],
    },
    Shape {
        key: 44,
        name: "IncrementalAlterConfigs",
        min: 0,
        max: 1,
        flexible: 1,
        fields: &[
            // type, name, configurations: key, operation, value
            field(Array(&Struct(&[INT8, STRING, field(Array(&Struct(&[STRING, INT8, STRING])))]))),
            BOOLEAN, // validate only
        ],
    },
    Shape {
        key: 45,
        name: "AlterPartitionReassignments",
        min: 0,
        max: 1,
        flexible: 0,
        fields: &[
            INT32,            // timeout
            BOOLEAN.since(1), // another replication factor
            field(Array(&Struct(&[
                STRING,
                field(Array(&Struct(&[INT32, field(Array(&Fixed(4)))]))), // partition, replicas
            ]))),
        ],
    },
    Shape {
        key: 46,
        name: "ListPartitionReassignments",
        min: 0,
        max: 0,
        flexible: 0,
        fields: &[
            INT32,                                                     // timeout
            field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))), // topics and partitions
        ],
    },
    Shape {
        key: 47,
        name: "OffsetDelete",
        min: 0,
        max: 0,
        flexible: i16::MAX,
        fields: &[STRING, field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))])))], // group id, topic, partitions
    },
    Shape {
        key: 48,
        name: "DescribeClientQuotas",
        min: 0,
        max: 1,
        flexible: 1,
        fields: &[
            field(Array(&Struct(&[STRING, INT8, STRING]))), // entity type, kind of match, match
            BOOLEAN,                                        // strict
        ],
    },
    Shape {
        key: 50,
        name: "DescribeUserScramCredentials",
        min: 0,
        max: 0,
        flexible: 0,
        fields: &[
            field(Array(&Struct(&[STRING]))), // users
        ],
    },
    Shape {
        key: 55,
        name: "DescribeQuorum",
        min: 0,
        max: 2,
        flexible: 0,
        fields: &[
            field(Array(&Struct(&[STRING, field(Array(&Struct(&[INT32])))]))), // topics and partitions
        ],
    },
    Shape {
        key: 57,
        name: "UpdateFeatures",
        min: 0,
        max: 2,
        flexible: 0,
        fields: &[
            INT32, // timeout
            // name, level, downgrade, upgrade type
            field(Array(&Struct(&[STRING, INT16, BOOLEAN.until(0), INT8.since(1)]))),
            BOOLEAN.since(1), // validate only
        ],
    },
    Shape {
        key: 60,
        name: "DescribeCluster",
        min: 0,
        max: 2,
        flexible: 0,
        fields: &[BOOLEAN, INT8.since(1), BOOLEAN.since(2)], // operations, endpoint type, fenced brokers
    },
    Shape {
        key: 61,
        name: "DescribeProducers",
        min: 0,
        max: 0,
        flexible: 0,
        fields: &[
            field(Array(&Struct(&[STRING, field(Array(&Fixed(4)))]))), // topics and partitions
        ],
    },
    Shape {
        key: 64,
        name: "UnregisterBroker",
        min: 0,
        max: 0,
        flexible: 0,
        fields: &[
            INT32, // broker
        ],
    },
    Shape {
        key: 68,
        name: "ConsumerGroupHeartbeat",
        min: 0,
        max: 1,
        flexible: 0,
        fields: &[
            STRING,                                                  // group id
            STRING,                                                  // member id
            INT32,                                                   // member epoch
            STRING,                                                  // instance id
            STRING,                                                  // rack id
            INT32,                                                   // rebalance timeout
            field(Array(&String)),                                   // subscribed topic names
            STRING.since(1),                                         // subscribed topic regex
            STRING,                                                  // server assignor
            field(Array(&Struct(&[UUID, field(Array(&Fixed(4)))]))), // owned topic, partitions
        ],
    },
    Shape {
        key: 69,
        name: "ConsumerGroupDescribe",
        min: 0,
        max: 1,
        flexible: 0,
        fields: &[field(Array(&String)), BOOLEAN], // group ids, operations
    },
    Shape {
        key: 74,
        name: "ListConfigResources",
        min: 0,
        max: 1,
        flexible: 0,
        fields: &[
            field(Array(&Fixed(1))).since(1), // types
        ],
    },
    Shape {
        key: 75,
        name: "DescribeTopicPartitions",
        min: 0,
        max: 0,
        flexible: 0,
        fields: &[
            field(Array(&Struct(&[STRING]))),  // topics
            INT32,                             // partitions in the reply
            field(Nullable(&[STRING, INT32])), // cursor: topic, partition
        ],
    },
];
