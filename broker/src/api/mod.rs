//! Kafka's APIs: what a frame says, and what it is answered. Called by `net` for every frame.

pub mod shape;
pub mod wire;
