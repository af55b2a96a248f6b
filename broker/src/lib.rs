//! The rooms of the broker, as a library so that tests can stand in any of them. The program is `main.rs`.

pub mod api;
pub mod boot;
pub mod cli;
pub mod config;
pub mod control;
pub mod drive;
pub mod dump;
pub mod metrics;
pub mod net;
pub mod shard;
