//! Runs the partitions of a core: what they are asked and what they answer.

pub mod tasks;
