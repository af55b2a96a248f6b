//! The APIs over fakes: every request and version answered, codecs equal to the protocol crate's, semantics as Kafka's.

#![allow(clippy::expect_used)]

mod alter;
mod codecs;
mod consoles;
mod consume;
mod consumer_groups;
mod delete_records;
mod describe;
mod fakes;
mod group_fakes;
mod groups;
mod inspect;
mod offline;
#[path = "../samples/mod.rs"]
mod samples;
mod sessions;
mod topics;
mod versions;
mod write;
