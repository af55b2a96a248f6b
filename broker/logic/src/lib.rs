//! Pure state machines: time and randomness are arguments, results are records and replies.
//!
//! Deliberately absent: async, clocks, I/O, random numbers, wire types.

pub mod controller;
pub mod encoding;
pub mod fetch_session;
pub mod group;
pub mod partition;
