//! The APIs over fakes: every request and version answered, codecs equal to the protocol crate's, semantics as Kafka's.

#![allow(clippy::expect_used)]

mod codecs;
mod consume;
mod consumer_groups;
mod describe;
mod fakes;
mod group_fakes;
mod groups;
#[path = "../samples/mod.rs"]
mod samples;
mod topics;
mod versions;
mod write;
