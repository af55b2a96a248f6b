//! Whether some partition of this node cannot be used: set once, by the core that finds it so, and read by whoever answers Metadata.
//!
//! Shared by all cores. While it is not set, nobody is asked which partitions those are. Deliberately absent: which ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when a partition of some core went offline; never taken back.
#[derive(Debug, Clone, Default)]
pub struct Degraded(Arc<AtomicBool>);

impl Degraded {
    /// Says that some partition cannot be used.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether anybody has said so.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
